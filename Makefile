# What a person runs. Everything is set up by the targets themselves; nothing is installed by hand.
SHELL := bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
export PYTHONPATH := tests:.

.PHONY: help setup demo demo-stop test check unit contract integration e2e gitops bench lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make the Python environment from the lock (every target does it)
	@scripts/setup

demo: setup ## The main job from end to end, narrated; KEEP=1 leaves it running
	@exec $(PY) -m demo $(if $(KEEP),--keep)

demo-stop: setup ## Stop what `make demo KEEP=1` left running
	@$(PY) -m demo --stop

test: setup ## All tests: check, unit, contract, integration; says what it skipped and why
	@scripts/test

check: setup ## The fast part: lint, format, types, import contracts, secret scan, unit tests
	@scripts/check

unit: setup ## Unit tests only
	@$(PY) -m pytest tests/unit $(ARGS)

contract: setup ## Every provider against its real part
	@$(PY) -m pytest tests/contract $(ARGS)

integration: setup ## Against a real control plane
	@$(PY) -m pytest tests/integration $(ARGS)

e2e: setup ## Real pods: kind where Docker is, else a real kubelet (root, Debian's containerd)
	@$(PY) -m pytest tests/e2e -m e2e -v $(ARGS)

gitops: setup ## Flux's and Argo CD's own controllers; builds them first (about 10 minutes, once)
	@$(PY) -m pytest tests/integration/test_flux.py tests/integration/test_argocd.py -m gitops -v $(ARGS)

bench: setup ## Measure the engine against its targets (half an hour); ARGS="--only cold --size 2000"
	@exec $(PY) -m load $(ARGS)

lock: setup ## Renew the hashed lock files from pyproject.toml
	@scripts/lock

clean: ## Remove the environment and what tools left; the user's cache of binaries stays
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist

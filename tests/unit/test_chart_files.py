"""The chart's files, as far as they can be judged without Helm."""

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

import syncret
from syncret import settings

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "syncret"
DOCKERFILE = ROOT / "Dockerfile"


def values() -> dict[str, Any]:
    return dict(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")))


def values_schema() -> dict[str, Any]:
    return dict(json.loads((CHART / "values.schema.json").read_text(encoding="utf-8")))


def closed_objects(schema: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(schema, dict):
        if "properties" in schema and isinstance(schema["properties"], dict):
            yield path, schema
        for name, child in schema.items():
            yield from closed_objects(child, f"{path}/{name}")


def test_every_object_of_the_values_schema_refuses_unknown_names() -> None:
    found = list(closed_objects(values_schema()))
    assert len(found) > 5
    assert [path for path, schema in found if schema.get("additionalProperties") is not False] == []


def test_values_and_their_schema_name_the_same_things() -> None:
    def differences(
        given: Mapping[str, Any], schema: Mapping[str, Any], path: str = ""
    ) -> Iterator[str]:
        known = schema["properties"].keys() - {"global", "claims"}
        yield from (f"{path}{name}" for name in given.keys() ^ known)
        for name in given.keys() & known:
            if "properties" in schema["properties"][name]:
                yield from differences(given[name], schema["properties"][name], f"{path}{name}.")

    assert list(differences(values(), values_schema())) == []


def test_every_value_is_explained() -> None:
    page = (ROOT / "docs" / "reference" / "helm-values.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 30
    assert [row for row in rows if re.search(r"\|\s*\|$", row)] == []


def test_the_chart_has_the_version_of_the_program() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == syncret.__version__


def test_the_chart_ships_the_crds_of_the_repository() -> None:
    assert (CHART / "files" / "crds").resolve() == ROOT / "crds"


def test_the_installation_guide_explains_exactly_the_permissions_of_the_operator() -> None:
    template = (CHART / "templates" / "clusterrole.yaml").read_text(encoding="utf-8")
    granted = {
        (resource + (f".{group}" if group else ""), verb)
        for part in re.findall(r"(?ms)^rules:.*?(?=^---)", template)
        for rule in yaml.safe_load(part)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }

    guide = (ROOT / "docs" / "installation.md").read_text(encoding="utf-8")
    explained = {
        (resource, verb)
        for resources, verbs in re.findall(r"(?m)^\| (`[^|]+) \| (`[^|]+) \| .{30,} \|$", guide)
        for resource in re.findall(r"`([^`]+)`", resources)
        for verb in re.findall(r"`([^`]+)`", verbs)
    }

    assert explained == granted


def test_the_chart_calls_the_program_with_flags_that_it_has() -> None:
    template = (CHART / "templates" / "deployment.yaml").read_text(encoding="utf-8")
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser)
    known = {flag for action in parser._actions for flag in action.option_strings}
    used = set(re.findall(r"(?m)^ +- (--[a-z-]+)", template))
    assert len(used) >= 5
    assert used - known == set()


def test_the_values_schema_offers_the_words_that_the_program_knows() -> None:
    log = values_schema()["properties"]["log"]["properties"]
    assert tuple(log["level"]["enum"]) == settings.LOG_LEVELS
    assert tuple(log["format"]["enum"]) == settings.LOG_FORMATS


def test_the_image_says_the_version_of_the_program() -> None:
    (version,) = re.findall(r"(?m)^ARG VERSION=(.+)$", DOCKERFILE.read_text(encoding="utf-8"))
    assert version == syncret.__version__


def test_the_builder_is_sent_what_the_dockerfile_copies_and_nothing_else() -> None:
    copied = {
        path
        for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", DOCKERFILE.read_text(encoding="utf-8"))
        for path in line.split()[:-1]
    }
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == copied
    assert "**/__pycache__" in rules[rules.index("!operator/syncret") :]

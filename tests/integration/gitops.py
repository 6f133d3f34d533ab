"""What GitOps tools are tested with: the settings of docs/gitops.md, and what stands in Git."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from integration import manifests
from integration.manifests import entry, env
from integration.world import World

Body = dict[str, Any]
ANNOTATION: Final = "syncret.io/secrets-checksum"
PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "gitops.md"


def skip_unless_asked(config: pytest.Config) -> None:
    if "gitops" not in config.option.markexpr:
        pytest.skip("takes builds of minutes: ask for it with `make gitops`")


def setting(name: str) -> dict[str, Any]:
    """The example of docs/gitops.md that has this text."""
    blocks = re.findall(r"^( *)```yaml\n(.*?)^ *```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (block,) = (text for _, text in blocks if name in text)
    found: dict[str, Any] = yaml.safe_load(block)
    return found


def app(world: World, *, key: str = "database", **rollout: Any) -> list[Body]:
    """What stands in Git: a Deployment, and the ExternalSecret that it reads."""
    data = [entry("password", world.key(key), "password")]
    workload = manifests.workload(world.namespace, "a", container=env("app", "password"))
    return [manifests.external_secret(world.namespace, data=data, rollout=rollout), workload]


def annotated(world: World) -> bool:
    template = world.get("Deployment", "a")["spec"]["template"]
    return ANNOTATION in (template["metadata"].get("annotations") or {})

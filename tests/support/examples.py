"""The examples that stand in the repository, and which fields of the CRDs they show."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
FILES: Final = sorted((ROOT / "examples").glob("*.yaml"))

PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_BLOCKS: Final = re.DOTALL | re.MULTILINE
_OURS: Final = re.compile(r"v1$|apps/v1$|rbac\.authorization\.k8s\.io/|syncret\.io/")

Body = dict[str, Any]

#: What is the same in another kind, and is shown there.
_EMBEDDED: Final = {
    "ClusterExternalSecret.spec.externalSecretSpec.": "ExternalSecret.spec.",
    "Generator.spec.generator.vaultDynamic.provider.": "SecretStore.spec.provider.vault.",
}


def bodies(path: Path) -> list[Body]:
    """The objects of a file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def written(page: Path) -> list[Body]:
    """The whole objects in a page for people, of Syncret and of Kubernetes itself."""
    found: list[Body] = []
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), _BLOCKS):
        found += (body for body in yaml.safe_load_all(block) if isinstance(body, dict))
    return [body for body in found if _OURS.match(str(body.get("apiVersion")))]


def crds() -> dict[str, Body]:
    """The CRDs by the plural of their kind."""
    files = sorted((ROOT / "crds").glob("*.yaml"))
    return {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in files}


def leaves(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """The fields that have no fields of their own."""
    if "properties" in schema:
        for name, child in schema["properties"].items():
            yield from leaves(child, f"{path}.{name}")
    elif "items" in schema:
        yield from leaves(schema["items"], f"{path}[]")
    else:
        yield path


def fields() -> Iterator[str]:
    """Every field that a person may set, such as ``ExternalSecret.spec.target.name``."""
    for crd in crds().values():
        spec = crd["spec"]
        schema = spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        kind = spec["names"]["kind"]
        for path in leaves(schema, f"{kind}.spec"):
            # What is embedded is shown by the kind that it comes from.
            embedded = next((part for part in _EMBEDDED if part in path), None)
            yield path.replace(embedded, _EMBEDDED[embedded]) if embedded else path


def shown() -> set[str]:
    """Every path that the examples have, whole and in part."""
    found: set[str] = set()
    for file in FILES:
        for body in bodies(file):
            if str(body["apiVersion"]).startswith("syncret.io/"):
                found |= set(_paths(body["spec"], f"{body['kind']}.spec"))
    return found


def _paths(value: Any, path: str) -> Iterator[str]:
    yield path
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _paths(one, f"{path}.{name}")
    elif isinstance(value, list):
        for one in value:
            yield from _paths(one, f"{path}[]")

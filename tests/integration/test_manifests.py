"""The API server accepts every example, and what ``syncret convert`` writes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from integration.world import wait_until
from support import examples
from testbed.cluster import Cluster, CommandError

Body = dict[str, Any]

CORPUS = Path(__file__).parents[1] / "unit" / "convert" / "shop.yaml"


def explained(schema: Body, path: str) -> Iterator[tuple[str, Body]]:
    """Every field that has fields, with the descriptions of these."""
    schema = schema.get("items", schema)
    if "properties" in schema:
        yield path, {name: one["description"] for name, one in schema["properties"].items()}
        for name, one in schema["properties"].items():
            yield from explained(one, f"{path}.{name}")


EXPLAINED = [
    pytest.param(path, fields, id=path)
    for name, crd in examples.crds().items()
    for part in ("spec", "status")
    for path, fields in explained(
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part],
        f"{name}.syncret.io.{part}",
    )
    if "externalSecretSpec" not in path
]


def accepted(cluster: Cluster, bodies: list[Body]) -> list[str]:
    """Applies them as a dry run on the server; fails where one is refused."""
    for body in bodies:
        if "namespace" in body["metadata"]:
            body["metadata"]["namespace"] = "default"
    listed = {"apiVersion": "v1", "kind": "List", "items": bodies}
    said = cluster.kubectl(
        *("apply", "--dry-run=server", "--validate=strict", "-f", "-"), stdin=json.dumps(listed)
    )
    return said.splitlines()


@pytest.mark.parametrize(("path", "fields"), EXPLAINED)
def test_kubectl_explains_every_field(path: str, fields: Body, installed: Cluster) -> None:

    def asked() -> str:
        try:
            return "".join(installed.kubectl("explain", path).split())
        except CommandError:  # the definition was applied a moment ago
            return ""

    said = wait_until(asked, f"an explanation of {path}")
    for name, description in fields.items():
        assert name in said
        assert "".join(description.split()) in said


@pytest.mark.parametrize("path", examples.FILES, ids=lambda path: path.stem)
def test_an_example_is_accepted(path: Path, installed: Cluster) -> None:
    bodies = examples.bodies(path)
    assert len(accepted(installed, bodies)) == len(bodies)


@pytest.mark.parametrize(
    "page",
    [page for page in examples.PAGES if examples.written(page)],
    ids=lambda page: page.relative_to(examples.ROOT).as_posix(),
)
def test_what_a_page_shows_is_accepted(page: Path, installed: Cluster) -> None:
    bodies = examples.written(page)
    assert len(accepted(installed, bodies)) == len(bodies)


def test_what_is_converted_is_accepted(installed: Cluster) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "syncret", "convert", str(CORPUS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert made.returncode == 1, made.stderr
    bodies = [one for one in yaml.safe_load_all(made.stdout) if one is not None]
    kinds = [body["kind"] for body in bodies]
    assert {"ExternalSecret", "SecretStore", "ClusterSecretStore", "ClusterExternalSecret"} <= {
        *kinds
    }
    assert len(accepted(installed, bodies)) == len(bodies)


def test_what_a_cluster_holds_is_converted(installed: Cluster) -> None:
    """With a definition that has ESO's names; what it would check has been checked there."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    group, names = "external-secrets.io", {"plural": "externalsecrets", "kind": "ExternalSecret"}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"externalsecrets.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }
    spec = {
        "secretStoreRef": {"name": "aws"},
        "data": [{"secretKey": "a", "remoteRef": {"key": "b"}}],
    }
    body = {
        "apiVersion": f"{group}/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": "there", "namespace": "default"},
        "spec": spec,
    }
    installed.apply(crd)
    try:
        installed.kubectl(
            "wait",
            "--for=condition=Established",
            f"crd/{crd['metadata']['name']}",  # type: ignore[index]
        )
        installed.apply(body)
        for where in (["-n", "default"], ["-A"]):
            made = subprocess.run(
                [sys.executable, "-m", "syncret", "convert", "--from-cluster", *where],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
                env={**os.environ, "KUBECONFIG": str(installed.kubeconfig)},
            )
            assert (made.returncode, made.stderr) == (
                0,
                "1 converted exactly, 0 converted with remarks, 0 not converted\n",
            )
            found = yaml.safe_load(made.stdout)
            assert found["metadata"] == {"name": "there", "namespace": "default"}
            assert (found["apiVersion"], found["spec"]) == ("syncret.io/v1alpha1", spec)
    finally:
        installed.kubectl("delete", "crd", f"externalsecrets.{group}")

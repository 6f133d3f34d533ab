"""The API server accepts every example, and what ``syncret convert`` writes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import examples
from testbed.cluster import Cluster

Body = dict[str, Any]

CORPUS = Path(__file__).parents[1] / "unit" / "convert" / "shop.yaml"


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


@pytest.mark.parametrize("path", examples.FILES, ids=lambda path: path.stem)
def test_an_example_is_accepted(path: Path, installed: Cluster) -> None:
    bodies = examples.bodies(path)
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

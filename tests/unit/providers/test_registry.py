"""From ``spec.provider`` to a provider."""

import subprocess
import sys
from typing import Any

import pytest

from syncret.errors import SpecInvalid
from syncret.providers.registry import NAMES, parse_provider, provider

AWS = {"service": "SecretsManager", "region": "eu-central-1"}


def test_the_named_provider_parses_its_part() -> None:
    chosen, config = parse_provider({"aws": AWS}, cluster_scoped=True)
    assert chosen.name == "aws"
    assert config.region == "eu-central-1"


def test_a_provider_is_made_once() -> None:
    assert provider("aws") is provider("aws")
    assert parse_provider({"aws": AWS}, cluster_scoped=True)[0] is provider("aws")


@pytest.mark.parametrize("name", NAMES)
def test_every_line_makes_the_provider_that_it_names(name: str) -> None:
    assert provider(name).name == name


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (None, "names none"),
        ({}, "names none"),
        ({"aws": None}, "names none"),
        ({"aws": AWS, "vault": {}}, "names aws, vault"),
        ({"acme": {}}, "spec.provider.acme is not known"),
        ({"aws": "text"}, "spec.provider.aws must be an object"),
    ],
)
def test_anything_but_one_known_provider_is_refused(spec: Any, says: str) -> None:
    with pytest.raises(SpecInvalid, match=says):
        parse_provider(spec, cluster_scoped=False)


def test_an_sdk_is_loaded_by_the_first_store_only() -> None:
    """In a process of its own: this one has loaded much already."""
    program = (
        "import sys; from syncret.providers.registry import parse_provider\n"
        "assert not {'boto3', 'botocore'} & set(sys.modules), 'loaded with the registry'\n"
        "parse_provider({'aws': {'service': 'SecretsManager', 'region': 'r'}}, "
        "cluster_scoped=True)\n"
        "assert 'boto3' not in sys.modules, 'loaded by parsing'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": "operator"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

"""Every field of every CRD stands in an example; tests/integration applies them all."""

import re
from pathlib import Path

import pytest

from support import examples

FIELDS = sorted(set(examples.fields()))
SHOWN = examples.shown()


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_has_an_example(field: str) -> None:
    assert field in SHOWN, f"{field} stands in no file of examples/: add it to one, or add a file"


@pytest.mark.parametrize("path", examples.FILES, ids=lambda path: path.stem)
def test_an_example_says_what_it_shows(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    said = " ".join(line.removeprefix("# ") for line in lines if line.startswith("# "))
    assert lines[0].startswith("# ")
    assert re.search(r"[A-Z].{30,}\.$", said)


def test_nothing_is_taken_for_an_example_of_a_field_that_it_is_not() -> None:
    assert "ExternalSecret.spec.target.name" in FIELDS
    assert "ExternalSecret.spec.target.nome" not in SHOWN
    assert "ClusterSecretStore.spec.conditions[].remoteKeys[]" in SHOWN

"""The alerts and the page that lists them."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "helm/syncret/files/alerts.yaml").read_text("utf-8"))[
        "groups"
    ]
    for rule in group["rules"]
]


def test_every_alert_has_what_an_alert_needs() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names)) > 10
    for rule in RULES:
        assert rule["expr"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_the_page_lists_them() -> None:
    page = (ROOT / "docs/observability.md").read_text("utf-8")
    listed = re.findall(r"^\| `(\w+)` \| (warning|critical) \|", page, re.MULTILINE)
    assert listed == [(rule["alert"], rule["labels"]["severity"]) for rule in RULES]

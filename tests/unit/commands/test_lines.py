"""What the commands print, and what they refuse."""

import pytest

from syncret.api.keys import ObjectKey
from syncret.commands.driving import Report
from syncret.commands.incident import body, leader, store_of, text
from syncret.commands.picture import Consumer, Picture, Pod, Reader
from syncret.commands.rotate import ending
from syncret.commands.timeline import Step
from syncret.errors import SpecInvalid

STORE = ObjectKey("ClusterSecretStore", "", "aws")
WEB = Consumer("Deployment", "web", ("k",), pods=(Pod("web-1", True, True),))
JOB = Consumer("CronJob", "nightly", None)
READER = Reader(
    "shop", "db", "db", "prod/db", "True", "", "v1", "2026-01-01T12:00:00Z", consumers=(WEB, JOB)
)
BROKEN = Reader("a", "db", "db", "prod/db", "False", "Denied.", "", "")
PICTURE = Picture((BROKEN, READER), ("no pods may be seen",))


def test_the_store_is_named_with_its_kind_or_by_the_namespace() -> None:
    assert store_of("aws", "") == store_of("ClusterSecretStore/aws", "shop") == STORE
    named = ObjectKey("SecretStore", "shop", "aws")
    assert store_of("aws", "shop") == store_of("SecretStore/aws", "shop") == named
    for given in ("SecretStore/aws", "Store/aws", "", "ClusterSecretStore/"):
        with pytest.raises(SpecInvalid):
            store_of(given, "")


def test_the_text_names_everybody_and_what_was_not_seen() -> None:
    told = text(STORE, "prod/db", PICTURE, None)
    for line in (
        "ExternalSecret a/db (not in sync: Denied.)",
        "ExternalSecret shop/db (in sync)",
        "Deployment web reads k, available, 1 pods",
        "web-1 has the old value",
        "CronJob nightly reads all keys; it is not restarted",
        "2 ExternalSecrets in 2 namespaces, 2 workloads, 1 pods with the old value.",
        "Not seen: no pods may be seen",
    ):
        assert line in told
    assert "Nobody reads it." in text(STORE, "prod/db", Picture(), None)


def test_one_that_is_in_sync_asks_the_store() -> None:
    assert leader(PICTURE) is READER
    assert leader(Picture((BROKEN,))) is BROKEN


def test_the_report_ends_with_what_is_left() -> None:
    report = Report(0.0, state="done", seconds=12.3, left_over=["CronJob shop/nightly"])
    report.timeline.append(Step(1.5, "asked to rotate", "ExternalSecret shop/db"))
    assert report.code == 0
    assert "Not restarted" in ending(report)
    told = text(STORE, "prod/db", PICTURE, report)
    assert "    1.5 s  ExternalSecret shop/db: asked to rotate" in told
    rotation = body(STORE, "prod/db", PICTURE, report)["rotation"]
    assert rotation["timeline"][0] == {
        "time": "1970-01-01T00:00:01.500Z",
        "seconds": 1.5,
        "what": "asked to rotate",
        "about": "ExternalSecret shop/db",
    }
    assert rotation["leftOver"] == ["CronJob shop/nightly"]
    assert Report(0.0, state="late").code == 3
    assert Report(0.0, state="failed", reason="why").code == 1
    assert "It goes on." in ending(Report(0.0, state="late", reason="x"))

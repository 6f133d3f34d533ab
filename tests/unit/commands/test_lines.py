"""What the commands print, and what they refuse."""

import argparse
from dataclasses import replace

import pytest

from syncret.api.keys import ObjectKey
from syncret.commands.driving import Report
from syncret.commands.incident import add_arguments, body, leader, run, store_of, text
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
    made = ObjectKey("Generator", "shop", "db")
    assert store_of("Generator/db", "shop") == made
    assert store_of("ClusterGenerator/db", "shop") == ObjectKey("ClusterGenerator", "", "db")
    for given in ("Generator/db", "SecretStore/aws", "Store/aws", "", "ClusterSecretStore/"):
        with pytest.raises(SpecInvalid):
            store_of(given, "")


def test_the_text_names_everybody_and_what_was_not_seen() -> None:
    told = text(STORE, "prod/db", PICTURE, None)
    for line in (
        "ExternalSecret a/db (not in sync: Denied.)",
        "ExternalSecret shop/db (in sync)",
        "Deployment web reads k, available, 1 pod",
        "web-1 has the old value",
        "CronJob nightly reads all keys; it is not restarted",
        "2 ExternalSecrets in 2 namespaces, 2 workloads, 1 pod with the old value.",
        "Not seen: no pods may be seen",
    ):
        assert line in told
    nobody = text(STORE, "prod/db", Picture(), None)
    assert "Nobody reads it through this store: correct --key" in nobody
    assert "0 ExternalSecrets in 0 namespaces" in nobody
    one = text(STORE, "prod/db", Picture((READER,)), None)
    assert "1 ExternalSecret in 1 namespace, 2 workloads" in one


def test_what_may_not_be_seen_is_not_said_to_be_none() -> None:
    blind = Picture((BROKEN,), ("You may not list pods.",), blind=True)
    assert "at least 0 pods with the old value: not all of the" in text(STORE, "k", blind, None)
    report = Report(0.0, state="unseen", seconds=3.0, picture=blind)
    assert report.code == 3
    assert "not followed to the last pod" in ending(report)
    assert "You may not list pods." in ending(report)


def test_who_does_not_read_it_by_its_template_is_told_how() -> None:
    pulls = Consumer("Deployment", "puller", how="pulls")
    named = Consumer("Deployment", "blind", how="named")
    reader = replace(READER, consumers=(pulls, named))
    told = text(STORE, "prod/db", Picture((reader,)), None)
    assert "Deployment puller pulls its images with it; it is not restarted" in told
    assert "Deployment blind is named by spec.rollout.targets, available, 0 pods" in told


def test_wrong_usage_says_which_argument(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, says in (
        (["--store=aws", "--key="], "--key: name the secret"),
        (["--store=aws", "--key=k", "--timeout=5"], '--timeout: "5" is not a duration'),
        (["--store=Pod/aws", "--key=k"], '--store: "Pod/aws" is no store'),
    ):
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        assert run(parser.parse_args(arguments)) == 2
        assert says in capsys.readouterr().err


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


def test_who_has_not_come_along_is_named() -> None:
    late = Report(0.0, state="late", seconds=9.0, reason="Deployment shop/web to roll")
    late.left_over = ["Deployment shop/web"]
    assert ending(late).endswith("It goes on. Pods with the old value: Deployment shop/web.")
    stopped = Report(0.0, state="interrupted", seconds=2.0, unasked=["team/db"])
    assert stopped.code == 130
    assert ending(stopped).startswith("Interrupted after 2 s. It goes on. Not asked to read a new")
    assert "ExternalSecret team/db. When there is one, annotate them with" in ending(stopped)
    assert stopped.body()["notAsked"] == ["team/db"]
    halted = replace(READER, rollout='Deployment "web" is paused.', consumers=())
    assert '  not rolled out: Deployment "web" is paused.' in text(
        STORE, "prod/db", Picture((halted,)), None
    )
    assert body(STORE, "k", Picture((halted,)), None)["externalSecrets"][0]["rollout"]

"""The file that names the sources."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from syncret.errors import SetupError, SpecInvalid
from syncret.sources.config import (
    EventSources,
    Hook,
    PubSub,
    Sqs,
    StorageQueue,
    VaultEvents,
    load,
    parse,
)

SQS = {"queueURL": "https://sqs.eu-central-1.amazonaws.com/1/q", "region": "eu-central-1"}


def one(kind: str, fields: Any, **more: Any) -> dict[str, Any]:
    return {"eventSources": [{"name": "a", kind: fields}], **more}


def test_every_kind(tmp_path: Path) -> None:
    file = tmp_path / "sources.yaml"
    content = {
        "hookAddress": ":8090",
        "eventSources": [
            {"name": "aws", "sqs": SQS},
            {"name": "gcp", "pubSub": {"subscription": "projects/acme/subscriptions/syncret"}},
            {"name": "az", "storageQueue": {"queueURL": "https://a.queue.core.windows.net/q"}},
            {"name": "vault", "vaultEvents": {"server": "https://vault:8200/", "role": "syncret"}},
            {"name": "ci", "hook": {"secretFile": "/etc/hook/key"}},
        ],
    }
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert load(str(file)) == EventSources(
        (
            ("aws", Sqs(SQS["queueURL"], "eu-central-1")),
            ("gcp", PubSub("projects/acme/subscriptions/syncret")),
            ("az", StorageQueue("https://a.queue.core.windows.net/q")),
            ("vault", VaultEvents("https://vault:8200", role="syncret")),
            ("ci", Hook("/etc/hook/key")),
        ),
        ":8090",
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, 'it must be an object with the field "eventSources"'),
        ({"eventSources": {}}, "eventSources must be a list"),
        ({"eventSource": []}, "eventSource is not known"),
        ({"eventSources": [3]}, "eventSources[0] must be an object"),
        (one("sqs", {}), "eventSources[0].sqs.queueURL is missing"),
        (one("sqs", {**SQS, "queueURL": "q"}), "eventSources[0].sqs.queueURL must be an http"),
        (one("sqs", {**SQS, "queueURL": "https://u:p@h/q"}), "without user name"),
        (one("sqs", {**SQS, "regio": "x"}), "eventSources[0].sqs.regio is not known"),
        (one("kafka", {}), "exactly one of sqs, pubSub"),
        ({"eventSources": [{"name": "A", "sqs": SQS}]}, "eventSources[0].name must be"),
        ({"eventSources": [{"name": "a", "sqs": SQS}] * 2}, "which another source has"),
        (one("pubSub", {"subscription": "s"}), "a full name"),
        (one("storageQueue", {"queueURL": "http://h/q"}), "an https:// URL"),
        (one("vaultEvents", {"server": "https://v"}), "exactly one of tokenFile"),
        (one("hook", {"secretFile": "/k"}), 'hookAddress must be host:port, such as ":8090"'),
        (one("hook", {}, hookAddress=":1"), "secretFile is missing"),
        (one("sqs", SQS, hookAddress=":8090"), "hookAddress is given without a hook"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_field(content: Any, said: str) -> None:
    with pytest.raises(SpecInvalid) as caught:
        parse(content)
    assert said in caught.value.message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for text in (None, "a: [", "\x00"):
        file = tmp_path / "f"
        if text is not None:
            file.write_text(text, encoding="utf-8")
        with pytest.raises(SetupError):
            load(str(file))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    JSON
    | st.fixed_dictionaries(
        {
            "eventSources": st.lists(
                st.fixed_dictionaries(
                    {"name": st.just("a"), "sqs": JSON},
                    optional={"hook": JSON, "vaultEvents": JSON, "storageQueue": JSON},
                ),
                max_size=2,
            )
        },
        optional={"hookAddress": JSON},
    )
)
def test_any_file_is_read_or_refused(content: Any) -> None:
    with suppress(SpecInvalid):
        parse(content)

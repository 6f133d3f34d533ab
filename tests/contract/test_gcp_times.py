"""What GCP Secret Manager tells beside a value: its time, expiry and labels; or does not tell."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from contract.gcp import GcpHarness
from contract.opened import Opener, bytes_of
from contract.test_gcp import ACCESS, LOOK, SECRET, named, read
from syncret.providers.base import Ref, SecretValue, Unchanged
from syncret.providers.gcp.facts import DENIED, HOURLY
from testbed.gcp.handle import PROJECT


async def test_a_value_tells_when_it_expires_and_its_labels(
    gcp: GcpHarness, opener: Opener
) -> None:
    key = named()
    gcp.put(key, b"value")
    gcp.gcp.describe(name=key, expires_in=3600, labels={"team": "a"})
    opened = await opener(gcp)
    value = await read(opened, Ref(key))
    assert isinstance(value, SecretValue)
    assert value.expires is not None
    assert timedelta(minutes=59) < value.expires - datetime.now(UTC) <= timedelta(hours=1)
    assert value.tags == {"team": "a"}
    labels = await read(opened, Ref(key, metadata=True))
    assert isinstance(labels, SecretValue)
    assert (labels.expires, labels.tags) == (value.expires, value.tags)
    # Another reader of the same secret costs no further GetSecret.
    before = gcp.gcp.operations.count(SECRET)
    pinned = await read(opened, Ref(f"projects/{PROJECT}/secrets/{key}/versions/1"))
    again = await read(opened, Ref(key))
    assert isinstance(pinned, SecretValue)
    assert isinstance(again, SecretValue)
    assert (again.expires, again.tags) == (value.expires, value.tags)
    assert gcp.gcp.operations.count(SECRET) == before + 1, "its full name is another key"


async def test_an_expiry_that_is_put_off_is_told_without_reading_the_value(
    gcp: GcpHarness, opener: Opener
) -> None:
    key, clock = named(), [1000.0]
    gcp.put(key, b"value")
    gcp.gcp.describe(name=key, expires_in=3600)
    opened = await opener(gcp, now=lambda: clock[0])

    async def told() -> Unchanged:
        same = await read(opened, Ref(key), "1")
        assert isinstance(same, Unchanged)
        assert same.tags is not None
        return same

    first = (await told()).expires
    gcp.gcp.describe(name=key, expires_in=7200)
    assert (await told()).expires == first, "it was asked a moment ago"
    clock[0] += HOURLY
    later = (await told()).expires
    assert first is not None
    assert later is not None
    assert later - first > timedelta(minutes=59)
    assert ACCESS not in gcp.gcp.operations
    assert gcp.gcp.operations.count(SECRET) == 2


@pytest.mark.parametrize("missing", [("secrets",), ("versions",), ("secrets", "versions")])
async def test_whoever_may_only_read_values_reads_values(
    gcp: GcpHarness, opener: Opener, caplog: pytest.LogCaptureFixture, missing: tuple[str, ...]
) -> None:
    caplog.set_level(logging.INFO)
    keys, clock = [named(), named(), named()], [1000.0]
    for key in keys:
        gcp.put(key, b"value")
        gcp.gcp.describe(name=key, labels={"team": "a"})
    for kind in missing:
        gcp.gcp.deny(permission=f"secretmanager.{kind}.get")
    opened = await opener(gcp, now=lambda: clock[0])

    async def denials() -> int:
        for key in keys:
            value = await read(opened, Ref(key))
            assert isinstance(value, SecretValue)
            assert value.reveal() == b"value"
            assert (value.created is None) == ("versions" in missing)
            assert (value.tags is None) == ("secrets" in missing)
        return sum(outcome == "denied" for _, outcome in opened.observed.calls)

    assert await denials() == len(missing), "each is asked for once"
    assert await denials() == len(missing)
    clock[0] += DENIED
    assert await denials() == 2 * len(missing), "it may have been granted"
    told = [record for record in caplog.records if record.name == "syncret.providers.gcp"]
    assert len(told) == len(missing), "and told once"
    assert all("roles/secretmanager.viewer" in record.getMessage() for record in told)


@pytest.mark.parametrize("kind", ["hangs", "throttled", "INTERNAL", "garbage", "UNAUTHENTICATED"])
async def test_what_fails_beside_a_value_does_not_fail_it(
    gcp: GcpHarness, opener: Opener, kind: str
) -> None:
    key, other = named(), named()
    gcp.put(key, b"value")
    gcp.put(other, b"value")
    opened = await opener(gcp, hasty=True)
    gcp.gcp.fail(kind=kind, operations=[LOOK, SECRET])
    value = await read(opened, Ref(key))
    assert bytes_of(value) == b"value"
    asked = len(gcp.gcp.operations)
    assert bytes_of(await read(opened, Ref(other))) == b"value"
    assert gcp.gcp.operations[asked:] == [ACCESS], "metadata are left alone for a minute"

"""Which Events are posted, and that nothing is in anybody's way."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from support.clock import FakeClock
from syncret.kube import events
from syncret.kube.client import KubeClient
from syncret.kube.events import EventRecorder, ObjectRef
from unit.kube.apiserver import ApiServer, says

REF = ObjectRef(
    api_version="syncret.io/v1alpha1",
    kind="ExternalSecret",
    namespace="ns",
    name="db",
    uid="11111111-1111-1111-1111-111111111111",
)
OTHER = ObjectRef(api_version="v1", kind="Secret", namespace="ns", name="db", uid="2")


@pytest.fixture
async def recorder(api: ApiServer, clock: FakeClock) -> AsyncIterator[EventRecorder]:
    async with aiohttp.ClientSession() as session:
        recorder = EventRecorder(KubeClient(session, api.url), clock=clock, instance="pod-1")
        recorder.start()
        yield recorder
        await recorder.close(timeout=0)


def warn(recorder: EventRecorder, message: str, *, ref: ObjectRef = REF) -> None:
    recorder.emit(ref, type="Warning", reason="KeyNotFound", message=message, action="Sync")


def notes(api: ApiServer) -> list[str]:
    return [seen.json["note"] for seen in api.seen]


async def test_one_event_for_each_change(
    api: ApiServer, recorder: EventRecorder, clock: FakeClock
) -> None:
    api.answers.extend([says(201)] * 10)
    for message in ("a", "a", "b", "b", "a"):
        warn(recorder, message)
    await recorder.close()
    assert notes(api) == ["a", "b", "a"]
    assert recorder.posted == 3
    names = {seen.json["metadata"]["name"] for seen in api.seen}
    assert len(names) == 3  # though the clock stood still


async def test_the_same_for_another_object_is_another_event(
    api: ApiServer, recorder: EventRecorder
) -> None:
    api.answers.extend([says(201)] * 10)
    warn(recorder, "a")
    warn(recorder, "a", ref=OTHER)
    recorder.emit(REF, type="Warning", reason="Other", message="a", action="Sync")
    await recorder.close()
    assert len(api.seen) == 3


async def test_what_is_sent(api: ApiServer, recorder: EventRecorder, clock: FakeClock) -> None:
    api.answers.append(says(201))
    warn(recorder, "The key is missing.")
    await recorder.close()
    (seen,) = api.seen
    assert seen.path == "/apis/events.k8s.io/v1/namespaces/ns/events"
    event = seen.json
    assert event["metadata"].pop("name").startswith("db.")
    assert event == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "ns"},
        "eventTime": "2026-09-21T14:30:00.000000Z",
        "type": "Warning",
        "reason": "KeyNotFound",
        "action": "Sync",
        "note": "The key is missing.",
        "regarding": {
            "apiVersion": "syncret.io/v1alpha1",
            "kind": "ExternalSecret",
            "namespace": "ns",
            "name": "db",
            "uid": REF.uid,
        },
        "reportingController": "syncret.io/operator",
        "reportingInstance": "pod-1",
    }


async def test_long_texts_and_names_are_cut(api: ApiServer, recorder: EventRecorder) -> None:
    api.answers.append(says(201))
    name = "a" * 234 + "." + "b" * 18
    ref = ObjectRef(api_version="v1", kind="Secret", namespace="ns", name=name, uid="2")
    warn(recorder, "x" + "ü" * 2000, ref=ref)
    await recorder.close()
    event = api.seen[0].json
    assert len(event["note"].encode()) <= 1024
    assert event["note"].endswith("ü…")
    assert len(event["metadata"]["name"]) <= 253
    assert ".." not in event["metadata"]["name"]


async def test_cluster_scoped_objects(api: ApiServer, recorder: EventRecorder) -> None:
    api.answers.append(says(201))
    ref = ObjectRef(api_version="v1", kind="ClusterSecretStore", namespace="", name="aws", uid="2")
    warn(recorder, "a", ref=ref)
    await recorder.close()
    assert api.seen[0].path == "/apis/events.k8s.io/v1/namespaces/default/events"
    assert "namespace" not in api.seen[0].json["regarding"]


async def test_a_failure_is_counted_and_the_event_posted_the_next_time(
    api: ApiServer, recorder: EventRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    answered = asyncio.Event()

    async def refuse(_request: web.Request) -> web.StreamResponse:
        answered.set()
        return web.json_response({"reason": "Forbidden"}, status=403)

    api.answers.extend([refuse, says(500), says(500), says(201)])
    warn(recorder, "a")
    await answered.wait()
    for message in ("b", "c", "d"):
        warn(recorder, message)
    await recorder.close()
    assert (recorder.failed, recorder.posted) == (3, 1)
    assert len([r for r in caplog.records if "not posted" in r.getMessage()]) == 2


async def test_after_a_failure_the_same_is_said_again(api: ApiServer, clock: FakeClock) -> None:
    async with aiohttp.ClientSession() as session:
        recorder = EventRecorder(KubeClient(session, api.url), clock=clock, instance="")
        recorder.start()
        reached = asyncio.Event()

        async def reach(_request: web.Request) -> web.StreamResponse:
            reached.set()
            return web.Response(status=201, text="{}")

        api.answers.extend([says(503), reach, says(201)])
        warn(recorder, "a")
        warn(recorder, "b", ref=OTHER)  # posted after the first has failed
        await reached.wait()
        warn(recorder, "a")
        await recorder.close()
    assert notes(api) == ["a", "b", "a"]
    assert (recorder.failed, recorder.posted) == (1, 2)


async def test_one_whose_answer_was_lost_is_not_made_twice(
    api: ApiServer, recorder: EventRecorder
) -> None:
    """The API server has it; that it does, nobody knows until the same name is refused."""
    reached = asyncio.Event()

    async def reach(_request: web.Request) -> web.StreamResponse:
        reached.set()
        return web.Response(status=201, text="{}")

    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"reason": "AlreadyExists"}, status=409)

    api.answers.extend([says(504), reach, refuse])
    warn(recorder, "a")
    warn(recorder, "b", ref=OTHER)  # posted after the first has failed
    await reached.wait()
    warn(recorder, "a")
    warn(recorder, "a")
    await recorder.close()
    first, _, again = (seen.json["metadata"]["name"] for seen in api.seen)
    assert first == again
    assert (recorder.failed, recorder.posted) == (1, 2)


async def test_a_full_queue_drops(
    api: ApiServer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "QUEUED", 2)
    api.answers.extend([says(201)] * 5)
    async with aiohttp.ClientSession() as session:
        recorder = EventRecorder(KubeClient(session, api.url), clock=clock, instance="")
        for message in ("a", "b", "c"):
            warn(recorder, message)
        recorder.start()
        await recorder.close()
    assert recorder.dropped == 1
    assert notes(api) == ["a", "b"]


async def test_what_is_remembered_is_bounded(
    api: ApiServer, recorder: EventRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "REMEMBERED", 2)
    api.answers.extend([says(201)] * 5)
    refs = [
        ObjectRef(api_version="v1", kind="Secret", namespace="ns", name=name, uid=name)
        for name in "abc"
    ]
    for ref in (*refs, refs[2], refs[0]):
        warn(recorder, "m", ref=ref)
    await recorder.close()
    assert [seen.json["regarding"]["name"] for seen in api.seen] == ["a", "b", "c", "a"]


async def test_what_was_said_before_a_restart_is_not_said_again(
    api: ApiServer, recorder: EventRecorder
) -> None:
    api.answers.extend([says(201)] * 5)
    recorder.remember(REF.uid, type="Warning", reason="KeyNotFound", message="a")
    warn(recorder, "a")
    warn(recorder, "b")
    recorder.remember(REF.uid, type="Warning", reason="KeyNotFound", message="a")
    warn(recorder, "b")
    recorder.forget(REF.uid)
    warn(recorder, "b")
    await recorder.close()
    assert notes(api) == ["b", "b"]


async def test_closing_does_not_wait_for_ever(api: ApiServer, recorder: EventRecorder) -> None:
    never = asyncio.Event()

    async def silent(_request: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    api.answers.append(silent)
    warn(recorder, "a")
    warn(recorder, "b")
    try:
        await recorder.close(timeout=0.05)
    finally:
        never.set()
    warn(recorder, "c")  # too late, and no error
    assert len(api.seen) == 1
    assert recorder.posted == 0

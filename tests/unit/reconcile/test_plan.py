"""When the store is read: for each reason, and never without one."""

from dataclasses import replace

import pytest

from support.objects import external_secret
from syncret.api.externalsecret import ExternalSecretStatus
from syncret.api.keys import ObjectKey
from syncret.api.secret import ManagedSecret, publish_data
from syncret.api.store import Store
from syncret.digest import Digester
from syncret.reconcile.plan import Reason, SyncState, context_of, read_reason
from syncret.reconcile.schedule import NEVER, Due

DIGESTER = Digester(b"k" * 32)
RECORD = external_secret()
STORE = Store(ObjectKey("SecretStore", "payments", "aws"), uid="s", generation=1, provider={})
SECRET = ManagedSecret(
    namespace="payments",
    name="db",
    uid="secret-1",
    resource_version="5",
    owner_uid=RECORD.uid,
    digests=DIGESTER.values({"user": b"app"}),
    owner_name="db",
    marked="db",
)
SYNCED = ExternalSecretStatus(
    synced_generation=1,
    data_hash=publish_data(DIGESTER, SECRET.namespace, SECRET.name, SECRET.digests),
    keys=("user",),
    secret_name="db",
)
DUE = 2_000.0
FORCED = replace(RECORD, force_sync="digest-of-an-annotation")


def at(wall: float) -> Due:
    """Due then, with no sync window to wait for."""
    return Due(wall, wall, wall)


def _reason(
    state: SyncState,
    *,
    record: object = RECORD,
    store: Store | None = STORE,
    secret: ManagedSecret | None = SECRET,
    wall: float = DUE - 1,
    monotonic: float = 0.0,
) -> Reason | None:
    return read_reason(
        record,  # type: ignore[arg-type]
        state,
        context=context_of(record, [store], secret),  # type: ignore[arg-type]
        secret=secret,
        digester=DIGESTER,
        wall=wall,
        monotonic=monotonic,
    )


@pytest.fixture
def state() -> SyncState:
    """A state as after a restart: read back from status, nothing else remembered."""
    return SyncState(uid=RECORD.uid, status=SYNCED, refresh=RECORD.refresh, due=at(DUE))


def test_a_restart_reads_nothing(state: SyncState) -> None:
    assert _reason(state) is None


def test_a_new_object_is_read(state: SyncState) -> None:
    state.status = ExternalSecretStatus()
    assert _reason(state, secret=None) is Reason.FIRST


def test_an_edit_is_read_at_once(state: SyncState) -> None:
    assert _reason(state, record=external_secret(generation=2)) is Reason.EDITED


def test_a_due_refresh_is_read(state: SyncState) -> None:
    assert _reason(state, wall=DUE) is Reason.DUE


def test_a_missing_or_altered_secret_is_read(state: SyncState) -> None:
    assert _reason(state, secret=None) is Reason.MISSING
    altered = replace(SECRET, digests=DIGESTER.values({"user": b"mallory"}))
    assert _reason(state, secret=altered) is Reason.DRIFT


def test_a_changed_store_is_read_but_not_one_seen_first(state: SyncState) -> None:
    assert _reason(state, store=replace(STORE, generation=2)) is None, "a restart, not a change"
    state.context = context_of(RECORD, [STORE], SECRET)
    assert _reason(state, store=replace(STORE, generation=2)) is Reason.STORE
    assert _reason(state, store=replace(STORE, uid="again")) is Reason.STORE


def test_a_failure_waits_for_its_time_unless_something_changed(state: SyncState) -> None:
    state.failures, state.retry = 3, 100.0
    state.context = context_of(RECORD, [STORE], SECRET)
    assert _reason(state, wall=DUE + 50, monotonic=99.0) is None
    assert _reason(state, monotonic=100.0) is Reason.RETRY
    assert _reason(state, record=external_secret(generation=2), monotonic=1.0) is Reason.RETRY
    assert _reason(state, store=replace(STORE, generation=2), monotonic=1.0) is Reason.RETRY
    assert _reason(state, store=None, monotonic=1.0) is Reason.RETRY
    assert _reason(state, secret=None, monotonic=1.0) is Reason.RETRY


def test_the_annotation_asks_for_one_refresh(state: SyncState) -> None:
    assert _reason(state, record=FORCED) is Reason.FORCED
    state.status = replace(SYNCED, force_sync=FORCED.force_sync)
    assert _reason(state, record=FORCED) is None
    assert _reason(state, record=replace(FORCED, force_sync="another")) is Reason.FORCED
    assert _reason(state, record=RECORD) is None, "taking it away asks for nothing"


def test_another_value_of_the_annotation_does_not_wait_for_the_next_attempt(
    state: SyncState,
) -> None:
    state.failures, state.retry, state.due = 1, 100.0, NEVER
    state.context = context_of(RECORD, [STORE], SECRET)
    assert _reason(state, monotonic=1.0) is None
    assert _reason(state, record=FORCED, monotonic=1.0) is Reason.RETRY


def test_what_is_created_once_is_read_for_the_annotation_or_to_repair(state: SyncState) -> None:
    once = external_secret(refreshPolicy="CreatedOnce")
    state.due = NEVER
    state.context = context_of(once, [STORE], SECRET)
    assert _reason(state, record=replace(once, generation=2)) is None
    assert _reason(state, record=once, store=replace(STORE, generation=2)) is None
    assert _reason(state, record=replace(once, force_sync="x")) is Reason.FORCED
    assert _reason(state, record=once, secret=None) is Reason.MISSING
    state.status = ExternalSecretStatus()
    assert _reason(state, record=once) is Reason.FIRST


@pytest.mark.parametrize("spec", [{"refreshPolicy": "OnChange"}, {"refreshInterval": "0"}])
def test_without_the_clock_changes_still_count(state: SyncState, spec: dict[str, str]) -> None:
    record = external_secret(**spec)
    assert not record.refresh.periodic
    state.due = NEVER
    state.context = context_of(record, [STORE], SECRET)
    assert _reason(state, record=record, wall=1e12) is None
    assert _reason(state, record=replace(record, generation=2)) is Reason.EDITED
    assert _reason(state, record=record, store=replace(STORE, generation=2)) is Reason.STORE
    assert _reason(state, record=replace(record, force_sync="x")) is Reason.FORCED


def test_a_failed_refresh_waits_for_the_sync_window_and_nothing_else_does(
    state: SyncState,
) -> None:
    state.failures, state.failed, state.retry = 1, Reason.DUE, 10.0
    state.context = context_of(RECORD, [STORE], SECRET)
    state.due = Due(DUE, DUE + 500, DUE + 600)
    assert _reason(state, wall=DUE + 100, monotonic=11.0) is None
    assert _reason(state, secret=None, wall=DUE + 100, monotonic=11.0) is Reason.RETRY
    assert _reason(state, wall=DUE + 600, monotonic=11.0) is Reason.RETRY
    state.failed = Reason.STORE
    assert _reason(state, wall=DUE + 100, monotonic=11.0) is Reason.RETRY

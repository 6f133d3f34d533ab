"""When the store is read: for each reason, and never without one."""

from dataclasses import replace

import pytest

from support.objects import external_secret
from syncret.api.externalsecret import ExternalSecretStatus
from syncret.api.keys import ObjectKey
from syncret.api.secret import ManagedSecret
from syncret.api.store import Store
from syncret.digest import Digester
from syncret.reconcile.plan import Reason, SyncState, context_of, read_reason

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
)
SYNCED = ExternalSecretStatus(synced_generation=1, data_hash=SECRET.published(DIGESTER))
DUE = 2_000.0


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
        context=context_of(record, store, secret),  # type: ignore[arg-type]
        secret=secret,
        digester=DIGESTER,
        wall=wall,
        monotonic=monotonic,
    )


@pytest.fixture
def state() -> SyncState:
    """A state as after a restart: read back from status, nothing else remembered."""
    return SyncState(uid=RECORD.uid, status=SYNCED, due=DUE)


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
    state.context = context_of(RECORD, STORE, SECRET)
    assert _reason(state, store=replace(STORE, generation=2)) is Reason.STORE
    assert _reason(state, store=replace(STORE, uid="again")) is Reason.STORE


def test_a_failure_waits_for_its_time_unless_something_changed(state: SyncState) -> None:
    state.failures, state.retry = 3, 100.0
    state.context = context_of(RECORD, STORE, SECRET)
    assert _reason(state, wall=DUE + 50, monotonic=99.0) is None
    assert _reason(state, monotonic=100.0) is Reason.RETRY
    assert _reason(state, record=external_secret(generation=2), monotonic=1.0) is Reason.RETRY
    assert _reason(state, store=replace(STORE, generation=2), monotonic=1.0) is Reason.RETRY
    assert _reason(state, store=None, monotonic=1.0) is Reason.RETRY
    assert _reason(state, secret=None, monotonic=1.0) is Reason.RETRY

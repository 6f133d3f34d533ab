"""Which values before are kept, over whole histories: rotations, edits, hands, deaths, and time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.objects import external_secret
from syncret.api.claims import Claim
from syncret.api.externalsecret import ExternalSecret, ExternalSecretStatus, Source
from syncret.api.previous import (
    MAX_PREVIOUS,
    NO_PREVIOUS,
    Previous,
    PreviousValue,
    parse_previous,
    previous_digest,
    render_previous,
)
from syncret.api.secret import ManagedSecret, publish_data
from syncret.digest import Digester
from syncret.errors import DuplicateKey, InvalidKey
from syncret.reconcile.previous import (
    Keeping,
    next_drop,
    outdated,
    plan_previous,
    refuse_collisions,
    rotated,
)

DIGESTER = Digester(b"k" * 32)
ANOTHER = Digester(b"a" * 32)
KEEP = 100.0
START = 1_790_000_000.0
KEYS = ("user", "password")


def record(**target: object) -> ExternalSecret:
    return external_secret(target={"previous": {"keepFor": "100s"}, **target})


@dataclass
class World:
    """A Secret, the status of before it, and what a perfect memory would say of it."""

    now: float = START
    data: dict[str, bytes] = field(default_factory=dict)
    previous: Previous = NO_PREVIOUS
    #: The values under the keys of ``previous``.
    before: dict[str, bytes] = field(default_factory=dict)
    status: ExternalSecretStatus = field(default_factory=ExternalSecretStatus)
    version: int = 0
    #: What is expected: by key, the value before and when it stopped to be the current one.
    expected: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    #: Somebody changed the Secret since it was last written.
    touched: bool = False

    @property
    def said(self) -> bool:
        """Whether the status tells of what the Secret holds."""
        return self.secret.holds(self.status.keys, self.status.data_hash, DIGESTER)

    @property
    def secret(self) -> ManagedSecret:
        """As it is read from the API server: by the text of its annotation."""
        text = render_previous(self.previous, namespace="payments", secret="db") or ""
        held = {**self.data, **self.before}
        present = {key: DIGESTER.value(value) for key, value in held.items()}
        previous = parse_previous(
            text, namespace="payments", secret="db", present=present, digester=DIGESTER
        )
        return ManagedSecret(
            namespace="payments",
            name="db",
            uid="u",
            resource_version="1",
            owner_uid="uid-1",
            digests={k: v for k, v in present.items() if k not in previous.values},
            previous=previous,
            marked="db",
        )

    def sync(self, data: Mapping[str, bytes], *, reports: bool) -> None:
        """The operator reads this from the store, and writes; it may die before it says so."""
        sources = (Source("app/db", f"v{self.version}"),)
        digests = DIGESTER.values(data)
        if self.status.synced_generation is not None:
            kept = plan_previous(
                record(),
                self.secret,
                digests,
                Keeping(
                    self.status,
                    rotated(record(), self.status, sources, template_from=""),
                    self.now,
                ),
                digester=DIGESTER,
            )
            assert kept.left_out == ()
            taken = {name: self.data[key] for name, key in kept.take.items()}
            self.before = {k: v for k, v in self.before.items() if k not in kept.drop} | taken
            self.previous = kept.after
        self.data = dict(data)
        self.touched = False
        if reports:
            self.status = ExternalSecretStatus(
                synced_generation=1,
                data_hash=publish_data(DIGESTER, "payments", "db", digests),
                keys=tuple(sorted(digests)),
                sources=sources,
            )

    def tidy(self) -> None:
        """What the operator does in every round, store or no store."""
        gone = outdated(record(), self.secret, now=self.now)
        self.before = {key: value for key, value in self.before.items() if key not in gone}
        self.previous = self.secret.previous.without(gone)


values = st.dictionaries(
    st.sampled_from(KEYS), st.sampled_from([b"1", b"2", b"3", b"4"]), max_size=2
)
steps = st.one_of(
    st.tuples(st.just("rotate"), values, st.booleans()),
    st.tuples(st.just("refresh"), st.booleans()),
    st.tuples(st.just("pass"), st.floats(0.5, 150.0)),
    st.tuples(st.just("hand"), st.sampled_from(KEYS)),
    st.tuples(st.just("spoil"), st.sampled_from(KEYS)),
)


@given(values, st.lists(steps, max_size=12))
def test_a_history(first: dict[str, bytes], history: list[tuple[object, ...]]) -> None:
    world = World()
    store = dict(first)
    world.sync(store, reports=True)
    assert world.before == {}
    for step in history:
        match step:
            case ("rotate", dict() as new, bool() as reports):
                # A death before the status says so is made up for by the annotation, which is there
                # as long as the Secret has values before.
                known = set(store) if world.previous.values else set()
                known = known or (set(world.status.keys) if world.said else set())
                for key, value in new.items():
                    changed = key in store and store[key] != value
                    if changed and key in known and not world.touched:
                        world.expected[key] = (store[key], ceil(world.now))
                world.expected = {k: v for k, v in world.expected.items() if k in new}
                store = dict(new)
                world.version += 1
                world.sync(store, reports=reports)
            case ("refresh", bool() as reports):
                world.sync(store, reports=reports)
            case ("pass", float() as seconds):
                world.now += seconds
            case ("hand", str() as key):
                world.data[key] = b"by hand"
                world.touched |= key in store
            case ("spoil", str() as key) if f"{key}_previous" in world.before:
                world.before[f"{key}_previous"] = b"spoilt"
                world.expected.pop(key, None)
        world.tidy()
        expected = {
            key: (value, since)
            for key, (value, since) in world.expected.items()
            if world.now < since + KEEP and (key in world.data)
        }
        world.expected = expected
        assert world.before == {f"{key}_previous": value for key, (value, _) in expected.items()}
        ends = [since + KEEP for _, since in expected.values()]
        assert next_drop(record(), world.secret, now=world.now) == min(ends, default=inf)


@given(
    st.dictionaries(
        st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8),
        st.tuples(st.sampled_from(["db", "cache"]), st.integers(0, 2_000_000_000), st.binary()),
        max_size=6,
    )
)
def test_the_annotation_says_what_was_written(
    entries: dict[str, tuple[str, int, bytes]],
) -> None:
    present = {key: DIGESTER.value(value) for key, (_, _, value) in entries.items()}
    written = Previous(
        {
            key: PreviousValue(
                owner,
                float(since),
                previous_digest(DIGESTER, "a", "b", key=key, value=present[key]),
                present[key],
                intact=True,
            )
            for key, (owner, since, _) in entries.items()
        },
        {owner: "digest" for owner, _, _ in entries.values()},
    )
    text = render_previous(written, namespace="a", secret="b")
    assert (text is None) == (not entries)
    read = parse_previous(text or "", namespace="a", secret="b", present=present, digester=DIGESTER)
    assert read == written
    elsewhere = parse_previous(
        text or "", namespace="a", secret="copy", present=present, digester=DIGESTER
    )
    assert elsewhere == NO_PREVIOUS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        '{"of": "a/b", "by": []}',
        '{"of": "a/b", "by": {"db": {}}}',
        '{"of": "a/b", "by": {"db": {"data": "d", "keys": {"k": "x"}}}}',
        '{"of": "a/b", "by": {"db": {"data": "d", "keys": {}}}}',
        '{"of": "a/b", "by": ' + "[" * 20_000,
        '{"of": "a/b"}' + " " * MAX_PREVIOUS,
    ],
    ids=range(10),
)
def test_what_is_no_record_says_nothing(text: str) -> None:
    read = parse_previous(text, namespace="a", secret="b", present={}, digester=DIGESTER)
    assert read == NO_PREVIOUS


def _with(since: float, *, digester: Digester = DIGESTER, owner: str = "db") -> ManagedSecret:
    value = digester.value(b"old")
    said = previous_digest(digester, "payments", "db", key="password_previous", value=value)
    text = render_previous(
        Previous({"password_previous": PreviousValue(owner, since, said, value, intact=True)}),
        namespace="payments",
        secret="db",
    )
    present = DIGESTER.values({"password": b"new", "password_previous": b"old"})
    previous = parse_previous(
        text or "", namespace="payments", secret="db", present=present, digester=DIGESTER
    )
    present.pop("password_previous")
    return ManagedSecret("payments", "db", "u", "1", "uid-1", present, previous=previous)


def test_digests_of_a_key_that_was_lost_are_trusted_for_their_time() -> None:
    secret = _with(START, digester=ANOTHER)
    assert outdated(record(), secret, now=START + KEEP - 1) == frozenset()
    assert outdated(record(), secret, now=START + KEEP) == {"password_previous"}


def test_a_time_in_the_future_does_not_keep_it_for_ever() -> None:
    assert outdated(record(), _with(START + 200), now=START) == frozenset(), "another clock"
    assert outdated(record(), _with(START + 10_000), now=START) == {"password_previous"}


def test_those_of_others_go_from_a_secret_that_is_no_longer_shared() -> None:
    secret = _with(START, owner="another")
    assert outdated(record(), secret, now=START) == {"password_previous"}
    shared = record(creationPolicy="Merge")
    assert outdated(shared, secret, now=START) == {"password_previous"}, "nobody is there for it"
    claimed = ManagedSecret(
        *("payments", "db", "u", "1", ""),
        secret.digests,
        claims={"another": Claim(("password",))},
        previous=secret.previous,
    )
    assert outdated(shared, claimed, now=START) == frozenset()


def _status(
    *sources: tuple[str, str], generation: int = 1, template: str = ""
) -> ExternalSecretStatus:
    return ExternalSecretStatus(
        synced_generation=generation,
        sources=tuple(Source(key, version) for key, version in sources),
        template_from=template,
    )


@pytest.mark.parametrize(
    ("before", "now", "edited", "expected"),
    [
        ([("a", "1")], [("a", "1")], False, False),
        ([("a", "1")], [("a", "2")], False, True),
        ([("a", "1")], [("a", "2")], True, True),
        ([("a", "1")], [("b", "2")], True, False),
        # A version that is read beside another: added, removed, replaced.
        ([("a", "1")], [("a", "1"), ("a", "0")], True, False),
        ([("a", "1"), ("a", "0")], [("a", "1")], True, False),
        ([("a", "1"), ("a", "0")], [("a", "2"), ("a", "1")], True, True),
        ([("a", "1")], [("a", "2"), ("a", "1")], False, True),
        # A store without versions.
        ([("a", "")], [("a", "")], False, True),
        ([("a", "")], [("a", "")], True, False),
        ([("a", "1"), ("b", "")], [("a", "1"), ("b", "")], True, False),
        ([("a", "1"), ("b", "")], [("a", "1"), ("b", "")], False, True),
        ([], [("a", "1")], False, False),
    ],
)
def test_what_is_a_rotation(
    before: list[tuple[str, str]], now: list[tuple[str, str]], edited: bool, expected: bool
) -> None:
    sources = tuple(Source(key, version) for key, version in now)
    status = _status(*before, generation=0 if edited else 1)
    assert rotated(record(), status, sources, template_from="") is expected


def test_another_template_is_none() -> None:
    status = _status(("a", ""), template="old")
    assert not rotated(record(), status, (Source("a", ""),), template_from="new")


def test_the_first_sync_is_none() -> None:
    assert not rotated(record(), ExternalSecretStatus(), (Source("a", "1"),), template_from="")


def test_more_keys_than_the_annotation_has_room_for_are_not_kept() -> None:
    many = {f"key-{number:04}": b"old" for number in range(2000)}
    secret = ManagedSecret("payments", "db", "u", "1", "uid-1", DIGESTER.values(many))
    digests = secret.digests
    status = ExternalSecretStatus(
        synced_generation=1,
        keys=tuple(many),
        data_hash=publish_data(DIGESTER, "payments", "db", digests),
    )
    new = DIGESTER.values(dict.fromkeys(many, b"new"))
    kept = plan_previous(record(), secret, new, Keeping(status, True, START), digester=DIGESTER)
    assert (kept.take, kept.after) == ({}, NO_PREVIOUS)
    assert len(kept.left_out) == 2000


def test_names_are_refused_that_collide_or_are_too_long() -> None:
    refuse_collisions(record(), ["a", "b_previous"])
    with pytest.raises(DuplicateKey):
        refuse_collisions(record(), ["a", "a_previous"])
    with pytest.raises(InvalidKey):
        refuse_collisions(record(), ["a" * 250])
    refuse_collisions(external_secret(), ["a", "a_previous"])

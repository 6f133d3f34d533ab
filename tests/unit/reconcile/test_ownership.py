"""Whose a Secret is: for any Secret and any ExternalSecrets, nobody loses a key to another."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.objects import external_secret
from syncret.api.claims import MAX_CLAIMS, NO_CLAIMS, Claim, parse_claims, render_claims
from syncret.api.externalsecret import ExternalSecret
from syncret.api.secret import ManagedSecret
from syncret.api.target import parse_target
from syncret.constants import KEYS_ANNOTATION, OWNER_ANNOTATION
from syncret.errors import KeyClaimed, SecretNotOwned, SpecInvalid, TooManyKeys
from syncret.reconcile.ownership import (
    in_shape,
    is_whole_of,
    marks,
    references_after,
    refuse_claimed,
    refuse_foreign,
    release,
    unwanted,
)

NAMES = ["db", "cache", "queue"]
KEYS = st.frozensets(st.sampled_from("abcdef"))
CLAIMS: st.SearchStrategy[dict[str, Claim]] = st.just({}) | st.dictionaries(
    st.sampled_from(NAMES),
    st.builds(Claim, KEYS.map(lambda keys: tuple(sorted(keys))), st.booleans()),
)
POLICIES = st.sampled_from(["Owner", "Orphan", "Merge", "CreateOrMerge"])


def record(name: str = "db", **target: Any) -> ExternalSecret:
    return external_secret(name, uid=f"uid-of-{name}", target={"name": "app", **target})


def shared(name: str = "db", **target: Any) -> ExternalSecret:
    return record(name, creationPolicy="Merge", **target)


def a_secret(
    keys: frozenset[str] = frozenset("ab"), claims: Mapping[str, Claim] = NO_CLAIMS, **fields: Any
) -> ManagedSecret:
    return ManagedSecret(
        namespace="payments",
        name="app",
        uid="secret-1",
        resource_version="1",
        digests={key: key.encode() for key in keys},
        claims=claims,
        **{"owner_uid": "", **fields},
    )


SECRETS = st.builds(
    lambda owner, **fields: a_secret(
        owner_uid=f"uid-of-{owner}" if owner else "", owner_name=owner, **fields
    ),
    owner=st.sampled_from(["", "", "", "db", "cache"]),
    keys=KEYS,
    claims=CLAIMS,
    marked=st.sampled_from(["", "db", "db", "cache"]),
    labelled=st.booleans(),
    immutable=st.booleans(),
)


def everybody(_name: str) -> bool:
    return True


def allowed(one: ExternalSecret, secret: ManagedSecret, keys: frozenset[str]) -> bool:
    try:
        refuse_foreign(one, secret, exists=everybody)
        if one.policy.shared:
            refuse_claimed(one, secret, keys, exists=everybody)
    except (SecretNotOwned, KeyClaimed):
        return False
    return True


@given(SECRETS, KEYS, POLICIES)
def test_what_is_removed_or_filled_is_nobody_elses(
    secret: ManagedSecret, keys: frozenset[str], policy: str
) -> None:
    one = record(creationPolicy=policy)
    if not allowed(one, secret, keys):
        return
    others = {
        key: name for name, claim in secret.claims.items() if name != "db" for key in claim.keys
    }
    gone = unwanted(one, secret, keys)
    assert not gone & set(keys)
    assert not gone & set(others)
    if one.policy.shared:
        assert gone <= set(secret.claims.get("db", Claim(())).keys)
        own = set(secret.claims.get("db", Claim(())).keys)
        assert all(key in own and name > "db" for key, name in others.items() if key in keys)
    else:
        assert set(secret.claims) <= {"db"}
        assert secret.digests.keys() - gone <= set(keys)


@given(SECRETS, KEYS, POLICIES, st.sampled_from(["", "Retain", "Merge"]))
def test_what_was_put_right_is_right(
    secret: ManagedSecret, keys: frozenset[str], policy: str, deletion: str
) -> None:
    """After the patch nothing is left to do, and what others say of themselves is unchanged."""
    one = record(creationPolicy=policy, **({"deletionPolicy": deletion} if deletion else {}))
    if not allowed(one, secret, keys):
        return
    wanted = marks(one, secret, keys)
    gone = unwanted(one, secret, keys)
    annotations = {
        OWNER_ANNOTATION: secret.marked,
        KEYS_ANNOTATION: render_claims(secret.claims, namespace="payments", secret="app"),
        **wanted.annotations,
    }
    after = replace(
        secret,
        labelled=True,
        marked=annotations[OWNER_ANNOTATION] or "",
        claims=parse_claims(annotations[KEYS_ANNOTATION] or "", namespace="payments", secret="app"),
        digests=dict.fromkeys(secret.digests.keys() - gone | keys, b"x"),
    )
    if wanted.references:
        owned = one.policy.owner_reference
        after = replace(after, owner_uid=one.uid if owned else "", owner_name="db" if owned else "")
    assert in_shape(one, after, keys)
    assert not marks(one, after, keys)
    for name in set(secret.claims) - {"db"}:
        assert after.claims[name] == secret.claims[name]


@given(SECRETS)
def test_who_leaves_takes_only_its_own(secret: ManagedSecret) -> None:
    plan = release(secret, "db")
    claim = secret.claims.get("db", Claim(()))
    kept = {key for name, one in secret.claims.items() if name != "db" for key in one.keys}
    assert plan.keys <= set(claim.keys) - kept
    assert not plan.keys or not (claim.retain or secret.immutable)
    if "db" in secret.claims:
        rest = parse_claims(
            plan.annotations[KEYS_ANNOTATION] or "", namespace="payments", secret="app"
        )
        assert rest == {name: one for name, one in secret.claims.items() if name != "db"}
    assert plan.watched == (bool(set(secret.claims) - {"db"}) or secret.marked not in {"", "db"})


@given(SECRETS, st.permutations(NAMES))
def test_in_any_order_all_that_leave_leave_what_nobody_filled(
    secret: ManagedSecret, order: list[str]
) -> None:
    claims = {name: replace(claim, retain=False) for name, claim in secret.claims.items()}
    secret = replace(secret, claims=claims, immutable=False, marked="")
    filled = {key for claim in claims.values() for key in claim.keys}
    left = secret
    for name in order:
        plan = release(left, name)
        left = replace(
            left,
            digests={key: value for key, value in left.digests.items() if key not in plan.keys},
            claims={one: claim for one, claim in left.claims.items() if one != name},
        )
    assert left.digests.keys() == secret.digests.keys() - filled


@given(CLAIMS)
def test_the_record_comes_back_as_it_was_written(claims: dict[str, Claim]) -> None:
    text = render_claims(claims, namespace="payments", secret="app")
    assert parse_claims(text or "", namespace="payments", secret="app") == claims
    assert parse_claims(text or "", namespace="payments", secret="copy") == {}
    assert parse_claims(text or "", namespace="other", secret="app") == {}


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_anything_else_is_no_record(text: str) -> None:
    assert parse_claims(text, namespace="payments", secret="app") == {}


@pytest.mark.parametrize(
    "text",
    [
        '{"of":"payments/app"}',
        '{"of":"payments/app","keys":[]}',
        '{"of":"payments/app","keys":{"db":{}}}',
        '{"of":"payments/app","keys":{"db":{"keys":"ab"}}}',
        '{"of":"payments/app","keys":{"db":{"keys":[1]}}}',
        '{"of":"payments/app","keys":{"db":' + "[" * 5000,
        "x" * (MAX_CLAIMS + 1),
    ],
)
def test_a_broken_record_is_none(text: str) -> None:
    assert parse_claims(text, namespace="payments", secret="app") == {}


def test_a_record_has_a_bound() -> None:
    with pytest.raises(TooManyKeys, match="merge fewer keys"):
        marks(shared(), a_secret(), [f"{number:0250}" for number in range(600)])


def test_of_two_that_are_on_record_for_one_key_one_is_told() -> None:
    both = a_secret(claims={"db": Claim(("a",)), "cache": Claim(("a",))})
    refuse_claimed(shared("cache"), both, ["a"], exists=everybody)
    with pytest.raises(KeyClaimed):
        refuse_claimed(shared("db"), both, ["a"], exists=everybody)
    refuse_claimed(shared("db"), both, ["a"], exists=lambda name: name != "cache")


def test_whole_of_is_never_what_others_have_a_part_in() -> None:
    one = record()
    assert is_whole_of(one, a_secret(marked="db"))
    assert is_whole_of(one, a_secret(owner_uid=one.uid, owner_name="db"))
    for other in (
        a_secret(),
        a_secret(marked="cache"),
        a_secret(marked="db", labelled=False),
        a_secret(marked="db", owner_uid="x"),
        a_secret(marked="db", claims={"cache": Claim(("a",))}),
    ):
        assert not is_whole_of(one, other)


def test_references_of_others_stay() -> None:
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "name": "db", "uid": "x"}
    stale = {
        "apiVersion": "syncret.io/v1alpha1",
        "kind": "ExternalSecret",
        "name": "db",
        "uid": "of the former",
        "controller": True,
    }
    *kept, ours = references_after(record(), [theirs, stale])
    assert kept == [theirs]
    assert (ours["uid"], ours["controller"]) == ("uid-of-db", True)
    assert references_after(record(deletionPolicy="Retain"), [theirs, stale]) == [theirs]


@pytest.mark.parametrize(
    "target",
    [
        {"creationPolicy": "Mine"},
        {"deletionPolicy": "Keep"},
        {"creationPolicy": "Orphan", "deletionPolicy": "Delete"},
        {"creationPolicy": "None", "deletionPolicy": "Retain"},
        {"creationPolicy": "Merge", "immutable": True},
    ],
)
def test_what_an_older_crd_lets_through_is_refused(target: dict[str, Any]) -> None:
    with pytest.raises(SpecInvalid, match=r"spec\.target\."):
        parse_target({"target": target})


def test_retain_keeps_only_if_it_is_said() -> None:
    assert not parse_target({}).keeps
    assert parse_target({}).owner_reference
    said = parse_target({"target": {"deletionPolicy": "Retain"}})
    assert (said.keeps, said.owner_reference, said.deletion) == (True, False, "Retain")

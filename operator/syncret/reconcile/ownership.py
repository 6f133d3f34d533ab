"""Whose a Secret is, whole or key by key, and how a Secret says so. Pure.

Three marks tell. The label lets our watch see the Secret. The annotation ``syncret.io/owner`` names
the ExternalSecret that the Secret is the whole of; whoever may change a Secret that nobody made for
an ExternalSecret hands it over with that annotation. The annotation ``syncret.io/merged-keys`` says
which keys of a shared Secret are whose. The owner reference is for Kubernetes' garbage collector,
and is there only where the Secret goes with its ExternalSecret.

By name and not by uid: an ExternalSecret that is deleted and made again finds what it left.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from syncret.api.claims import MAX_CLAIMS, Claim, Claims, keys_of_others, render_claims
from syncret.api.externalsecret import ExternalSecret
from syncret.api.previous import render_previous
from syncret.api.secret import ManagedSecret
from syncret.constants import (
    API_VERSION,
    KEYS_ANNOTATION,
    MANAGED_LABEL,
    MANAGED_VALUE,
    OWNER_ANNOTATION,
    PREVIOUS_ANNOTATION,
)
from syncret.errors import KeyClaimed, SecretNotOwned, TooManyKeys

#: Whether the namespace has an ExternalSecret of that name.
Exists = Callable[[str], bool]

#: Keys that a message names.
_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Marks:
    """How the metadata of a Secret differ from what they have to be.

    ``annotations``: None for one that has to go. ``references``: the owner references differ.
    """

    label: bool
    annotations: Mapping[str, str | None]
    references: bool

    def __bool__(self) -> bool:
        return self.label or self.references or bool(self.annotations)


def refuse_foreign(
    external_secret: ExternalSecret, secret: ManagedSecret, *, exists: Exists
) -> None:
    """Raises SecretNotOwned unless the ExternalSecret may write to the Secret."""
    name = external_secret.key.name
    if external_secret.policy.shared:
        whole = secret.owner_name or secret.marked
        if whole and whole != name and (secret.owner_name or exists(whole)):
            raise SecretNotOwned(
                f'The Secret "{secret.name}" is as a whole that of the ExternalSecret "{whole}" '
                "and was left as it is: give that one the creationPolicy CreateOrMerge, or this "
                "one another spec.target.name."
            )
        return
    if secret.owner_uid:
        if secret.owner_uid != external_secret.uid and secret.owner_name != name:
            _refuse(secret, "belongs to another object")
    elif secret.marked != name:
        if secret.marked and exists(secret.marked):
            _refuse(secret, f'is that of the ExternalSecret "{secret.marked}"')
        _refuse(secret, "was not made by this ExternalSecret", hand_over=name)
    others = sorted(other for other in secret.claims if other != name and exists(other))
    if others:
        raise SecretNotOwned(
            f'The ExternalSecret "{others[0]}" merges keys into the Secret "{secret.name}", which '
            "was left as it is: set the creationPolicy CreateOrMerge here, or another "
            "spec.target.name in one of them."
        )


def _refuse(secret: ManagedSecret, why: str, *, hand_over: str = "") -> None:
    hand = f", or hand it over with the annotation {OWNER_ANNOTATION}: {hand_over}"
    raise SecretNotOwned(
        f'The Secret "{secret.name}" {why} and was left as it is: choose another '
        "spec.target.name, delete that Secret if nothing needs it"
        f"{hand if hand_over else ''}."
    )


def is_whole_of(external_secret: ExternalSecret, secret: ManagedSecret) -> bool:
    """Whether the Secret is this ExternalSecret's own, so that it may even be deleted."""
    name = external_secret.key.name
    if secret.owner_uid:
        return secret.owner_uid == external_secret.uid
    return secret.labelled and secret.marked == name and not set(secret.claims) - {name}


def refuse_claimed(
    external_secret: ExternalSecret,
    secret: ManagedSecret,
    keys: Collection[str],
    *,
    exists: Exists,
) -> None:
    """Raises KeyClaimed for a key that another ExternalSecret filled first."""
    name = external_secret.key.name
    own = secret.claims.get(name)
    for key in sorted(secret.previous.values.keys() & set(keys)):
        other = secret.previous.values[key].owner
        if other != name and other in secret.claims and exists(other):
            raise KeyClaimed(
                f'The ExternalSecret "{other}" keeps a value from before a rotation under "{key}" '
                f'of the Secret "{secret.name}", which was left as it is: rename the key here, or '
                "choose another suffix there."
            )
    for other in sorted(filter(exists, secret.claims)):
        if other == name:
            continue
        both = set(secret.claims[other].keys) & set(keys)
        # Who has the key already keeps it. If the record says that both do, the first by name.
        if own is not None and name < other:
            both -= set(own.keys)
        if both:
            named = ", ".join(f'"{key}"' for key in sorted(both)[:_NAMED])
            more = f" and {len(both) - _NAMED} more" if len(both) > _NAMED else ""
            raise KeyClaimed(
                f'The ExternalSecret "{other}" fills {named}{more} of the Secret '
                f'"{secret.name}", which was left as it is: leave the key out of one of them, or '
                "rename it here."
            )


def marks(external_secret: ExternalSecret, secret: ManagedSecret, keys: Collection[str]) -> Marks:
    """What the marks of a Secret lack that the ExternalSecret fills ``keys`` of.

    Raises TooManyKeys.
    """
    name, policy = external_secret.key.name, external_secret.policy
    annotations: dict[str, str | None] = {}
    if policy.shared:
        claims = {**secret.claims, name: _claim(external_secret, keys)}
        if claims != secret.claims:
            annotations[KEYS_ANNOTATION] = _rendered(secret.namespace, secret.name, claims)
        if secret.marked == name:
            annotations[OWNER_ANNOTATION] = None
    else:
        if secret.marked != name:
            annotations[OWNER_ANNOTATION] = name
        if secret.claims:
            annotations[KEYS_ANNOTATION] = None
    if policy.owner_reference:
        references = secret.owner_uid != external_secret.uid
    else:
        references = bool(secret.owner_name == name or secret.owner_uid == external_secret.uid)
    return Marks(not secret.labelled, annotations, references)


def first_marks(external_secret: ExternalSecret, keys: Collection[str]) -> dict[str, Any]:
    """The metadata of a Secret that is made."""
    name, namespace = external_secret.target, external_secret.key.namespace
    annotations: dict[str, str | None] = {OWNER_ANNOTATION: external_secret.key.name}
    if external_secret.policy.shared:
        claims = {external_secret.key.name: _claim(external_secret, keys)}
        annotations = {KEYS_ANNOTATION: _rendered(namespace, name, claims)}
    meta: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "labels": {MANAGED_LABEL: MANAGED_VALUE},
        "annotations": annotations,
    }
    if external_secret.policy.owner_reference:
        meta["ownerReferences"] = [owner_reference(external_secret)]
    return meta


def references_after(
    external_secret: ExternalSecret, references: Collection[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The owner references that a Secret has to have; those of others stay as they are."""
    kept: list[Mapping[str, Any]] = [
        reference
        for reference in references
        if reference.get("uid") != external_secret.uid
        and not (
            reference.get("name") == external_secret.key.name
            and reference.get("kind") == external_secret.key.kind
            and reference.get("apiVersion") == API_VERSION
        )
    ]
    if external_secret.policy.owner_reference:
        kept.append(owner_reference(external_secret))
    return kept


def owner_reference(external_secret: ExternalSecret) -> dict[str, Any]:
    """The reference by which the garbage collector knows the owner."""
    # Without blockOwnerDeletion: it would need a permission on the finalizers subresource on
    # clusters that check it, and only serves foreground deletion.
    return {
        "apiVersion": API_VERSION,
        "kind": external_secret.key.kind,
        "name": external_secret.key.name,
        "uid": external_secret.uid,
        "controller": True,
    }


def unwanted(
    external_secret: ExternalSecret, secret: ManagedSecret, keys: Collection[str]
) -> set[str]:
    """The keys of a Secret that have to go, when ``keys`` are the ExternalSecret's.

    Of a shared one: what it filled before and nobody else does; never a key that others put there.
    """
    if not external_secret.policy.shared:
        return secret.digests.keys() - set(keys)
    own = secret.claims.get(external_secret.key.name)
    if own is None:
        return set()
    others = keys_of_others(secret.claims, external_secret.key.name)
    return (set(own.keys) - set(keys) - others) & secret.digests.keys()


def wanted_type(external_secret: ExternalSecret) -> str:
    """The type that the Secret is to have; "": whatever it has, because others make it."""
    return "" if external_secret.policy.shared else external_secret.template.type


def beyond_repair(
    external_secret: ExternalSecret, secret: ManagedSecret, keys: Collection[str]
) -> bool:
    """Whether what is wrong beside the values of ``keys`` is nothing that a patch could mend."""
    if wanted_type(external_secret) not in {"", secret.type}:
        return True
    return secret.immutable and bool(unwanted(external_secret, secret, keys))


def in_shape(external_secret: ExternalSecret, secret: ManagedSecret, keys: Collection[str]) -> bool:
    """Whether nothing but the values of ``keys`` could be wrong, which only the store can tell."""
    return not (
        unwanted(external_secret, secret, keys)
        or (external_secret.policy.immutable and not secret.immutable)
        or marks(external_secret, secret, keys)
    )


@dataclass(frozen=True, slots=True)
class Release:
    """What makes a Secret free of one ExternalSecret. ``watched``: it stays one of ours."""

    keys: frozenset[str]
    annotations: Mapping[str, str | None]
    watched: bool


def release(secret: ManagedSecret, name: str, *, retain: bool | None = None) -> Release:
    """How the Secret is left by the ExternalSecret of that name.

    ``retain``: whether its keys stay; None: as its claim says. The keys of an immutable Secret
    have to stay. Its values from before a rotation go, because nobody would take them away later.
    """
    claims = dict(secret.claims)
    claim = claims.pop(name, Claim(()))
    annotations: dict[str, str | None] = {}
    gone: set[str] = set()
    if name in secret.claims:
        annotations[KEYS_ANNOTATION] = render_claims(
            claims, namespace=secret.namespace, secret=secret.name
        )
        if not (claim.retain if retain is None else retain) and not secret.immutable:
            gone = (set(claim.keys) - keys_of_others(claims, name)) & secret.digests.keys()
    if own := secret.previous.of(name):
        annotations[PREVIOUS_ANNOTATION] = render_previous(
            secret.previous.without(own), namespace=secret.namespace, secret=secret.name
        )
        gone |= set() if secret.immutable else own
    if secret.marked == name:
        annotations[OWNER_ANNOTATION] = None
    watched = bool(claims) or secret.marked not in {"", name}
    return Release(frozenset(gone), annotations, watched)


def _claim(external_secret: ExternalSecret, keys: Collection[str]) -> Claim:
    return Claim(tuple(sorted(keys)), external_secret.policy.keeps)


def _rendered(namespace: str, secret: str, claims: Claims) -> str | None:
    text = render_claims(claims, namespace=namespace, secret=secret)
    if text is not None and len(text) > MAX_CLAIMS:
        raise TooManyKeys(
            f'The record of whose the keys of the Secret "{secret}" are would have {len(text)} '
            f"bytes, and has room for {MAX_CLAIMS}: merge fewer keys, or give them a Secret of "
            "their own (creationPolicy Owner)."
        )
    return text

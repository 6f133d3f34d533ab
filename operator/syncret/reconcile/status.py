"""The status of our objects: what it says next, and the patch that says so. Pure.

Conditions follow the Kubernetes API conventions: ``lastTransitionTime`` moves only when ``status``
does. A status that would say the same gives no patch, so an unchanged refresh writes nothing.
"""

from typing import Any

from syncret.api.externalsecret import (
    Certificate,
    Condition,
    ExternalSecretStatus,
    MissingEntry,
    Source,
)
from syncret.api.rollout import target_body


def ready_condition(
    old: Condition | None, *, error: tuple[str, str] | None, message: str, generation: int, now: str
) -> Condition:
    """The condition Ready: True with the message, or False with the error's reason and message."""
    said = ("False", *error) if error else ("True", "Synced", message)
    return condition_of("Ready", old, said=said, generation=generation, now=now)


def condition_of(
    kind: str, old: Condition | None, *, said: tuple[str, str, str], generation: int, now: str
) -> Condition:
    """A condition of that type. ``said``: status, reason and message. ``old``: what it was."""
    status, reason, message = said
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=(
            old.last_transition_time if old is not None and old.status == status else now
        ),
        observed_generation=generation,
    )


def status_patch(old: ExternalSecretStatus, new: ExternalSecretStatus) -> dict[str, Any] | None:
    """The merge patch of ``.status`` from one to the other; None where they are the same.

    A merge patch replaces lists as a whole; fields that are the same are left out.
    """
    patch: dict[str, Any] = {}
    if (conditions := _conditions(new)) != _conditions(old) and conditions:
        patch["conditions"] = [condition_body(one) for one in conditions]
        if new.ready is not None:
            patch["observedGeneration"] = new.ready.observed_generation
    if new.synced_generation != old.synced_generation:
        patch["syncedGeneration"] = new.synced_generation
    texts = {
        "lastChangeTime": (old.last_change_time, new.last_change_time),
        "dataHash": (old.data_hash, new.data_hash),
        "forceSync": (old.force_sync, new.force_sync),
        "heldUntil": (old.held_until, new.held_until),
        "secretName": (old.secret_name, new.secret_name),
    }
    patch |= {name: now or None for name, (was, now) in texts.items() if now != was}
    if new.sources != old.sources:
        patch["sources"] = [_source_body(source) for source in new.sources]
    if new.certificates != old.certificates:
        patch["certificates"] = [_certificate_body(one) for one in new.certificates] or None
    if new.keys != old.keys:
        patch["keys"] = list(new.keys)
    if new.missing != old.missing:
        patch["missing"] = [_missing_body(entry) for entry in new.missing] or None
    if new.former_secrets != old.former_secrets:
        patch["formerSecrets"] = list(new.former_secrets) or None
    patch |= _objects_patch(old, new)
    return {"status": patch} if patch else None


def _objects_patch(old: ExternalSecretStatus, new: ExternalSecretStatus) -> dict[str, Any]:
    patch: dict[str, Any] = {}
    if _template_body(new) != _template_body(old):
        patch["template"] = _template_body(new)
    if new.rotation != old.rotation:
        patch["rotate"] = new.rotation.body() if new.rotation is not None else None
    if rollout := _rollout_patch(old, new):
        patch["rollout"] = rollout
    return patch


def _conditions(status: ExternalSecretStatus) -> list[Condition]:
    """Those that there are. A merge patch replaces all of them."""
    conditions = (
        status.ready,
        status.rolled_out,
        status.rotation_overdue,
        status.expiring,
    )
    return [one for one in conditions if one is not None]


def ready_body(ready: Condition) -> dict[str, Any]:
    """The status of an object whose only condition is Ready, as the API has it.

    ``observedGeneration`` is where kstatus (Flux, ``kubectl`` plugins) looks for it.
    """
    return {
        "observedGeneration": ready.observed_generation,
        "conditions": [condition_body(ready)],
    }


def condition_body(condition: Condition) -> dict[str, Any]:
    """A condition as the API has it."""
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": condition.last_transition_time,
        "observedGeneration": condition.observed_generation,
    }


def _rollout_patch(old: ExternalSecretStatus, new: ExternalSecretStatus) -> dict[str, Any]:
    patch: dict[str, Any] = {}
    if new.targets != old.targets:
        patch["targets"] = [target_body(target) for target in new.targets]
    if new.rollout_since != old.rollout_since:
        patch["pendingSince"] = new.rollout_since or None
    return patch


def _template_body(status: ExternalSecretStatus) -> dict[str, str | None] | None:
    if not status.template_input:
        return None
    # A merge patch keeps what it does not name.
    return {"inputHash": status.template_input, "fromHash": status.template_from or None}


def _source_body(source: Source) -> dict[str, Any]:
    body = {
        "store": source.store,
        "key": source.key,
        "version": source.version,
        "created": source.created,
        "expires": source.expires,
    }
    return {name: value for name, value in body.items() if value}


def _certificate_body(one: Certificate) -> dict[str, Any]:
    return {"key": one.key, "notBefore": one.not_before, "notAfter": one.not_after}


def _missing_body(missing: MissingEntry) -> dict[str, Any]:
    body = {"entry": missing.entry, "key": missing.key, "property": missing.property}
    return {name: value for name, value in body.items() if value}

"""What a message says, in each of the shapes that clouds send. Pure.

A shape is told by its own fields and never by where it came from: one queue may carry several. A
message that is well-formed and of no interest (another service's, a description that was edited)
gives no subjects; one that cannot be read is :class:`Malformed`, whose text quotes nothing of it.

An event's time decides nothing but a metric. Clocks differ, and an event that waited in a queue
while nobody read it is as good a hint as a new one.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from syncret.sources.names import Subject, System

#: Bytes. No cloud sends more in one message (SQS and Azure queues take less, Pub/Sub 10 MiB).
MAX_MESSAGE: Final = 256 * 1024

#: Of CloudTrail: the calls after which a secret may have another current value.
_CALLS: Final = frozenset(
    {
        "CreateSecret",
        "PutSecretValue",
        "RestoreSecret",
        "RotateSecret",
        "UpdateSecret",
        "UpdateSecretVersionStage",
        "DeleteSecret",
        "PutParameter",
        "DeleteParameter",
        "DeleteParameters",
    }
)
_SERVICE_EVENTS: Final = frozenset({"RotationSucceeded", "SecretVersionDeletion"})

#: Of Google: after these the current value may be another.
_GOOGLE: Final = frozenset(
    {
        "SECRET_CREATE",
        "SECRET_DELETE",
        "SECRET_UPDATE",
        "SECRET_VERSION_ADD",
        "SECRET_VERSION_ENABLE",
        "SECRET_VERSION_DISABLE",
        "SECRET_VERSION_DESTROY",
    }
)
_AZURE: Final = "Microsoft.KeyVault."
_AZURE_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "SecretNewVersionCreated": ("secret",),
    # A certificate is a secret and a key of the same name as well.
    "CertificateNewVersionCreated": ("cert", "secret", "key"),
    "KeyNewVersionCreated": ("key",),
}
#: Of Vault: written, patched, deleted, rolled back; static credentials that were rotated.
_VAULT_READS: Final = ("metadata-read", "data-read")


class Malformed(Exception):
    """The message cannot be read; ``str`` says what is wrong and quotes nothing."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: what it tells of (nothing, if that is no concern of ours), its id and time.

    ``id`` is the same for a message that is delivered twice; "" without one. ``time`` in seconds
    since 1970, None where it is not told.
    """

    subjects: tuple[Subject, ...] = ()
    id: str = ""
    time: float | None = None


def parse(body: bytes | str, attributes: Mapping[str, str] | None = None) -> tuple[Event, ...]:
    """The events of a message. ``attributes``: those beside the body, as Pub/Sub has them.

    Raises Malformed.
    """
    if len(body) > MAX_MESSAGE:
        raise Malformed("it is larger than any event")
    if attributes and "eventType" in attributes and "secretId" in attributes:
        return (_google(attributes),)
    content = _json(body)
    try:
        return tuple(_events(content, depth=0))
    except (KeyError, TypeError, AttributeError, ValueError, IndexError):
        raise Malformed("it lacks a field that events of its kind have") from None


def _json(body: bytes | str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        pass
    try:  # what Azure's queues hold is Base64 of JSON
        return json.loads(base64.b64decode(body, validate=True))
    except (ValueError, RecursionError, binascii.Error):
        raise Malformed("it is no JSON") from None


def _events(content: Any, *, depth: int) -> Iterator[Event]:
    if isinstance(content, list):
        if depth:
            raise Malformed("it is a list in a list")
        for one in content:
            yield from _events(one, depth=1)
        return
    if not isinstance(content, dict):
        raise Malformed("it is no JSON object")
    if content.get("Type") == "Notification" and isinstance(content.get("Message"), str):
        # What SNS wraps around a message, unless the subscription is set to raw delivery.
        if depth > 1:
            raise Malformed("it is wrapped too often")
        yield from _events(_json(content["Message"]), depth=depth + 2)
    else:
        yield _event(content)


def _event(content: Mapping[str, Any]) -> Event:
    """One event; that of a service which does not concern us has no subjects."""
    kind = str(content.get("eventType") or content.get("type") or "")
    if "detail-type" in content:
        return _eventbridge(content)
    if kind.startswith(_AZURE):  # Event Grid's own schema, or CloudEvents
        return _azure(content, kind, content.get("eventTime") or content.get("time"))
    if "event_type" in _mapping(content.get("data")):
        return _vault(content)
    if content.get("eventSource") in {"secretsmanager.amazonaws.com", "ssm.amazonaws.com"}:
        return _cloudtrail(content, id=content.get("eventID"), time=content.get("eventTime"))
    if "protoPayload" in content:
        return _google_audit(content)
    return Event(id=str(content.get("id") or ""))


def _eventbridge(content: Mapping[str, Any]) -> Event:
    kind, detail = content["detail-type"], content["detail"]
    source, region = content.get("source"), str(content.get("region") or "")
    told = {"id": str(content.get("id") or ""), "time": seconds(content.get("time"))}
    resources = _texts(content.get("resources") or [])
    if source == "aws.secretsmanager" and kind == "Secret Label Updated":
        subject = Subject(
            System.SECRETS_MANAGER,
            (*resources, _text(detail["name"])),
            place=region,
            version=_text(detail["versionId"]) if detail["labelUpdated"] == "AWSCURRENT" else "",
        )
        return Event((subject,), **told)  # type: ignore[arg-type]
    if source == "aws.ssm" and kind == "Parameter Store Change":
        subject = Subject(System.PARAMETER_STORE, (_text(detail["name"]), *resources), place=region)
        return Event((subject,), **told)  # type: ignore[arg-type]
    if str(kind).endswith("via CloudTrail") and source in {"aws.secretsmanager", "aws.ssm"}:
        return _cloudtrail(detail, id=content.get("id"), time=content.get("time"))
    return Event((), **told)  # type: ignore[arg-type]


def _cloudtrail(detail: Mapping[str, Any], *, id: Any, time: Any) -> Event:  # noqa: A002 - the field
    name, system = detail["eventName"], System.SECRETS_MANAGER
    event = Event((), str(id or ""), seconds(time))
    if name not in _CALLS | _SERVICE_EVENTS or detail.get("errorCode"):
        return event
    parameters = _mapping(detail.get("requestParameters"))
    names: list[Any] = []
    if "Parameter" in name:
        system = System.PARAMETER_STORE
        names += [parameters.get("name"), *(parameters.get("names") or [])]
    else:
        answer = _mapping(detail.get("responseElements"))
        more = _mapping(detail.get("additionalEventData"))
        # The case of "aRN" changed in 2024, and a service's own event has what it is about beside.
        names += [parameters.get("secretId"), parameters.get("name")]
        names += [answer.get("arn"), answer.get("aRN"), answer.get("name")]
        names += [more.get("SecretId"), more.get("secretId")]
    told = tuple(dict.fromkeys(one for one in names if isinstance(one, str) and one))
    if not told:
        raise Malformed("it names no secret")
    place = str(detail.get("awsRegion") or "")
    subjects: tuple[Subject, ...] = (Subject(system, told, place=place),)
    if name == "DeleteParameters":
        subjects = tuple(Subject(system, (one,), place=place) for one in told)
    return Event(subjects, event.id, event.time)


def _google(attributes: Mapping[str, str]) -> Event:
    subject = Subject(
        System.GOOGLE,
        (attributes["secretId"],),
        version=attributes.get("versionId", "").rpartition("/")[2]
        if attributes["eventType"] == "SECRET_VERSION_ADD"
        else "",
    )
    wanted = attributes["eventType"] in _GOOGLE
    return Event((subject,) if wanted else (), "", seconds(attributes.get("timestamp")))


def _google_audit(content: Mapping[str, Any]) -> Event:
    """An entry of the audit log, where a sink sends it to the topic."""
    payload = content["protoPayload"]
    method = str(payload["methodName"]).rpartition(".")[2]
    event = Event((), str(content.get("insertId") or ""), seconds(content.get("timestamp")))
    if method not in {"AddSecretVersion", "EnableSecretVersion", "DisableSecretVersion"}:
        return event
    name = _text(payload["resourceName"]).partition("/versions/")[0]
    return Event((Subject(System.GOOGLE, (name,)),), event.id, event.time)


def _azure(content: Mapping[str, Any], kind: str, time: Any) -> Event:
    event = Event((), str(content.get("id") or ""), seconds(time))
    kinds = _AZURE_TYPES.get(kind.removeprefix(_AZURE))
    if kinds is None:
        return event
    data = content["data"]
    name = _text(data["ObjectName"])
    subject = Subject(
        System.AZURE,
        tuple(f"{one}/{name}" for one in kinds),
        place=_text(data["VaultName"]),
        version=str(data.get("Version") or "") if kinds == ("secret",) else "",
    )
    return Event((subject,), event.id, event.time)


def _vault(content: Mapping[str, Any]) -> Event:
    data = content["data"]
    inner = _mapping(data.get("event"))
    metadata = _mapping(inner.get("metadata"))
    event = Event((), str(inner.get("id") or content.get("id") or ""), seconds(content.get("time")))
    kind = str(data["event_type"])
    if str(metadata.get("modified", "true")).lower() == "false" or kind.endswith(_VAULT_READS):
        return event
    names = [metadata.get("data_path"), metadata.get("path")]
    told = tuple(dict.fromkeys(one for one in names if isinstance(one, str) and one))
    if not told:
        return event
    mount = str(_mapping(data.get("plugin_info")).get("mount_path") or "")
    subject = Subject(
        System.VAULT, told[:1], place=str(data.get("namespace") or "").strip("/"), mount=mount
    )
    return Event((subject,), event.id, event.time)


def seconds(time: Any) -> float | None:
    """A time of RFC 3339 in seconds since 1970; None for anything else."""
    if not isinstance(time, str):
        return None
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise Malformed("it lacks a name that events of its kind have")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(one for one in values if isinstance(one, str))

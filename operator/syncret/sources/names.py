"""Whether a key of a store and a name in an event are the same secret. Pure.

A name in an event is that of whoever sends it: an ARN with its six characters, a project by its
number, an id with or without a version. A key is what somebody wrote into a spec. Both are brought
to what they have in common. Where that leaves it open (a project's number against its id, an
account that the key does not name) they count as the same: the price is one read too many.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from syncret.api.keys import ObjectKey
from syncret.api.remote import without_suffix


class System(Enum):
    """What kind of store an event is of."""

    SECRETS_MANAGER = "AWS Secrets Manager"
    PARAMETER_STORE = "AWS Parameter Store"
    GOOGLE = "Google Secret Manager"
    AZURE = "Azure Key Vault"
    VAULT = "Vault"
    #: The event names a store of ours, and keys as they are written in specs.
    STORE = "a store"


@dataclass(frozen=True, slots=True)
class Subject:
    """A secret that an event tells of.

    ``names``: every name of it that the event has. ``place``: where it is, as far as the event
    says: a region, the name of a vault, a namespace of Vault. ``mount`` is Vault's, ``store`` that
    of a hook. ``version``: the version that is current now, "" if the event does not say.
    """

    system: System
    names: tuple[str, ...]
    place: str = ""
    version: str = ""
    mount: str = ""
    store: ObjectKey | None = None


def system_of(provider: Mapping[str, Any]) -> System | None:
    """The kind of store that a ``spec.provider`` names; None for one that sends no events."""
    aws = _mapping(provider.get("aws"))
    if aws:
        parameters = aws.get("service") == "ParameterStore"
        return System.PARAMETER_STORE if parameters else System.SECRETS_MANAGER
    for name, system in (
        ("gcpsm", System.GOOGLE),
        ("azurekv", System.AZURE),
        ("vault", System.VAULT),
    ):
        if _mapping(provider.get(name)):
            return system
    return None


def is_same(provider: Mapping[str, Any], store: ObjectKey, key: str, subject: Subject) -> bool:
    """Whether the key, in the store of that ``spec.provider``, is what the event tells of."""
    system = system_of(provider)
    if subject.system is System.STORE:
        if store != subject.store:
            return False
        if key in subject.names:
            return True
        return system is not None and any(
            _same_name(system, provider, key, name, mount="") for name in subject.names
        )
    if system is not subject.system or not _same_place(system, provider, subject.place):
        return False
    names: tuple[str, ...] = subject.names
    key = prefix_of(provider) + key
    if key.startswith("arn:"):  # its account counts, if the event tells of one
        names = tuple(name for name in names if name.startswith("arn:")) or names
    return any(_same_name(system, provider, key, name, mount=subject.mount) for name in names)


def is_below(provider: Mapping[str, Any], store: ObjectKey, subject: Subject) -> tuple[str, ...]:
    """The names by which a search in that store would find the subject; none: it is elsewhere."""
    system = system_of(provider)
    if subject.system is System.STORE:
        return subject.names if store == subject.store else ()
    if system is not subject.system or not _same_place(system, provider, subject.place):
        return ()
    found = (_found_as(system, provider, name, subject) for name in subject.names)
    prefix = prefix_of(provider)
    return tuple(
        dict.fromkeys(name.removeprefix(prefix) for name in found if name.startswith(prefix))
    )


def prefix_of(provider: Mapping[str, Any]) -> str:
    """What stands before every key of a store; keys in specs are without it."""
    return _text(_mapping(provider.get("aws")).get("prefix"))


def _same_place(system: System, provider: Mapping[str, Any], place: str) -> bool:
    if not place:
        return True
    match system:
        case System.SECRETS_MANAGER | System.PARAMETER_STORE:
            own = _text(_mapping(provider.get("aws")).get("region"))
        case System.AZURE:
            own = urlsplit(_text(_mapping(provider.get("azurekv")).get("vaultUrl"))).hostname or ""
            own = own.partition(".")[0]
        case System.VAULT:
            own = _text(_mapping(provider.get("vault")).get("namespace")).strip("/")
        case _:
            own = ""
    return not own or own.casefold() == place.strip("/").casefold()


def _same_name(
    system: System, provider: Mapping[str, Any], key: str, name: str, *, mount: str
) -> bool:
    match system:
        case System.SECRETS_MANAGER:
            return _same_arn(key, name) and bool(_of_arn(key) & _of_arn(name))
        case System.PARAMETER_STORE:
            return _parameter(key) == _parameter(name)
        case System.GOOGLE:
            own = _text(_mapping(provider.get("gcpsm")).get("projectID"))
            return _same_google(key, name, project=own)
        case System.AZURE:
            return _of_azure(key) == _of_azure(name)
        case _:
            path = _text(_mapping(provider.get("vault")).get("path")).strip("/")
            own = mount.strip("/") or path
            return _of_vault(key, mount=own, path=path) == _of_vault(name, mount=own, path=own)


def _found_as(system: System, provider: Mapping[str, Any], name: str, subject: Subject) -> str:
    """The name as the store lists it."""
    match system:
        case System.SECRETS_MANAGER:
            return min(_of_arn(name), key=len)
        case System.PARAMETER_STORE:
            plain = _parameter(name)
            return f"/{plain}" if "/" in plain else plain
        case System.GOOGLE:
            return _google(name)[2]
        case System.AZURE:
            return _of_azure(name).removeprefix("secret/")
        case _:
            path = _text(_mapping(provider.get("vault")).get("path")).strip("/")
            own = subject.mount.strip("/") or path
            full = _of_vault(name, mount=own, path=own)
            return full.removeprefix(f"{path}/") if path else full


def _of_arn(name: str) -> frozenset[str]:
    """The secret's name; of an ARN, with and without what may be the six characters."""
    if not name.startswith("arn:"):
        return frozenset({name})
    plain = name.rpartition(":secret:")[2]
    return frozenset({plain, without_suffix(plain)})


def _same_arn(one: str, other: str) -> bool:
    """Whether two ARNs are of one partition, region and account; True if one is none."""
    if not (one.startswith("arn:") and other.startswith("arn:")):
        return True
    return one.split(":")[1:5] == other.split(":")[1:5]


def _parameter(name: str) -> str:
    """A parameter's name, of a name or an ARN, with or without a version or a label behind it."""
    if name.startswith("arn:"):
        name = name.split(":", 5)[-1].removeprefix("parameter")
    return name.lstrip("/").partition(":")[0]


def _google(name: str) -> tuple[str, str, str]:
    """Project, location and short name, as far as they are told."""
    parts = name.split("/")
    told = dict(zip(parts[::2], parts[1::2], strict=False)) if len(parts) > 1 else {}
    return told.get("projects", ""), told.get("locations", ""), told.get("secrets", name)


def _same_google(key: str, name: str, *, project: str) -> bool:
    ours, theirs = _google(key), _google(name)
    one, other = ours[0] or project, theirs[0]
    if one and other and one.isdigit() == other.isdigit() and one != other:
        return False
    if ours[1] and theirs[1] and ours[1] != theirs[1]:
        return False
    return ours[2] == theirs[2]


def _of_azure(name: str) -> str:
    """Kind and name of an object; a plain name is a secret's. Azure does not know case."""
    if "://" in name:
        parts = urlsplit(name).path.strip("/").split("/")
        kinds = {"secrets": "secret", "keys": "key", "certificates": "cert"}
        name = "/".join([kinds.get(parts[0], parts[0]), *parts[1:2]])
    return (name if "/" in name else f"secret/{name}").casefold()


def _of_vault(key: str, *, mount: str, path: str) -> str:
    """The path with its mount and without the ``data/`` of version 2."""
    plain = key.strip("/")
    if path and not plain.startswith(f"{path}/"):
        plain = f"{path}/{plain}"
    if mount and plain.startswith(f"{mount}/"):
        rest = plain.removeprefix(f"{mount}/")
        for part in ("data/", "metadata/"):
            if rest.startswith(part):
                return f"{mount}/{rest.removeprefix(part)}"
    return plain


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""

"""The file that names the sources of events (``--event-sources``), as frozen records.

It is a file, and not an object of the cluster, because a source uses the operator's own identity:
whoever may name one decides where that identity goes. Credentials are never in it; where a source
needs one it names a file, which is read anew each time, so that a mounted Secret can be changed.

A file that cannot be used ends the start. An operator that runs without the events that its
administrator counts on is worse than one that does not run.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from syncret.errors import SetupError, SpecInvalid
from syncret.providers.fields import Fields

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME_FORM: Final = 'a name of at most 63 of a-z, 0-9 and "-", which is neither first nor last'
_URL: Final = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")
_URL_FORM: Final = "an http:// or https:// URL without user name, query or fragment"
_REGION: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBSCRIPTION: Final = re.compile(r"projects/[a-z0-9][-a-z0-9:.]{0,61}/subscriptions/[^\s/]{3,255}")
_PATH: Final = re.compile(r"/[^\0]+")
_PATH_FORM: Final = "an absolute path"
_TEXT: Final = re.compile(r"[!-~]+")
_TYPES: Final = re.compile(r"[A-Za-z0-9*][-A-Za-z0-9_/*]*")
_ADDRESS: Final = re.compile(r"([A-Za-z0-9._-]*|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}")

_KINDS: Final = ("sqs", "pubSub", "storageQueue", "vaultEvents", "hook")

#: Sources in one file.
MOST: Final = 32


@dataclass(frozen=True, slots=True)
class Sqs:
    """A queue of AWS. ``endpoint``: another than that of the region."""

    queue_url: str
    region: str
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class PubSub:
    """A subscription of Google Cloud. ``endpoint``: of an emulator, by http://."""

    subscription: str
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class StorageQueue:
    """A queue of an Azure storage account. Without ``sas_file``, the operator's own identity."""

    queue_url: str
    sas_file: str = ""


@dataclass(frozen=True, slots=True)
class VaultEvents:
    """Vault's event stream. The token is in a file, or got by the pod's own ServiceAccount."""

    server: str
    namespace: str = ""
    event_types: tuple[str, ...] = ("kv*",)
    token_file: str = ""
    role: str = ""
    mount: str = "kubernetes"
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Hook:
    """A path under /hooks/ whose requests are signed with the key in a file."""

    secret_file: str


SourceConfig = Sqs | PubSub | StorageQueue | VaultEvents | Hook


@dataclass(frozen=True, slots=True)
class EventSources:
    """What the file says. ``hook_address``: host and port to listen on, "" without hooks."""

    sources: tuple[tuple[str, SourceConfig], ...] = ()
    hook_address: str = ""


def load(path: str) -> EventSources:
    """Reads the file. Raises SetupError with the field that is wrong, and what to do."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(
            f"The file of event sources {path} cannot be read ({error.strerror}): correct "
            "--event-sources, or mount the file there."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise SetupError(f"The file of event sources {path} is no YAML: correct it.") from None
    try:
        return parse(content)
    except SpecInvalid as error:
        raise SetupError(
            f"The file of event sources {path} cannot be used: {error.message}"
        ) from None


def parse(content: Any) -> EventSources:
    """What the file says. Raises SpecInvalid with the path of the field."""
    if not isinstance(content, Mapping):
        raise SpecInvalid('it must be an object with the field "eventSources", a list.')
    left = dict(content)
    listed = left.pop("eventSources", None)
    address = left.pop("hookAddress", None) or ""
    for name in left:
        raise SpecInvalid(f"{name} is not known to this version of Syncret.")
    if not isinstance(listed, list) or len(listed) > MOST:
        raise SpecInvalid(f"eventSources must be a list of at most {MOST} sources.")
    found: dict[str, SourceConfig] = {}
    for index, one in enumerate(listed):
        path = f"eventSources[{index}]"
        fields = Fields(one, path)
        name = fields.text("name", pattern=_NAME, limit=63, form=_NAME_FORM)
        if name in found:
            raise SpecInvalid(f'{path}.name is "{name}", which another source has: rename one.')
        kind = fields.one_of(_KINDS)
        found[name] = _PARSE[kind](fields.child(kind))
        fields.done()
    hooks = any(isinstance(one, Hook) for one in found.values())
    if hooks and not (isinstance(address, str) and _ADDRESS.fullmatch(address)):
        raise SpecInvalid(
            'hookAddress must be host:port, such as ":8090": a hook is listened for there.'
        )
    if address and not hooks:
        raise SpecInvalid("hookAddress is given without a hook: name one, or leave it out.")
    return EventSources(tuple(found.items()), address)


def _sqs(fields: Fields) -> Sqs:
    made = Sqs(
        queue_url=_url(fields, "queueURL"),
        region=fields.text(
            "region",
            pattern=_REGION,
            limit=63,
            form='the code of an AWS region, such as "eu-central-1"',
        ),
        endpoint=_url(fields, "endpoint") if fields.has("endpoint") else "",
    )
    fields.done()
    return made


def _pub_sub(fields: Fields) -> PubSub:
    made = PubSub(
        subscription=fields.text(
            "subscription",
            pattern=_SUBSCRIPTION,
            limit=400,
            form='a full name, such as "projects/acme/subscriptions/syncret"',
        ),
        endpoint=_url(fields, "endpoint") if fields.has("endpoint") else "",
    )
    fields.done()
    return made


def _storage_queue(fields: Fields) -> StorageQueue:
    made = StorageQueue(queue_url=_url(fields, "queueURL"), sas_file=_path(fields, "sasTokenFile"))
    if not made.sas_file and made.queue_url.startswith("http://"):
        raise SpecInvalid(
            f"{fields.path}.queueURL must be an https:// URL: the operator's own identity is sent "
            "to it."
        )
    fields.done()
    return made


def _vault_events(fields: Fields) -> VaultEvents:
    made = VaultEvents(
        server=_url(fields, "server").rstrip("/"),
        namespace=fields.optional(
            "namespace", pattern=_TEXT, limit=512, form="a namespace of Vault"
        ).strip("/"),
        event_types=fields.texts(
            "eventTypes", pattern=_TYPES, limit=128, form='a type of events, such as "kv*"'
        )
        or ("kv*",),
        token_file=_path(fields, "tokenFile"),
        role=fields.optional("role", pattern=_TEXT, limit=253, form="a role of Vault"),
        mount=fields.optional(
            "mountPath",
            pattern=_TEXT,
            limit=253,
            form="the path of an auth method of Vault",
            default="kubernetes",
        ).strip("/"),
        ca_file=_path(fields, "caFile"),
    )
    if bool(made.token_file) == bool(made.role):
        raise SpecInvalid(
            f"{fields.path} must have exactly one of tokenFile (a file that holds a token of "
            "Vault) and role (a role of Vault's Kubernetes auth method)."
        )
    fields.done()
    return made


def _hook(fields: Fields) -> Hook:
    path = _path(fields, "secretFile")
    if not path:
        raise SpecInvalid(f"{fields.path}.secretFile is missing.")
    fields.done()
    return Hook(path)


def _url(fields: Fields, name: str) -> str:
    return fields.text(name, pattern=_URL, limit=2048, form=_URL_FORM)


def _path(fields: Fields, name: str) -> str:
    return fields.optional(name, pattern=_PATH, limit=4096, form=_PATH_FORM)


_PARSE: Final[Mapping[str, Any]] = {
    "sqs": _sqs,
    "pubSub": _pub_sub,
    "storageQueue": _storage_queue,
    "vaultEvents": _vault_events,
    "hook": _hook,
}

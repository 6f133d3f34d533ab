"""What generators made for an ExternalSecret: the annotation of the Secret that keeps the values.

::

    {"credentials": {"Generator/db": {"id": "5f…", "made": "…", "spec": "…", "digest": "…",
        "lease": {"id": "database/creds/app/…", "seconds": 3600, "full": 3600, "renewed": "…"}}},
     "retired": [{"generator": "Generator/db", "id": "a0…", "since": "…", "lease": {…}}],
     "seal": "…"}

There are no values in it. ``seal`` is a keyed digest of the rest: whoever may write Secrets of the
namespace could otherwise name somebody else's lease in it, and have Syncret revoke that. What does
not bear the seal counts as not there. After the key of the digests was lost, what is not leased is
believed all the same, because no harm can be done with it, and a new password could do some.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from sys import intern
from types import MappingProxyType
from typing import Any, Final

from syncret.api.keys import GENERATORS, Kind, ObjectKey
from syncret.api.secret import controller_uid, is_external_secret
from syncret.clock import parse_rfc3339, rfc3339
from syncret.constants import (
    GENERATED_ANNOTATION,
    GENERATED_PREFIX,
    GENERATED_TYPE,
    MAX_SECRET_KEY_LENGTH,
)
from syncret.digest import Digester

#: Characters of the annotation: all of an object's may have 256 KiB.
MAX_TEXT: Final = 128 * 1024


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease, and how it stands. Times are wall seconds.

    ``seconds``: how long it lived when it was ``renewed``, or made; 0: it is known to have ended.
    ``full``: the same when it was made. The others as of :class:`syncret.generators.base.Lease`.
    """

    id: str
    seconds: float
    full: float
    renewed: float
    renewable: bool = False
    holder: str = ""

    @property
    def ends(self) -> float:
        """When it ends unless it is renewed."""
        return self.renewed + self.seconds


@dataclass(frozen=True, slots=True)
class Credential:
    """What a generator made. Times are wall seconds.

    ``id`` stands for it, as the version of a remote secret does. ``spec``: a digest of what the
    generator was told. ``request``: the wish it was made for, "" for none. ``expires``: 0 if it
    does not. ``digest``: of the values; ``intact``: the Secret still holds them.
    """

    id: str
    spec: str
    made: float
    digest: str = ""
    request: str = ""
    expires: float = 0.0
    lease: HeldLease | None = None
    intact: bool = True


@dataclass(frozen=True, slots=True)
class Retired:
    """A lease whose credential was replaced. ``generator``: of which, ``id``: the credential.

    ``since``: when it was replaced; ``released``: since when nobody needs it, 0 while somebody may.
    """

    generator: str
    id: str
    lease: HeldLease
    since: float
    released: float = 0.0


NO_CREDENTIALS: Final[Mapping[str, Credential]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class GeneratedState:
    """All that was made for one ExternalSecret, without the values.

    ``uid`` and ``resource_version`` are the Secret's, ``owner`` and ``owner_uid`` the
    ExternalSecret's. ``credentials``: by the generator as :func:`generator_name` writes it.
    """

    namespace: str
    owner: str
    owner_uid: str
    uid: str = ""
    resource_version: str = ""
    credentials: Mapping[str, Credential] = field(default_factory=lambda: NO_CREDENTIALS)
    retired: tuple[Retired, ...] = ()

    @property
    def name(self) -> str:
        """Of the Secret."""
        return secret_name(self.owner_uid)

    @property
    def leased(self) -> bool:
        """Whether there are leases to think of."""
        return bool(self.retired) or any(one.lease for one in self.credentials.values())

    def older_than(self, other: "GeneratedState") -> bool:
        """Whether this shows an earlier state of the same Secret."""
        if self.uid != other.uid:
            return False
        try:
            return int(self.resource_version) < int(other.resource_version)
        except ValueError:
            return False

    def says_the_same_as(self, other: "GeneratedState") -> bool:
        """Whether only the version of the Secret is another."""
        return (self.uid, self.credentials, self.retired) == (
            other.uid,
            other.credentials,
            other.retired,
        )


def secret_name(owner_uid: str) -> str:
    """The name of the Secret that keeps what was made for an ExternalSecret."""
    return f"{GENERATED_PREFIX}{owner_uid}"


def generator_name(key: ObjectKey) -> str:
    """A generator as the annotation names it; its namespace is that of the ExternalSecret."""
    return f"{key.kind}/{key.name}"


def generator_key(name: str, namespace: str) -> ObjectKey | None:
    """The key of such a generator; None for what is no generator."""
    kind, _, rest = name.partition("/")
    known: Kind | None = next((one for one in GENERATORS if one == kind), None)
    if known is None:
        return None
    return ObjectKey(known, namespace if known == "Generator" else "", rest)


def data_key(generator: str) -> str:
    """Under which key of the Secret the values of a generator are kept, as a JSON object."""
    kind, _, name = generator.partition("/")
    key = f"{kind.lower()}.{name}"
    if len(key) <= MAX_SECRET_KEY_LENGTH:
        return key
    return f"{kind.lower()}.{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}"


def parse_generated(body: Mapping[str, Any], digester: Digester) -> GeneratedState | None:
    """The record of such a Secret's body; None for what is none, or a copy of one."""
    meta = body["metadata"]
    owner_uid = controller_uid(meta)
    owner = next(
        (
            str(one.get("name") or "")
            for one in meta.get("ownerReferences") or ()
            if one.get("uid") == owner_uid and is_external_secret(one)
        ),
        "",
    )
    if body.get("type") != GENERATED_TYPE or not owner or meta["name"] != secret_name(owner_uid):
        return None
    text = (meta.get("annotations") or {}).get(GENERATED_ANNOTATION) or ""
    credentials, retired = _parse(text, meta["namespace"], meta["name"], digester)
    data = body.get("data") or {}
    held = {
        name: _checked(one, _decoded(data.get(data_key(name))), digester)
        for name, one in credentials.items()
    }
    return GeneratedState(
        namespace=intern(meta["namespace"]),
        owner=owner,
        owner_uid=owner_uid,
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        credentials=held,
        retired=retired,
    )


def digest_of_values(digester: Digester, credential_id: str, data: bytes) -> str:
    """The published digest of what a credential's values are."""
    return digester.publish(f"generated/{credential_id}", {"values": digester.value(data)})


def _checked(credential: Credential, data: bytes | None, digester: Digester) -> Credential:
    """The credential, with whether the values are as they were made."""
    if data is None:
        intact = False
    elif not digester.knows(credential.digest):
        return credential  # nobody can tell
    else:
        intact = digest_of_values(digester, credential.id, data) == credential.digest
    return credential if intact else replace(credential, intact=False)


def _decoded(value: str | None) -> bytes | None:
    try:
        return base64.b64decode(value) if value else None
    except binascii.Error:
        return None


# -- the text -----------------------------------------------------------------


def render_generated(state: GeneratedState, digester: Digester) -> str:
    """The annotation's text."""
    record = {
        "credentials": {
            name: _credential_body(one) for name, one in sorted(state.credentials.items())
        },
        "retired": [_retired_body(one) for one in state.retired],
    }
    seal = _seal(record, state.namespace, state.name, digester)
    return json.dumps({**record, "seal": seal}, separators=(",", ":"))


def _seal(record: Mapping[str, Any], namespace: str, name: str, digester: Digester) -> str:
    text = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    return digester.publish(f"generated/{namespace}/{name}", {"record": digester.value(text)})


def _parse(
    text: str, namespace: str, name: str, digester: Digester
) -> tuple[dict[str, Credential], tuple[Retired, ...]]:
    """What it says, as far as it is to be believed."""
    if not text or len(text) > MAX_TEXT:
        return {}, ()
    try:
        record = json.loads(text)
        seal = str(record.pop("seal"))
        known = digester.knows(seal)
        if known and seal != _seal(record, namespace, name, digester):
            return {}, ()
        credentials = {
            intern(str(generator)): _credential(one)
            for generator, one in record["credentials"].items()
        }
        retired = tuple(_retired(one) for one in record["retired"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}, ()
    if not known:
        return {key: one for key, one in credentials.items() if one.lease is None}, ()
    return credentials, retired


def _credential_body(one: Credential) -> dict[str, Any]:
    body = {
        "id": one.id,
        "spec": one.spec,
        "made": rfc3339(one.made),
        "digest": one.digest,
        "request": one.request,
        "expires": rfc3339(one.expires) if one.expires else "",
        "lease": _lease_body(one.lease) if one.lease is not None else None,
    }
    return {name: value for name, value in body.items() if value}


def _credential(body: Mapping[str, Any]) -> Credential:
    lease = body.get("lease")
    return Credential(
        id=str(body["id"]),
        spec=str(body["spec"]),
        made=parse_rfc3339(body["made"]),
        digest=str(body["digest"]),
        request=str(body.get("request") or ""),
        expires=parse_rfc3339(body.get("expires") or ""),
        lease=_lease(lease) if lease else None,
    )


def _retired_body(one: Retired) -> dict[str, Any]:
    body = {
        "generator": one.generator,
        "id": one.id,
        "since": rfc3339(one.since),
        "released": rfc3339(one.released) if one.released else "",
        "lease": _lease_body(one.lease),
    }
    return {name: value for name, value in body.items() if value}


def _retired(body: Mapping[str, Any]) -> Retired:
    return Retired(
        generator=str(body["generator"]),
        id=str(body["id"]),
        lease=_lease(body["lease"]),
        since=parse_rfc3339(body["since"]),
        released=parse_rfc3339(body.get("released") or ""),
    )


def _lease_body(one: HeldLease) -> dict[str, Any]:
    body = {
        "id": one.id,
        "seconds": one.seconds,
        "full": one.full,
        "renewed": rfc3339(one.renewed),
        "renewable": one.renewable,
        "holder": one.holder,
    }
    return {name: value for name, value in body.items() if value or name == "seconds"}


def _lease(body: Mapping[str, Any]) -> HeldLease:
    return HeldLease(
        id=str(body["id"]),
        seconds=float(body["seconds"]),
        full=float(body.get("full") or body["seconds"]),
        renewed=parse_rfc3339(body["renewed"]),
        renewable=body.get("renewable") is True,
        holder=str(body.get("holder") or ""),
    )

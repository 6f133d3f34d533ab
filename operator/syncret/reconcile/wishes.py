"""What an ExternalSecret wants of a generator, and what the generator gives. Pure."""

import base64
import json
from dataclasses import dataclass
from math import inf
from typing import Any

from syncret.api.clusterexternalsecret import digest_of
from syncret.api.externalsecret import ExternalSecret
from syncret.api.generated import Credential, HeldLease, generator_name
from syncret.api.keys import ObjectKey
from syncret.api.store import Store
from syncret.constants import BASE64_FIELD
from syncret.generators.base import Generated, Lease
from syncret.reconcile.generating import Why, why_new


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a generator, and for whom.

    ``spec``: a digest of what the generator is told. ``request``: the wish for a new credential,
    "" if any will do.
    """

    external_secret: ExternalSecret
    generator: ObjectKey
    spec: str
    request: str = ""

    @property
    def name(self) -> str:
        """The generator, as it is written down."""
        return generator_name(self.generator)

    def why_new(self, credential: Credential | None, *, now: float) -> Why | None:
        """Why what is kept will not do."""
        return why_new(
            credential,
            spec=self.spec,
            max_age=max_age(self.external_secret),
            now=now,
            request=self.request,
        )


def wish_of(external_secret: ExternalSecret, store: Store, *, request: str = "") -> Wish:
    """What an ExternalSecret wants of a generator."""
    spec = digest_of([generator_name(store.key), store.provider])
    return Wish(external_secret, store.key, spec, request)


def max_age(external_secret: ExternalSecret) -> float:
    """How old a credential may become, in seconds; infinite where nothing is said."""
    rotation = external_secret.rotation
    return rotation.max_age if rotation is not None else inf


def held(lease: Lease, *, now: float, full: float | None = None) -> HeldLease:
    """A lease as it is written down. ``full``: its seconds when it was made, if that is not now."""
    return HeldLease(
        id=lease.id,
        seconds=lease.seconds,
        full=lease.seconds if full is None else full,
        renewed=now,
        renewable=lease.renewable,
        holder=lease.holder,
    )


def given(lease: HeldLease) -> Lease:
    """A lease as the generator knows it."""
    return Lease(lease.id, lease.seconds, lease.renewable, lease.holder)


def packed(made: Generated) -> bytes:
    """The values as a JSON object; what is no text is marked as such."""
    fields: dict[str, Any] = {}
    for key, value in made.values.items():
        data = value.reveal()
        try:
            fields[key] = data.decode()
        except UnicodeDecodeError:
            fields[key] = {BASE64_FIELD: base64.b64encode(data).decode()}
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()

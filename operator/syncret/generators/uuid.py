"""The generator ``uuid``: random UUIDs."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from syncret.generators.local import LocalGenerator, secret_keys
from syncret.providers.fields import Fields

PATH: Final = "spec.generator.uuid"


@dataclass(frozen=True, slots=True)
class UuidConfig:
    """The keys under which there is to be one."""

    secret_keys: tuple[str, ...]


class UuidGenerator(LocalGenerator):
    """Makes UUIDs of version 4, from the operating system's source of randomness."""

    name = "uuid"

    def parse(self, spec: Mapping[str, Any], *, cluster_scoped: bool) -> UuidConfig:  # noqa: ARG002
        fields = Fields(spec, PATH)
        config = UuidConfig(secret_keys(fields, default="uuid"))
        fields.done()
        return config

    def values(self, config: UuidConfig) -> Mapping[str, bytes]:
        return {key: str(uuid.uuid4()).encode() for key in config.secret_keys}

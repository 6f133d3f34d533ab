"""The generator's spec as a record."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from syncret.errors import SpecInvalid
from syncret.generators.vaultdynamic.results import AUTH, DATA, RAW
from syncret.providers.fields import Fields
from syncret.providers.vault.auth import MOUNT
from syncret.providers.vault.config import KV, VaultConfig, parse_config
from syncret.providers.vault.config import PATH as STORE

NAME: Final = "vaultDynamic"
PATH: Final = f"spec.generator.{NAME}"

#: Bytes of the parameters as JSON.
MAX_PARAMETERS: Final = 16_384

_METHODS: Final = ("GET", "POST", "PUT")


@dataclass(frozen=True, slots=True)
class DynamicConfig:
    """Which Vault, and what is asked of it. ``parameters``: as JSON, "" for none."""

    vault: VaultConfig
    path: str
    method: str = "GET"
    parameters: str = field(repr=False, default="")
    result: str = DATA


def parse_dynamic(spec: Mapping[str, Any], *, cluster_scoped: bool) -> DynamicConfig:
    """The record. Raises SpecInvalid with the field's path."""
    given = Fields({name: part for name, part in spec.items() if name != "parameters"}, PATH)
    path = given.text(
        "path",
        pattern=MOUNT,
        limit=1024,
        form='a path of Vault without "/" at its ends, such as "database/creds/readonly"',
    )
    method = given.choice("method", _METHODS, default="GET")
    result = given.choice("resultType", (DATA, AUTH, RAW), default=DATA)
    given.child("provider")
    given.done()
    return DynamicConfig(
        vault=_vault(spec["provider"], cluster_scoped=cluster_scoped),
        path=path,
        method=method,
        parameters=_parameters(spec.get("parameters"), method),
        result=result,
    )


def in_our_words(text: str) -> str:
    """A sentence on a store of Vault as one on the generator, whose fields have other paths."""
    return text.replace(STORE, f"{PATH}.provider")


def _vault(provider: Mapping[str, Any], *, cluster_scoped: bool) -> VaultConfig:
    """The connection and the login: what a store has as well, without what it reads."""
    for name in ("path", "version", "engine"):
        if provider.get(name) is not None:
            raise SpecInvalid(f"{PATH}.provider.{name} is of stores: leave it out.")
    try:
        return parse_config({**provider, "engine": KV}, cluster_scoped=cluster_scoped)
    except SpecInvalid as error:
        raise SpecInvalid(in_our_words(error.message)) from None


def _parameters(given: Any, method: str) -> str:
    if given is None:
        return ""
    if not isinstance(given, Mapping):
        raise SpecInvalid(f"{PATH}.parameters must be an object.")
    if method == "GET":
        raise SpecInvalid(f"{PATH}.parameters needs the method POST or PUT: a read has none.")
    text = json.dumps(given, sort_keys=True)
    if len(text) > MAX_PARAMETERS:
        raise SpecInvalid(f"{PATH}.parameters must be at most {MAX_PARAMETERS} bytes of JSON.")
    return text

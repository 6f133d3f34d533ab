"""Whether a mount is what the store says."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from syncret.errors import AccessDenied, ProviderError, ProviderRejected
from syncret.providers.base import NotFound
from syncret.providers.vault.answers import Call, not_understood, problem
from syncret.providers.vault.asking import data_of, of_one
from syncret.providers.vault.config import KV, VaultConfig
from syncret.providers.vault.wire import Wire

MOUNT: Final = "ReadMount"

#: What Vault calls the engines. A plugin that was registered under a name of its own keeps a part.
_WORDS: Final = {KV: "key/value", "database": "database", "ldap": "LDAP"}


def look_at(wire: Wire, config: VaultConfig, mount: str, needed: str) -> bool | ProviderError:
    """Whether it is; True, or what is wrong. Blocks.

    ``needed``: a path below it, as policies name it, that the token has to be able to read.
    """
    path = f"sys/internal/ui/mounts/{mount}"
    call = Call(config.place, MOUNT, needed)
    answer = wire.ask(lambda client: client.adapter.get(f"/v1/{quote(path)}"))
    if isinstance(answer, ProviderError):
        return answer
    data = data_of(answer.body)
    if not answer.ok or data is None:
        found = problem(answer, call)
        if isinstance(found, NotFound):
            return not_understood(config.place)
        return missing(config, call) if of_one(found) else found
    return wrong(config, mount, data) or True


def missing(config: VaultConfig, call: Call) -> AccessDenied:
    """Nothing is told of it: Vault says the same of what is not there and what is not ours."""
    return AccessDenied(
        f'{config.place} has no mount at "{config.mount}", or the policies of the token give no '
        f"access to it: correct spec.provider.vault.path and spec.provider.vault.namespace, or "
        f"give the token {call.rule}."
    )


def wrong(config: VaultConfig, mount: str, data: Mapping[str, Any]) -> ProviderRejected | None:
    """What is wrong with it, if anything is. ``data``: what Vault tells of the mount."""
    kind = str(data.get("type") or "")
    right = kind in {"kv", "generic"} if config.engine == KV else config.engine in kind
    if not right:
        instead = " or spec.provider.vault.engine" if config.engine != KV else ""
        return ProviderRejected(
            f'The mount "{mount}" of {config.place} is no {_WORDS[config.engine]} engine: correct '
            f"spec.provider.vault.path{instead}."
        )
    if config.engine != KV:
        return None
    options = data.get("options")
    version = options.get("version") if isinstance(options, Mapping) else None
    if str(version or 1) != str(config.version):
        return ProviderRejected(
            f'The mount "{mount}" of {config.place} is a key/value engine of version '
            f"{version or 1}: set spec.provider.vault.version to v{version or 1}."
        )
    return None

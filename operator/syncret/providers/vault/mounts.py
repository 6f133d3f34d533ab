"""Whether a mount is what the store says. Pure."""

from collections.abc import Mapping
from typing import Any

from syncret.errors import AccessDenied, ProviderRejected
from syncret.providers.vault.answers import Call
from syncret.providers.vault.config import VaultConfig


def missing(config: VaultConfig, call: Call) -> AccessDenied:
    """Nothing is told of it: Vault says the same of what is not there and what is not ours."""
    return AccessDenied(
        f'{config.place} has no mount at "{config.mount}", or the policies of the token give no '
        f"access to it: correct spec.provider.vault.path and spec.provider.vault.namespace, or "
        f"give the token {call.rule}."
    )


def wrong(config: VaultConfig, mount: str, data: Mapping[str, Any]) -> ProviderRejected | None:
    """What is wrong with it, if anything is. ``data``: what Vault tells of the mount."""
    if data.get("type") not in {"kv", "generic"}:
        return ProviderRejected(
            f'The mount "{mount}" of {config.place} is no key/value engine: correct '
            "spec.provider.vault.path."
        )
    options = data.get("options")
    version = options.get("version") if isinstance(options, Mapping) else None
    if str(version or 1) != str(config.version):
        return ProviderRejected(
            f'The mount "{mount}" of {config.place} is a key/value engine of version '
            f"{version or 1}: set spec.provider.vault.version to v{version or 1}."
        )
    return None

"""Reading a kubeconfig with the official client's loader. Importing this module costs 60 MiB.

The loader is given its parts one by one instead of through ``load_kube_config``, because that
neither says whether the user has an exec plugin (whose failure the loader only logs) nor the
namespace of the context.
"""

import asyncio
import os
from dataclasses import dataclass
from typing import Any, Final

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import kube_config

from syncret.clock import Clock
from syncret.errors import SetupError
from syncret.kube.tokens import Authorization, NoAuthorization, RenewedToken

_official: Any = kube_config  # ships with neither annotations nor stubs

#: Seconds for everything, an exec plugin with a slow cloud behind it included. A plugin that takes
#: longer is not waited for, but its process is not ended either: the loader keeps it to itself.
LOAD_TIMEOUT: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedKubeconfig:
    """What a context of a kubeconfig says."""

    server: str
    namespace: str
    authorization: Authorization
    ca_file: str | None
    cert_file: str | None
    key_file: str | None
    verify: bool
    tls_server_name: str
    proxy: str


@dataclass(frozen=True, slots=True)
class _Read:
    configuration: Any
    namespace: str
    value: str | None
    ends: float | None


async def load_kubeconfig(paths: str, *, clock: Clock, context: str = "") -> LoadedKubeconfig:
    """Loads a context, the current one unless it is named, of one or more files (separated as in
    ``KUBECONFIG``).

    Raises SetupError. The file is read again when its token is refused or about to end: that runs
    an exec plugin anew, reads ``tokenFile`` anew, and sees what the user has changed in between.
    A client certificate that a plugin gives is used until the process ends.
    """
    read = await _read(paths, context)
    configuration = read.configuration

    async def renew() -> tuple[str | None, float | None]:
        again = await _read(paths, context)
        return again.value, again.ends

    authorization: Authorization = NoAuthorization()
    if read.value is not None:
        authorization = RenewedToken(renew, value=read.value, ends=read.ends, clock=clock)
    return LoadedKubeconfig(
        server=configuration.host,
        namespace=read.namespace,
        authorization=authorization,
        ca_file=configuration.ssl_ca_cert,
        cert_file=configuration.cert_file,
        key_file=configuration.key_file,
        verify=configuration.verify_ssl,
        tls_server_name=configuration.tls_server_name or "",
        proxy=configuration.proxy or "",
    )


async def _read(paths: str, context: str) -> _Read:
    try:
        async with asyncio.timeout(LOAD_TIMEOUT):
            return await _load(paths, context)
    except TimeoutError:
        raise SetupError(
            f"The credentials in {paths} were not had within {LOAD_TIMEOUT:.0f} s: try "
            "`kubectl version` with it."
        ) from None
    except SetupError:
        raise
    except Exception:  # noqa: BLE001 - YAML, OIDC and cloud libraries each have their own
        # The loader's texts name a node by its whole content, the token included.
        raise SetupError(
            f"The kubeconfig {paths} cannot be used: try `kubectl version` with it."
        ) from None


async def _load(paths: str, named: str) -> _Read:
    merged = _official.KubeConfigMerger(
        os.path.pathsep.join(p for p in paths.split(os.path.pathsep) if p)
    )
    if named and named not in (there := _names(merged)):
        raise SetupError(
            f'There is no context "{named}" in {paths}; there are: {", ".join(there) or "none"}.'
        )
    loader = _official.KubeConfigLoader(
        config_dict=merged.config, config_base_path=None, active_context=named or None
    )
    configuration = Configuration()
    await loader.load_and_set(configuration)
    context = loader.current_context["context"]
    users = merged.config["users"]
    user = users.get_with_name(context["user"], safe=True) if context.get("user") else None
    value = configuration.api_key.get("BearerToken")
    if user is not None and "exec" in user["user"] and not (value or configuration.cert_file):
        raise SetupError(
            f"The exec plugin of the user in {paths} gave no credentials: the line that the "
            "kubeconfig loader logged says why; try `kubectl version` with it."
        )
    expiry = getattr(loader, "exec_plugin_expiry", None)
    return _Read(
        configuration=configuration,
        namespace=context.get("namespace") or "default",
        value=value.strip() if value else None,
        ends=expiry.timestamp() if expiry is not None else None,
    )


def _names(merged: Any) -> list[str]:
    """Of the contexts."""
    return [str(one["name"]) for one in merged.config["contexts"].value]

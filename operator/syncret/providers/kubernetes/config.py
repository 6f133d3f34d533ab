"""``spec.provider.kubernetes`` as a record."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from syncret.errors import SpecInvalid
from syncret.providers.base import CredentialRef
from syncret.providers.fields import Fields
from syncret.providers.trusted import Authority, authority

PATH: Final = "spec.provider.kubernetes"

# The names under which open() is given the credentials.
ACCOUNT: Final = "serviceAccount"
TOKEN: Final = "bearerToken"  # noqa: S105 - a name
CERT: Final = "clientCert"
KEY: Final = "clientKey"
KUBECONFIG: Final = "kubeconfig"

_WAYS: Final = ("serviceAccount", "token", "cert", "kubeconfig")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
URL: Final = re.compile(
    r"https://([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
    r"(/[-._~%!$&()*+,;=:A-Za-z0-9/]*)?"
)


@dataclass(frozen=True, slots=True)
class KubernetesConfig:
    """Which namespace of which cluster, and who reads there. ``url`` "": see ``way``.

    Without a URL it is the cluster that the operator works in, or, with a kubeconfig, the one that
    this names.
    """

    namespace: str
    url: str
    authority: Authority
    way: str
    credentials: tuple[tuple[str, CredentialRef], ...]
    audiences: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """What messages call the store."""
        where = f" at {urlsplit(self.url).netloc}" if self.url else ""
        if self.way == KUBECONFIG:
            where = " of the cluster in the kubeconfig"
        return f'The namespace "{self.namespace}"{where}'

    @property
    def who(self) -> str:
        """Whom a grant has to name."""
        reference = dict(self.credentials).get(ACCOUNT)
        if reference is not None:
            return f'the ServiceAccount "{reference.name}" that the store names'
        return {
            "token": "the identity of the store's token",
            "cert": "the user of the store's client certificate",
        }.get(self.way, "the user of the store's kubeconfig")


def parse_config(spec: Mapping[str, Any], *, cluster_scoped: bool) -> KubernetesConfig:
    """The record. Raises SpecInvalid with the field's path."""
    fields = Fields(spec, PATH)
    namespace = fields.text(
        "remoteNamespace", pattern=_NAMESPACE, limit=63, form="the name of a namespace"
    )
    url, trusted = _server(fields, cluster_scoped=cluster_scoped)
    auth = fields.child("auth")
    fields.done()
    way = auth.one_of(_WAYS)
    credentials, audiences = _credentials(auth, way, cluster_scoped=cluster_scoped)
    auth.done()
    config = KubernetesConfig(namespace, url, trusted, way, credentials, audiences)
    _check_together(config, named="server" in spec and spec["server"] is not None)
    if config.url and way == "serviceAccount" and not audiences:
        # What another server sees must not be a token that this cluster takes.
        raise SpecInvalid(
            f"{PATH}.auth.serviceAccount.audiences is missing: with {PATH}.server, name the "
            "audience that the other cluster expects, so that it cannot use the token here."
        )
    return config


def _server(fields: Fields, *, cluster_scoped: bool) -> tuple[str, Authority]:
    if not fields.has("server"):
        return "", Authority(f"{PATH}.server")
    server = fields.child("server")
    form = (
        "an https:// URL with a host and, if needed, a port and a path, without user name, "
        "password, query or fragment"
    )
    url = server.text("url", pattern=URL, limit=2048, form=form)
    try:
        _ = urlsplit(url).port
    except ValueError:  # a port over 65535, or no address between the brackets
        raise SpecInvalid(f"{PATH}.server.url must be {form}.") from None
    trusted = authority(server, cluster_scoped=cluster_scoped)
    server.done()
    return url.rstrip("/"), trusted


def _credentials(
    auth: Fields, way: str, *, cluster_scoped: bool
) -> tuple[tuple[tuple[str, CredentialRef], ...], tuple[str, ...]]:
    if way == "serviceAccount":
        reference, audiences = auth.service_account(way, cluster_scoped=cluster_scoped)
        return ((ACCOUNT, reference),), audiences
    fields = auth.child(way)
    names = {"token": (TOKEN,), "cert": (CERT, KEY), "kubeconfig": ("secretRef",)}[way]
    found = [(name, fields.secret_key(name, cluster_scoped=cluster_scoped)) for name in names]
    fields.done()
    if way == "kubeconfig":
        return ((KUBECONFIG, found[0][1]),), ()
    return tuple(found), ()


def _check_together(config: KubernetesConfig, *, named: bool) -> None:
    if config.way == "kubeconfig" and named:
        raise SpecInvalid(
            f"{PATH}.server and {PATH}.auth.kubeconfig are both there: a kubeconfig says itself "
            "where its server is."
        )
    if not config.url and config.audiences:
        raise SpecInvalid(
            f"{PATH}.auth.serviceAccount.audiences need {PATH}.server: the API server of this "
            "cluster takes the token that it makes without any."
        )

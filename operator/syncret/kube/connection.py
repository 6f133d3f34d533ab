"""Where the API server is, and the HTTP session to it that kopf and our own client use.

Outside a cluster the official client's kubeconfig loader does the reading, because exec plugins,
OIDC and merged files are its trade; it is imported only then (it costs 60 MiB). Inside a cluster
three files and two variables are all there is, and they are read here.

What each request is authorised with is decided by a middleware of the session and not by headers
that are fixed when it is opened: projected tokens live an hour, and a session whose token has run
out makes kopf log in again and again with what it already knows to be refused.

Refused: ``trust_env``. An HTTP_PROXY in the environment is meant for the stores outside; traffic
to the API server must not take it without being told (``proxy-url`` in a kubeconfig does tell),
and aiohttp would look it up in a thread, twice for every request, at three times the cost.
"""

import os
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
from yarl import URL

from syncret.clock import Clock
from syncret.errors import SetupError
from syncret.kube.tokens import Authorization, TokenFile

#: Where the kubelet puts a pod's identity.
SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")

#: Seconds for TCP and TLS. The answer itself is waited for as long as each call says.
CONNECT_TIMEOUT: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The API server, and who we are to it. ``source`` says where this was found, for logs."""

    server: str
    source: str
    default_namespace: str
    authorization: Authorization
    tls: ssl.SSLContext | None = None
    tls_server_name: str = ""
    proxy: str = ""
    #: The certificate authority in PEM; empty: those that the system trusts.
    ca: bytes = field(default=b"", repr=False)


async def find_connection(
    *,
    clock: Clock,
    kubeconfig: str = "",
    context: str = "",
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
) -> Connection:
    """The first of: the given kubeconfig, ``KUBECONFIG``, the pod's identity, ``~/.kube/config``.

    The order is controller-runtime's: a pod uses its own identity unless told otherwise, as by a
    ``context``, which is of a kubeconfig. Raises SetupError with what to set.
    """
    explicit = kubeconfig or environ.get("KUBECONFIG", "")
    if explicit:
        return await _from_kubeconfig(explicit, clock=clock, context=context)
    if environ.get("KUBERNETES_SERVICE_HOST") and not context:
        return in_cluster(environ, clock=clock, service_account=service_account)
    home = Path(environ.get("HOME", "/nonexistent")) / ".kube" / "config"
    if home.is_file():
        return await _from_kubeconfig(str(home), clock=clock, context=context)
    raise SetupError(
        "No Kubernetes API server is known: set KUBECONFIG (or --kubeconfig) to the path of a "
        f"kubeconfig, or put one at {home}, or run in a pod with a ServiceAccount token."
    )


def in_cluster(
    environ: Mapping[str, str], *, clock: Clock, service_account: Path = SERVICE_ACCOUNT
) -> Connection:
    """The connection of a pod. Raises SetupError.

    The CA file is read once: a cluster that replaces its CA has to restart its pods anyway.
    """
    host = environ.get("KUBERNETES_SERVICE_HOST", "")
    port = environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise SetupError("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not both set.")
    ca_file = service_account / "ca.crt"
    try:
        context = tls_context(ca_file=str(ca_file))
        ca = ca_file.read_bytes()
        namespace = _read(service_account / "namespace") or "default"
    except (OSError, ValueError):
        raise SetupError(
            f"{ca_file} cannot be read as CA certificates: give the pod a ServiceAccount token "
            "(automountServiceAccountToken: true), or set KUBECONFIG."
        ) from None
    return Connection(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        source="the pod's ServiceAccount",
        default_namespace=namespace,
        authorization=TokenFile(service_account / "token", clock=clock),
        tls=context,
        ca=ca,
    )


async def _from_kubeconfig(paths: str, *, clock: Clock, context: str) -> Connection:
    if not _any_file(paths.split(os.pathsep)):
        raise SetupError(f"The kubeconfig {paths} does not exist: correct the path.")
    from syncret.kube.kubeconfig import load_kubeconfig  # the official client: only where needed

    loaded = await load_kubeconfig(paths, clock=clock, context=context)
    try:
        url = URL(loaded.server)
        known = url.scheme in {"http", "https"} and bool(url.host)
        tls = None
        ca = _bytes(loaded.ca_file)
        if url.scheme == "https":
            tls = tls_context(
                ca_file=loaded.ca_file,
                cert_file=loaded.cert_file,
                key_file=loaded.key_file,
                verify=loaded.verify,
            )
    except (OSError, ValueError):
        # ssl.SSLError is an OSError. Its text may quote the file, which may be a private key.
        raise SetupError(
            f"The server URL, CA or client certificate in {paths} cannot be used: try "
            "`kubectl version` with it."
        ) from None
    if not known:
        raise SetupError(f"The server in {paths} is not an http(s) URL.")
    return Connection(
        server=loaded.server.rstrip("/"),
        source=f"kubeconfig {paths}" + (f", context {context}" if context else ""),
        default_namespace=loaded.namespace,
        authorization=loaded.authorization,
        tls=tls,
        tls_server_name=loaded.tls_server_name,
        proxy=loaded.proxy,
        ca=ca,
    )


def tls_context(
    *,
    ca_file: str | None = None,
    cert_file: str | None = None,
    key_file: str | None = None,
    verify: bool = True,
) -> ssl.SSLContext:
    """A context for the API server; without a CA file, the system's CAs are trusted."""
    context = ssl.create_default_context(cafile=ca_file)
    # Python 3.13 turned this on: it refuses cluster CAs that lack an RFC 5280 extension, as many
    # in use do, and as kubectl accepts. Signatures, names and dates are checked with or without.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert_file:
        context.load_cert_chain(cert_file, key_file)
    return context


def open_session(
    connection: Connection,
    *,
    middlewares: Sequence[aiohttp.ClientMiddlewareType] = (),
    connections: int = 96,
    user_agent: str = "syncret",
) -> aiohttp.ClientSession:
    """A session to the API server, which authorises every request to it, and to it only.

    ``connections`` bounds the open connections; every watch holds one for good. The given
    middlewares are outermost: they see a request once, and the answer after the credentials were
    renewed. kopf closes the session it was given when it ends and after a 401 that stays one, so
    open a second session for what has to outlive that.
    """
    tls: ssl.SSLContext | bool = True if connection.tls is None else connection.tls
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, ssl=tls),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": user_agent},
        middlewares=(*middlewares, _authorizer(connection)),
        proxy=connection.proxy or None,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
        trust_env=False,
    )


def _authorizer(connection: Connection) -> aiohttp.ClientMiddlewareType:
    origin = URL(connection.server).origin()
    authorization = connection.authorization

    async def authorize(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if request.url.origin() != origin:
            return await handler(request)  # a redirect must not carry the token elsewhere
        if connection.tls_server_name:
            request.server_hostname = connection.tls_server_name
        value = await authorization.header()
        if value is not None:
            request.headers["Authorization"] = value
        response = await handler(request)
        if response.status != 401:
            return response
        fresh = await authorization.header(refused=value)
        if fresh is None or fresh == value:
            return response
        # Nothing was done for a request that was not authenticated: it is safe to send any again.
        response.close()
        request.headers["Authorization"] = fresh
        return await handler(request)

    return authorize


def _any_file(paths: Iterable[str]) -> bool:
    return any(Path(path).expanduser().is_file() for path in paths if path)


def _bytes(path: str | None) -> bytes:
    return Path(path).read_bytes() if path else b""


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""

"""Who a store reads as: google-auth's credentials, used in threads because its logins block.

Each identity makes one token at a time (:mod:`syncret.providers.gcp.tokens`). What google-auth
raises stays in the thread: its exceptions hold answers of token endpoints.
"""

import asyncio
import datetime as dt
import os
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NoReturn, Protocol

import google.auth
import urllib3
from google.auth import exceptions, identity_pool

from syncret.errors import ProviderError, ProviderTimeout
from syncret.providers.base import CallObserver, ConfigMapKeyRef, SecretValue, ServiceAccount
from syncret.providers.gcp.config import (
    CRED_CONFIG,
    KEY_FILE,
    SERVICE_ACCOUNT,
    ClusterIdentity,
    Federation,
    GcpConfig,
    KeyFile,
)
from syncret.providers.gcp.credconfig import impersonation_url, read_config
from syncret.providers.gcp.errors import CredentialsRefused
from syncret.providers.gcp.keyfile import SCOPES, read_key
from syncret.providers.gcp.logins import Who, login_failure, no_credentials
from syncret.providers.gcp.web import Web, observer

#: The annotation by which a ServiceAccount of GKE names the account of Google that it acts as.
ANNOTATION: Final = "iam.gke.io/gcp-service-account"

# google-auth says that it has types, and has few.
_POOL: Final[Any] = identity_pool.Credentials

_JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
#: Seconds that a new token lives at least, whatever our clock says of its end.
_LEAST: Final = 60.0

#: Seconds that the token of a ServiceAccount has to live: it is exchanged at once.
_SUBJECT_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Grant:
    """A token, the seconds of its life, and the project that came with the credentials, if any."""

    text: str
    seconds: float
    project: str = ""

    def __repr__(self) -> str:
        return "Grant(…)"


class Logins:
    """What all logins of the process share: connections, threads, and how long they may take."""

    def __init__(
        self, pool: urllib3.PoolManager, threads: ThreadPoolExecutor, *, timeout: float
    ) -> None:
        self._pool = pool
        self._threads = threads
        self._timeout = timeout

    async def run(
        self, call: Callable[[Web], Grant | str | ProviderError], who: Who, observe: CallObserver
    ) -> Any:
        """The result of ``call`` in a thread. Raises ProviderError."""
        loop = asyncio.get_running_loop()
        web = Web(self._pool, tell=observer(observe, loop))
        result: Any = None
        try:
            async with asyncio.timeout(self._timeout):
                result = await loop.run_in_executor(
                    self._threads, partial(_guarded, call, web, who)
                )
        except TimeoutError:
            result = ProviderTimeout(
                f"There was no access token for {who.place} in time: check network policies and "
                "proxies."
            )
        if isinstance(result, ProviderError):
            raise result
        return result


class Identity(Protocol):
    """Who reads."""

    async def login(self) -> Grant:
        """A new token. Raises SyncretError with what to do."""
        ...

    async def project(self) -> str:
        """The project of the secrets, where the store names none. Raises ProviderError."""
        ...


def identity_of(
    config: GcpConfig,
    credentials: Mapping[str, SecretValue],
    accounts: Mapping[str, ServiceAccount],
    *,
    logins: Logins,
    observe: CallObserver,
) -> Identity:
    """The identity that a store names. Raises CredentialsRefused where it cannot be one."""
    run = partial(logins.run, observe=observe)
    match config.auth:
        case KeyFile() as auth:
            return _Key(config, auth, credentials[KEY_FILE], run)
        case ClusterIdentity() as auth:
            return _Cluster(config, auth, accounts[SERVICE_ACCOUNT], run)
        case Federation(cred_config=ConfigMapKeyRef() as where) as auth:
            return _Configured(config, auth, where, credentials[CRED_CONFIG], run)
        case Federation() as auth:
            return _Federated(config, auth, accounts[SERVICE_ACCOUNT], run)
        case None:
            return Ambient(config.place, run)


_Run = Callable[[Callable[[Web], Any], Who], Awaitable[Any]]


class _Base:
    """What identities have in common. ``_who`` is what is said of them."""

    def __init__(self, place: str, run: _Run) -> None:
        self._who = Who(place)
        self._run = run

    async def project(self) -> str:
        place = self._who.place
        try:
            found = await self._run(partial(_metadata, "project/project-id"), self._who)
        except ProviderError:
            found = ""
        if not found:
            raise CredentialsRefused(
                f"{place} needs a project, and neither the credentials nor a metadata server name "
                "one: set projectID in the store."
            )
        return str(found)


class _Key(_Base):
    """A service account's key."""

    def __init__(self, config: GcpConfig, auth: KeyFile, file: SecretValue, run: _Run) -> None:
        super().__init__(config.place, run)
        self._project, made = read_key(config, auth, file)
        if isinstance(made, ProviderError):
            raise made
        self._credentials = made

    async def login(self) -> Grant:
        def log_in(web: Web) -> Grant:
            return _refreshed(self._credentials, web, self._project)

        grant: Grant = await self._run(log_in, self._who)
        return grant

    async def project(self) -> str:
        return self._project or await super().project()


class _Federated(_Base):
    """Tokens of a ServiceAccount, taken by a workload identity pool."""

    def __init__(
        self, config: GcpConfig, auth: Federation, account: ServiceAccount, run: _Run
    ) -> None:
        super().__init__(config.place, run)
        self._config, self._account, self._audience = config, account, auth.audience
        self._token_audiences = (auth.audience, *auth.audiences)
        email = auth.email or account.annotations.get(ANNOTATION, "")
        pool = auth.audience.removeprefix("//iam.googleapis.com/").partition("/providers/")[0]
        subject = f"system:serviceaccount:{account.namespace}:{account.name}"
        member = f"principal://iam.googleapis.com/{pool}/subject/{subject}"
        self._who = Who(config.place, email, member)

    async def login(self) -> Grant:
        token = await self._account.token(self._token_audiences, seconds=_SUBJECT_SECONDS)
        exchange = partial(_exchanged, self._config, self._audience, token, self._who.account)
        grant: Grant = await self._run(exchange, self._who)
        return grant


class _Cluster(_Base):
    """Workload Identity of GKE: the pool is the project's, the provider the cluster."""

    def __init__(
        self, config: GcpConfig, auth: ClusterIdentity, account: ServiceAccount, run: _Run
    ) -> None:
        super().__init__(config.place, run)
        self._config, self._auth, self._account = config, auth, account
        self._cluster: tuple[str, str, str] | None = None

    async def login(self) -> Grant:
        project, location, name = await self._find_cluster()
        pool = f"{project}.svc.id.goog"
        member = f"serviceAccount:{pool}[{self._account.namespace}/{self._account.name}]"
        self._who = Who(self._config.place, self._account.annotations.get(ANNOTATION, ""), member)
        token = await self._account.token((pool, *self._auth.audiences), seconds=_SUBJECT_SECONDS)
        provider = (
            f"https://container.googleapis.com/v1/projects/{project}/locations/{location}"
            f"/clusters/{name}"
        )
        audience = f"identitynamespace:{pool}:{provider}"
        exchange = partial(_exchanged, self._config, audience, token, self._who.account)
        grant: Grant = await self._run(exchange, self._who)
        return grant

    async def _find_cluster(self) -> tuple[str, str, str]:
        if self._cluster is None:
            auth = self._auth
            given = {
                "project/project-id": auth.cluster_project,
                "instance/attributes/cluster-location": auth.cluster_location,
                "instance/attributes/cluster-name": auth.cluster_name,
            }
            for path, value in given.items():
                if not value:
                    given[path] = await self._ask(path)
            project, location, name = given.values()
            self._cluster = project, location, name
        return self._cluster

    async def _ask(self, path: str) -> str:
        try:
            found = await self._run(partial(_metadata, path), self._who)
        except ProviderError:
            found = ""
        if not found:
            raise self._who.refused(
                "which cluster this is cannot be learned from a metadata server; set "
                "clusterProjectID, clusterLocation and clusterName under workloadIdentity."
            )
        return str(found)


class _Configured(_Base):
    """A configuration file of Workload Identity Federation."""

    def __init__(
        self,
        config: GcpConfig,
        auth: Federation,
        where: ConfigMapKeyRef,
        file: SecretValue,
        run: _Run,
    ) -> None:
        super().__init__(config.place, run)
        info = read_config(file.reveal(), config, token_source=auth.token_source)
        if isinstance(info, str):
            raise CredentialsRefused(
                f"The credentials for {config.place} cannot be used: the key "
                f'"{where.key}" of the ConfigMap "{where.name}" {info}.'
            )
        if auth.email:
            info["service_account_impersonation_url"] = impersonation_url(config, auth.email)
        url = str(info.get("service_account_impersonation_url") or "")
        email = url.rpartition("/")[2].partition(":")[0]
        self._who = Who(config.place, email)
        self._info = info

    async def login(self) -> Grant:
        def log_in(web: Web) -> Grant:
            made = _POOL.from_info(self._info, scopes=SCOPES)
            return _refreshed(made, web)

        grant: Grant = await self._run(log_in, self._who)
        return grant


class Ambient(_Base):
    """The operator's own identity: application default credentials. One for all stores."""

    def __init__(self, place: str, run: _Run) -> None:
        super().__init__(place, run)
        self._credentials: Any = None
        self._project = ""

    async def login(self) -> Grant:
        grant: Grant = await self._run(self._log_in, self._who)
        self._project = grant.project
        return grant

    async def project(self) -> str:
        return self._project or await super().project()

    def _log_in(self, web: Web) -> Grant:
        project = self._project
        if self._credentials is None:
            self._credentials, found = google.auth.default(scopes=SCOPES, request=web)
            project = str(found or "")
        return _refreshed(self._credentials, web, project)


# What runs in threads.


def _guarded(call: Callable[[Web], Any], web: Web, who: Who) -> Any:
    try:
        return call(web)
    except exceptions.DefaultCredentialsError:
        return no_credentials(who.place)
    except Exception as error:  # noqa: BLE001 - the edge to the SDK
        return login_failure(error, web, who)


def _refreshed(credentials: Any, web: Web, project: str = "") -> Grant:
    credentials.refresh(web)
    life = 3600.0
    if credentials.expiry is not None:
        life = (credentials.expiry - dt.datetime.now(dt.UTC).replace(tzinfo=None)).total_seconds()
    # With a clock that is ahead it would have ended before it came, and each read log in anew.
    return Grant(str(credentials.token), max(life, _LEAST), project)


def _exchanged(
    config: GcpConfig, audience: str, subject: SecretValue, email: str, web: Web
) -> Grant:
    """A token of Google for one of a ServiceAccount, and for that one of a service account."""
    made = _POOL(
        audience=audience,
        subject_token_type=_JWT,
        token_url=f"{config.sts}/v1/token",
        subject_token_supplier=_Given(subject),
        service_account_impersonation_url=impersonation_url(config, email) if email else None,
        scopes=SCOPES,
    )
    return _refreshed(made, web)


class _Given(identity_pool.SubjectTokenSupplier):
    """The token that was made for this exchange."""

    def __init__(self, token: SecretValue) -> None:
        self._token = token

    def get_subject_token(self, _context: Any, _request: Any) -> str:
        return self._token.reveal().decode("ascii")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token cannot be pickled")


def _metadata(path: str, web: Web) -> str:
    """A value of the metadata server; "" where it has none."""
    host = os.environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
    answer = web(
        f"http://{host}/computeMetadata/v1/{path}",
        headers={"Metadata-Flavor": "Google"},
        timeout=2.0,
    )
    if answer.status != 200 or answer.headers.get("Metadata-Flavor") != "Google":
        return ""
    return answer.data.decode("utf-8", "replace").strip()

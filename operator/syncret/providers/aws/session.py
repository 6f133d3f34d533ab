"""boto3: the one session, and the clients that are made of it.

A session costs 38 ms and 8 MiB, a client of a shared session 2 ms and next to nothing, so all
stores share one and give their credentials to their client. The session also shares what the
SDK's own chain found (and renews) among all stores that use the operator's identity. Sessions are
not thread-safe, clients are: clients are made under a lock.

The loggers of the SDK are kept at WARNING whatever the root logger says: at DEBUG, botocore prints
the bodies of responses.
"""

import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from syncret import __version__
from syncret.errors import ProviderError, ProviderRejected
from syncret.providers.aws.config import (
    ACCESS_KEY_ID,
    SECRET_ACCESS_KEY,
    SESSION_TOKEN,
    AwsConfig,
)
from syncret.providers.aws.errors import Call, CredentialsRefused, failure
from syncret.providers.aws.keys import Keys
from syncret.providers.aws.services import Place
from syncret.providers.base import SecretValue

_LOGGERS: Final = ("boto3", "botocore", "s3transfer", "urllib3")

# Printable ASCII without blanks. A line break in a header's value would make the SDK raise an
# error that quotes it.
_CREDENTIAL: Final = re.compile(rb"[!-~]+")


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; ``attempts`` counts the first.

    The SDK tries only once more, for the sake of a connection that broke: real waiting is the
    business of the work queue, which holds no thread while it waits.
    """

    connect: float = 3.0
    read: float = 5.0
    total: float = 30.0  # of a whole fetch, check or open
    attempts: int = 2


class AwsSession:
    """The session, loaded with the SDK when the first client is made. Thread-safe."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._lock = threading.Lock()
        self._session: Any = None
        self._credentials: Any = None

    def client(
        self,
        place: Place,
        endpoint: str,
        credentials: Any = None,
        *,
        pool: int,
        signed: bool = True,
    ) -> Any:
        """A boto3 client, or the ProviderError that keeps it from being made. Blocks.

        ``credentials``: as botocore has them; None: those of the SDK's own chain. Without
        ``signed`` there are none. ``pool``: connections that are kept.
        """
        try:
            with self._lock:
                session = self._load()
                self._credentials.given = credentials
                try:
                    return session.client(
                        place.service.sdk,
                        region_name=place.region,
                        endpoint_url=endpoint or None,
                        config=self._config(pool, signed=signed),
                    )
                finally:
                    self._credentials.given = None
        except ValueError:
            # What botocore raises for an endpoint or a region that cannot be put into a URL.
            return ProviderRejected(f"{place} cannot be addressed: correct region and endpoint.")
        except Exception as error:  # noqa: BLE001 - the edge to the SDK
            problem = failure(error, Call(place, "connect"))
            assert isinstance(problem, ProviderError)  # noqa: S101 - no service was asked
            return problem

    def _load(self) -> Any:
        if self._session is None:
            import boto3

            from syncret.providers.aws.sdk import GivenCredentials

            for name in _LOGGERS:
                logger = logging.getLogger(name)
                if logger.level < logging.WARNING:  # NOTSET included: it would ask the root
                    logger.setLevel(logging.WARNING)
            self._credentials = GivenCredentials()
            self._session = boto3.session.Session(botocore_session=self._credentials)
        return self._session

    def _config(self, pool: int, *, signed: bool) -> Any:
        from botocore import UNSIGNED
        from botocore.config import Config

        return Config(
            connect_timeout=self._timing.connect,
            read_timeout=self._timing.read,
            retries={"mode": "standard", "total_max_attempts": self._timing.attempts},
            max_pool_connections=pool,
            tcp_keepalive=True,
            user_agent_extra=f"syncret/{__version__}",
            signature_version=None if signed else UNSIGNED,
        )


def static_keys(config: AwsConfig, credentials: Mapping[str, SecretValue]) -> Keys | None:
    """The access key that a store names; None if it names none. Raises CredentialsRefused."""
    given: dict[str, str] = {}
    for name, reference in config.credentials:
        # The line break that "echo" and editors add is no part of a key.
        value = credentials[name].reveal().strip()
        if not _CREDENTIAL.fullmatch(value):
            raise CredentialsRefused(
                f'The credentials for {config.place} cannot be used: the key "{reference.key}" of '
                f'the Secret "{reference.name}" is empty or holds blanks or other than ASCII '
                "characters. Correct it."
            )
        given[name] = value.decode("ascii")
    if not given:
        return None
    return Keys(given[ACCESS_KEY_ID], given[SECRET_ACCESS_KEY], given.get(SESSION_TOKEN))

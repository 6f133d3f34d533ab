"""Calls of Secret Manager: with a token, within a time, told of, and their failures as values.

Nothing is raised in here: an exception of the SDK holds what the store has answered.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from syncret.errors import ProviderError, ProviderUnavailable, SyncretError
from syncret.providers.base import CallObserver, Ref
from syncret.providers.gcp import names
from syncret.providers.gcp.errors import (
    ACCESS,
    GET_SECRET,
    GET_VERSION,
    LIST,
    LIST_VERSIONS,
    STORE_WIDE,
    Call,
    CredentialsRefused,
    failure,
    not_understood,
)
from syncret.providers.gcp.tokens import Tokens
from syncret.providers.outcomes import outcome_word

#: The method of the SDK, and the field of its request that says what it is about.
_METHODS: Final = {
    ACCESS: ("access_secret_version", "name"),
    GET_VERSION: ("get_secret_version", "name"),
    LIST_VERSIONS: ("list_secret_versions", "parent"),
    GET_SECRET: ("get_secret", "name"),
    LIST: ("list_secrets", "parent"),
}


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; ``attempts`` counts the first.

    A call is made once more, at once, for the sake of a connection that broke: real waiting is the
    business of the work queue.
    """

    call: float = 8.0
    connect: float = 3.0  # to a token endpoint
    total: float = 30.0  # of a whole fetch, check or login
    attempts: int = 2


class Calls:
    """The calls of one store; ``project`` gives the project of short names."""

    def __init__(
        self,
        sdk: Any,
        *,
        place: str,
        location: str,
        tokens: Tokens,
        project: Callable[[], Awaitable[str]],
        observe: CallObserver,
        timing: Timing,
    ) -> None:
        self.place = place
        self.location = location
        self.timing = timing
        self._sdk = sdk
        self._tokens = tokens
        self._project = project
        self._observe = observe

    async def run(self, operation: str, ref: Ref | None, version: str = "", **fields: Any) -> Any:
        """The answer (a protocol buffer), NotFound, or the failure as a value.

        ``ref``: the secret that it is about; None: all of the project. ``fields``: more of the
        request.
        """
        key = ref.key if ref is not None else ""
        call = Call(self.place, operation, key, version)
        method, target = _METHODS[operation]
        try:
            resource = await self._resource(ref, version)
        except SyncretError as error:
            return _of_login(error)
        request = fields | {target: resource}
        send = getattr(self._sdk, method)
        result = await self._authorized(call, send, request)
        for _ in range(1, self.timing.attempts):
            if not isinstance(result, ProviderUnavailable):
                break
            result = await self._authorized(call, send, request)
        return result

    async def _authorized(self, call: Call, send: Any, request: Any) -> Any:
        """One call; a second one with a new token, if the store does not accept an old one."""
        while True:
            try:
                token = await self._tokens.get()
            except SyncretError as error:
                return _of_login(error)
            result = await self._once(call, send, request, token.text)
            if not isinstance(result, CredentialsRefused) or not self._tokens.refused(token):
                return result

    async def _once(self, call: Call, send: Any, request: Any, token: str) -> Any:
        result: Any = None
        word, started = "error", time.monotonic()
        try:
            answer = await send(
                request=request,
                retry=None,
                timeout=self.timing.call,
                metadata=(("authorization", f"Bearer {token}"),),
            )
            # A page of the SDK has the attributes of the answer that it holds.
            result = answer.message if answer.message is not None else not_understood(self.place)
        except Exception as error:  # noqa: BLE001 - the edge to the SDK
            result = failure(error, call)
        finally:
            word = outcome_word(result) if result is not None else word
            self._observe(
                operation=call.operation, outcome=word, seconds=time.monotonic() - started
            )
        return result

    async def _resource(self, ref: Ref | None, version: str) -> str:
        """The resource name that a request needs."""
        project = ""
        if ref is None or names.needs_project(ref):
            project = await self._project()
        if ref is None:
            return names.parent(project, self.location)
        secret = names.secret_name(ref, project=project, location=self.location)
        return f"{secret}/versions/{version}" if version else secret


def _of_login(error: SyncretError) -> ProviderError:
    """A failure to log in, which whatever it is concerns every secret."""
    if isinstance(error, STORE_WIDE):
        return error.with_traceback(None)
    return CredentialsRefused(error.message)

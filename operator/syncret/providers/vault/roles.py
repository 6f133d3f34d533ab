"""Static roles of Vault's database and LDAP engines: accounts whose passwords Vault rotates.

A role is a key, its account's name and password are the value, and the time of the last rotation is
the version. What changes with each read (the time that is left) is no part of it.

Around a rotation Vault tells a password that is about to end: the time that is left is nought or,
with a schedule, has begun anew already, while the password is that of before. A password that is
due is therefore read again within seconds, once for each rotation: if Vault has not rotated by
then (the database may be down), what there is counts, and the next refresh finds the new one.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from syncret.errors import (
    ProviderError,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from syncret.providers.base import (
    NOTHING_KNOWN,
    Found,
    Known,
    NotFound,
    Outcome,
    Query,
    Ref,
    SecretValue,
)
from syncret.providers.fetching import Fetching
from syncret.providers.vault import kv, search
from syncret.providers.vault.answers import (
    Answer,
    Call,
    not_understood,
    problem,
)
from syncret.providers.vault.asking import Asking, data_of, of_one
from syncret.providers.vault.config import DATABASE
from syncret.providers.vault.keys import Place, role_of
from syncret.providers.vault.listing import LIMITS, add, fetch_all, next_folders
from syncret.providers.vault.mounts import MOUNT, look_at

READ: Final = "ReadStaticRole"
LIST: Final = "ListStaticRoles"
ROTATE: Final = "RotateStaticRole"

#: What says how long the password has, and not what it is.
_TIMES: Final = frozenset(
    {"ttl", "last_vault_rotation", "rotation_period", "rotation_schedule", "rotation_window"}
)

#: How Vault says, with 400, that there is no such role.
_UNKNOWN: Final = ("unknown role", "no static role found", "role doesn't exist")

#: Failures after which a rotation may have been made all the same.
_UNSURE: Final = (ProviderTimeout, ProviderUnavailable)


@dataclass(frozen=True, slots=True)
class Read:
    """A role as it was read. ``left``: seconds until the next rotation, as Vault says."""

    value: SecretValue
    left: float


class RolesClient:
    """An open store of static roles."""

    def __init__(self, asking: Asking) -> None:
        self.limits = LIMITS
        self._asking = asking
        self._place = asking.place
        self._wire = asking.wire
        self._mount = asking.config.mount
        database = asking.config.engine == DATABASE
        self._credentials = "static-creds" if database else "static-cred"
        self._roles = "static-roles" if database else "static-role"
        self._seen = False
        #: By role: the version that was read, and when it is due by the loop's clock; None when
        #: its rotation was waited for.
        self._due: dict[str, tuple[str, float | None]] = {}
        #: By role: the wish that was last fulfilled here, and the version that came of it.
        self._rotated: dict[str, tuple[str, str]] = {}

    async def fetch(
        self,
        refs: Collection[Ref],
        *,
        known: Known = NOTHING_KNOWN,  # noqa: ARG002 - the version comes with the value
    ) -> Mapping[Ref, Outcome]:
        return await fetch_all(self._asking, refs, self._fetched)

    async def find(self, query: Query, *, page: str = "") -> Found:
        return await self._asking.within(self._page(query, page))

    async def check(self) -> None:
        await self._asking.within(self._checked())

    async def rotate(self, key: str, *, token: str) -> str:
        """Rotates now; the version is that of the new password.

        Vault knows no tokens. A wish that was fulfilled here is not fulfilled twice; one that a
        process did not live to write down is, which changes the password twice before it is read.
        """
        return await self._asking.within(self._rotate(role_of(key), token))

    async def close(self) -> None:
        await self._asking.close()

    # Reads

    async def _fetched(self, fetch: Fetching, ref: Ref) -> None:
        try:
            role = _role_of(ref)
        except ProviderRejected as malformed:
            fetch.add(ref, malformed.with_traceback(None))
            return
        outcome: Outcome | None = await self._current(fetch, role)
        if isinstance(outcome, NotFound) and not self._seen:
            outcome = await self._believed(outcome)
        add(fetch, ref, outcome)

    async def _current(self, fetch: Fetching, role: str) -> Outcome | None:
        """The role's value, read again for a while if it is being rotated."""
        waits = iter(self._asking.timing.rotating)
        read: Read | NotFound | ProviderError | None = None
        while True:
            again = await self._asking.asked(
                READ, partial(self._read, role), unless=fetch.ended, without=fetch.end
            )
            if read is not None and not isinstance(again, Read):
                break  # what was read before it is better than nothing
            read = again
            if not isinstance(read, Read) or not self._is_due(role, read):
                break
            wait = next(waits, None)
            if wait is None:
                self._due[role] = (read.value.version, None)
                break
            await asyncio.sleep(wait)
        return read.value if isinstance(read, Read) else read

    def _is_due(self, role: str, read: Read) -> bool:
        """Whether the password is one that Vault is about to replace, or should have replaced."""
        if not read.value.version:
            return False  # it was never rotated
        now = asyncio.get_running_loop().time()
        version, due = self._due.get(role, ("", None))
        if version != read.value.version:
            due = now + read.left
        elif due is not None:
            # With a schedule, what is left begins anew before the rotation is made.
            due = min(due, now + read.left)
        self._due[role] = (read.value.version, due)
        return due is not None and now >= due

    # What runs in threads. They return failures instead of raising them: see calls.py.

    def _read(self, role: str) -> Read | NotFound | ProviderError:
        path = f"{self._mount}/{self._credentials}/{role}"
        answer = self._wire.ask(lambda client: client.adapter.get(f"/v1/{quote(path)}"))
        if isinstance(answer, ProviderError):
            return answer
        if answer.ok:
            return _made(answer.body) or not_understood(self._place)
        return self._problem(answer, Call(self._place, READ, path, key=role))

    def _post(self, role: str) -> bool | NotFound | ProviderError:
        path = f"{self._mount}/rotate-role/{role}"
        answer = self._wire.ask(
            lambda client: client.adapter.post(f"/v1/{quote(path)}", json={}), repeat=False
        )
        if isinstance(answer, ProviderError) or answer.ok:
            return answer if isinstance(answer, ProviderError) else True
        call = Call(self._place, ROTATE, path, "update", key=role, verb="Rotating")
        found = self._problem(answer, call)
        if answer.status == 500 and isinstance(found, ProviderUnavailable):
            return ProviderUnavailable(
                f"{call.doing} failed: Vault does not reach the system that has the account, or "
                "may not set its password there. See Vault's log."
            )
        return found

    def _problem(self, answer: Answer, call: Call) -> NotFound | ProviderError:
        if answer.status == 400 and any(word in (answer.errors or "") for word in _UNKNOWN):
            return NotFound()
        if "is not an allowed role" in (answer.errors or ""):
            return ProviderRejected(
                f"{call.doing} is refused: the connection of the role does not allow it. Add the "
                "role to its allowed_roles."
            )
        found = problem(answer, call)
        if answer.status == 400 and isinstance(found, ProviderRejected):
            return ProviderRejected(
                f"{call.doing} is refused: see Vault's log, and correct the role there."
            )
        return found

    # Searches

    async def _page(self, query: Query, page: str) -> Found | ProviderError:
        if query.tags:
            return ProviderRejected(
                "Static roles of Vault have no tags, so nothing is found by them: leave find.tags "
                "out."
            )
        start = Place(self._mount, query.path[: query.path.rfind("/") + 1])
        if start.path:
            try:
                role_of(start.path[:-1])
            except ProviderRejected as malformed:
                return malformed.with_traceback(None)
        todo = search.todo(page, start)
        found = await next_folders(
            self._asking,
            query,
            start,
            todo,
            operation=LIST,
            path=lambda folder: f"{self._mount}/{self._roles}/{folder}".rstrip("/"),
        )
        if isinstance(found, ProviderError):
            return found
        return Found(found.secrets, search.Todo(found.folders).text())

    # The check

    async def _checked(self) -> bool | ProviderError:
        found = await self._asking.asked(MOUNT, self._look)
        return found if found is not None else not_understood(self._place)

    async def _believed(self, missing: NotFound) -> Outcome:
        found = await self._asking.asked(MOUNT, self._look)
        if found is None or of_one(found):
            return missing  # whoever was allowed to read it there knows best
        return found if isinstance(found, ProviderError) else missing

    def _look(self) -> bool | ProviderError:
        needed = f"{self._mount}/{self._credentials}/*"
        found = look_at(self._wire, self._asking.config, self._mount, needed)
        if found is True:
            self._seen = True
        return found

    # Rotation

    async def _rotate(self, role: str, token: str) -> str | ProviderError:
        wish, made = self._rotated.get(role, ("", ""))
        if wish == token:
            return made
        before = await self._version(role)
        if isinstance(before, ProviderError) and not of_one(before):
            return before
        done = await self._asking.asked(ROTATE, partial(self._post, role))
        if isinstance(done, NotFound) or done is None:
            return self._none(role)
        after = await self._version(role)
        now = after if isinstance(after, str) else ""
        if isinstance(done, ProviderError) and not (
            isinstance(done, _UNSURE) and isinstance(before, str) and now not in {"", before}
        ):
            return done
        self._rotated[role] = (token, now)
        return now

    async def _version(self, role: str) -> str | ProviderError:
        """The version that the role has now."""
        read = await self._asking.asked(READ, partial(self._read, role))
        if isinstance(read, Read):
            return read.value.version
        if isinstance(read, ProviderError):
            return read
        return self._none(role)

    def _none(self, role: str) -> ProviderRejected:
        return ProviderRejected(
            f'{self._place} has no static role "{role}" at "{self._mount}" that could be rotated.'
        )


def _role_of(ref: Ref) -> str:
    """The role that a reference means. Raises ProviderRejected."""
    if ref.metadata:
        raise ProviderRejected(
            "A static role of Vault has no metadata: leave remoteRef.metadataPolicy out."
        )
    if ref.version:
        raise ProviderRejected(
            "A static role of Vault has its current password only: leave remoteRef.version out."
        )
    return role_of(ref.key)


def _made(body: Any) -> Read | None:
    data = data_of(body)
    if data is None or not isinstance(data.get("username"), str):
        return None
    rotated = data.get("last_vault_rotation")
    version = rotated if isinstance(rotated, str) and not rotated.startswith("0001-") else ""
    fields = {name: value for name, value in data.items() if name not in _TIMES}
    try:
        left = float(str(getattr(data.get("ttl"), "text", data.get("ttl") or 0)))
    except ValueError:
        left = 0.0
    value = SecretValue(kv.document(fields), version=version, created=kv.time_of(version))
    return Read(value, left)

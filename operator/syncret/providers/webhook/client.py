"""An open webhook: one request for each secret.

What a version is: what ``result.versionJSONPath`` finds in the answer; else, a keyed digest of the
answer's ETag, or else its Last-Modified. The ETag itself is not shown, because many servers make it
by hashing the body, and a plain hash of a secret can be tested with guesses. It is kept in memory:
where the version that a reader knows came with an ETag, the request asks for the value only if it
has another one (``If-None-Match``), which costs the API next to nothing and answers with 304.
"""

import asyncio
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final

from yarl import URL

from syncret.errors import AccessDenied, ProviderError, ProviderRejected
from syncret.providers.base import (
    NOTHING_KNOWN,
    Found,
    Known,
    Limits,
    NotFound,
    Outcome,
    Query,
    Ref,
    SecretValue,
    Unchanged,
)
from syncret.providers.fetching import Fetching
from syncret.providers.web import (
    STORE_WIDE,
    Answer,
    CredentialsRefused,
    Sent,
    Web,
    busy,
    not_understood,
    timed_out,
)
from syncret.providers.webhook import jsonpath
from syncret.providers.webhook.config import PATH, WebhookConfig
from syncret.providers.webhook.placeholders import NotWritable, Text

#: Somebody else's server, of which nothing is known.
LIMITS: Final = Limits(batch=1, concurrency=8, rate=20.0)

#: Bytes of an answer. A Secret holds one MiB, and JSON may write a byte in six.
MAX_BYTES: Final = 8 * 1024 * 1024

_READ: Final = "Read"
_LONGEST_VERSION: Final = 256

#: Answers that are remembered, each some hundred bytes. Beyond, the oldest is asked for in full.
_MOST_MARKS: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Mark:
    """By what the API recognises an answer that it gave."""

    version: str
    etag: str


class WebhookClient:
    """An open store. ``secrets``: the values by the names of the spec."""

    def __init__(
        self,
        config: WebhookConfig,
        secrets: Mapping[str, SecretValue],
        *,
        web: Web,
        timeout: float,
        digest_key: bytes,
    ) -> None:
        self.limits = LIMITS
        self._config = config
        self._secrets = secrets
        self._web = web
        self._timeout = timeout
        self._digest_key = digest_key
        self._marks: dict[Ref, _Mark] = {}

    async def fetch(
        self, refs: Collection[Ref], *, known: Known = NOTHING_KNOWN
    ) -> Mapping[Ref, Outcome]:
        fetch = Fetching(fatal=CredentialsRefused)
        try:
            async with asyncio.timeout(self._timeout), asyncio.TaskGroup() as group:
                for ref in dict.fromkeys(refs):
                    group.create_task(self._read(fetch, ref, known.get(ref, "")))
        except TimeoutError:
            fetch.end(timed_out(self._config.place))
        return fetch.result(refs)

    async def find(self, query: Query, *, page: str = "") -> Found:  # noqa: ARG002 - the contract's
        raise ProviderRejected(
            f"{self._config.place} cannot be searched: name the keys in data or in "
            "dataFrom[].extract instead of dataFrom[].find."
        )

    async def check(self) -> None:
        outcome: Outcome | None = None
        try:
            async with asyncio.timeout(self._timeout):
                outcome = await self._ask(Ref(self._config.check), "", lambda: False)
        except TimeoutError:
            outcome = timed_out(self._config.place)
        if isinstance(outcome, ProviderError):
            raise outcome

    async def close(self) -> None:
        await self._web.close()

    async def _read(self, fetch: Fetching, ref: Ref, known: str) -> None:
        refused = self._refused(ref)
        if refused is not None:
            fetch.add(ref, refused)
            return
        outcome = await self._ask(ref, known, fetch.ended)
        if isinstance(outcome, STORE_WIDE):
            fetch.end(outcome)
        elif outcome is not None:
            fetch.add(ref, outcome)

    def _refused(self, ref: Ref) -> ProviderError | None:
        place = self._config.place
        if ref.metadata:
            return ProviderRejected(f"{place} has no tags: leave metadataPolicy out.")
        if ref.version and not self._config.pins:
            return ProviderRejected(
                f"{place} is not asked for versions: leave remoteRef.version out, or put "
                f"{{{{ version }}}} into {PATH}."
            )
        return None

    async def _ask(self, ref: Ref, known: str, unless: Any) -> Outcome | None:
        mark = self._marks.get(ref)
        etag = mark.etag if mark is not None and known and mark.version == known else ""
        request = self._request(ref, etag)
        if isinstance(request, ProviderError):
            return request
        judge = partial(self._judge, ref, known if etag else "")
        return await self._web.ask(_READ, request, judge, unless=unless)

    def _request(self, ref: Ref, etag: str) -> Sent | ProviderError:
        """The request for a reference; an error is returned, so that no frame of it is kept."""
        config = self._config
        values = {
            "key": ref.key.encode("utf-8", "surrogatepass"),
            "version": ref.version.encode("utf-8", "surrogatepass"),
            # The line break that "echo" and editors add is no part of a token.
            **{f"secrets.{name}": one.reveal().strip() for name, one in self._secrets.items()},
        }
        headers = {"Accept": "application/json"}
        if etag:
            headers["If-None-Match"] = etag
        try:
            for name, text in config.headers:
                headers[name] = _header(text, values)
            body = None if config.body is None else config.body.render(values)
            url = URL(config.url.render(values).decode("ascii"), encoded=True)
        except NotWritable as error:
            return self._not_writable(error.name)
        except ValueError:
            return self._not_writable("key")
        return Sent(config.method, url, headers, body)

    def _not_writable(self, name: str) -> ProviderError:
        kind, _, secret = name.partition(".")
        if kind == "secrets":
            return CredentialsRefused(
                f"The credentials for {self._config.place[:1].lower()}{self._config.place[1:]} "
                f'cannot be used: the secret "{secret}" holds control characters, or is not text. '
                "Correct it."
            )
        return ProviderRejected(
            f"The {kind} cannot be written into the request to "
            f"{self._config.place[:1].lower()}{self._config.place[1:]}: it holds control "
            'characters, or "." or ".." as a part of a path.'
        )

    # What becomes of an answer. Runs inside the request, which tells the observer of it.

    def _judge(self, ref: Ref, known: str, answer: Answer) -> Outcome:
        place = self._config.place
        if answer.status == 304 and known:
            return Unchanged(known)
        problem = busy(answer, place) or self._refusal(ref, answer)
        if problem is not None:
            return problem
        if answer.status in self._config.not_found:
            if _is_json(answer):
                return NotFound(version_missing=bool(ref.version))
            return ProviderRejected(
                f"{place} answered HTTP {answer.status} with something other than JSON, which is "
                "not taken for a missing secret: check the url and the proxies before it."
            )
        if not 200 <= answer.status < 300:
            return ProviderRejected(
                f'Reading "{_short(ref.key)}" from {_inside(place)} is refused with HTTP '
                f"{answer.status}: correct the key, or the url of the store; if that is how it "
                "says that a secret does not exist, set notFoundStatus."
            )
        return self._value(ref, answer)

    def _refusal(self, ref: Ref, answer: Answer) -> ProviderError | None:
        place = self._config.place
        if answer.status in {401, 407}:
            return CredentialsRefused(
                f"{place} refused the credentials (HTTP {answer.status}): correct the store's "
                "secrets and headers."
            )
        if answer.status == 403:
            return AccessDenied(
                f'Reading "{_short(ref.key)}" from {_inside(place)} is denied (HTTP 403): allow it '
                "there to the identity of the store's secrets."
            )
        if 300 <= answer.status < 400:
            return ProviderRejected(
                f"{place} answered with a redirect (HTTP {answer.status}), which is not followed: "
                "set the url that it leads to."
            )
        return None

    def _value(self, ref: Ref, answer: Answer) -> Outcome:
        config = self._config
        data, version = answer.body, ""
        if config.result is not None or config.version is not None:
            try:
                document = jsonpath.load(answer.body)
            except ValueError:
                return not_understood(config.place, "JSON")
            if config.result is not None:
                found = config.result.find(document)
                if found is None:
                    return ProviderRejected(
                        f'The answer of {_inside(config.place)} for "{_short(ref.key)}" has '
                        "nothing at result.jsonPath: correct the path, or the secret."
                    )
                try:
                    data = jsonpath.text_of(found)
                except ValueError:
                    return not_understood(config.place, "JSON of a usable depth")
            if config.version is not None:
                version = _as_version(config.version.find(document))
        modified = _time(answer.headers.get("Last-Modified", ""))
        etag = answer.headers.get("ETag", "")
        version = version or self._digest(etag) or (modified.isoformat() if modified else "")
        if version and etag and not ref.version:
            self._marks[ref] = _Mark(version, etag)
            if len(self._marks) > _MOST_MARKS:
                del self._marks[next(iter(self._marks))]
        return SecretValue(data, version=version, created=modified)

    def _digest(self, etag: str) -> str:
        if not etag:
            return ""
        strong = etag.removeprefix("W/")
        return "etag-" + hmac.digest(self._digest_key, strong.encode(), "sha256").hex()[:16]


def _header(text: Text, values: Mapping[str, bytes]) -> str:
    """Raises NotWritable or UnicodeDecodeError."""
    return text.render(values).decode()


def _is_json(answer: Answer) -> bool:
    try:
        jsonpath.load(answer.body)
    except ValueError:
        return False
    return True


def _as_version(found: Any) -> str:
    if isinstance(found, str | int) and not isinstance(found, bool):
        text = str(found)
        return text if len(text) <= _LONGEST_VERSION and text.isprintable() else ""
    return ""


def _time(header: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(header)
    except (ValueError, TypeError, IndexError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _short(key: str) -> str:
    return key if len(key) <= 200 else f"{key[:200]}…"


def _inside(place: str) -> str:
    return place[:1].lower() + place[1:]

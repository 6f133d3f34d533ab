"""Reading AWS Secrets Manager.

Reads of current values ride in batches, reads of a version go alone, because a batch knows no
versions. The answers are sorted out so that one secret's trouble is that secret's outcome:

- A failure that says nothing about one secret (refused credentials, throttling, no answer) ends
  the fetch: calls that have not begun are not made. What has been read by then is kept; it is
  raised if nothing was, and always if the credentials are refused.
- A batch that is refused as a whole, or leaves a secret unanswered, is followed by single reads,
  which tell which secret it was.
- Where the policy allows no BatchGetSecretValue, everything is read singly.

Tags are read one secret at a time (DescribeSecret); searches are ListSecrets, see ``search.py``.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from syncret.errors import AccessDenied, ProviderError, ProviderRejected
from syncret.providers.aws import ids, search
from syncret.providers.aws.client import AwsClient
from syncret.providers.aws.errors import (
    STORE_WIDE,
    Call,
    failure,
    not_understood,
    service_failure,
)
from syncret.providers.aws.rotation import ROTATE, rotate
from syncret.providers.aws.services import Place
from syncret.providers.aws.tags import tags_json
from syncret.providers.base import Found, Known, Limits, NotFound, Outcome, Query, Ref, SecretValue
from syncret.providers.calls import THREADS_PER_STORE
from syncret.providers.fetching import Fetching, together

logger = logging.getLogger("syncret.providers.aws")

GET: Final = "GetSecretValue"
BATCH_GET: Final = "BatchGetSecretValue"
LIST: Final = "ListSecrets"
DESCRIBE: Final = "DescribeSecret"

#: Read to see whether the store works. It need not exist, and should not.
CHECK_KEY: Final = "syncret/store-check"

#: AWS allows 100 BatchGetSecretValue a second in an account and region; others live there as well.
LIMITS: Final = Limits(batch=ids.BATCH, concurrency=THREADS_PER_STORE, rate=50.0)

# Pages of one batch that are followed; what is missing then is read singly.
_MAX_PAGES: Final = 20


@dataclass(frozen=True, slots=True)
class _Page:
    """An answer to BatchGetSecretValue, by the ids that were asked for."""

    outcomes: Mapping[str, Outcome]
    next_token: str


class SecretsManagerClient(AwsClient):
    """An open store.

    ``tell_once`` says whether the want of the batch permission is still to be logged.
    """

    limits = LIMITS

    def __init__(self, boto: Any, *, tell_once: Callable[[], bool], **common: Any) -> None:
        super().__init__(boto, **common)
        self._tell_once = tell_once
        self._batch_denied = False

    async def _read(
        self,
        fetch: Fetching,
        refs: Collection[Ref],
        known: Known,  # noqa: ARG002 - to tell a version costs what it costs to read it
    ) -> None:
        batches, alone = ids.batches(refs)
        calls = [self._read_batch(fetch, batch) for batch in batches]
        await together([*calls, *(self._read_one(fetch, ref) for ref in alone)])

    async def _search(self, query: Query, page: str) -> Found | Outcome | None:
        return await self._calls.run(LIST, partial(self._list, query, page))

    async def _try(self) -> Outcome | None:
        key = self._prefix + CHECK_KEY
        return await self._calls.run(GET, partial(self._get, key, {}))

    async def rotate(self, key: str, *, token: str) -> str:
        call = partial(rotate, self._boto, self._place, self._behind_prefix(key), token)
        version = await self._within(self._calls.run(ROTATE, call))
        if isinstance(version, str):
            return version
        raise version or not_understood(self._place)

    async def _read_one(self, fetch: Fetching, ref: Ref) -> None:
        operation, call = GET, partial(self._describe, ref.key)
        if ref.metadata:
            operation = DESCRIBE
        else:
            try:
                version = ids.version_parameters(ref.version)
            except ProviderRejected as malformed:
                fetch.add(ref, malformed.with_traceback(None))
                return
            call = partial(self._get, ref.key, version)
        outcome = await self._calls.run(operation, call, unless=fetch.ended)
        if isinstance(outcome, STORE_WIDE):
            fetch.end(outcome)
        elif outcome is not None:
            fetch.add(ref, outcome)

    async def _read_batch(self, fetch: Fetching, batch: tuple[str, ...]) -> None:
        left = list(batch)
        token = ""
        for _ in range(_MAX_PAGES):
            page = await self._calls.run(
                BATCH_GET,
                partial(self._get_batch, batch, token),
                unless=lambda: fetch.ended() or self._batch_denied,
            )
            if isinstance(page, STORE_WIDE):
                fetch.end(page)
            elif isinstance(page, AccessDenied):
                self._remember_denial()
            if not isinstance(page, _Page):
                break
            for secret_id, outcome in page.outcomes.items():
                fetch.add(Ref(secret_id), outcome)
            left = [secret_id for secret_id in left if secret_id not in page.outcomes]
            token = page.next_token
            if not left or not token:
                break
        await together([self._read_one(fetch, Ref(secret_id)) for secret_id in left])

    def _remember_denial(self) -> None:
        self._batch_denied = True
        if self._tell_once():
            logger.info(
                "%s does not allow secretsmanager:%s, so secrets are read one by one: allow it "
                'on the resource "*" to read 20 at once',
                self._place,
                BATCH_GET,
            )

    # What runs in threads. They return failures instead of raising them: see calls.py.

    def _get(self, key: str, version: Mapping[str, str]) -> Outcome:
        try:
            answer = self._boto.get_secret_value(SecretId=key, **version)
            return _value(answer) or not_understood(self._place)
        except Exception as error:  # noqa: BLE001 - the edge to the SDK
            return failure(error, Call(self._place, GET, key))

    def _describe(self, key: str) -> Outcome:
        try:
            answer = self._boto.describe_secret(SecretId=key)
            if "ARN" not in answer:
                return not_understood(self._place)
            if answer.get("DeletedDate"):
                return NotFound()
            return SecretValue(tags_json(answer.get("Tags")))
        except Exception as error:  # noqa: BLE001 - the edge to the SDK
            return failure(error, Call(self._place, DESCRIBE, key))

    def _list(self, query: Query, page: str) -> Found | NotFound | ProviderError:
        try:
            more = {"NextToken": page} if page else {}
            filters = search.filters(self._under_prefix(query))
            answer = self._boto.list_secrets(MaxResults=search.PAGE, Filters=filters, **more)
            if "SecretList" not in answer:
                return not_understood(self._place)
            return Found(
                search.matching(query, answer, self._prefix), answer.get("NextToken") or ""
            )
        except Exception as error:  # noqa: BLE001 - the edge to the SDK
            return failure(error, Call(self._place, LIST))

    def _get_batch(self, batch: tuple[str, ...], token: str) -> _Page | NotFound | ProviderError:
        try:
            more = {"NextToken": token} if token else {}
            answer = self._boto.batch_get_secret_value(SecretIdList=list(batch), **more)
            if "SecretValues" not in answer and "Errors" not in answer:
                return not_understood(self._place)
            return _Page(_matched(self._place, batch, answer), answer.get("NextToken") or "")
        except Exception as error:  # noqa: BLE001 - the edge to the SDK
            return failure(error, Call(self._place, BATCH_GET))


def _matched(place: Place, batch: Sequence[str], answer: Mapping[str, Any]) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    for entry in answer.get("Errors") or ():
        for secret_id in ids.answered_by_error(batch, entry.get("SecretId") or ""):
            outcomes[secret_id] = service_failure(
                entry.get("ErrorCode") or "",
                entry.get("Message") or "",
                Call(place, GET, secret_id),  # the permission that counts is that of a single read
            )
    for entry in answer.get("SecretValues") or ():
        if (value := _value(entry)) is None:
            continue
        arn, name = entry.get("ARN") or "", entry.get("Name") or ""
        for secret_id in ids.answered_by_value(batch, arn=arn, name=name):
            outcomes[secret_id] = value
    return outcomes


def _value(entry: Mapping[str, Any]) -> SecretValue | None:
    """The value of an answer or an entry; None if it has none."""
    text, data = entry.get("SecretString"), entry.get("SecretBinary")
    if text is not None:
        # Half a surrogate pair can be written in JSON. To refuse it would raise an error that
        # holds the whole text; whoever reads the bytes will notice.
        data = text.encode("utf-8", "surrogatepass")
    if data is None:
        return None
    created = entry.get("CreatedDate")
    return SecretValue(
        bytes(data),
        version=str(entry.get("VersionId") or ""),
        created=created if isinstance(created, datetime) else None,
    )

"""Messages of an SQS queue, by long polling, with the operator's own identity.

boto3 blocks, so calls run in threads of their own. A thread cannot be interrupted: what a poll
that nobody waits for any more brings, the queue gives to somebody else after its visibility
timeout. That is the queue's own setting; SQS's default of 30 s is longer than a message is held.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from syncret import __version__
from syncret.errors import (
    AccessDenied,
    ProviderError,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    Throttled,
)
from syncret.sources.config import Sqs
from syncret.sources.pulling import Message

T = TypeVar("T")

#: Seconds that a poll waits for messages: the most that SQS takes, and the cheapest.
WAIT: Final = 20

#: Messages of one poll: the most that SQS gives.
BATCH: Final = 10

_LOGGERS: Final = ("boto3", "botocore", "urllib3")
_MISSING: Final = frozenset(
    {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "QueueDeletedRecently"}
)
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException"})
_THROTTLED: Final = frozenset({"Throttling", "ThrottlingException", "RequestThrottled"})


class SqsQueue:
    """The queue. Its client is made with the first poll."""

    def __init__(self, config: Sqs) -> None:
        self._config = config
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="syncret-sqs")
        self._boto: Any = None
        self._lock = asyncio.Lock()

    async def receive(self) -> Sequence[Message]:
        answer = await self._call(
            "ReceiveMessage",
            lambda boto: boto.receive_message(
                QueueUrl=self._config.queue_url,
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=WAIT,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            ),
        )
        return [
            Message(
                body=one.get("Body") or "",
                handle=one["ReceiptHandle"],
                deliveries=int((one.get("Attributes") or {}).get("ApproximateReceiveCount") or 1),
            )
            for one in answer.get("Messages") or ()
        ]

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        for start in range(0, len(messages), BATCH):
            entries = [
                {"Id": str(number), "ReceiptHandle": message.handle}
                for number, message in enumerate(messages[start : start + BATCH])
            ]
            await self._call("DeleteMessage", partial(_delete, self._config.queue_url, entries))

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._boto is not None:
            self._boto.close()

    async def _call(self, operation: str, call: Callable[[Any], T]) -> T:
        """Raises ProviderError."""
        loop = asyncio.get_running_loop()
        # Returned and not raised, so that no frame with the SDK's answer lives on in a traceback.
        async with self._lock:
            if self._boto is None:
                made = await loop.run_in_executor(
                    self._threads, self._guarded, "connect", _client, self._config
                )
                if isinstance(made, ProviderError):
                    raise made
                self._boto = made
        result = await loop.run_in_executor(
            self._threads, self._guarded, operation, call, self._boto
        )
        if isinstance(result, ProviderError):
            raise result
        return result

    def _guarded(
        self, operation: str, call: Callable[[Any], T], argument: Any
    ) -> T | ProviderError:
        try:
            return call(argument)
        except Exception as error:  # noqa: BLE001 - the edge to the SDK
            return _failure(error, operation, self._config)


def _delete(queue_url: str, entries: list[dict[str, str]], boto: Any) -> Any:
    return boto.delete_message_batch(QueueUrl=queue_url, Entries=entries)


def _client(config: Sqs) -> Any:
    import boto3
    from botocore.config import Config

    for name in _LOGGERS:  # at DEBUG they print bodies
        logger = logging.getLogger(name)
        if logger.level < logging.WARNING:
            logger.setLevel(logging.WARNING)
    return boto3.session.Session().client(
        "sqs",
        region_name=config.region,
        endpoint_url=config.endpoint or None,
        config=Config(
            connect_timeout=5,
            read_timeout=WAIT + 10,
            retries={"mode": "standard", "total_max_attempts": 2},
            user_agent_extra=f"syncret/{__version__}",
        ),
    )


def _failure(error: Exception, operation: str, config: Sqs) -> ProviderError:
    """What the SDK's exception means. Never quotes."""
    from botocore import exceptions as boto

    place = f"The SQS queue in {config.region}"
    if isinstance(error, boto.ClientError):
        return _refused(error, operation, place)
    for types, ours, text in (
        (
            (boto.NoCredentialsError, boto.PartialCredentialsError),
            AccessDenied,
            (
                "{place} cannot be used without AWS credentials: give the operator's pod an "
                "identity (EKS Pod Identity, IRSA)."
            ),
        ),
        (
            (boto.ConnectTimeoutError, boto.ReadTimeoutError),
            ProviderTimeout,
            "{place} did not answer in time: check the endpoint, network policies and proxies.",
        ),
        (
            (boto.HTTPClientError, boto.ConnectionError),
            ProviderUnavailable,
            "{place} cannot be reached: check region, endpoint, DNS and network policies.",
        ),
    ):
        if isinstance(error, types):
            return ours(text.format(place=place))
    return ProviderUnavailable(
        f"{place} cannot be used ({type(error).__name__}): check its queueURL, region and endpoint."
    )


def _refused(error: Any, operation: str, place: str) -> ProviderError:
    """What an answer of SQS means that is an error."""
    code = str(error.response.get("Error", {}).get("Code") or "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0
    if code in _MISSING:
        return ProviderRejected(
            f"{place} does not exist: make it, or correct its queueURL in the event sources."
        )
    if code in _DENIED:
        return AccessDenied(
            f"{place} denies {operation}: allow sqs:{operation} for the operator's own identity on "
            "that queue."
        )
    if code in _THROTTLED:
        return Throttled(f"{place} throttles our requests: they are tried again.")
    if status >= 500:
        return ProviderUnavailable(f"{place} had an internal error: it is tried again.")
    return AccessDenied(
        f"{place} refused {operation}: check the operator's own AWS identity, the queueURL and the "
        "region."
    )

"""Messages of an Azure storage queue, which Event Grid fills, by polling.

The queue has no long poll, so it is asked every :data:`POLL` seconds while it is empty. What Event
Grid puts in is Base64 of JSON.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from syncret.errors import (
    AccessDenied,
    ProviderError,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    Throttled,
)
from syncret.sources.config import StorageQueue
from syncret.sources.pulling import Message

#: Seconds between two looks at an empty queue.
POLL: Final = 2.0
#: Messages of one look: the most that Azure gives.
BATCH: Final = 32
#: Seconds after which a message that was not acknowledged comes again.
VISIBILITY: Final = 60
_TIMEOUT: Final = 10


class AzureQueue:
    """The queue. Its client is made with the first look, and again after a refusal."""

    def __init__(self, config: StorageQueue) -> None:
        self._config = config
        self._client: Any = None
        self._identity: Any = None

    async def receive(self) -> Sequence[Message]:
        found: list[Message] = []
        problem: ProviderError | None = None
        try:
            client = self._open()
            found = [
                Message(body=one.content, handle=one, deliveries=one.dequeue_count or 1)
                async for one in client.receive_messages(
                    messages_per_page=BATCH,
                    max_messages=BATCH,
                    visibility_timeout=VISIBILITY,
                    timeout=_TIMEOUT,
                )
            ]
        except ProviderError as error:
            problem = error
        except Exception as error:  # noqa: BLE001 - the edge to the SDK
            problem = _failure(error)
        if problem is not None:
            await self.close()  # a SAS token may have been replaced in its file
            raise problem
        if not found:
            await asyncio.sleep(POLL)
        return found

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        problem: ProviderError | None = None
        client = self._open()
        for message in messages:
            try:
                await client.delete_message(message.handle, timeout=_TIMEOUT)
            except Exception as error:  # noqa: BLE001 - the edge to the SDK
                problem = _failure(error)
        if problem is not None:
            raise problem

    async def close(self) -> None:
        for one in (self._client, self._identity):
            if one is not None:
                await one.close()
        self._client = self._identity = None

    def _open(self) -> Any:
        if self._client is None:
            from azure.core.credentials import AzureSasCredential
            from azure.storage.queue.aio import QueueClient

            if self._config.sas_file:
                credential: Any = AzureSasCredential(_sas(self._config.sas_file))
            else:
                from azure.identity.aio import DefaultAzureCredential

                credential = self._identity = DefaultAzureCredential()
            self._client = QueueClient.from_queue_url(
                self._config.queue_url,
                credential=credential,
                retry_total=1,
                connection_timeout=5,
                read_timeout=_TIMEOUT + 5,
            )
        return self._client


def _sas(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip().removeprefix("?")
    except (OSError, UnicodeDecodeError):
        raise AccessDenied(
            "The sasTokenFile of the Azure queue cannot be read: mount the Secret with the token "
            "there."
        ) from None


def _failure(error: Exception) -> ProviderError:
    """What the SDK's exception means. Never quotes."""
    from azure.core import exceptions as azure

    place = "The Azure storage queue"
    status = getattr(error, "status_code", None) or 0
    if isinstance(error, azure.ResourceNotFoundError):
        return ProviderRejected(
            f"{place} does not exist: make it, or correct its queueURL in the event sources."
        )
    if isinstance(error, azure.ClientAuthenticationError) or status in {401, 403}:
        return AccessDenied(
            f"{place} refused the operator: give its identity the role Storage Queue Data Message "
            "Processor on the queue, or renew the SAS token (rights: process)."
        )
    if status in {429, 503}:
        return Throttled(f"{place} throttles our requests: they are tried again.")
    if isinstance(error, azure.ServiceResponseTimeoutError):
        return ProviderTimeout(f"{place} did not answer in time: check network policies.")
    return ProviderUnavailable(
        f"{place} cannot be reached ({type(error).__name__}): check queueURL, DNS and network "
        "policies."
    )

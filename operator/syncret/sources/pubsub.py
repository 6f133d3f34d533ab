"""Messages of a Pub/Sub subscription, by pulling, with the operator's own identity.

A topic that secrets of Secret Manager are linked to carries what happens in the attributes of its
messages; the body repeats the secret's description. A plain pull and not a stream: a stream's flow
control is a second queue, and a pull waits for messages on the server's side as well.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from syncret.errors import (
    AccessDenied,
    ProviderError,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    Throttled,
)
from syncret.sources.config import PubSub
from syncret.sources.pulling import Message

#: Seconds that a pull waits; the server answers an empty one after about 90.
WAIT: Final = 30.0
#: Seconds for an acknowledgement.
_ACKNOWLEDGE: Final = 10.0
#: Messages of one pull.
BATCH: Final = 100


class PubSubQueue:
    """The subscription. Its client is made with the first pull."""

    def __init__(self, config: PubSub) -> None:
        self._config = config
        self._client: Any = None

    async def receive(self) -> Sequence[Message]:
        from google.api_core import exceptions

        try:
            client = await self._open()
            answer = await client.pull(
                request={"subscription": self._config.subscription, "max_messages": BATCH},
                retry=None,
                timeout=WAIT,
            )
        except exceptions.DeadlineExceeded:
            return ()  # there was none
        except Exception as error:  # noqa: BLE001 - the edge to the SDK
            problem = _failure(error, "pull")
        else:
            return [
                Message(
                    body=one.message.data,
                    handle=one.ack_id,
                    attributes=dict(one.message.attributes),
                    # The service counts only where the subscription has a dead-letter topic. That
                    # takes 5 attempts at least: the message is left to it, however often it comes.
                    deliveries=1 if one.delivery_attempt else 0,
                    id=one.message.message_id,
                )
                for one in answer.received_messages
            ]
        raise problem

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        try:
            client = await self._open()
            await client.acknowledge(
                request={
                    "subscription": self._config.subscription,
                    "ack_ids": [message.handle for message in messages],
                },
                retry=None,
                timeout=_ACKNOWLEDGE,
            )
        except Exception as error:  # noqa: BLE001 - the edge to the SDK
            problem = _failure(error, "acknowledge")
        else:
            return
        raise problem

    async def close(self) -> None:
        if self._client is not None:
            await self._client.transport.close()
            self._client = None

    async def _open(self) -> Any:
        if self._client is None:
            # Imports the SDK, and asks for the identity: both block.
            self._client = await asyncio.to_thread(_credentials, self._config)
            self._client = _connect(self._config, self._client)
        return self._client


def _credentials(config: PubSub) -> Any:
    # With a level it counts as configured: otherwise the SDK silences what is below it for us.
    logging.getLogger("google").setLevel(logging.WARNING)
    import google.pubsub_v1.services.subscriber  # takes a second

    if config.endpoint.startswith("http://"):
        return None
    import google.auth

    found, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/pubsub"])
    return found


def _connect(config: PubSub, credentials: Any) -> Any:
    import grpc.aio
    from google.api_core.client_options import ClientOptions
    from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
    from google.pubsub_v1.services.subscriber.transports import (
        SubscriberGrpcAsyncIOTransport,
    )

    if credentials is None:
        channel = grpc.aio.insecure_channel(urlsplit(config.endpoint).netloc)
        return SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel))
    place = urlsplit(config.endpoint).netloc or None
    return SubscriberAsyncClient(
        credentials=credentials, client_options=ClientOptions(api_endpoint=place)
    )


def _failure(error: Exception, operation: str) -> ProviderError:
    """What the SDK's exception means. Never quotes."""
    from google.api_core import exceptions
    from google.auth import exceptions as identity

    place = "The Pub/Sub subscription"
    for types, made in (
        (
            exceptions.NotFound,
            ProviderRejected(
                f"{place} does not exist: make it, or correct its name in the event sources."
            ),
        ),
        (
            exceptions.Forbidden,
            AccessDenied(
                f"{place} denies {operation}: give the operator's own identity the role "
                "roles/pubsub.subscriber on it."
            ),
        ),
        (
            (exceptions.Unauthenticated, identity.GoogleAuthError),
            AccessDenied(
                f"{place} cannot be used without an identity: give the operator's pod one "
                "(Workload Identity)."
            ),
        ),
        (
            (exceptions.ResourceExhausted, exceptions.TooManyRequests),
            Throttled(f"{place} throttles our requests: they are tried again."),
        ),
        (
            exceptions.DeadlineExceeded,
            ProviderTimeout(f"{place} did not answer in time: check network policies and proxies."),
        ),
    ):
        if isinstance(error, types):
            return made
    return ProviderUnavailable(
        f"{place} cannot be reached ({type(error).__name__}): check endpoint, DNS and network "
        "policies."
    )

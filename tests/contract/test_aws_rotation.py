"""RotateSecret: begun once for the same wish, and what keeps it from being begun."""

import uuid

import pytest

from contract.aws import AwsHarness, error_reply, operation
from contract.opened import Opener, fresh
from syncret.errors import AccessDenied, ProviderError, ProviderRejected, Throttled
from syncret.providers.aws.rotation import ROTATE
from syncret.providers.base import Client, Rotator


def rotator(client: Client) -> Rotator:
    assert isinstance(client, Rotator)
    return client


async def test_the_token_is_the_new_version(aws: AwsHarness, opener: Opener) -> None:
    key, token = fresh(), str(uuid.uuid4())
    aws.put(key, b"first")
    opened = await opener(aws)
    assert await rotator(opened.client).rotate(key, token=token) == token
    assert opened.observed.calls == [(ROTATE, "ok")]


@pytest.mark.parametrize(
    ("code", "problem", "said"),
    [
        ("AccessDeniedException", AccessDenied, "allow secretsmanager:RotateSecret on this secret"),
        ("InvalidRequestException", ProviderRejected, "it has no rotation function"),
        ("ResourceNotFoundException", ProviderRejected, "has no secret"),
        ("ThrottlingException", Throttled, "throttles"),
        ("UnrecognizedClientException", AccessDenied, "refused the credentials"),
    ],
)
async def test_what_keeps_it_from_being_begun(
    aws: AwsHarness, opener: Opener, code: str, problem: type[ProviderError], said: str
) -> None:
    refusal = error_reply(code, message="quoted-by-nobody")
    aws.fault = lambda request: refusal if operation(request) == ROTATE else None
    opened = await opener(aws)
    with pytest.raises(problem) as caught:
        await rotator(opened.client).rotate("app/db", token=str(uuid.uuid4()))
    assert said in caught.value.message
    assert "quoted-by-nobody" not in caught.value.message

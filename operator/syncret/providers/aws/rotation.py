"""RotateSecret: has Secrets Manager run a secret's own rotation function.

The call only begins it. The token becomes the id of the new version, so the one that is waited for
is known from the start, and a call that is sent twice is one rotation.
"""

from typing import Any, Final

from botocore import exceptions as boto

from syncret.errors import AccessDenied, ProviderError, ProviderRejected
from syncret.providers.aws.errors import Call, CredentialsRefused, failure, not_understood
from syncret.providers.aws.services import Place
from syncret.providers.base import NotFound

ROTATE: Final = "RotateSecret"


def rotate(client: Any, place: Place, key: str, token: str) -> str | ProviderError:
    """The new version's id, or what went wrong. Blocks; for a thread."""
    try:
        answer = client.rotate_secret(SecretId=key, ClientRequestToken=token)
        version = answer.get("VersionId")
        return version if isinstance(version, str) else not_understood(place)
    except Exception as error:  # noqa: BLE001 - the edge to the SDK
        return _failure(error, place, key)


def _failure(error: Exception, place: Place, key: str) -> ProviderError:
    shown = key if len(key) <= 200 else f"{key[:200]}…"
    code = ""
    if isinstance(error, boto.ClientError):
        code = str(error.response.get("Error", {}).get("Code") or "")
    if code in {"InvalidRequestException", "InvalidParameterException"}:
        return ProviderRejected(
            f'{place} cannot rotate "{shown}": it has no rotation function, or a rotation has '
            "begun and not ended. Set rotation up for the secret, or see its function's log."
        )
    problem = failure(error, Call(place, ROTATE, key))
    if isinstance(problem, NotFound):
        return ProviderRejected(f'{place} has no secret "{shown}" that could be rotated.')
    if isinstance(problem, AccessDenied) and not isinstance(problem, CredentialsRefused):
        return AccessDenied(
            f'Rotating "{shown}" in {place} is denied: allow secretsmanager:RotateSecret on this '
            "secret, and lambda:InvokeFunction on its rotation function."
        )
    return problem

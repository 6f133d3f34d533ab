"""AWS's proof for Vault's ``aws`` auth method: a signed GetCallerIdentity that Vault sends itself.

The keys that sign are those that the store gives, those of a ServiceAccount's IAM role (IRSA), or
the operator's own; with ``role``, those of that role on top. botocore signs: hvac's own signer
knows the global endpoint only. Nothing of the secret key is in the request.
"""

import base64
import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from syncret.errors import ProviderError, ProviderUnavailable
from syncret.providers.base import SecretValue, ServiceAccount
from syncret.providers.vault import auth
from syncret.providers.vault.answers import CredentialsRefused
from syncret.providers.vault.config import VaultConfig

#: Whom a ServiceAccount's token has to be for, so that STS takes it.
AUDIENCE: Final = "sts.amazonaws.com"

_ROLE: Final = "eks.amazonaws.com/role-arn"
_SESSION: Final = "syncret"
_BODY: Final = "Action=GetCallerIdentity&Version=2011-06-15"


def signed(
    config: VaultConfig,
    given: Mapping[str, str],
    account: ServiceAccount | None,
    token: SecretValue | None,
) -> dict[str, str]:
    """The fields of a login. Blocks. Raises ProviderError."""
    for name in ("boto3", "botocore", "urllib3"):
        logger = logging.getLogger(name)
        if logger.level < logging.WARNING:  # at DEBUG, botocore prints bodies
            logger.setLevel(logging.WARNING)
    problem: ProviderError
    try:
        return _fields(config, _credentials(config, given, account, token))
    except ProviderError as error:
        problem = error.with_traceback(None)
    except Exception as error:  # noqa: BLE001 - the edge to the SDK
        problem = _failure(config, error)
    raise problem


def _credentials(
    config: VaultConfig,
    given: Mapping[str, str],
    account: ServiceAccount | None,
    token: SecretValue | None,
) -> Any:
    import boto3

    who = config.auth
    if given:
        session = boto3.session.Session(
            aws_access_key_id=given[auth.ACCESS_KEY_ID],
            aws_secret_access_key=given[auth.SECRET_ACCESS_KEY],
            aws_session_token=given.get(auth.SESSION_TOKEN),
            region_name=who.region,
        )
    elif account is not None and token is not None:
        role = account.annotations.get(_ROLE, "")
        if not role:
            raise CredentialsRefused(
                f'The ServiceAccount "{account.name}" in namespace "{account.namespace}" has no '
                f"annotation {_ROLE}: add it, with the ARN of the IAM role that logs in to "
                f"{config.place}."
            )
        from botocore import UNSIGNED
        from botocore.config import Config

        sts = boto3.session.Session().client(
            "sts", region_name=who.region, config=Config(signature_version=UNSIGNED)
        )
        session = _session(
            sts.assume_role_with_web_identity(
                RoleArn=role,
                RoleSessionName=_SESSION,
                WebIdentityToken=token.reveal().decode("ascii"),
            ),
            who.region,
        )
    else:
        session = boto3.session.Session(region_name=who.region)
    if who.assume:
        external = {"ExternalId": who.external_id} if who.external_id else {}
        session = _session(
            session.client("sts").assume_role(
                RoleArn=who.assume, RoleSessionName=_SESSION, **external
            ),
            who.region,
        )
    found = session.get_credentials()
    if found is None:
        raise CredentialsRefused(
            f"No AWS credentials are found to log in to {config.place}: set secretRef or jwt in "
            f"{who.field}, or give the operator's pod an identity (EKS Pod Identity, IRSA)."
        )
    return found.get_frozen_credentials()


def _session(answer: Mapping[str, Any], region: str) -> Any:
    import boto3

    keys = answer["Credentials"]
    return boto3.session.Session(
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        region_name=region,
    )


def _fields(config: VaultConfig, credentials: Any) -> dict[str, str]:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    who = config.auth
    url = _endpoint(who.region)
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    if who.server_id:
        # Signed as well: a request that another Vault was sent cannot be used with this one.
        headers["X-Vault-AWS-IAM-Server-ID"] = who.server_id
    request = AWSRequest(method="POST", url=url, data=_BODY, headers=headers)
    SigV4Auth(credentials, "sts", who.region).add_auth(request)
    sent = {name: [value] for name, value in request.headers.items()}
    sent["Host"] = [url.removeprefix("https://").rstrip("/")]
    return {
        "role": who.role,
        "iam_http_request_method": "POST",
        "iam_request_url": _base64(url),
        "iam_request_body": _base64(_BODY),
        "iam_request_headers": _base64(json.dumps(sent)),
    }


def _endpoint(region: str) -> str:
    """The address that Vault sends the request to. Its own setting must name the same."""
    if region == "us-east-1":
        return "https://sts.amazonaws.com/"  # what Vault expects unless it is told otherwise
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://sts.{region}.{suffix}/"


def _failure(config: VaultConfig, error: Exception) -> ProviderError:
    from botocore import exceptions as boto

    if isinstance(error, boto.HTTPClientError):
        return ProviderUnavailable(
            "AWS STS cannot be reached for the login to "
            f"{config.place}: check the region, network policies and proxies."
        )
    return CredentialsRefused(
        f"AWS credentials for the login to {config.place} cannot be obtained: check the keys, the "
        f"role and its trust policy, and externalID in {config.auth.field}."
    )


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")

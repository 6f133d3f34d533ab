"""Credentials, the shared session, and the loggers of the SDK."""

import logging
from typing import Any

import pytest

from syncret.errors import AccessDenied, ProviderRejected
from syncret.providers.aws.config import AwsConfig
from syncret.providers.aws.errors import CredentialsRefused
from syncret.providers.aws.keys import Keys
from syncret.providers.aws.services import STS, Place
from syncret.providers.aws.session import AwsSession, Timing, static_keys
from syncret.providers.base import SecretKeyRef, SecretValue

CONFIG = AwsConfig(
    region="eu-central-1",
    endpoint="http://127.0.0.1:1",
    credentials=(
        ("accessKeyID", SecretKeyRef("aws", "id")),
        ("secretAccessKey", SecretKeyRef("aws", "secret")),
    ),
)
TOKEN_CONFIG = AwsConfig(
    region="eu-central-1",
    credentials=(*CONFIG.credentials, ("sessionToken", SecretKeyRef("aws", "token"))),
)


def secret(**values: bytes) -> dict[str, SecretValue]:
    return {name: SecretValue(value) for name, value in values.items()}


@pytest.fixture(autouse=True)
def no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own identity must not decide a test."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")


def make(config: AwsConfig, credentials: dict[str, SecretValue], session: Any = None) -> Any:
    session = session or AwsSession(Timing())
    return session.client(config.place, config.endpoint, static_keys(config, credentials), pool=2)


def used(client: Any) -> tuple[str, str, str | None]:
    """The credentials that a client signs with."""
    found = client._request_signer._credentials.get_frozen_credentials()
    return found.access_key, found.secret_key, found.token


def test_the_given_credentials_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOPERATOR")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "operators")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "operators-token")
    client = make(CONFIG, secret(accessKeyID=b"AKIAFAKE", secretAccessKey=b"fake"))
    assert used(client) == ("AKIAFAKE", "fake", None)


def test_a_session_token_goes_along_and_line_breaks_do_not() -> None:
    client = make(
        TOKEN_CONFIG,
        secret(accessKeyID=b"AKIAFAKE\n", secretAccessKey=b" fake\r\n", sessionToken=b"token\n"),
    )
    assert used(client) == ("AKIAFAKE", "fake", "token")


def test_without_credentials_the_sdk_looks_for_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOPERATOR")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "operators")
    assert used(make(AwsConfig(region="eu-central-1"), {})) == ("AKIAOPERATOR", "operators", None)


@pytest.mark.parametrize("value", [b"", b" \n", b"two words", b"broken\nline", "ä".encode(), b"\0"])
@pytest.mark.parametrize("name", ["accessKeyID", "secretAccessKey", "sessionToken"])
def test_unusable_credentials_never_become_the_operators(
    monkeypatch: pytest.MonkeyPatch, name: str, value: bytes
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOPERATOR")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "operators")
    given = secret(accessKeyID=b"AKIAFAKE", secretAccessKey=b"fake", sessionToken=b"token")
    with pytest.raises(CredentialsRefused) as raised:
        make(TOKEN_CONFIG, given | secret(**{name: value}))
    assert dict(TOKEN_CONFIG.credentials)[name].key in raised.value.message
    assert "broken" not in raised.value.message


@pytest.mark.parametrize(
    "config",
    [
        AwsConfig(region="-bad-"),
        AwsConfig(region="eu-central-1", endpoint="http://[::1"),
    ],
)
def test_what_cannot_be_addressed_is_rejected(config: AwsConfig) -> None:
    assert isinstance(make(config, {}), ProviderRejected)


def test_a_broken_setup_of_the_operator_is_its_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    problem = make(AwsConfig(region="eu-central-1"), {})
    assert isinstance(problem, AccessDenied)
    assert "no-such-profile" not in problem.message


def test_clients_do_not_sign_with_each_others_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOPERATOR")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "operators")
    session = AwsSession(Timing())
    first = session.client(CONFIG.place, "", Keys("AKIAFIRST", "x"), pool=1)
    own = session.client(CONFIG.place, "", pool=1)
    second = session.client(CONFIG.place, "", Keys("AKIASECOND", "x", "token"), pool=1)
    assert [used(client)[0] for client in (first, own, second)] == [
        "AKIAFIRST",
        "AKIAOPERATOR",
        "AKIASECOND",
    ]


def test_roles_are_assumed_in_the_region_of_the_store() -> None:
    """Not at the global address, which is another region's."""
    client = AwsSession(Timing()).client(Place(STS, "eu-central-1"), "", Keys("a", "b"), pool=1)
    assert client.meta.endpoint_url == "https://sts.eu-central-1.amazonaws.com"


def test_all_clients_come_from_one_session() -> None:
    session = AwsSession(Timing())
    given = secret(accessKeyID=b"AKIAFAKE", secretAccessKey=b"fake")
    make(CONFIG, given, session)
    first = session._session
    make(CONFIG, given, session)
    assert session._session is first


def test_the_sdk_is_told_our_limits() -> None:
    session = AwsSession(Timing(connect=1.5, read=2.5, attempts=3))
    client = session.client(CONFIG.place, CONFIG.endpoint, Keys("a", "b"), pool=7)
    config = client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (1.5, 2.5)
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}
    assert config.max_pool_connections == 7
    assert "syncret/" in config.user_agent


@pytest.mark.parametrize(
    ("level", "kept"),
    [(logging.DEBUG, logging.WARNING), (logging.ERROR, logging.ERROR)],  # quieter is one's choice
)
def test_the_loggers_of_the_sdk_stay_at_warning(
    level: int, kept: int, logging_restored: None
) -> None:
    loggers = [logging.getLogger(name) for name in ("boto3", "botocore", "urllib3", "s3transfer")]
    for logger in loggers:
        logger.setLevel(level)
    make(CONFIG, secret(accessKeyID=b"a", secretAccessKey=b"b"))
    assert [logger.level for logger in loggers] == [kept] * 4

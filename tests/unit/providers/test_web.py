"""Trust, and what the answers of a store ask of us."""

import pytest

from support.pki import Issuer
from syncret.errors import ProviderUnavailable, Throttled
from syncret.providers.web import Answer, busy, trust


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer("authority")


def test_a_bundle_replaces_what_the_system_trusts(issuer: Issuer) -> None:
    other = Issuer("other")
    bundle = f"# Autorité\n{issuer.pem}\n{other.pem}".encode()
    context = trust(bundle)
    assert len(context.get_ca_certs()) == 2
    assert context.check_hostname


@pytest.mark.parametrize(
    "ca", [b"", b"no certificate", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----"]
)
def test_what_is_no_bundle_is_refused_without_a_quote(ca: bytes) -> None:
    with pytest.raises(ValueError, match=r"^no certificates$"):
        trust(ca)


def test_a_certificate_needs_its_own_key(issuer: Issuer) -> None:
    client, other = Issuer("client", by=issuer, san="client"), Issuer("other")
    assert trust(cert=client.pem.encode(), key=client.key_pem.encode())
    for key in (other.key_pem.encode(), b"", b"-----BEGIN PRIVATE KEY-----"):
        with pytest.raises(ValueError, match=r"^no certificate and key") as raised:
            trust(cert=client.pem.encode(), key=key)
        assert raised.value.__context__ is None


@pytest.mark.parametrize(
    ("status", "header", "kind", "wait"),
    [
        (429, "7", Throttled, 7.0),
        (429, "", Throttled, None),
        (429, "Thu, 26 Nov 2026 03:00:00 GMT", Throttled, None),
        (429, "-1", Throttled, None),
        (429, "1e9", Throttled, 3600.0),
        (503, "2", Throttled, 2.0),
        (503, "", ProviderUnavailable, None),
        (500, "2", ProviderUnavailable, None),
    ],
)
def test_a_store_that_is_busy(
    status: int, header: str, kind: type[Exception], wait: float | None
) -> None:
    problem = busy(Answer(status, {"Retry-After": header}, b""), "The store")
    assert type(problem) is kind
    assert problem is not None
    assert problem.retry_after == wait


@pytest.mark.parametrize("status", [200, 304, 404])
def test_a_store_that_is_not_busy(status: int) -> None:
    assert busy(Answer(status, {}, b""), "The store") is None

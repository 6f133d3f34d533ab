"""When certificates expire: every form in which they are kept, and what is none."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from hypothesis import given
from hypothesis import strategies as st

from support.pki import Issuer
from syncret.api.externalsecret import Certificate
from syncret.reconcile.certificates import certificates_of
from syncret.template.dates import validity
from syncret.template.pool import Pool

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
LEAF_END = datetime(2026, 4, 1, tzinfo=UTC)
ROOT_END = datetime(2030, 1, 1, tzinfo=UTC)
ROOT = Issuer("root", life=(BEGIN, ROOT_END))
OLD_ROOT = Issuer("old root", life=(BEGIN, datetime(2026, 2, 1, tzinfo=UTC)))
LEAF = Issuer("leaf", by=ROOT, san="example.com", life=(BEGIN, LEAF_END))
LATER = Issuer("later", by=ROOT, san="example.org", life=(BEGIN, LEAF_END + timedelta(days=9)))

LEAF_LIFE = (int(BEGIN.timestamp()), int(LEAF_END.timestamp()))
ROOT_LIFE = (int(BEGIN.timestamp()), int(ROOT_END.timestamp()))


def der(one: Issuer) -> bytes:
    return one.certificate.public_bytes(serialization.Encoding.DER)


def pfx(password: bytes | None, *, authorities: bool = True, key: bool = True) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    return pkcs12.serialize_key_and_certificates(
        b"name",
        LEAF.key if key else None,
        LEAF.certificate if key else None,
        [ROOT.certificate] if authorities else None,
        encryption,
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(LEAF.pem, LEAF_LIFE, id="PEM"),
        pytest.param(LEAF.pem + ROOT.pem, LEAF_LIFE, id="a chain"),
        pytest.param(OLD_ROOT.pem + LEAF.pem, LEAF_LIFE, id="an expired root in it"),
        pytest.param(LATER.pem + LEAF.pem, LEAF_LIFE, id="the first of two to expire"),
        pytest.param(LEAF.key_pem + "text\n" + LEAF.pem, LEAF_LIFE, id="with its key"),
        pytest.param(OLD_ROOT.pem + ROOT.pem, ROOT_LIFE, id="authorities to trust"),
        pytest.param(
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + LEAF.pem,
            LEAF_LIFE,
            id="beside one that cannot be read",
        ),
        pytest.param(LEAF.key_pem, None, id="only a key"),
        pytest.param("-----BEGIN CERTIFICATE-----", None, id="cut off"),
        pytest.param("hunter2-not-real", None, id="a password"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_text(value: str, expected: tuple[int, int] | None) -> None:
    assert validity(value.encode()) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(der(LEAF), LEAF_LIFE, id="DER"),
        pytest.param(der(LEAF)[:-1], None, id="DER, cut off"),
        pytest.param(pfx(None), LEAF_LIFE, id="PFX without a password"),
        pytest.param(pfx(None, key=False), ROOT_LIFE, id="PFX of authorities"),
        pytest.param(pfx(None, authorities=False), LEAF_LIFE, id="PFX of one certificate"),
        pytest.param(pfx(b"not-real"), None, id="PFX with a password"),
        pytest.param(b"\x30\x82\x00\x00", None, id="a header and nothing"),
    ],
)
def test_bytes(value: bytes, expected: tuple[int, int] | None) -> None:
    assert validity(value) == expected


def test_years_that_the_api_has_no_room_for() -> None:
    early = datetime(1951, 1, 1, tzinfo=UTC)
    odd = Issuer("odd", san="example.com", life=(early, datetime(1952, 1, 1, tzinfo=UTC)))
    assert validity(odd.pem.encode()) == (0, 0)
    never = Issuer("ever", san="example.com", life=(BEGIN, datetime(9999, 12, 31, tzinfo=UTC)))
    assert validity(never.pem.encode()) is not None


@given(st.binary(max_size=300))
def test_anything_at_all(value: bytes) -> None:
    validity(value)
    validity(b"-----BEGIN CERTIFICATE-----\n" + value + b"\n-----END CERTIFICATE-----")
    validity(b"\x30\x82" + len(value).to_bytes(2, "big") + value)


async def test_all_values_of_a_secret() -> None:
    pool = Pool()
    try:
        found = await certificates_of(
            pool,
            {
                "tls.crt": LEAF.pem.encode(),
                "ca.der": der(ROOT),
                "a.pfx": pfx(None),
                "locked.pfx": pfx(b"not-real"),
                "password": b"hunter2-not-real",
                "binary": b"\x30\x82\x01\x00" + bytes(256),
            },
        )
    finally:
        await pool.close()
    life = ("2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z")
    assert found == (
        Certificate("a.pfx", *life),
        Certificate("ca.der", "2026-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
        Certificate("tls.crt", *life),
    )


async def test_without_anything_like_one_no_process_is_started() -> None:
    pool = Pool()
    assert await certificates_of(pool, {"a": b"b" * 1000, "b": b"\x30" * 100}) == ()
    assert pool.pids == []


def expensive() -> bytes:
    """A PKCS#12 file says itself how often a password is hashed: this one, 2**31 - 1 times."""
    file = bytearray(pfx(b"not-real"))
    assert file.endswith(b"\x02\x02\x08\x00"), "2048 times, at the end of the last part"
    file[-4:] = b"\x02\x04\x7f\xff\xff\xff"
    # A sequence of its version (three bytes), what is kept (which tells its length), and that part.
    kept = 4 + 3
    assert file[kept : kept + 2] == file[0:2] == b"\x30\x82"
    last = kept + 4 + int.from_bytes(file[kept + 2 : kept + 4], "big")
    assert (file[last], last + 2 + file[last + 1]) == (0x30, len(file) - 2)
    file[last + 1] += 2
    assert file[1] == 0x82
    file[2:4] = (len(file) - 4).to_bytes(2, "big")
    return bytes(file)


async def test_a_value_that_is_made_to_be_expensive_keeps_nothing_from_the_others() -> None:
    pool = Pool(patience=60.0)
    tls = {"tls.crt": LEAF.pem.encode()}
    try:
        await certificates_of(pool, tls)
        before = pool.pids
        found = await certificates_of(pool, {"slow.pfx": expensive(), **tls})
        assert not set(before) & set(pool.pids), "it was stopped"
    finally:
        await pool.close()
    assert [one.key for one in found] == ["tls.crt"]

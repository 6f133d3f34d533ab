"""Certificates and keystores: against keys made here, and keystores against Java's own tool."""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from support.pki import Issuer
from syncret.errors import TemplateInvalid
from unit.template.conftest import Render

ROOT = Issuer("root")
MIDDLE = Issuer("middle", by=ROOT)
LEAF = Issuer("leaf", by=MIDDLE, san="app.example.com")
CHAIN = LEAF.pem + MIDDLE.pem + ROOT.pem
SHUFFLED = ROOT.pem + LEAF.pem + MIDDLE.pem
PASSWORD = "hunter2-not-real"
KEYTOOL = shutil.which("keytool")
needs_java = pytest.mark.skipif(KEYTOOL is None, reason="no Java: keytool is not installed")


@pytest.mark.parametrize(
    ("template", "gives"),
    [
        ("{{ c | cert_chain }}", CHAIN),
        ("{{ c | cert_chain('leaf') }}", LEAF.pem),
        ("{{ c | cert_chain('intermediates') }}", MIDDLE.pem),
        ("{{ c | cert_chain('roots') }}", ROOT.pem),
        ("{{ (c ~ k) | pem_filter('PRIVATE KEY') }}", LEAF.key_pem),
        ("{{ (k ~ c) | pem_filter('CERTIFICATE') }}", SHUFFLED),
        ("{{ c | cert_chain('leaf') | cert_sans }}", '["app.example.com"]'),
        ("{{ c | cert_sans }}", "[]"),
        ("{{ (c | cert_chain('leaf') | cert_info).subject }}", "CN=leaf"),
        ("{{ (c | cert_chain('leaf') | cert_info).issuer }}", "CN=middle"),
    ],
)
async def test_chains(render: Render, template: str, gives: str) -> None:
    assert (await render(template, c=SHUFFLED, k=LEAF.key_pem)).decode() == gives


async def test_what_is_no_chain_is_refused(render: Render) -> None:
    for certificates in (LEAF.pem + Issuer("other").pem, LEAF.pem + ROOT.pem):
        with pytest.raises(TemplateInvalid, match="one chain"):
            await render("{{ c | cert_chain }}", c=certificates)


@pytest.mark.parametrize("password", ["", PASSWORD])
async def test_pkcs12_there_and_back(render: Render, password: str) -> None:
    made = await render("{{ c | to_pkcs12(k, p, 'app') }}", c=SHUFFLED, k=LEAF.key_pem, p=password)
    found = pkcs12.load_pkcs12(made, password.encode() or None)
    assert found.cert is not None
    assert (found.cert.certificate, found.cert.friendly_name) == (LEAF.certificate, b"app")
    read = await render("{{ f | pkcs12_key(p) }}{{ f | pkcs12_certs(p) }}", {"f": made}, p=password)
    assert read.decode() == LEAF.key_pem + CHAIN
    with pytest.raises(TemplateInvalid, match="that its password opens"):
        await render("{{ f | pkcs12_key('wrong') }}", {"f": made})


async def test_a_key_of_another_certificate_is_refused(render: Render) -> None:
    for template in ("{{ c | to_pkcs12(k) }}", "{{ c | to_jks(k, 'password') }}"):
        with pytest.raises(TemplateInvalid, match="belongs to none of the certificates"):
            await render(template, c=CHAIN, k=Issuer("other").key_pem)


async def test_jks_there_and_back(render: Render) -> None:
    template = "{{ c | to_jks(k, p, alias='App') }}"
    made = await render(template, c=SHUFFLED, k=LEAF.key_pem, p=PASSWORD)
    assert made == await render(template, c=SHUFFLED, k=LEAF.key_pem, p=PASSWORD)
    read = await render(
        "{{ f | jks_key(p, 'app') }}{{ f | jks_certs(p) }}", {"f": made}, p=PASSWORD
    )
    assert read.decode() == LEAF.key_pem + CHAIN
    with pytest.raises(TemplateInvalid, match="a password that does not open"):
        await render("{{ f | jks_key('another') }}", {"f": made})
    with pytest.raises(TemplateInvalid, match="fewer than 6 characters"):
        await render("{{ c | to_jks_truststore('short') }}", c=CHAIN)


async def test_a_truststore_with_another_password_or_damaged_is_refused(render: Render) -> None:
    made = await render("{{ c | to_jks_truststore(p) }}", c=CHAIN, p=PASSWORD)
    assert await render("{{ f | jks_certs(p) }}", {"f": made}, p=PASSWORD) == CHAIN.encode()
    damaged = bytearray(made)
    damaged[60] ^= 1
    for file, password in ((made, "another"), (bytes(damaged), PASSWORD), (made[:-9], PASSWORD)):
        with pytest.raises(TemplateInvalid, match="a password that does not open a Java keystore"):
            await render("{{ f | jks_certs(p) }}", {"f": file}, p=password)
    with pytest.raises(TemplateInvalid, match="without such a private key"):
        await render("{{ f | jks_key(p) }}", {"f": made}, p=PASSWORD)


def keytool(*arguments: str) -> str:
    assert KEYTOOL is not None
    done = subprocess.run(
        [KEYTOOL, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def opened(file: Path) -> str:
    return keytool("-list", "-v", "-keystore", str(file), "-storepass", PASSWORD)


@needs_java
async def test_java_reads_what_is_written(render: Render, tmp_path: Path) -> None:
    values = {"c": SHUFFLED, "k": LEAF.key_pem, "p": PASSWORD}
    for template, kind, entry in (
        ("{{ c | to_jks(k, p, alias='app') }}", "JKS", "PrivateKeyEntry"),
        ("{{ c | to_jks_truststore(p) }}", "JKS", "trustedCertEntry"),
        ("{{ c | to_pkcs12(k, p, 'app') }}", "PKCS12", "PrivateKeyEntry"),
        ("{{ c | to_pkcs12_truststore(p) }}", "PKCS12", "trustedCertEntry"),
    ):
        file = tmp_path / "store"
        file.write_bytes(await render(template, **values))
        said = opened(file)
        assert f"Keystore type: {kind}" in said, template
        assert f"Entry type: {entry}" in said, template
        assert said.count("CN=leaf") >= 1
        if entry == "PrivateKeyEntry":
            assert "Certificate chain length: 3" in said
        else:
            assert "Your keystore contains 3 entries" in said

    # The private key opens, too: Java moves it into another store.
    file.write_bytes(await render("{{ c | to_jks(k, p, alias='app') }}", **values))
    moved = tmp_path / "moved.p12"
    keytool(
        *("-importkeystore", "-srckeystore", str(file), "-srcstorepass", PASSWORD),
        *("-destkeystore", str(moved), "-deststoretype", "PKCS12", "-deststorepass", PASSWORD),
    )
    key = await render("{{ f | pkcs12_key(p) }}", {"f": moved.read_bytes()}, p=PASSWORD)
    assert key.decode() == LEAF.key_pem


@needs_java
async def test_what_java_writes_is_read(render: Render, tmp_path: Path) -> None:
    file = tmp_path / "java.jks"
    keytool(
        *("-genkeypair", "-alias", "Java", "-keyalg", "EC", "-dname", "CN=java"),
        *("-keystore", str(file), "-storetype", "JKS", "-storepass", PASSWORD),
        *("-keypass", PASSWORD),
    )
    secrets = {"f": file.read_bytes()}
    key = await render("{{ f | jks_key(p) }}", secrets, p=PASSWORD)
    certificate = await render("{{ f | jks_certs(p, 'java') }}", secrets, p=PASSWORD)
    loaded = serialization.load_pem_private_key(key, None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    matching = await render(
        "{{ c | to_pkcs12(k) | pkcs12_certs }}", c=certificate.decode(), k=key.decode()
    )
    assert matching == certificate


def number(value: int) -> str:
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwks() -> list[tuple[dict[str, Any], Any]]:
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    numbers = rsa_key.private_numbers()
    public = {"kty": "RSA", "n": number(numbers.public_numbers.n), "e": "AQAB"}
    ec_key = ec.generate_private_key(ec.SECP384R1())
    ec_numbers = ec_key.private_numbers()
    point = ec_numbers.public_numbers
    ed_key = ed25519.Ed25519PrivateKey.generate()

    def raw(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    return [
        (
            {**public, "d": number(numbers.d), "p": number(numbers.p), "q": number(numbers.q)},
            rsa_key,
        ),
        ({**public, "d": number(numbers.d)}, rsa_key),
        (
            {
                "kty": "EC",
                "crv": "P-384",
                "x": number(point.x),
                "y": number(point.y),
                "d": number(ec_numbers.private_value),
            },
            ec_key,
        ),
        (
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": raw(ed_key.public_key().public_bytes_raw()),
                "d": raw(ed_key.private_bytes_raw()),
            },
            ed_key,
        ),
    ]


async def test_json_web_keys(render: Render) -> None:
    for jwk, key in jwks():
        private = await render("{{ j | jwk_private_pem }}", j=json.dumps(jwk))
        public = await render("{{ j | from_json | jwk_public_pem }}", j=json.dumps(jwk))
        loaded = serialization.load_pem_private_key(private, None)
        assert loaded.public_key() == key.public_key()
        assert serialization.load_pem_public_key(public) == key.public_key()
        without = {name: value for name, value in jwk.items() if name != "d"}
        with pytest.raises(TemplateInvalid, match="with its private part"):
            await render("{{ j | jwk_private_pem }}", j=json.dumps(without))


async def test_rsa_decrypt(render: Render) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = Issuer("x", key=key).key_pem
    sha1 = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - what others may use
    sha256 = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    for template, used in (
        ("{{ v | rsa_decrypt(k) }}", sha256),
        ("{{ v | rsa_decrypt(k, hash='SHA1') }}", sha1),
        ("{{ v | rsa_decrypt(k, 'PKCS1v15') }}", padding.PKCS1v15()),
    ):
        hidden = key.public_key().encrypt(b"hunter2-not-real", used)
        assert await render(template, {"v": hidden}, k=pem) == b"hunter2-not-real"
    with pytest.raises(TemplateInvalid, match="cannot decrypt with this key"):
        await render("{{ 'x' | rsa_decrypt(k) }}", k=pem)

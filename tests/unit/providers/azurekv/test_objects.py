"""What is made of the keys that Azure has: their public part, and nothing else."""

import json
from typing import Any

import pytest
from azure.keyvault.keys import KeyVaultKey

from syncret.providers.azurekv.objects import key_value

KID = "https://payments.vault.azure.net/keys/signing/0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("members", "public"),
    [
        (
            {
                "kty": "RSA",
                "n": b"\x00\xff",
                "e": b"\x01\x00\x01",
                "d": b"private",
                "p": b"private",
            },
            {"kty": "RSA", "n": "AP8", "e": "AQAB"},
        ),
        (
            {"kty": "EC-HSM", "crv": "P-256K", "x": b"\x01", "y": b"\x02", "d": b"private"},
            {"kty": "EC-HSM", "crv": "P-256K", "x": "AQ", "y": "Ag"},
        ),
        ({"kty": "oct", "k": b"private", "key_hsm": b"private"}, {"kty": "oct"}),
    ],
)
def test_a_key_has_its_public_members_only(members: dict[str, Any], public: Any) -> None:
    key = KeyVaultKey(key_id=KID, jwk={**members, "kid": KID, "key_ops": ["verify"]})
    value = key_value(key)
    assert value is not None
    jwk = json.loads(value.reveal())
    assert jwk == {"kid": KID, "key_ops": ["verify"], **public}
    assert value.version == KID.rpartition("/")[2]

"""The generators that make their values in this process."""

import base64
import string
import uuid
from typing import Any

import pytest

from syncret.errors import SpecInvalid
from syncret.generators.base import Generated
from syncret.generators.password import SYMBOLS
from syncret.generators.registry import NAMES, generator, parse_generator

LOCAL = ("password", "uuid")


async def generated(name: str, spec: dict[str, Any]) -> dict[str, str]:
    chosen, config = parse_generator({name: spec}, cluster_scoped=False)
    calls: list[str] = []

    def observe(*, operation: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        calls.append(f"{operation} {outcome}")

    assert chosen.credential_refs(config) == {}
    assert not chosen.ambient(config)
    client = await chosen.open(config, {}, observe=observe)
    await client.check()
    made: Generated = await client.generate(owner="payments/db")
    await client.close()
    assert calls == ["Check ok", "Generate ok"]
    assert (made.lease, made.expires) == (None, None)
    assert "•" not in repr(made)
    return {key: value.reveal().decode() for key, value in made.values.items()}


async def test_a_password_is_like_those_of_eso_by_default() -> None:
    made = await generated("password", {})
    (password,) = made.values()
    assert list(made) == ["password"]
    assert len(password) == 24
    assert sum(one in string.digits for one in password) == 6
    assert sum(one in SYMBOLS for one in password) == 6
    assert len(set(password)) == 24
    assert made != await generated("password", {})


async def test_what_it_is_made_of_can_be_chosen() -> None:
    made = await generated(
        "password",
        {
            "length": 100,
            "digits": 0,
            "symbols": 90,
            "symbolCharacters": "-_",
            "noUpper": True,
            "allowRepeat": True,
            "secretKeys": ["one", "two"],
        },
    )
    assert list(made) == ["one", "two"]
    assert made["one"] != made["two"]
    for password in made.values():
        assert len(password) == 100
        assert set(password) <= set(string.ascii_lowercase + "-_")
        assert sum(one in "-_" for one in password) == 90


@pytest.mark.parametrize(
    ("encoding", "decode"),
    [
        ("raw", str.encode),
        ("base64", base64.b64decode),
        ("base64url", base64.urlsafe_b64decode),
        ("base32", base64.b32decode),
        ("hex", bytes.fromhex),
    ],
)
async def test_it_is_encoded(encoding: str, decode: Any) -> None:
    made = await generated("password", {"length": 9, "encoding": encoding})
    assert len(decode(made["password"])) == 9


async def test_a_uuid_is_a_random_one() -> None:
    made = await generated("uuid", {})
    assert uuid.UUID(made["uuid"]).version == 4
    made = await generated("uuid", {"secretKeys": ["a", "b"]})
    assert len(set(made.values())) == 2


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"length": 0}, "length must be a whole number from 1 to 1024"),
        ({"length": 4, "digits": 3, "symbols": 2}, "digits and symbols are a part of the length"),
        ({"length": 64}, "not enough characters"),
        ({"length": 60, "digits": 0, "symbols": 0}, "not enough characters"),
        ({"length": 30, "digits": 0, "symbols": 0, "noUpper": True}, "not enough characters"),
        ({"digits": 2, "symbols": 3, "symbolCharacters": "--_"}, "not enough characters"),
        ({"symbolCharacters": "a"}, "symbolCharacters must be printable"),
        ({"symbolCharacters": " "}, "symbolCharacters must be printable"),
        ({"encoding": "rot13"}, "encoding must be"),
        ({"secretKeys": ["a/b"]}, r"secretKeys\[0\] must be a key"),
        ({"secretKeys": ["a", "a"]}, "different keys"),
        ({"noLower": True}, "spec.generator.password.noLower is not known"),
    ],
)
def test_what_no_password_can_be_like_is_refused(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecInvalid, match=says):
        parse_generator({"password": spec}, cluster_scoped=True)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (None, "names none"),
        ({"password": None}, "names none"),
        ({"password": {}, "uuid": {}}, "names password, uuid"),
        ({"dice": {}}, "spec.generator.dice is not known"),
        ({"uuid": "text"}, "spec.generator.uuid must be an object"),
    ],
)
def test_anything_but_one_known_generator_is_refused(spec: Any, says: str) -> None:
    with pytest.raises(SpecInvalid, match=says):
        parse_generator(spec, cluster_scoped=False)


@pytest.mark.parametrize("name", NAMES)
def test_every_line_makes_the_generator_that_it_names(name: str) -> None:
    assert generator(name).name == name
    assert generator(name) is generator(name)

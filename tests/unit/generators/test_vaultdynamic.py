"""``spec.generator.vaultDynamic``, and what Vault's answers and a lease's record mean."""

import json
from typing import Any

import pytest

from syncret.errors import SpecInvalid
from syncret.generators.vaultdynamic.config import MAX_PARAMETERS, PATH, parse_dynamic
from syncret.generators.vaultdynamic.generator import VaultDynamic
from syncret.generators.vaultdynamic.holder import Holder, holder_of
from syncret.generators.vaultdynamic.results import (
    AUTH,
    DATA,
    NO_END,
    RAW,
    Granted,
    ending,
    granted,
    life_of,
    values_of,
)
from syncret.providers.base import SecretKeyRef

PROVIDER = {
    "server": "https://vault.example.com:8200",
    "auth": {"tokenSecretRef": {"name": "vault", "key": "token"}},
}


def spec(**more: Any) -> dict[str, Any]:
    return {"path": "database/creds/app", "provider": PROVIDER, **more}


def test_the_least_spec() -> None:
    config = parse_dynamic(spec(), cluster_scoped=False)
    assert (config.path, config.method, config.parameters, config.result) == (
        "database/creds/app",
        "GET",
        "",
        DATA,
    )
    assert config.vault.place == "Vault at vault.example.com:8200"
    generator = VaultDynamic()
    assert generator.credential_refs(config) == {"token": SecretKeyRef("vault", "token")}
    assert not generator.ambient(config)


def test_parameters_are_one_text_whatever_their_order() -> None:
    one = parse_dynamic(spec(method="POST", parameters={"b": 1, "a": [2]}), cluster_scoped=False)
    other = parse_dynamic(spec(method="POST", parameters={"a": [2], "b": 1}), cluster_scoped=False)
    assert one == other
    assert json.loads(one.parameters) == {"a": [2], "b": 1}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (spec(path="/database"), "path must be a path of Vault"),
        (spec(path="a/../b"), "path must be a path of Vault"),
        (spec(path="a?list=true"), "path must be a path of Vault"),
        (spec(method="DELETE"), "method must be GET or POST or PUT"),
        (spec(resultType="All"), "resultType must be Data or Auth or Raw"),
        (spec(parameters={"a": 1}), "parameters needs the method POST or PUT"),
        (spec(method="PUT", parameters=[1]), "parameters must be an object"),
        (
            spec(method="PUT", parameters={"a": "x" * MAX_PARAMETERS}),
            "parameters must be at most",
        ),
        (spec(unknown=1), "unknown is not known"),
        ({"path": "a"}, "provider is missing"),
        (spec(provider={**PROVIDER, "path": "secret"}), "provider.path is of stores"),
        (spec(provider={**PROVIDER, "engine": "kv"}), "provider.engine is of stores"),
        (spec(provider={**PROVIDER, "server": "x"}), "provider.server must be an http"),
        (spec(provider={**PROVIDER, "auth": {}}), "provider.auth must have exactly one of"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecInvalid) as raised:
        parse_dynamic(given, cluster_scoped=False)
    assert raised.value.message.startswith(f"{PATH}.")
    assert words in raised.value.message


def test_the_record_of_a_token_is_read_as_it_was_written() -> None:
    holder = holder_of("abc.ns1", first=3600.0, left=100.0, now=1000.0)
    assert str(holder) == "abc.ns1:3600:1100"
    assert Holder.of(str(holder)) == holder
    assert (holder.left(1040.0), holder.left(2000.0)) == (60.0, 0.0)
    endless = holder_of("", first=60.0, left=float("inf"), now=1000.0)
    assert Holder.of(str(endless)).left(9e9) == float("inf")


@pytest.mark.parametrize("text", ["", "abc", "a:b:c", "a:1", "a:1:2:3", "a b:1:2", "a:-1:2"])
def test_of_another_form_nothing_is_known(text: str) -> None:
    assert Holder.of(text) == Holder()


def test_values_are_texts_or_json() -> None:
    body = {"data": {"a": "text", "n": 1, "t": True, "o": {"z": [1]}, "none": None}, "auth": None}
    values = values_of(body, DATA)
    assert values is not None
    assert {name: value.reveal() for name, value in values.items()} == {
        "a": b"text",
        "n": b"1",
        "t": b"true",
        "o": b'{"z":[1]}',
        "none": b"null",
    }
    assert values_of(body, AUTH) is None
    assert set(values_of(body, RAW) or {}) == {"data", "auth"}
    assert values_of(None, RAW) is None


def test_leases_are_those_of_secrets_or_of_tokens() -> None:
    leased = {"lease_id": "database/creds/app/x", "lease_duration": 60, "renewable": True}
    assert granted(leased) == Granted("database/creds/app/x", 60.0, renewable=True)
    assert granted({**leased, "lease_duration": 0}) == Granted(
        "database/creds/app/x", NO_END, renewable=True
    )
    auth = {"accessor": "abc", "lease_duration": 60, "renewable": False}
    assert granted({"lease_id": "", "auth": auth}) == Granted("accessor:abc", 60.0, renewable=False)
    batch = {"auth": {"accessor": "", "lease_duration": 60}}
    assert granted(batch) is None
    assert ending(batch) == 60.0
    assert ending(leased) is None
    assert granted({"lease_id": "", "lease_duration": 2764800, "data": {}}) is None


def test_the_life_of_a_token() -> None:
    assert life_of({"auth": {"lease_duration": 5}}) == 5.0
    assert life_of({"data": {"ttl": 7}, "auth": None}) == 7.0
    assert life_of({"data": {"ttl": 0}}) == float("inf")
    assert life_of({"errors": []}) is None

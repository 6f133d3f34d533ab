"""Which keys and which names in events are the same secret."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncret.api.keys import ObjectKey
from syncret.api.remote import words
from syncret.sources.names import Subject, System, is_below, is_same, system_of
from unit.sources.shapes import ARN, REGION

STORE = ObjectKey("ClusterSecretStore", "", "s")
AWS = {"aws": {"service": "SecretsManager", "region": REGION}}
SSM = {"aws": {"service": "ParameterStore", "region": REGION}}
GOOGLE = {"gcpsm": {"projectID": "acme"}}
AZURE = {"azurekv": {"vaultUrl": "https://Acme.vault.azure.net"}}
VAULT = {"vault": {"server": "https://v", "path": "secret", "version": "v2"}}
PLAIN_VAULT = {"vault": {"server": "https://v"}}

NATIVE = Subject(System.SECRETS_MANAGER, (ARN, "production/database"), place=REGION)
OTHER_REGION = Subject(System.SECRETS_MANAGER, NATIVE.names, place="us-east-1")
PARAMETER = Subject(
    System.PARAMETER_STORE,
    ("/shop/password", f"arn:aws:ssm:{REGION}:1:parameter/shop/password"),
    place=REGION,
)
NUMBERED = Subject(System.GOOGLE, ("projects/123456789012/secrets/db",))
NAMED = Subject(System.GOOGLE, ("projects/acme/secrets/db",))
KEY_VAULT = Subject(System.AZURE, ("secret/DB-Password",), place="ACME")
WRITTEN = Subject(System.VAULT, ("secret/data/shop/db",), mount="secret/")


@pytest.mark.parametrize(
    ("provider", "key", "subject", "same"),
    [
        (AWS, "production/database", NATIVE, True),
        (AWS, ARN, NATIVE, True),
        (AWS, ARN[:-7], NATIVE, True),
        (AWS, "production/databas", NATIVE, False),
        (AWS, "database", NATIVE, False),
        (AWS, "other/database", NATIVE, False),
        (AWS, ARN.replace("123456789012", "999999999999"), NATIVE, False),
        (AWS, "production/database", OTHER_REGION, False),
        (AWS, ARN, Subject(System.SECRETS_MANAGER, ("production/database",)), True),
        (AWS, "production/database", Subject(System.SECRETS_MANAGER, (ARN[:-7],)), True),
        ({"aws": {**AWS["aws"], "prefix": "production/"}}, "database", NATIVE, True),
        ({"aws": {**AWS["aws"], "prefix": "prod"}}, "uction/database", NATIVE, True),
        ({"aws": {**AWS["aws"], "prefix": "production/"}}, "production/database", NATIVE, False),
        (SSM, "production/database", NATIVE, False),
        (SSM, "/shop/password", PARAMETER, True),
        (SSM, f"arn:aws:ssm:{REGION}:1:parameter/shop/password", PARAMETER, True),
        (SSM, "/shop/password:3", PARAMETER, True),
        (SSM, "password", PARAMETER, False),
        (GOOGLE, "db", NUMBERED, True),
        (GOOGLE, "projects/acme/secrets/db", NUMBERED, True),
        (GOOGLE, "projects/42/secrets/db", NUMBERED, False),
        (GOOGLE, "projects/123456789012/secrets/db/versions/7", NUMBERED, True),
        (GOOGLE, "projects/acme/locations/europe-west3/secrets/db", NAMED, True),
        (GOOGLE, "projects/other/secrets/db", NAMED, False),
        (GOOGLE, "db2", NAMED, False),
        (AZURE, "db-password", KEY_VAULT, True),
        (AZURE, "secret/db-password", KEY_VAULT, True),
        (AZURE, "key/db-password", KEY_VAULT, False),
        ({"azurekv": {"vaultUrl": "https://b.vault.azure.net"}}, "db-password", KEY_VAULT, False),
        (VAULT, "shop/db", WRITTEN, True),
        (VAULT, "secret/shop/db", WRITTEN, True),
        (VAULT, "secret/data/shop/db", WRITTEN, True),
        (PLAIN_VAULT, "secret/shop/db", WRITTEN, True),
        (PLAIN_VAULT, "shop/db", WRITTEN, False),
        (VAULT, "shop/dbx", WRITTEN, False),
        (
            {"vault": {**VAULT["vault"], "namespace": "team"}},
            "shop/db",
            Subject(System.VAULT, WRITTEN.names, mount="secret/", place="other"),
            False,
        ),
        ({"webhook": {}}, "production/database", NATIVE, False),
    ],
)
def test_same(provider: dict[str, Any], key: str, subject: Subject, same: bool) -> None:
    assert is_same(provider, STORE, key, subject) is same
    if same:  # else nobody would look it up
        assert words(key) & {word for name in subject.names for word in words(name)}


def test_a_hook_names_a_store_and_its_keys_in_any_form() -> None:
    told = Subject(System.STORE, (ARN,), store=STORE)
    assert is_same(AWS, STORE, "production/database", told)
    assert not is_same(AWS, STORE._replace(name="other"), "production/database", told)
    exact = Subject(System.STORE, ("anything",), store=STORE)
    assert is_same({"webhook": {"url": "x"}}, STORE, "anything", exact)
    assert not is_same({"webhook": {"url": "x"}}, STORE, "other", exact)


@pytest.mark.parametrize(
    ("provider", "subject", "name"),
    [
        (AWS, NATIVE, "production/database"),
        ({"aws": {**AWS["aws"], "prefix": "production/"}}, NATIVE, "database"),
        (SSM, PARAMETER, "/shop/password"),
        (GOOGLE, NUMBERED, "db"),
        (AZURE, KEY_VAULT, "db-password"),
        (VAULT, WRITTEN, "shop/db"),
        (PLAIN_VAULT, WRITTEN, "secret/shop/db"),
    ],
)
def test_a_search_finds_it_by_its_name(
    provider: dict[str, Any], subject: Subject, name: str
) -> None:
    assert name in is_below(provider, STORE, subject)
    assert is_below({"webhook": {}}, STORE, subject) == ()


NAMES = st.text("abcABC012345-_", min_size=1, max_size=12)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@given(PATHS, st.text("abcXYZ019", min_size=6, max_size=6))
def test_every_form_of_a_name_of_aws_is_the_same_secret(path: str, suffix: str) -> None:
    partial = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:{path}"
    forms = [path, partial, f"{partial}-{suffix}"]
    told = Subject(System.SECRETS_MANAGER, (forms[2], path), place=REGION)
    for form in forms:
        assert is_same(AWS, STORE, form, told)
        assert words(form) & (words(forms[2]) | words(path))


@given(st.text(), st.text(), st.sampled_from([AWS, SSM, GOOGLE, AZURE, VAULT, PLAIN_VAULT, {}]))
def test_no_name_is_too_odd(key: str, name: str, provider: dict[str, Any]) -> None:
    system = system_of(provider) or System.STORE
    is_same(provider, STORE, key, Subject(system, (name,), store=STORE))
    is_below(provider, STORE, Subject(system, (name,), store=STORE))
    words(key)

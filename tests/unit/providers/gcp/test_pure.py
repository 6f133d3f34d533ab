"""Names, filters, checksums, the budget of looks, and configuration files: what needs no SDK."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from google.cloud.secretmanager_v1.types import resources

from syncret.errors import ProviderRejected
from syncret.providers.base import Query, Ref
from syncret.providers.gcp import names, search
from syncret.providers.gcp.budget import BURST, PAUSE, PER_MINUTE, Budget
from syncret.providers.gcp.config import GcpConfig
from syncret.providers.gcp.crc32c import crc32c
from syncret.providers.gcp.credconfig import read_config
from syncret.providers.gcp.facts import DAILY, HOURLY, RECENT, Remembered


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        # RFC 3720, B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_the_checksum_is_that_of_castagnoli(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum


@pytest.mark.parametrize(
    ("key", "location", "name"),
    [
        ("db", "", "projects/p1/secrets/db"),
        ("db", "europe-west3", "projects/p1/locations/europe-west3/secrets/db"),
        ("projects/other/secrets/db", "", "projects/other/secrets/db"),
        ("projects/123/secrets/db/versions/7", "", "projects/123/secrets/db"),
        (
            "projects/p/locations/europe-west3/secrets/db",
            "europe-west3",
            "projects/p/locations/europe-west3/secrets/db",
        ),
    ],
)
def test_a_reference_is_a_resource_name(key: str, location: str, name: str) -> None:
    assert names.secret_name(Ref(key), project="p1", location=location) == name


@pytest.mark.parametrize(
    "key",
    ["", "a/b", "a b", "ä", "projects/p/secrets/", "projects/p/secrets/a/../b", "x" * 256, "a\n"],
)
def test_what_cannot_be_a_name_is_refused(key: str) -> None:
    with pytest.raises(ProviderRejected, match="is no name of a secret"):
        names.secret_name(Ref(key), project="p1", location="")


def test_a_name_of_another_location_is_refused() -> None:
    full = "projects/p/locations/us-east1/secrets/db"
    with pytest.raises(ProviderRejected, match="us-east1, and the store reads at the global"):
        names.secret_name(Ref(full), project="p", location="")
    with pytest.raises(ProviderRejected, match="without a location, and the store reads at eu"):
        names.secret_name(Ref("projects/p/secrets/db"), project="p", location="eu")


@pytest.mark.parametrize(
    ("ref", "version"),
    [
        (Ref("db"), "latest"),
        (Ref("db", "latest"), "latest"),
        (Ref("db", "12"), "12"),
        (Ref("db", "blue_1"), "blue_1"),
        (Ref("projects/p/secrets/db/versions/3"), "3"),
        (Ref("projects/p/secrets/db/versions/3", "4"), "4"),
    ],
)
def test_a_version_is_a_number_an_alias_or_the_latest(ref: Ref, version: str) -> None:
    assert names.version_of(ref) == version


@pytest.mark.parametrize("version", ["0", "-1", "1.0", "1st", "a b", "a/b", "ä", "x" * 64])
def test_what_cannot_be_a_version_is_refused(version: str) -> None:
    with pytest.raises(ProviderRejected, match="is not usable"):
        names.version_of(Ref("db", version))


@pytest.mark.parametrize(
    ("query", "written"),
    [
        (Query(), ""),
        (Query(path="app-"), "name:app-"),
        (Query(path="-x"), ""),
        (Query(path='a" OR name:b'), ""),
        (
            Query(path="a", tags=(("team", "x"), ("tier", "1"))),
            "name:a AND labels.team=x AND labels.tier=1",
        ),
        (Query(tags=(("team", "ä"), ("a.b", "c"))), ""),
        (Query(name="regular.*expression"), ""),
    ],
)
def test_a_filter_has_what_is_safe_to_write(query: Query, written: str) -> None:
    assert search.filters(query) == written


def test_labels_are_the_same_bytes_in_any_order() -> None:
    one = search.labels_json({"b": "2", "a": "ä"})
    assert one == search.labels_json({"a": "ä", "b": "2"}) == '{"a": "ä", "b": "2"}'.encode()


def test_a_budget_is_spent_and_grows_again() -> None:
    now = [0.0]
    budget = Budget(lambda: now[0])
    assert sum(budget.take() for _ in range(BURST + 5)) == BURST
    now[0] = 60.0
    assert sum(budget.take() for _ in range(1000)) == min(BURST, PER_MINUTE)
    for _ in range(10):
        budget.spend()
    now[0] += 5 * 60 / PER_MINUTE
    assert not budget.take(), "what had to be read counts as well"
    now[0] += 60.0
    assert budget.take()
    budget.pause()
    now[0] += PAUSE - 1
    assert not budget.take()
    now[0] += 1
    assert budget.take()


def secret(**fields: Any) -> Any:
    """An answer of GetSecret as the client reads it."""
    return resources.Secret.pb(resources.Secret(**fields))


def test_facts_are_asked_for_anew_by_what_they_say() -> None:
    now = [0.0]
    remembered = Remembered(lambda: now[0])
    assert remembered.due("new", unchanged=True)
    remembered.put("plain", secret(labels={"team": "a"}))
    expires = datetime(2030, 1, 1, tzinfo=UTC)
    facts = remembered.put("ends", secret(expire_time=expires))
    assert (facts.expires, facts.labels) == (expires, {})

    def due() -> list[bool]:
        names = ("plain", "ends")
        return [remembered.due(name, unchanged=same) for name in names for same in (False, True)]

    for seconds, expected in (
        (RECENT - 1, [False, False, False, False]),
        (RECENT, [True, False, True, False]),
        (HOURLY, [True, False, True, True]),
        (DAILY, [True, True, True, True]),
    ):
        now[0] = seconds
        assert due() == expected
    known = remembered.get("plain")
    assert known is not None
    assert (known.expires, known.labels) == (None, {"team": "a"})


def test_three_of_a_budget_fit_into_the_quota() -> None:
    assert PER_MINUTE * 3 <= 600


def config_file(**changed: Any) -> bytes:
    content = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/x",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": "/var/run/token"},
    }
    return json.dumps(content | changed).encode()


def test_a_configuration_file_of_gcloud_is_taken() -> None:
    found = read_config(
        config_file(
            service_account_impersonation_url=(
                "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
                "a@p.iam.gserviceaccount.com:generateAccessToken"
            ),
            universe_domain="googleapis.com",
        ),
        GcpConfig(),
        token_source="",
    )
    assert isinstance(found, dict)
    source = {"url": "https://tokens.example.com/t", "headers": {"a": "b"}}
    approved = read_config(
        config_file(credential_source=source),
        GcpConfig(),
        token_source="https://tokens.example.com/t",
    )
    assert isinstance(approved, dict)


@pytest.mark.parametrize(
    "changed",
    [
        {"credential_source": {"environment_id": "aws1", "url": "http://169.254.169.254/"}},
        {"credential_source": {"file": "/x", "certificate": {}}},
        {"credential_source": None},
        {"token_url": "https://sts.googleapis.com.example.com/v1/token"},
        {"token_url": None},
        {
            "service_account_impersonation_url": (
                "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
                "../../x@y?:generateAccessToken"
            )
        },
    ],
)
def test_a_configuration_file_with_another_address_or_source_is_not(
    changed: dict[str, Any],
) -> None:
    found = read_config(config_file(**changed), GcpConfig(), token_source="")
    assert isinstance(found, str)


def test_a_configuration_file_must_be_json() -> None:
    assert read_config(b"{", GcpConfig(), token_source="") == "is no JSON"
    assert isinstance(read_config(b"[]", GcpConfig(), token_source=""), str)


def test_the_sdk_is_imported_by_the_first_store_only() -> None:
    script = (
        "import sys\n"
        "from syncret.providers.registry import parse_provider\n"
        "parse_provider({'gcpsm': {'projectID': 'p1'}}, cluster_scoped=True)\n"
        "print([name for name in ('grpc', 'google.auth', 'google.cloud') if name in sys.modules])\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert made.stdout == "[]\n"

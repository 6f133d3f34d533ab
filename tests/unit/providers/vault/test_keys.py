"""Which mount and path a key means: the forms that the field knows, and no others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncret.errors import ProviderRejected
from syncret.providers.vault.keys import folder_of, place_of, role_of, version_of


@pytest.mark.parametrize(
    ("key", "mount", "version", "expected"),
    [
        ("app/db", "secret", 2, ("secret", "app/db")),
        ("secret/app/db", "secret", 2, ("secret", "app/db")),
        ("secret/data/app/db", "secret", 2, ("secret", "app/db")),
        ("data/app/db", "secret", 2, ("secret", "data/app/db")),
        ("secret/data/app/db", "secret", 1, ("secret", "data/app/db")),
        ("secret/secret/db", "secret", 2, ("secret", "secret/db")),
        ("secrets/db", "secret", 2, ("secret", "secrets/db")),
        ("team/kv/data/app", "team/kv", 2, ("team/kv", "app")),
        ("secret/app/db", "", 2, ("secret", "app/db")),
        ("secret/data/app/db", "", 2, ("secret", "app/db")),
        ("team/kv/data/app", "", 2, ("team/kv", "app")),
        ("secret/data/app", "", 1, ("secret", "data/app")),
        ("secret/app/db", "", 1, ("secret", "app/db")),
    ],
)
def test_a_key_is_a_path_in_a_mount(
    key: str, mount: str, version: int, expected: tuple[str, str]
) -> None:
    place = place_of(key, mount=mount, version=version)
    assert (place.mount, place.path) == expected
    assert place.lead + place.path == key


@pytest.mark.parametrize("key", ["", "/", "a//b", "/a", "a/", ".", "a/..", "../a", "a/./b", "a\tb"])
@pytest.mark.parametrize("mount", ["secret", ""])
def test_what_would_become_another_path_is_refused(key: str, mount: str) -> None:
    with pytest.raises(ProviderRejected):
        place_of(key if mount or not key else f"secret/{key}", mount=mount, version=2)


@given(st.text(max_size=40), st.sampled_from(["", "secret", "team/kv"]), st.sampled_from([1, 2]))
def test_no_key_leaves_its_mount(key: str, mount: str, version: int) -> None:
    try:
        place = place_of(key, mount=mount, version=version)
    except ProviderRejected:
        return
    assert place.mount == mount or (not mount and key.startswith(place.mount))
    assert not {"", ".", ".."} & set(place.path.split("/"))


@pytest.mark.parametrize(
    ("prefix", "mount", "expected"),
    [
        ("", "secret", ("secret", "", "")),
        ("app", "secret", ("secret", "", "")),
        ("app/", "secret", ("secret", "app/", "")),
        ("app/d", "secret", ("secret", "app/", "")),
        ("secret/app/d", "secret", ("secret", "app/", "secret/")),
        ("secret/data/app/d", "secret", ("secret", "app/", "secret/data/")),
        ("secret/app/d", "", ("secret", "app/", "secret/")),
        ("secret/", "", ("secret", "", "secret/")),
    ],
)
def test_a_search_begins_in_a_folder(
    prefix: str, mount: str, expected: tuple[str, str, str]
) -> None:
    start = folder_of(prefix, mount=mount, version=2)
    assert (start.mount, start.path, start.lead) == expected


def test_a_version_is_a_number_from_one() -> None:
    assert version_of("") is None
    assert version_of("12") == 12
    for wrong in ("0", "-1", "01", "1.0", "latest", " 1", "1" * 20):
        with pytest.raises(ProviderRejected):
            version_of(wrong)


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../creds/a", "a/./b", "a\n"])
def test_what_is_no_name_of_a_static_role_is_refused(key: str) -> None:
    with pytest.raises(ProviderRejected, match="no name of a static role"):
        role_of(key)


def test_the_name_of_a_static_role_is_the_key() -> None:
    assert role_of("svc/billing") == "svc/billing"

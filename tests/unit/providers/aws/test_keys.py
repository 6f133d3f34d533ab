"""Access keys print as nothing and go nowhere."""

import pickle

import pytest

from syncret.providers.aws.keys import Keys, Renewed

KEYS = Keys("AKIAFAKE", "fake-secret", "fake-token", seconds=900)


def test_keys_show_nothing() -> None:
    renewed = Renewed()
    renewed.keys = KEYS
    shown = f"{KEYS} {KEYS!r} {renewed} {renewed!r} {[KEYS]}"
    assert "AKIA" not in shown
    assert "fake" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(KEYS)


def test_a_signature_takes_all_of_one_login() -> None:
    renewed = Renewed()
    renewed.keys = KEYS
    frozen = renewed.get_frozen_credentials()
    renewed.keys = Keys("AKIANEXT", "next-secret", "next-token")
    assert (frozen.access_key, frozen.secret_key, frozen.token) == (
        "AKIAFAKE",
        "fake-secret",
        "fake-token",
    )
    assert (renewed.access_key, renewed.token) == ("AKIANEXT", "next-token")

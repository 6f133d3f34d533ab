"""Flags, environment, defaults, and what is said of values that cannot be used."""

import argparse
from dataclasses import fields

import pytest

from syncret.settings import Address, Settings, add_arguments, from_args


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="syncret run")
    add_arguments(made)
    return made


def settings(*flags: str, **env: str) -> Settings:
    made = parser()
    return from_args(made.parse_args(flags), env, parser=made)


def refusal(capsys: pytest.CaptureFixture[str], *flags: str, **env: str) -> str:
    with pytest.raises(SystemExit) as caught:
        settings(*flags, **env)
    assert caught.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


#: For every setting with a flag: how it is written, and what that means.
EXAMPLES = {
    "http_address": ("127.0.0.1:9090", Address("127.0.0.1", 9090)),
    "log_level": ("debug", "debug"),
    "log_format": ("json", "json"),
    "workers": ("64", 64),
    "shards": ("3", 3),
    "lease_duration": ("30s", 30.0),
    "operator_namespace": ("platform", "platform"),
    "kubeconfig": ("/etc/kubeconfig", "/etc/kubeconfig"),
    "controller_class": ("blue", "blue"),
    "file_store_roots": ("/secrets-in,/run/more", ("/secrets-in", "/run/more")),
    "webhook_hosts": (
        "api.example.com, http://10.1.2.3:8080,10.96.0.0/12",
        ("api.example.com", "http://10.1.2.3:8080", "10.96.0.0/12"),
    ),
    "max_concurrent_rollouts": ("5", 5),
    "provider_timeout": ("2.5s", 2.5),
    "kube_timeout": ("1m", 60.0),
    "shutdown_grace": ("0", 0.0),
    "retry_base": ("250ms", 0.25),
    "retry_cap": ("1h", 3600.0),
    "event_sources": ("/etc/sources.yaml", "/etc/sources.yaml"),
    "instance": ("syncret-0", "syncret-0"),
}
BOOLEAN = "ambient_credentials_for_secret_stores"
BOOLEANS = (BOOLEAN, "reloader_annotations")


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    return "SYNCRET_" + name.upper()


def test_every_setting_is_covered_here() -> None:
    assert {field.name for field in fields(Settings)} == {*EXAMPLES, *BOOLEANS}


def test_defaults() -> None:
    chosen = settings(POD_NAME="syncret-0")
    assert chosen == Settings(instance="syncret-0")
    assert str(chosen.http_address) == "0.0.0.0:8080"
    assert chosen.workers == 128
    assert not chosen.ambient_credentials_for_secret_stores


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_flag_sets_it(name: str) -> None:
    text, value = EXAMPLES[name]
    assert getattr(settings(flag(name), text), name) == value


@pytest.mark.parametrize("name", EXAMPLES)
def test_its_variable_sets_it(name: str) -> None:
    text, value = EXAMPLES[name]
    assert getattr(settings(**{variable(name): text}), name) == value


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_flag_wins_even_over_a_wrong_variable(name: str) -> None:
    text, value = EXAMPLES[name]
    assert getattr(settings(flag(name), text, **{variable(name): "-1 ?"}), name) == value


@pytest.mark.parametrize("name", [*EXAMPLES, *BOOLEANS])
def test_an_empty_variable_is_no_value(name: str) -> None:
    common = {"POD_NAME": "syncret-0"}
    assert settings(**common, **{variable(name): ""}) == settings(**common)


@pytest.mark.parametrize("text", ["true", "True", "1", "yes"])
def test_a_switch_is_turned_on_by_its_variable(text: str) -> None:
    assert settings(**{variable(BOOLEAN): text}).ambient_credentials_for_secret_stores


def test_a_switch_is_turned_on_by_its_flag() -> None:
    assert settings(
        flag(BOOLEAN), **{variable(BOOLEAN): "no"}
    ).ambient_credentials_for_secret_stores


def test_a_switch_is_turned_off_by_its_flag() -> None:
    off = f"--no-{BOOLEAN.replace('_', '-')}"
    chosen = settings(off, **{variable(BOOLEAN): "true"})
    assert not chosen.ambient_credentials_for_secret_stores


def test_the_pods_own_variables_come_last() -> None:
    pod = {"POD_NAMESPACE": "syncret", "POD_NAME": "syncret-0"}
    assert settings(**pod).operator_namespace == "syncret"
    assert settings(**pod).instance == "syncret-0"
    assert settings(**pod, SYNCRET_OPERATOR_NAMESPACE="other").operator_namespace == "other"
    assert settings("--instance=me", **pod).instance == "me"


def test_an_instance_is_never_nameless() -> None:
    assert settings().instance


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:0", Address("localhost", 0)),
        ("[::]:8080", Address("::", 8080)),
        ("[::1]:65535", Address("::1", 65535)),
        (":8080", Address("", 8080)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert settings("--http-address", text).http_address == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    ["8080", "localhost", "localhost:", "::1:8080", "[]:80", "[x]:80", "h:65536", "h:-1", "a b:1"],
)
def test_what_is_no_address(capsys: pytest.CaptureFixture[str], text: str) -> None:
    message = refusal(capsys, f"--http-address={text}")
    assert f'--http-address: "{text}" is not an address: write host:port' in message


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("log_level", "trace", '"trace" is none of debug, info, warning, error'),
        ("log_format", "xml", '"xml" is none of auto, json, console'),
        ("workers", "3", '"3" is not a whole number from 4 to 1024'),
        ("workers", "1025", '"1025" is not a whole number from 4 to 1024'),
        ("workers", "many", '"many" is not a whole number from 4 to 1024'),
        ("controller_class", "a class", '"a class" is not a class: at most 63 letters'),
        ("file_store_roots", "/a,relative", '"relative" is not an absolute path'),
        ("file_store_roots", "/", '"/" is not an absolute path of a directory, or is all of'),
        ("file_store_roots", "/a/..", '"/a/.." is not an absolute path of a directory, or is all'),
        ("shards", "0", '"0" is not a whole number from 1 to 64'),
        ("lease_duration", "1s", "1s is out of range: choose from 2s to 10m"),
        ("operator_namespace", "Not_One", '"Not_One" is not the name of a namespace'),
        ("provider_timeout", "10", '"10" is not a duration: write numbers with the units h, m, s'),
        ("provider_timeout", "0", "0 is out of range: choose from 100ms to 10m"),
        ("kube_timeout", "-1s", '"-1s" is not a duration'),
        ("shutdown_grace", "2h", "2h is out of range: choose from 0s to 1h"),
        ("retry_base", "1ns", "1ns is out of range: choose from 10ms to 1h"),
        ("retry_cap", "25h", "25h is out of range: choose from 10ms to 24h"),
    ],
)
def test_a_bad_value_is_told_with_its_origin(
    capsys: pytest.CaptureFixture[str], name: str, text: str, sentence: str
) -> None:
    told = refusal(capsys, f"{flag(name)}={text}")
    assert told.startswith(f"syncret run: error: {flag(name)}: {sentence}")
    told = refusal(capsys, **{variable(name): text})
    assert told.startswith(f"syncret run: error: {variable(name)}: {sentence}")


def test_a_switch_with_a_bad_variable(capsys: pytest.CaptureFixture[str]) -> None:
    told = refusal(capsys, **{variable(BOOLEAN): "maybe"})
    assert told == f'syncret run: error: {variable(BOOLEAN)}: "maybe" is neither true nor false'


def test_waits_that_contradict_each_other_are_told_with_both_origins(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = refusal(capsys, "--retry-cap=500ms")
    assert told.endswith(
        "--retry-cap: 500ms is less than the first wait, which is 1s by the default of --retry-base"
    )
    told = refusal(capsys, SYNCRET_RETRY_BASE="10m")
    assert told.endswith(
        "the default of --retry-cap: 5m is less than the first wait, which is 10m by "
        "SYNCRET_RETRY_BASE"
    )


def test_help_shows_every_flag_with_its_variable_and_default() -> None:
    shown = " ".join(parser().format_help().split())
    for name in [*EXAMPLES, *BOOLEANS]:
        assert flag(name) in shown
        assert variable(name) in shown
    for default in [
        "0.0.0.0:8080",
        "info",
        "auto",
        "128",
        "false",
        "10s",
        "15s",
        "20s",
        "1s",
        "5m",
    ]:
        assert f"[default: {default}; or SYNCRET_" in shown

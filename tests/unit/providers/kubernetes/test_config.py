"""``spec.provider.kubernetes``, and kubeconfigs: what is taken and what is refused."""

import base64
import json
from typing import Any

import pytest

from syncret.errors import ProviderRejected, SpecInvalid
from syncret.providers.base import Ref, ServiceAccountRef
from syncret.providers.kubernetes import kubeconfig
from syncret.providers.kubernetes.config import parse_config
from syncret.providers.kubernetes.keys import Key

SELECTOR = {"name": "other", "key": "token"}
TOKEN = {"token": {"bearerToken": SELECTOR}}
ACCOUNT = {"serviceAccount": {"name": "reader"}}
SERVER = {"url": "https://k.example.com:6443"}
SPEC: dict[str, Any] = {"remoteNamespace": "platform", "auth": ACCOUNT}


def test_this_cluster() -> None:
    config = parse_config(SPEC, cluster_scoped=False)
    assert config.place == 'The namespace "platform"'
    assert config.who == 'the ServiceAccount "reader" that the store names'
    assert config.credentials == (("serviceAccount", ServiceAccountRef("reader")),)


def test_another_cluster() -> None:
    config = parse_config({**SPEC, "auth": TOKEN, "server": SERVER}, cluster_scoped=False)
    assert config.place == 'The namespace "platform" at k.example.com:6443'
    account = {"serviceAccount": {"name": "reader", "audiences": ["https://k.example.com"]}}
    config = parse_config({**SPEC, "auth": account, "server": SERVER}, cluster_scoped=False)
    assert config.audiences == ("https://k.example.com",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"remoteNamespace": None}, "remoteNamespace is missing"),
        ({"remoteNamespace": "a/b"}, "remoteNamespace must be"),
        ({"remoteNamespace": "../x"}, "remoteNamespace must be"),
        ({"auth": {}}, "exactly one of"),
        ({"auth": {**ACCOUNT, **TOKEN}}, "exactly one of"),
        ({"auth": {"cert": {"clientCert": SELECTOR}}}, "clientKey is missing"),
        ({"server": {"url": "http://k.example.com"}, "auth": TOKEN}, "must be an https:// URL"),
        ({"server": {"url": "https://u:p@k.example.com"}, "auth": TOKEN}, "must be an https://"),
        ({"server": {"url": "https://k.example.com?a"}, "auth": TOKEN}, "must be an https://"),
        ({"server": SERVER}, "audiences is missing"),
        (
            {"auth": {"serviceAccount": {"name": "reader", "audiences": ["a"]}}},
            "audiences need spec.provider.kubernetes.server",
        ),
        (
            {"server": SERVER, "auth": {"kubeconfig": {"secretRef": SELECTOR}}},
            "are both there",
        ),
        ({"auth": {"serviceAccount": {"name": "r", "namespace": "x"}}}, "namespace is not known"),
        ({"namespace": "x"}, "namespace is not known"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecInvalid) as raised:
        parse_config({**SPEC, **changes}, cluster_scoped=False)
    assert said in raised.value.message


CLUSTER = {"server": "https://k.example.com", "certificate-authority-data": "Y2E="}
USER = {"token": "t"}


def config(
    cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **more: Any
) -> bytes:
    body = {
        "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": CLUSTER if cluster is None else cluster}],
        "users": [{"name": "u", "user": USER if user is None else user}],
        **more,
    }
    return json.dumps(body).encode()


def test_a_kubeconfig_with_a_token() -> None:
    found = kubeconfig.parse(config())
    assert (found.server, found.ca, found.token) == ("https://k.example.com", b"ca", b"t")
    assert "'t'" not in repr(found)


def test_a_kubeconfig_with_a_certificate() -> None:
    pair = {
        "client-certificate-data": base64.b64encode(b"cert").decode(),
        "client-key-data": base64.b64encode(b"key").decode(),
    }
    found = kubeconfig.parse(config(user=pair, cluster={**CLUSTER, "tls-server-name": "k"}))
    assert (found.cert, found.key, found.tls_server_name) == (b"cert", b"key", "k")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not YAML of a kubeconfig"),
        (b"{", "not YAML of a kubeconfig"),
        (b"a: &a [*a]", "current-context is missing"),
        (b"!!python/object/apply:os.system ['true']", "not YAML of a kubeconfig"),
        (config(contexts=[]), "has no context of the name"),
        (config(users=[]), "has no user of the name"),
        (config(cluster={}), "server is not an https:// URL"),
        (config(cluster={"server": "http://k.example.com"}), "server is not an https:// URL"),
        (config(cluster={**CLUSTER, "insecure-skip-tls-verify": True}), "insecure-skip-tls-verify"),
        (config(cluster={**CLUSTER, "certificate-authority": "/etc/x"}), "certificate-authority"),
        (config(cluster={**CLUSTER, "proxy-url": "http://p"}), "proxy-url"),
        (config(cluster={**CLUSTER, "certificate-authority-data": "%"}), "is not base64"),
        (config(user={"exec": {"command": "sh"}}), "the field exec"),
        (config(user={"auth-provider": {"name": "gcp"}}), "the field auth-provider"),
        (config(user={"tokenFile": "/var/run/secrets/x"}), "the field tokenFile"),
        (config(user={"client-certificate": "/etc/x"}), "the field client-certificate"),
        (config(user={**USER, "as": "admin"}), "the field as"),
        (config(user={"username": "a", "password": "hunter2"}), "the field username"),
        (config(user={}), "has neither token nor"),
        (config(user={"client-key-data": "YQ=="}), "has neither token nor"),
    ],
)
def test_a_kubeconfig_that_points_elsewhere_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(kubeconfig.Unusable) as raised:
        kubeconfig.parse(data)
    assert said in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_switch_that_is_off_says_nothing() -> None:
    assert kubeconfig.parse(config(cluster={**CLUSTER, "insecure-skip-tls-verify": False}))


@pytest.mark.parametrize(
    ("key", "name", "part"), [("app", "app", ""), ("a.b/tls.crt", "a.b", "tls.crt")]
)
def test_a_key_names_a_secret_or_an_entry(key: str, name: str, part: str) -> None:
    found = Key.parse(Ref(key))
    assert isinstance(found, Key)
    assert (found.name, found.part) == (name, part)


@pytest.mark.parametrize("key", ["", "A", "a/", "a/b/c", "../a", "a?x=y", "a/..%2f", "/a"])
def test_another_key_is_refused(key: str) -> None:
    assert isinstance(Key.parse(Ref(key)), ProviderRejected)

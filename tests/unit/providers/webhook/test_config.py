"""``spec.provider.webhook``: what is taken, and what is refused with the path of the field."""

from typing import Any

import pytest

from syncret.errors import SpecInvalid
from syncret.providers.base import ConfigMapKeyRef, SecretKeyRef
from syncret.providers.webhook.config import parse_config

TOKEN = {"name": "token", "secretRef": {"name": "api", "key": "token"}}
SPEC: dict[str, Any] = {"url": "https://api.example.com/v1/{{ key }}"}


def test_everything() -> None:
    config = parse_config(
        {
            "url": "https://API.example.com:8443/v1/{{ key | path }}?v={{version}}",
            "method": "POST",
            "headers": {"Authorization": "Bearer {{ secrets.token }}"},
            "body": '{"key": {{ key | json }}}',
            "secrets": [TOKEN],
            "result": {"jsonPath": "$.data.value", "versionJSONPath": "$.v"},
            "notFoundStatus": 404,
            "checkKey": "one",
            "timeout": "250ms",
            "caProvider": {"type": "ConfigMap", "name": "ca", "key": "ca.crt"},
        },
        cluster_scoped=False,
    )
    assert (config.scheme, config.host, config.port) == ("https", "api.example.com", 8443)
    assert config.timeout == 0.25
    assert config.pins
    assert config.secrets == (("token", SecretKeyRef("api", "token")),)
    assert config.authority.references == {"ca": ConfigMapKeyRef("ca", "ca.crt")}
    values = {"key": b"a b/c?d", "version": b"1/2", "secrets.token": b"t"}
    assert config.url.render(values) == b"https://API.example.com:8443/v1/a%20b/c%3Fd?v=1%2F2"
    assert config.body is not None
    assert config.body.render({**values, "key": b'"},{"'}) == b'{"key": "\\"},{\\""}'


def test_what_is_left_out() -> None:
    config = parse_config(SPEC, cluster_scoped=False)
    assert (config.port, config.method, config.timeout, config.not_found) == (443, "GET", 5.0, ())
    assert not config.pins
    assert config.authority.references == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": "https://api.example.com/"}, "asks the same for every key"),
        ({"url": "ftp://api.example.com/{{ key }}"}, "url must be"),
        ({"url": "https://u:p@api.example.com/{{ key }}"}, "url must be"),
        ({"url": "https://api.example.com/{{ key }}#x"}, "url must be"),
        ({"url": "https://api.example.com\\@evil.org/{{ key }}"}, "url must be"),
        ({"url": "https://2130706433/{{ key }}"}, "url must be"),
        ({"url": "https://0x7f.1/{{ key }}"}, "url must be"),
        ({"url": "https://api.example.com:99999/{{ key }}"}, "url must be"),
        ({"url": "https:///{{ key }}"}, "url must be"),
        ({"url": "https://{{ key }}.example.com/"}, "only behind its host"),
        ({"url": "https://api.example.com{{ key }}"}, "only behind its host"),
        ({"url": "https://api.example.com:{{ key }}/"}, "only behind its host"),
        ({"url": "{{ key }}"}, "url must be"),
        ({"url": "https://api.example.com/{{ key }}?t={{ secrets.token }}"}, "may not hold"),
        ({"url": "https://api.example.com/{{ key | base64 }}"}, "has the filters path"),
        ({"url": "https://api.example.com/{{ key"}, "without its end"),
        ({"url": "https://api.example.com/{{ key }} }}"}, "without its end"),
        ({"url": "https://api.example.com/{{ key.upper() }}"}, "placeholder that is none"),
        ({"url": "https://api.example.com/{{ cluster }}"}, "there are key, version"),
        ({"headers": {"A": "{{ secrets.other }}"}}, "not one of the secrets' names"),
        ({"headers": {"Host": "a"}}, "not a header that can be set"),
        ({"headers": {"Content-Length": "1"}}, "not a header that can be set"),
        ({"headers": {"A b": "a"}}, "not a header that can be set"),
        ({"headers": {"A": "a\r\nB: b"}}, "printable ASCII"),
        ({"headers": {"A": 1}}, "must be a text"),
        ({"body": "{{ key | json }}"}, "another spec.provider.webhook.method"),
        ({"body": "{{ key }}", "method": "POST"}, "needs one of the filters json"),
        ({"method": "DELETE"}, "GET or POST or PUT"),
        ({"secrets": [TOKEN, TOKEN]}, "twice"),
        ({"secrets": [{**TOKEN, "name": "a.b"}]}, "name must be"),
        ({"result": {"jsonPath": "$..a"}}, "names one place"),
        ({"result": {"jsonPath": "a"}}, "names one place"),
        ({"result": {"path": "$"}}, "is not known"),
        ({"notFoundStatus": 200}, "from 400 to 499"),
        ({"timeout": "10ms"}, "100ms to 60s"),
        ({"timeout": "soon"}, "timeout"),
        ({"caBundle": "%%%"}, "PEM"),
        ({"caBundle": "YQ==", "caProvider": {}}, "at most one of"),
        ({"caProvider": {"type": "File", "name": "a", "key": "b"}}, "ConfigMap or Secret"),
        ({"auth": {}}, "auth is not known"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], said: str) -> None:
    given = {**SPEC, "secrets": [TOKEN], **changes}
    with pytest.raises(SpecInvalid) as raised:
        parse_config(given, cluster_scoped=False)
    assert said in raised.value.message
    assert raised.value.message.startswith("spec.provider.webhook")


def test_a_namespace_is_a_field_of_cluster_stores_only() -> None:
    secret = {"name": "token", "secretRef": {"name": "api", "key": "token", "namespace": "shop"}}
    ca = {"type": "Secret", "name": "ca", "key": "ca.crt", "namespace": "shop"}
    for field in ({"secrets": [secret]}, {"caProvider": ca}):
        assert parse_config({**SPEC, **field}, cluster_scoped=True)
        with pytest.raises(SpecInvalid, match="namespace is not known"):
            parse_config({**SPEC, **field}, cluster_scoped=False)

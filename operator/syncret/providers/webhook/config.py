"""``spec.provider.webhook`` as a record."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from syncret.duration import parse_duration
from syncret.errors import SpecInvalid
from syncret.providers.base import CredentialRef
from syncret.providers.fields import Fields
from syncret.providers.hosts import PORTS, is_host, literal
from syncret.providers.trusted import Authority, authority
from syncret.providers.webhook import jsonpath, placeholders
from syncret.providers.webhook.jsonpath import JsonPath
from syncret.providers.webhook.placeholders import Place, Text

PATH: Final = "spec.provider.webhook"

METHODS: Final = ("GET", "POST", "PUT")

#: Seconds.
TIMEOUT: Final = 5.0
MOST_TIMEOUT: Final = 60.0

_ANY: Final = re.compile(r".*", re.DOTALL)
_SOME: Final = re.compile(r"[!-~]+( +[!-~]+)*")
_HEADER: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]{1,256}")
_VALUE: Final = re.compile(r"[\t -~]*")
_SECRET: Final = re.compile(r"[A-Za-z][-A-Za-z0-9_]{0,62}")
#: What would change how the message is framed, where it goes, or what we ask for.
_NOT_SETTABLE: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "if-modified-since",
        "if-none-match",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """How one secret is asked for, and where in the answer it is."""

    scheme: str
    host: str
    port: int
    url: Text
    method: str
    headers: tuple[tuple[str, Text], ...]
    body: Text | None
    secrets: tuple[tuple[str, CredentialRef], ...]
    result: JsonPath | None
    version: JsonPath | None
    not_found: tuple[int, ...]
    check: str
    timeout: float
    authority: Authority

    @property
    def place(self) -> str:
        """What messages call the store."""
        return f"The webhook at {self.host}"

    @property
    def texts(self) -> tuple[Text, ...]:
        body = () if self.body is None else (self.body,)
        return (self.url, *(value for _, value in self.headers), *body)

    @property
    def pins(self) -> bool:
        """Whether the request can say which version is meant."""
        return any("version" in text.names for text in self.texts)


def parse_config(spec: Mapping[str, Any], *, cluster_scoped: bool) -> WebhookConfig:
    """The record. Raises SpecInvalid with the field's path."""
    fields = Fields(spec, PATH)
    secrets = _secrets(fields, cluster_scoped=cluster_scoped)
    names = frozenset(name for name, _ in secrets)
    given = fields.text("url", pattern=_SOME, limit=2048, form="a URL, without blanks at its ends")
    url = placeholders.parse(given, Place.URL, f"{PATH}.url", secrets=names)
    parts = _address(url)
    method = fields.choice("method", METHODS, default="GET")
    headers = _headers(fields, names)
    body = None
    if fields.has("body"):
        text = fields.text("body", pattern=_ANY, limit=65_536, form="a text")
        body = placeholders.parse(text, Place.BODY, f"{PATH}.body", secrets=names)
        if method == "GET":
            raise SpecInvalid(f"{PATH}.body needs another {PATH}.method than GET.")
    result, version = _result(fields)
    config = WebhookConfig(
        scheme=parts.scheme,
        host=_host(parts),
        port=parts.port or PORTS[parts.scheme],
        url=url,
        method=method,
        headers=headers,
        body=body,
        secrets=secrets,
        result=result,
        version=version,
        not_found=_statuses(fields),
        check=fields.optional(
            "checkKey", pattern=_ANY, limit=1024, form="a key", default="syncret/store-check"
        ),
        timeout=_timeout(fields),
        authority=authority(fields, cluster_scoped=cluster_scoped),
    )
    fields.done()
    if not any("key" in text.names for text in config.texts):
        raise SpecInvalid(
            f"{PATH} asks the same for every key: put {{{{ key }}}} into the url, a header or the "
            "body."
        )
    return config


def _secrets(fields: Fields, *, cluster_scoped: bool) -> tuple[tuple[str, CredentialRef], ...]:
    found: dict[str, CredentialRef] = {}
    for one in fields.children("secrets"):
        name = one.text(
            "name",
            pattern=_SECRET,
            limit=63,
            form='a name of letters, digits, "-" and "_" that begins with a letter',
        )
        if name in found:
            raise SpecInvalid(f'{PATH}.secrets has the name "{name}" twice.')
        found[name] = one.secret_key("secretRef", cluster_scoped=cluster_scoped)
        one.done()
    return tuple(found.items())


def _address(url: Text) -> SplitResult:
    """The parts of the URL that no placeholder may be in."""
    path = f"{PATH}.url"
    form = SpecInvalid(
        f"{path} must be an http:// or https:// URL with a host that is a name or an IP address in "
        "its usual form, without user name, password and fragment, such as "
        '"https://secrets.example.com/v1/{{ key }}".'
    )
    beginning = url.beginning
    whole = len(url.parts) == 1
    try:
        parts = urlsplit(beginning)
        _ = parts.port
    except ValueError:
        raise form from None
    if parts.scheme in PORTS and not whole and not (parts.path or parts.query or "?" in beginning):
        raise SpecInvalid(
            f"{path} may have placeholders only behind its host and port: write a / before them."
        )
    shape = "".join(part if isinstance(part, str) else "x" for part in url.parts)
    if (
        parts.scheme not in PORTS
        or not is_host(_host(parts))
        or "@" in parts.netloc
        or "#" in shape
        or "\\" in shape
        or " " in shape
        or parts.netloc.endswith(":")
    ):
        raise form
    return parts


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").removesuffix(".")
    address = literal(host)
    return str(address) if address is not None else host


def _headers(fields: Fields, secrets: frozenset[str]) -> tuple[tuple[str, Text], ...]:
    found: list[tuple[str, Text]] = []
    for name, value in fields.mapping("headers", limit=4096).items():
        path = f"{PATH}.headers.{name}"
        if not _HEADER.fullmatch(name) or name.lower() in _NOT_SETTABLE:
            raise SpecInvalid(f"{path[:300]} is not a header that can be set.")
        if not _VALUE.fullmatch(value):
            raise SpecInvalid(f"{path} must be a text of printable ASCII characters.")
        found.append((name, placeholders.parse(value, Place.HEADER, path, secrets=secrets)))
    return tuple(found)


def _result(fields: Fields) -> tuple[JsonPath | None, JsonPath | None]:
    if not fields.has("result"):
        return None, None
    result = fields.child("result")
    found: list[JsonPath | None] = []
    for name in ("jsonPath", "versionJSONPath"):
        text = result.optional(name, pattern=_ANY, limit=1024, form="a JSONPath")
        found.append(jsonpath.parse(text, f"{PATH}.result.{name}") if text else None)
    result.done()
    return found[0], found[1]


def _statuses(fields: Fields) -> tuple[int, ...]:
    if not fields.has("notFoundStatus"):
        return ()
    return (fields.integer("notFoundStatus", at_least=400, at_most=499, default=404),)


def _timeout(fields: Fields) -> float:
    text = fields.optional("timeout", pattern=_ANY, limit=32, form="a duration", default="")
    if not text:
        return TIMEOUT
    try:
        seconds = parse_duration(text)
    except SpecInvalid as error:
        raise SpecInvalid(f"{PATH}.timeout: {error.message}") from None
    if not 0.1 <= seconds <= MOST_TIMEOUT:
        raise SpecInvalid(f"{PATH}.timeout must be from 100ms to {MOST_TIMEOUT:.0f}s.")
    return seconds

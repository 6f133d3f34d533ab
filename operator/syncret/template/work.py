"""What the child process does with a request. Pure but for the sandbox's cache of compiled code."""

from typing import Any, Final

import yaml

from syncret.template.dates import validity
from syncret.template.filters.certificates import certificates, private_key, public_bytes
from syncret.template.filters.values import MAX_TEXT, bytes_of
from syncret.template.problem import Keys, Problem
from syncret.template.sandbox import RenderingFailed, Sandbox

#: All that the templates of one Secret may give together: a Secret holds 1 MiB.
MAX_OUTPUT: Final = 2 * 1024 * 1024

#: Scalars are text as they are written: no password becomes a number.
_LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

Message = dict[str, Any]


class Failed(Exception):
    """``message`` is the answer."""

    def __init__(self, entry: int, text: str, line: int = 0) -> None:
        super().__init__()
        self.message: Message = {"entry": entry, "text": text, "line": line}


def answer(sandbox: Sandbox, request: Message) -> Message:
    """The answer to a request: ``outputs``, or ``failed``. Raises MemoryError."""
    try:
        match request["op"]:
            case "render":
                return {"outputs": _render(sandbox, request)}
            case "each":
                return {"outputs": _each(sandbox, request)}
            case "tls":
                return {"outputs": [_tls(**request["values"])]}
            case "dates":
                return {"outputs": _dates(request["values"])}
    except Failed as failed:
        return {"failed": failed.message}
    return {"failed": {"entry": 0, "text": "is not known", "line": 0}}


def _render(sandbox: Sandbox, request: Message) -> list[Any]:
    """The text of every entry, or its keys and values. All are compiled before one is rendered."""
    entries = request["entries"]
    sandbox.seed = bytes.fromhex(request["seed"])
    for number, entry in enumerate(entries):
        try:
            sandbox.template(entry["text"])
        except RenderingFailed as error:
            raise Failed(number, error.text, error.line) from None
    variables = _variables(request["values"])
    left = MAX_OUTPUT
    outputs: list[Any] = []
    for number, entry in enumerate(entries):
        try:
            text = sandbox.render(entry["text"], variables, most=left)
            left -= len(text)
            outputs.append(_pairs(text) if entry["pairs"] else text)
        except RenderingFailed as error:
            raise Failed(number, error.text, error.line) from None
        except Problem as error:
            raise Failed(number, error.text) from None
    return outputs


def _each(sandbox: Sandbox, request: Message) -> list[str]:
    """One template's text for each set of variables."""
    left = MAX_OUTPUT
    outputs = []
    for values in request["each"]:
        try:
            text = sandbox.render(request["text"], _variables(values), most=left)
        except RenderingFailed as error:
            raise Failed(0, error.text, error.line) from None
        left -= len(text)
        outputs.append(text)
    return outputs


def _variables(values: dict[str, str]) -> dict[str, Any]:
    return {**values, "secrets": Keys(values)}


def _pairs(text: str) -> list[list[str]]:
    """Keys and values of a YAML mapping of texts."""
    try:
        text.encode()
        document = yaml.load(text, Loader=_LOADER)  # noqa: S506 - it makes text, lists and dictionaries
    except UnicodeError:
        raise Problem("gives bytes that are not text, of which YAML has none") from None
    except (yaml.YAMLError, ValueError, RecursionError, TypeError):
        raise Problem(
            "gives text that is not YAML: write values as {{ value | to_json }}, which quotes them"
        ) from None
    if document is None or document == "":
        return []
    if not isinstance(document, dict):
        raise Problem("gives YAML that is no mapping of keys to values")
    pairs, size = [], 0
    for key, value in document.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise Problem("gives YAML in which a value is not text: put | to_json behind it")
        size += len(value)  # an alias is short and may stand for much
        if size > MAX_TEXT:
            raise Problem("gives a text that is too long for a Secret")
        pairs.append([key, value])
    return pairs


def _tls(certificate: str, key: str) -> str:
    """Raises Failed unless they are a certificate and its private key."""
    try:
        found = certificates(certificate)
    except Problem:
        raise Failed(0, "is not a certificate in PEM") from None
    try:
        loaded = private_key(key)
    except Problem:
        raise Failed(1, "is not a private key in PEM without a passphrase") from None
    if public_bytes(found[0].public_key()) != public_bytes(loaded.public_key()):
        raise Failed(1, "does not belong to the first certificate of tls.crt")
    return ""


def _dates(values: dict[str, str]) -> list[list[Any]]:
    """Key, begin and end of the values with certificates."""
    found = ((key, validity(bytes_of(value))) for key, value in values.items())
    return [[key, *dates] for key, dates in found if dates is not None]

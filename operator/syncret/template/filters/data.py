"""Filters of structures: JSON, YAML, dictionaries and lists."""

import json
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

import yaml

from syncret.template.filters.values import bytes_of, dump_json, listing, mapping, plain, text_of
from syncret.template.problem import Problem

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

#: Nodes of a YAML document. Aliases multiply: a short text may stand for more than any memory has.
_MOST_NODES: Final = 100_000


def to_json(value: Any, indent: int | None = None, sort_keys: bool = False) -> str:
    return dump_json(value, indent=_indent(indent), sort_keys=sort_keys)


def to_nice_json(value: Any, indent: int = 4, sort_keys: bool = True) -> str:
    return dump_json(value, indent=_indent(indent), sort_keys=sort_keys)


def _indent(indent: int | None) -> int | None:
    if indent is not None and not 0 <= indent <= 16:
        raise Problem("asks for an indent that is not between 0 and 16")
    return indent


def from_json(value: Any) -> Any:
    try:
        return json.loads(bytes_of(value).decode())
    except (ValueError, RecursionError):
        raise Problem("reads by from_json what is not JSON") from None


def from_yaml(value: Any) -> Any:
    return next(iter(_yaml(value, 1)), None)


def from_yaml_all(value: Any) -> list[Any]:
    return _yaml(value, 1000)


def _yaml(value: Any, most: int) -> list[Any]:
    try:
        documents = list(islice(yaml.load_all(_text(value), Loader=_LOADER), most))
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError, OverflowError):
        raise Problem("reads by from_yaml what is not YAML") from None
    _count(documents)
    return [_dateless(document) for document in documents]


def _text(value: Any) -> str:
    try:
        return bytes_of(value).decode()
    except UnicodeError:
        raise Problem("reads as YAML what is not text") from None


def _count(document: Any) -> None:
    """Raises Problem for a document that is larger than it looks, or contains itself."""
    left = [document]
    seen = 0
    while left:
        one = left.pop()
        seen += 1
        if seen > _MOST_NODES:
            raise Problem("reads YAML that is too large, or contains itself")
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list | set | tuple):
            left += one


def _dateless(value: Any) -> Any:
    """YAML's own dates as text, so that what is read can be written."""
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else _key(key): _dateless(one) for key, one in value.items()
        }
    if isinstance(value, list | tuple | set):
        return [_dateless(one) for one in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _key(key: Any) -> str:
    if isinstance(key, tuple | list | dict):
        raise Problem("reads YAML with a key that is no text")
    return text_of(_dateless(key))


def to_yaml(value: Any, indent: int = 2) -> str:
    return _dumped(value, indent=indent, flow=None)


def to_nice_yaml(value: Any, indent: int = 4) -> str:
    return _dumped(value, indent=indent, flow=False)


def _dumped(value: Any, *, indent: int, flow: bool | None) -> str:
    if not 1 <= indent <= 16:
        raise Problem("asks for an indent that is not between 1 and 16")
    dump_json(value)  # refuses what has no such form
    return str(
        yaml.dump(
            plain(value),
            Dumper=_Plain,
            indent=indent,
            default_flow_style=flow,
            allow_unicode=True,
            sort_keys=False,
            width=4096,
        )
    )


class _Plain(_DUMPER):  # type: ignore[misc,valid-type]  # one of two classes
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the dumper's own signature
        return True


def dict2items(
    value: Any, key_name: str = "key", value_name: str = "value"
) -> list[dict[str, Any]]:
    return [{key_name: key, value_name: one} for key, one in mapping(value).items()]


def items2dict(value: Any, key_name: str = "key", value_name: str = "value") -> dict[str, Any]:
    try:
        return {text_of(one[key_name]): one[value_name] for one in listing(value)}
    except (KeyError, TypeError):
        raise Problem("needs a list of dictionaries with key and value for items2dict") from None


def pick(value: Any, *keys: str) -> dict[str, Any]:
    wanted = _names(keys)
    return {key: one for key, one in mapping(value).items() if key in wanted}


def omit(value: Any, *keys: str) -> dict[str, Any]:
    unwanted = _names(keys)
    return {key: one for key, one in mapping(value).items() if key not in unwanted}


def _names(keys: Iterable[Any]) -> set[str]:
    return {
        name
        for key in keys
        for name in (key if isinstance(key, list | tuple) else [key])
        if isinstance(name, str)
    }


def combine(value: Any, *others: Any, recursive: bool = False) -> dict[str, Any]:
    merged = dict(mapping(value))
    for other in others:
        merged = _combined(merged, mapping(other), recursive=recursive)
    return merged


def _combined(
    one: Mapping[str, Any], other: Mapping[str, Any], *, recursive: bool
) -> dict[str, Any]:
    merged = dict(one)
    for key, value in other.items():
        old = merged.get(key)
        both = recursive and isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _combined(old, value, recursive=True) if both else value  # type: ignore[arg-type]
    return merged


def keys(value: Any) -> list[Any]:
    return list(mapping(value).keys())


def values(value: Any) -> list[Any]:
    return list(mapping(value).values())


def items(value: Any) -> list[tuple[Any, Any]]:
    return list(mapping(value).items())


def flatten(value: Any) -> list[Any]:
    flat: list[Any] = []
    for one in listing(value):
        flat += flatten(one) if isinstance(one, list | tuple) else [one]
    return flat


def union(value: Any, other: Any) -> list[Any]:
    return _distinct([*listing(value), *listing(other)])


def intersect(value: Any, other: Any) -> list[Any]:
    others = listing(other)
    return _distinct([one for one in listing(value) if one in others])


def difference(value: Any, other: Any) -> list[Any]:
    others = listing(other)
    return _distinct([one for one in listing(value) if one not in others])


def zip_lists(value: Any, *others: Any) -> list[Any]:
    return list(zip(listing(value), *map(listing, others), strict=False))


def _distinct(values_: list[Any]) -> list[Any]:
    distinct: list[Any] = []
    for one in values_:
        if one not in distinct:
            distinct.append(one)
    return distinct

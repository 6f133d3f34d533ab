"""Generators and ClusterGenerators."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from syncret.convert.copying import copied
from syncret.convert.fields import shapes
from syncret.convert.result import Body, Result
from syncret.convert.vault import convert_dynamic

#: The API group of ESO's generators.
GROUP: Final = "generators.external-secrets.io"

#: The part in ESO's words, our kind, the path of the part for remarks, and where these go.
Part = Callable[[Mapping[str, Any], str, str, Result], Body]


def _as_it_is(spec: Mapping[str, Any], _kind: str, _path: str, _result: Result) -> Body:
    return {name: value for name, value in spec.items() if value is not None}


#: By ESO's kind: the key under our ``spec.generator``, and what makes its part of the spec.
_KINDS: Final[Mapping[str, tuple[str, Part]]] = {
    "Password": ("password", _as_it_is),
    "UUID": ("uuid", _as_it_is),
    "VaultDynamicSecret": ("vaultDynamic", convert_dynamic),
}


def kind_of(kind: str) -> str | None:
    """Our kind for an object of that group; None where there is none."""
    if kind == "ClusterGenerator":
        return kind
    return "Generator" if kind in _KINDS else None


def convert_spec(kind: str, spec: Mapping[str, Any], result: Result) -> Body | None:
    """Our spec of an object of that kind; None where something of it has no equivalent."""
    if kind != "ClusterGenerator":
        return _spec(kind, spec, "Generator", "spec", result)
    named, parts = str(spec.get("kind") or ""), spec.get("generator")
    path = f"spec.generator.{_field(named)}"
    part = parts.get(_field(named)) if isinstance(parts, Mapping) else None
    made = _spec(named, part if isinstance(part, Mapping) else {}, kind, path, result)
    if made is not None:
        made["conditions"] = [{"namespaceSelector": {}}]
        result.note(
            "spec.conditions",
            "a ClusterGenerator served every namespace, and serves none here without conditions: "
            "this entry keeps what was, narrow it",
        )
    return made


def _spec(kind: str, part: Mapping[str, Any], ours: str, path: str, result: Result) -> Body | None:
    known = shapes()[ours]["generator"]
    name, convert = _KINDS.get(kind, ("", _as_it_is))
    if name not in known:
        result.lose("", f"this version of Syncret does not have the generator {kind or '?'}")
        return None
    fields = copied(convert(part, ours, path, result), known[name], path, result)
    made = {"generator": {name: fields}}
    controller = part.get("controller")
    if controller:
        made["controller"] = controller
    # Without a field of it, it would make something else, or as somebody else.
    return None if any(remark.lost for remark in result.remarks) else made


def _field(kind: str) -> str:
    """How a ClusterGenerator names the part of a kind: passwordSpec, uuidSpec."""
    lower = kind.lower() if kind.isupper() else kind[:1].lower() + kind[1:]
    return f"{lower}Spec"

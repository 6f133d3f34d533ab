"""SecretStores and ClusterSecretStores."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from syncret.convert.aws import convert_aws
from syncret.convert.copying import copied
from syncret.convert.fields import shapes
from syncret.convert.providers import rearranged
from syncret.convert.result import Body, Result
from syncret.convert.vault import convert_vault
from syncret.errors import SpecInvalid
from syncret.providers.registry import parse_provider


def convert_spec(kind: str, spec: Mapping[str, Any], result: Result) -> Body | None:
    """The spec of a store; None where Syncret does not have its provider."""
    fields = dict(spec)
    provider = fields.get("provider")
    names = sorted(provider) if isinstance(provider, Mapping) else []
    known = shapes()[kind]["provider"]
    if len(names) != 1:
        named = f"it names {len(names)}: {', '.join(names)}" if names else "it names none"
        result.lose("spec.provider", f"a store has exactly one provider, and {named}")
        return None
    if names[0] not in known:
        result.lose(
            "spec.provider", f"this version of Syncret does not have the provider {names[0]}"
        )
        return None
    ((name, part),) = dict(provider or {}).items()
    fields["provider"] = provider = {name: _part(name, part, kind, result)}
    if fields.pop("retrySettings", None):
        result.note("spec.retrySettings", "retries are the engine's, with growing delays")
    _interval(fields, result)
    if kind == "ClusterSecretStore":
        _conditions(fields, result)
    else:
        own = (result.source.get("metadata") or {}).get("namespace")
        fields["provider"] = _without_own_namespace(provider, own)
        if fields.pop("conditions", None):
            result.note("spec.conditions", "a SecretStore serves its own namespace only")
    made: Body = copied(fields, shapes()[kind], "spec", result)
    # Without a field of the identity or of who may use it, it would be another store, and might
    # read or admit more.
    if any(remark.lost for remark in result.remarks):
        return None
    try:
        parse_provider(made["provider"], cluster_scoped=kind == "ClusterSecretStore")
    except SpecInvalid as error:
        # Ours is stricter in places: whoever applies it should hear of it before.
        result.note("spec.provider", f"it has to be corrected before it is of use: {error.message}")
    return made


def _part(name: str, part: Any, kind: str, result: Result) -> Any:
    """A provider's part of the spec in our words."""
    if not isinstance(part, Mapping):
        return part
    convert = _PARTS.get(name)
    return convert(part, kind, result) if convert else rearranged(name, part, result)


#: Of providers whose identities are said in other words.
_PARTS: Final[Mapping[str, Callable[[Mapping[str, Any], str, Result], Body]]] = {
    "aws": convert_aws,
    "vault": convert_vault,
}


def _interval(fields: Body, result: Result) -> None:
    interval = fields.get("refreshInterval")
    if isinstance(interval, int) and not isinstance(interval, bool):
        interval = f"{interval}s"
        fields["refreshInterval"] = interval
    if interval in {"0", "0s"}:
        del fields["refreshInterval"]  # there it means the default
    elif isinstance(interval, str) and re.fullmatch(r"[0-9]s", interval):
        fields["refreshInterval"] = "10s"
        result.note("spec.refreshInterval", "10s is the shortest interval here")


def _conditions(fields: Body, result: Result) -> None:
    conditions = fields.get("conditions")
    if not conditions:
        fields["conditions"] = [{"namespaceSelector": {}}]
        result.note(
            "spec.conditions",
            "without conditions a store admitted every namespace, and admits none here: this entry "
            "keeps what was, narrow it",
        )
        return
    made = []
    for condition in conditions:
        one = dict(condition)
        expressions = one.get("namespaceRegexes")
        if isinstance(expressions, list):
            # Here the whole name has to match; there a part of it does.
            one["namespaceRegexes"] = [_whole(str(expression)) for expression in expressions]
        made.append(one)
    fields["conditions"] = made


def _whole(expression: str) -> str:
    inner = expression[1:-1]
    if expression[:1] == "^" and expression[-1:] == "$" and not re.search(r"[|\\]", inner):
        return inner
    return f".*(?:{expression}).*"


def _without_own_namespace(value: Any, own: Any) -> Any:
    """References that name the store's own namespace, which they are in anyway."""
    if isinstance(value, Mapping):
        return {
            name: _without_own_namespace(one, own)
            for name, one in value.items()
            if not (name == "namespace" and own and one == own and "name" in value)
        }
    if isinstance(value, list):
        return [_without_own_namespace(one, own) for one in value]
    return value

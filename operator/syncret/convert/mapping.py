"""From an object of ESO to one of Syncret: kinds, metadata, and fields by what the CRDs have."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from syncret.constants import GROUP, VERSION
from syncret.convert import externalsecrets, generators, stores
from syncret.convert.copying import copied
from syncret.convert.fields import shapes
from syncret.convert.result import Body, Result

ESO: Final = "external-secrets.io"

#: The versions that can be converted.
SERVED: Final = ("v1", "v1beta1")
_VERSIONS: Final = frozenset(f"{ESO}/{version}" for version in SERVED)

#: Annotations that belong to a tool or to ESO's own doings.
_NOT_CARRIED: Final = ("kubectl.kubernetes.io/", "external-secrets.io/", "force-sync")

_REASONS: Final[Mapping[str, str]] = {
    "PushSecret": "this version of Syncret does not have PushSecret",
    "ClusterPushSecret": "this version of Syncret does not have PushSecret",
}


#: What is raised by a value of another type than its field has. No API server takes such an object.
MISSHAPEN: Final = (AttributeError, KeyError, TypeError, ValueError)

#: What is said of it.
OTHER_FORM: Final = (
    "a field has a value of another type than it takes: `kubectl apply --dry-run=server` says which"
)


def convert(source: Mapping[str, Any]) -> Result:
    """What becomes of one object."""
    try:
        return _convert(source)
    except MISSHAPEN:
        result = Result(source)
        result.lose("", OTHER_FORM)
        return result


def _convert(source: Mapping[str, Any]) -> Result:  # noqa: PLR0911 - a reason each
    result = Result(source)
    api, kind = str(source.get("apiVersion", "")), str(source.get("kind", ""))
    group = api.partition("/")[0]
    if group != ESO and not group.endswith(f".{ESO}"):
        result.untouched = True
        result.body = dict(source)
        return result
    if group == generators.GROUP:
        return _generator(source, kind, result)
    if group != ESO:
        result.lose("", "its apiVersion or kind is not one that can be converted")
        return result
    if kind in _REASONS:
        result.lose("", _REASONS[kind])
        return result
    make = _KINDS.get(kind)
    if api not in _VERSIONS or make is None:
        result.lose("", "its apiVersion or kind is not one that can be converted")
        return result
    if _made_by_another(source):
        result.lose("", "a ClusterExternalSecret makes it: convert that instead")
        return result
    spec = source.get("spec")
    if not isinstance(spec, Mapping):
        result.lose("", "it has no spec")
        return result
    return _made(source, kind, make(spec, result), result)


def _generator(source: Mapping[str, Any], kind: str, result: Result) -> Result:
    ours = generators.kind_of(kind)
    if ours is None:
        result.lose("", f"this version of Syncret does not have the generator {kind}")
        return result
    spec = source.get("spec")
    spec = spec if isinstance(spec, Mapping) else {}  # some have nothing to say
    return _made(source, ours, generators.convert_spec(kind, spec, result), result)


def _made(source: Mapping[str, Any], kind: str, spec: Body | None, result: Result) -> Result:
    if spec is not None:
        result.body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": kind,
            "metadata": _metadata(source.get("metadata")),
            "spec": spec,
        }
    return result


def _made_by_another(source: Mapping[str, Any]) -> bool:
    metadata = source.get("metadata")
    owners = metadata.get("ownerReferences") if isinstance(metadata, Mapping) else None
    return any(
        isinstance(owner, Mapping) and owner.get("kind") == "ClusterExternalSecret"
        for owner in owners or ()
    )


def _metadata(metadata: Any) -> Body:
    found: Body = {}
    if not isinstance(metadata, Mapping):
        return found
    for name in ("name", "generateName", "namespace", "labels"):
        if metadata.get(name):
            found[name] = metadata[name]
    annotations = {
        name: value
        for name, value in (metadata.get("annotations") or {}).items()
        if not name.startswith(_NOT_CARRIED)
    }
    if annotations:
        found["annotations"] = annotations
    return found


def _external_secret(spec: Mapping[str, Any], result: Result) -> Body:
    return externalsecrets.convert_spec(
        spec, result, path="spec", metadata=_metadata(result.source.get("metadata"))
    )


def _cluster_external_secret(spec: Mapping[str, Any], result: Result) -> Body | None:
    fields = dict(spec)
    inner = fields.pop("externalSecretSpec", None)
    fields.pop("refreshTime", None)  # namespaces are watched: there is nothing to look up again
    selector = fields.pop("namespaceSelector", None)
    if selector is not None:
        fields["namespaceSelectors"] = [*(fields.get("namespaceSelectors") or ()), selector]
    if not isinstance(inner, Mapping):
        result.lose("spec.externalSecretSpec", "it is missing")
        return None
    metadata = fields.get("externalSecretMetadata")
    made = copied(fields, shapes()["ClusterExternalSecret"], "spec", result)
    made["externalSecretSpec"] = externalsecrets.convert_spec(
        inner,
        result,
        path="spec.externalSecretSpec",
        metadata=metadata if isinstance(metadata, Mapping) else {},
    )
    return dict(made)


_KINDS: Final[Mapping[str, Callable[[Mapping[str, Any], Result], Body | None]]] = {
    "ExternalSecret": _external_secret,
    "SecretStore": lambda spec, result: stores.convert_spec("SecretStore", spec, result),
    "ClusterSecretStore": lambda spec, result: stores.convert_spec(
        "ClusterSecretStore", spec, result
    ),
    "ClusterExternalSecret": _cluster_external_secret,
}

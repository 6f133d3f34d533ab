"""``spec.target.template``: what the Secret is made into, as records."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Any, Final, Literal, cast

from syncret.constants import GROUP
from syncret.errors import SpecInvalid

#: What a template fills.
Part = Literal["Data", "Labels", "Annotations"]
SourceKind = Literal["ConfigMap", "Secret"]

DEFAULT_TYPE: Final = "Opaque"

#: Types of Secrets out of which the API server makes credentials of the cluster.
FORBIDDEN_TYPES: Final = frozenset(
    {"kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"}
)

#: Beginnings of names of annotations that give a Secret, or what is made of it, an identity.
_IDENTITY: Final = (
    "kubernetes.io/service-account.",
    "eks.amazonaws.com/",
    "iam.gke.io/",
    "azure.workload.identity/",
)


@dataclass(frozen=True, slots=True)
class Item:
    """A key of a ConfigMap or Secret. ``pairs``: its text gives keys and values (KeysAndValues)."""

    key: str
    pairs: bool = False


@dataclass(frozen=True, slots=True)
class TemplateFrom:
    """Templates from elsewhere: from an object of the namespace, or, without one, a literal."""

    part: Part
    literal: str = ""
    kind: SourceKind | None = None
    name: str = ""
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """How the Secret is made of what was read. Names and texts of each part in their order."""

    type: str = DEFAULT_TYPE
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    data: tuple[tuple[str, str], ...] = ()
    template_from: tuple[TemplateFrom, ...] = ()
    merge: bool = False
    #: Namespace-local objects that it is taken from.
    sources: tuple[tuple[SourceKind, str], ...] = field(default=())

    @property
    def renders(self) -> bool:
        """Whether there is anything to render."""
        return bool(self.labels or self.annotations or self.data or self.template_from)

    @property
    def replaces(self) -> bool:
        """Whether what was read is left out of the Secret."""
        own = self.data or any(one.part == "Data" for one in self.template_from)
        return bool(own) and not self.merge

    @property
    def has_metadata(self) -> bool:
        """Whether it gives labels or annotations."""
        return bool(
            self.labels or self.annotations or any(one.part != "Data" for one in self.template_from)
        )


NO_TEMPLATE: Final = Template()


def parse_template(spec: Mapping[str, Any]) -> Template:
    """``spec.target.template``. Raises SpecInvalid, or what a body of another form raises."""
    body = (spec.get("target") or {}).get("template")
    if not body:
        return NO_TEMPLATE
    metadata = body.get("metadata") or {}
    kind = intern(body.get("type") or DEFAULT_TYPE)
    if kind in FORBIDDEN_TYPES:
        raise SpecInvalid(
            f'spec.target.template.type is "{kind}", out of which Kubernetes makes credentials of '
            "the cluster: choose another type."
        )
    template_from = tuple(
        _template_from(one, f"spec.target.template.templateFrom[{number}]")
        for number, one in enumerate(body.get("templateFrom") or ())
    )
    template = Template(
        type=kind,
        labels=_texts(metadata.get("labels")),
        annotations=_texts(metadata.get("annotations")),
        data=_texts(body.get("data")),
        template_from=template_from,
        merge=body.get("mergePolicy") == "Merge",
        sources=tuple(
            dict.fromkeys((one.kind, one.name) for one in template_from if one.kind is not None)
        ),
    )
    for what, names in (("labels", template.labels), ("annotations", template.annotations)):
        for name, _ in names:
            if why := refused_name(name):
                raise SpecInvalid(f'spec.target.template.metadata.{what} has "{name}", {why}.')
    return NO_TEMPLATE if template == NO_TEMPLATE else template


def refuse_shared(
    template: Template, spec: Mapping[str, Any], *, shared: bool, writes: bool
) -> None:
    """Raises SpecInvalid for what only the one may say whose the whole Secret is."""
    if template is NO_TEMPLATE:
        return
    if not writes:
        raise SpecInvalid(
            "spec.target.template has no meaning with the creationPolicy None: leave it out."
        )
    merges = (spec.get("target") or {}).get("creationPolicy") == "Merge"
    if shared and template.has_metadata:
        raise SpecInvalid(
            "spec.target.template gives labels or annotations, and with the creationPolicy Merge "
            "or CreateOrMerge the Secret is not this ExternalSecret's alone: leave them out."
        )
    if merges and template.type != DEFAULT_TYPE:
        raise SpecInvalid(
            "spec.target.template.type has no meaning with the creationPolicy Merge, because "
            "others make the Secret: leave it out."
        )


def refused_name(name: str) -> str:
    """Why no template may set a label or annotation of that name; "" if it may."""
    prefix = name.partition("/")[0] if "/" in name else ""
    if prefix == GROUP or prefix.endswith(f".{GROUP}"):
        return "which is Syncret's own: leave it out"
    if name.startswith(_IDENTITY):
        return "which gives an identity, and no template may: leave it out"
    return ""


def _texts(body: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    return tuple((intern(name), text) for name, text in sorted((body or {}).items()))


def _template_from(body: Mapping[str, Any], path: str) -> TemplateFrom:
    part = cast("Part", intern(body.get("target") or "Data"))
    given = [name for name in ("configMap", "secret", "literal") if name in body]
    if len(given) != 1:
        raise SpecInvalid(f"{path} must have one of configMap, secret and literal.")
    if given == ["literal"]:
        return TemplateFrom(part, literal=body["literal"])
    source = body[given[0]]
    kind: SourceKind = "ConfigMap" if given == ["configMap"] else "Secret"
    return TemplateFrom(
        part, kind=kind, name=intern(source["name"]), items=tuple(_items(source["items"]))
    )


def _items(items: Iterable[Mapping[str, Any]]) -> Iterable[Item]:
    for item in items:
        yield Item(intern(item["key"]), pairs=item.get("templateAs") == "KeysAndValues")

"""The spec of an ExternalSecret, with its templates."""

import re
from collections.abc import Mapping
from typing import Any, Final

from syncret.convert.copying import copied
from syncret.convert.fields import has, shapes
from syncret.convert.generators import kind_of
from syncret.convert.metadata import convert_fetch
from syncret.convert.result import Body, Result
from syncret.convert.terms import NoEquivalent, quoted
from syncret.convert.translate import translate

#: Values that say what is done without them as well, here and there.
_DEFAULTS: Final[Mapping[str, str]] = {
    "conversionStrategy": "Default",
    "decodingStrategy": "None",
    "metadataPolicy": "None",
    "nullBytePolicy": "Ignore",
}
_EVERY: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_GJSON: Final = re.compile(r"[#|@*?!{}\[\]\\]")


def convert_spec(
    spec: Mapping[str, Any], result: Result, *, path: str, metadata: Mapping[str, Any]
) -> Body:
    """The spec that does the same."""
    fields = dict(spec)
    shape = shapes()["ExternalSecret"]
    if fields.get("refreshPolicy") in {"OnChange", "CreatedOnce"}:
        fields.pop("refreshInterval", None)  # it has no meaning with these, there either
    if fields.get("refreshPolicy") == "Periodic":
        del fields["refreshPolicy"]
    if "syncWindows" in fields and has(shape, "syncWindows"):
        fields["syncWindows"] = _windows(fields["syncWindows"], f"{path}.syncWindows", result)
    _sources(fields, path, result)
    _rotation(spec, fields, path, result)
    target = fields.get("target")
    if isinstance(target, Mapping):
        fields["target"] = _target(target, f"{path}.target", result)
        if not fields["target"]:
            del fields["target"]
    if not (isinstance(target, Mapping) and target.get("template")) and (
        metadata.get("labels") or metadata.get("annotations")
    ):
        result.note(
            "metadata",
            "the labels and annotations of the ExternalSecret are not copied to the Secret here: "
            "those that it needs belong under spec.target.template.metadata",
        )
    made: Body = copied(fields, shape, path, result)
    return made


def _sources(fields: Body, path: str, result: Result) -> None:
    names: set[str] = set()
    entries = [one for one in fields.get("data") or () if isinstance(one, Mapping)]
    if entries:
        fields["data"] = []
    for at, entry in enumerate(entries):
        where = f"{path}.data[{at}]"
        if entry.get("secretKey") in names:
            result.lose(where, "an entry before it has the same secretKey", dict(entry))
            continue
        names.add(str(entry.get("secretKey")))
        fields["data"].append(_entry(entry, where, result))
    many = [one for one in fields.get("dataFrom") or () if isinstance(one, Mapping)]
    if many:
        fields["dataFrom"] = [
            one
            for at, entry in enumerate(many)
            if (one := _from(entry, f"{path}.dataFrom[{at}]", result)) is not None
        ]


def _rotation(spec: Mapping[str, Any], fields: Body, path: str, result: Result) -> None:
    """There, a generator makes another value at each refresh; here, one stays."""
    many = [one for one in spec.get("dataFrom") or () if isinstance(one, Mapping)]
    sources = [one.get("sourceRef") for one in many]
    references = [one.get("generatorRef") for one in sources if isinstance(one, Mapping)]
    kinds = {one.get("kind") for one in references if isinstance(one, Mapping)}
    interval = str(spec.get("refreshInterval") or "1h")
    periodic = spec.get("refreshPolicy", "Periodic") == "Periodic" and interval not in {"0", "0s"}
    if not kinds or not periodic:
        return
    if kinds == {"VaultDynamicSecret"}:
        result.note(
            f"{path}.refreshInterval",
            "there, Vault makes another credential with each refresh; here, its lease is renewed, "
            "and another one is made when that has an end, or at rotation.maxAge",
        )
        return
    fields["rotation"] = {"maxAge": interval}
    result.note(
        f"{path}.rotation.maxAge",
        "there, a generator makes another value with each refresh; here, what it made stays until "
        "it is of this age, which is the interval: choose a longer one, or leave it out to keep "
        "the value",
    )


def _windows(windows: Any, path: str, result: Result) -> list[Body]:
    found: list[Body] = []
    if not isinstance(windows, Mapping) or windows.get("kind") not in {"allow", "deny"}:
        result.lose(path, "its kind is neither allow nor deny", windows)
        return found
    for at, window in enumerate(windows.get("windows") or ()):
        schedule = str(window.get("schedule", ""))
        schedule = _EVERY.get(schedule, schedule)
        if schedule.startswith("@"):
            result.lose(f"{path}.windows[{at}]", "@every has no equivalent in cron", dict(window))
            continue
        kind = str(windows["kind"]).capitalize()
        found.append({**window, "kind": kind, "schedule": schedule})
    return found


def _without_defaults(reference: Mapping[str, Any]) -> Body:
    return {name: one for name, one in reference.items() if _DEFAULTS.get(name) != one}


def _reference(reference: Any, path: str, result: Result) -> Any:
    if not isinstance(reference, Mapping):
        return reference
    found = _without_defaults(reference)
    for name in ("property", "version"):
        if found.get(name) == "":
            del found[name]
    version = found.get("version")
    if isinstance(version, str) and version.startswith("uuid/"):
        found["version"] = version.removeprefix("uuid/")
    if isinstance(found.get("property"), str) and _GJSON.search(found["property"]):
        result.note(
            f"{path}.property",
            "queries of gjson are not known here: it is read as names joined by dots",
        )
    convert_fetch(found, path, result)
    return found


def _entry(entry: Mapping[str, Any], path: str, result: Result) -> Body:
    found = dict(entry)
    if isinstance(found.get("remoteRef"), Mapping):
        # It repairs names of keys, and here the name is given.
        found["remoteRef"] = {
            name: one for name, one in found["remoteRef"].items() if name != "conversionStrategy"
        }
    found["remoteRef"] = _reference(found.get("remoteRef"), f"{path}.remoteRef", result)
    return found


def _from(entry: Mapping[str, Any], path: str, result: Result) -> Body | None:
    found = dict(entry)
    source = found.get("sourceRef")
    if isinstance(source, Mapping) and isinstance(source.get("generatorRef"), Mapping):
        reference = source["generatorRef"]
        kind = kind_of(str(reference.get("kind") or ""))
        if kind is None:
            named = str(reference.get("kind") or "?")
            text = f"this version of Syncret does not have the generator {named}"
            result.lose(path, text, dict(entry))
            return None
        ours = {"name": reference.get("name")} | ({"kind": kind} if kind != "Generator" else {})
        found["sourceRef"] = {"generatorRef": ours}
    shape = shapes()["ExternalSecret"]["dataFrom"]["[]"]
    for name in ("extract", "find"):
        if name in found:
            found[name] = _reference(found[name], f"{path}.{name}", result)
            if not has(shape, name):
                result.lose(path, f"this version of Syncret does not have {name}", dict(entry))
                return None
    steps = found.get("rewrite")
    if isinstance(steps, list) and has(shape, "rewrite"):
        found["rewrite"] = [
            _rewrite(step, f"{path}.rewrite[{at}]", result) for at, step in enumerate(steps)
        ]
    return found


def _rewrite(step: Any, path: str, result: Result) -> Any:
    transform = step.get("transform") if isinstance(step, Mapping) else None
    if not isinstance(transform, Mapping):
        return step
    where = f"{path}.transform.template"
    text = _text(str(transform.get("template", "")), where, result, only="value")
    return {"transform": {"template": text}}


def _target(target: Mapping[str, Any], path: str, result: Result) -> Body:
    found = dict(target)
    creation, deletion = found.pop("creationPolicy", "Owner"), found.pop("deletionPolicy", "Retain")
    shared = creation in {"Merge", "CreateOrMerge"}
    if creation != "Owner":
        found["creationPolicy"] = creation
    # Retain: there, a Secret goes with an ExternalSecret that owns it even so, and merged keys
    # stay. Here what is said is done, and without it the keys and the Secret go.
    if deletion != "Retain" or shared:
        found["deletionPolicy"] = deletion
    if found.get("immutable") is False:
        del found["immutable"]
    elif "immutable" in found:
        result.note(
            f"{path}.immutable", "the Secret is made anew when what the store holds changed"
        )
    if found.get("name") == "":
        del found["name"]
    if "manifest" in found:
        result.lose(f"{path}.manifest", "Syncret writes Secrets only", found.pop("manifest"))
    template = found.get("template")
    if isinstance(template, Mapping) and has(shapes()["ExternalSecret"], "target", "template"):
        found["template"] = _template(template, f"{path}.template", result)
        if shared and found["template"].pop("metadata", None):
            result.lose(
                f"{path}.template.metadata",
                "a Secret that is shared gets no labels and annotations of one ExternalSecret",
                template["metadata"],
            )
        if not found["template"]:
            del found["template"]
    return found


def _template(template: Mapping[str, Any], path: str, result: Result) -> Body:
    found = dict(template)
    engine = found.pop("engineVersion", "v2")
    if found.get("mergePolicy") == "Replace" or not (
        found.get("data") or found.get("templateFrom")
    ):
        found.pop("mergePolicy", None)  # it says nothing without data
    if engine != "v2":
        result.lose(f"{path}.engineVersion", "templates of the engine v1 are not converted")
    found["data"] = _texts(found.get("data"), f"{path}.data", result, engine=engine)
    metadata = found.get("metadata")
    if isinstance(metadata, Mapping):
        metadata = dict(metadata)
        for name in ("labels", "annotations"):
            made = _texts(metadata.get(name), f"{path}.metadata.{name}", result, engine=engine)
            metadata[name] = made
        found["metadata"] = {name: one for name, one in metadata.items() if one}
    sources = found.get("templateFrom")
    if isinstance(sources, list):
        found["templateFrom"] = [
            _source(source, f"{path}.templateFrom[{at}]", result, engine=engine)
            for at, source in enumerate(sources)
            if isinstance(source, Mapping)
        ]
    return {name: one for name, one in found.items() if one}


def _source(source: Mapping[str, Any], path: str, result: Result, *, engine: str) -> Body:
    found = dict(source)
    target = str(found.get("target") or "Data").capitalize()
    found["target"] = target
    if target == "Data":
        del found["target"]
    if isinstance(found.get("literal"), str):
        found["literal"] = _text(found["literal"], f"{path}.literal", result, engine=engine)
    for name in ("configMap", "secret"):
        if name in found:
            result.lose(
                f"{path}.{name}",
                "the templates in this object were not seen and stand as they are: translate them",
            )
    return found


def _texts(texts: Any, path: str, result: Result, *, engine: str) -> Any:
    if not isinstance(texts, Mapping):
        return texts
    return {
        name: _text(str(text), f"{path}.{name}", result, engine=engine)
        for name, text in texts.items()
    }


def _text(text: str, path: str, result: Result, *, engine: str = "v2", only: str = "") -> str:
    """The template in Jinja; one that fails and says why, where there is none."""
    try:
        if engine != "v2":
            raise NoEquivalent("the engine v1 has other functions")  # noqa: TRY301 - one place says it
        made = translate(text, only=only)
    except NoEquivalent as error:
        result.lose(path, f"the template is not translated: {error}", text)
        # A key that is not there: the Secret stays as it is until somebody has written it.
        return "{{ " + f"secrets[{quoted(f'not translated by syncret convert: {path}')}]" + " }}"
    for note in made.notes:
        result.note(path, note)
    return made.text

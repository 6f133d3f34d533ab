"""What an ExternalSecret reads: the entries of ``spec.data`` and ``spec.dataFrom`` as records.

The records of one kind of entry are few and shared: most entries handle values in the default way
and read from one store, and there are ten thousands of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import Any, Final, Literal, cast

from syncret.api.keys import ObjectKey
from syncret.errors import SpecInvalid
from syncret.patterns import compile_pattern, compile_replacement

Decoding = Literal["None", "Base64", "Base64URL", "Auto"]
Conversion = Literal["Default", "Unicode"]
Strategy = Literal["Extract", "JSON"]


@dataclass(frozen=True, slots=True)
class RemoteRef:
    """Which remote secret, which version of it ("": the current), which part ("": all of it).

    ``metadata``: its tags, as a JSON object, are read instead of its value.
    """

    key: str
    property: str = ""
    version: str = ""
    metadata: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """Which remote secrets: those that meet all that is given.

    Their names begin with ``path`` and are matched somewhere by the regular expression ``name``;
    they carry each of ``tags``, a tag's key and its value, in the order of the keys.
    """

    path: str = ""
    name: str = ""
    tags: tuple[tuple[str, str], ...] = ()

    def matches(self, name: str, tags: Mapping[str, str]) -> bool:
        """Whether a secret of that name and those tags is one of them."""
        return (
            name.startswith(self.path)
            and all(tags.get(key) == value for key, value in self.tags)
            and (not self.name or bool(compile_pattern(self.name, "find.name.regexp").search(name)))
        )


@dataclass(frozen=True, slots=True)
class Handling:
    """What is done to a value, and to the names of what is taken out of it."""

    decoding: Decoding = "None"
    conversion: Conversion = "Default"
    refuse_null_bytes: bool = False


PLAIN: Final = Handling()


@dataclass(frozen=True, slots=True)
class DataEntry:
    """One key of the target Secret and where its value comes from."""

    secret_key: str
    store: ObjectKey
    remote: RemoteRef
    handling: Handling = PLAIN
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Regexp:
    """A step of ``rewrite``: in each key, what the source matches is replaced by the target."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Transform:
    """A step of ``rewrite``: each key becomes what the template makes of it."""

    template: str


@dataclass(frozen=True, slots=True)
class Merge:
    """A step of ``rewrite``: the values, JSON objects, are merged.

    ``strict``: a key of ``priority`` that is not there is an error. ``refuse_conflicts``: so is a
    field that two values have, unless one of them has priority.
    """

    strategy: Strategy = "Extract"
    into: str = ""
    priority: tuple[str, ...] = ()
    strict: bool = True
    refuse_conflicts: bool = True


Step = Regexp | Transform | Merge


@dataclass(frozen=True, slots=True)
class DataFrom:
    """Many keys of the target Secret: from one remote secret, or from all that a query finds.

    What a generator made for the ExternalSecret is read like a remote secret: see
    :func:`generated_ref`.
    """

    store: ObjectKey
    source: RemoteRef | Query
    rewrite: tuple[Step, ...] = ()
    handling: Handling = PLAIN
    optional: bool = False


def parse_store_ref(reference: Mapping[str, Any], namespace: str) -> ObjectKey:
    """The key of the store that a ``storeRef`` names: one object for all that name it."""
    return _store_key(reference.get("kind") or "SecretStore", namespace, reference["name"])


def parse_generator_ref(reference: Mapping[str, Any], namespace: str) -> ObjectKey:
    """The key of the generator that a ``generatorRef`` names."""
    return _store_key(reference.get("kind") or "Generator", namespace, reference["name"])


def generated_ref(generator: ObjectKey, namespace: str, name: str) -> RemoteRef:
    """What a generator made for an ExternalSecret, as something that is read.

    The key has the ExternalSecret's namespace and name, and the generator's; no other has it.
    """
    which = f"cluster/{generator.name}" if not generator.namespace else generator.name
    return RemoteRef(key=intern(f"{namespace}/{name}/{which}"))


@lru_cache(maxsize=4096)
def _store_key(kind: str, namespace: str, name: str) -> ObjectKey:
    match kind:
        case "ClusterSecretStore" | "ClusterGenerator":
            return ObjectKey(kind, "", name)
        case "Generator":
            return ObjectKey(kind, namespace, name)
        case _:
            return ObjectKey("SecretStore", namespace, name)


def parse_data(
    spec: Mapping[str, Any], *, namespace: str, default: ObjectKey | None
) -> tuple[DataEntry, ...]:
    """``spec.data``. Raises SpecInvalid, or what a body of another form raises."""
    return tuple(
        DataEntry(
            secret_key=entry["secretKey"],
            store=_store(entry, f"spec.data[{index}]", namespace, default),
            remote=_remote(entry["remoteRef"]),
            handling=_handling(entry["remoteRef"]),
            optional=bool(entry.get("optional")),
        )
        for index, entry in enumerate(spec.get("data") or ())
    )


def parse_data_from(
    spec: Mapping[str, Any], *, namespace: str, name: str, default: ObjectKey | None
) -> tuple[DataFrom, ...]:
    """``spec.dataFrom``. ``name``: of the ExternalSecret.

    Raises SpecInvalid, or what a body of another form raises.
    """
    return tuple(
        _data_from(entry, f"spec.dataFrom[{index}]", namespace, name, default)
        for index, entry in enumerate(spec.get("dataFrom") or ())
    )


def _data_from(
    entry: Mapping[str, Any], path: str, namespace: str, name: str, default: ObjectKey | None
) -> DataFrom:
    given = entry.get("extract") or entry.get("find")
    generator = (entry.get("sourceRef") or {}).get("generatorRef")
    if generator:
        if given is not None or entry.get("optional"):
            raise SpecInvalid(
                f"{path} has a generatorRef: leave extract, find and optional out, because a "
                "generator makes its keys itself."
            )
        return DataFrom(
            store=parse_generator_ref(generator, namespace),
            source=generated_ref(parse_generator_ref(generator, namespace), namespace, name),
            rewrite=_steps(entry, path),
        )
    if given is None or (entry.get("extract") and entry.get("find")):
        raise SpecInvalid(f"{path} must have either extract or find.")
    return DataFrom(
        store=_store(entry, path, namespace, default),
        source=_remote(given) if entry.get("extract") else _query(given, f"{path}.find"),
        rewrite=_steps(entry, path),
        handling=_handling(given),
        optional=bool(entry.get("optional")),
    )


def _store(
    entry: Mapping[str, Any], path: str, namespace: str, default: ObjectKey | None
) -> ObjectKey:
    source = entry.get("sourceRef")
    if source:
        return parse_store_ref(source["storeRef"], namespace)
    if default is None:
        raise SpecInvalid(
            f"{path} names no store: set spec.secretStoreRef, or {path}.sourceRef.storeRef."
        )
    return default


def _remote(reference: Mapping[str, Any]) -> RemoteRef:
    return RemoteRef(
        key=intern(reference["key"]),
        property=intern(reference.get("property") or ""),
        version=intern(reference.get("version") or ""),
        metadata=reference.get("metadataPolicy") == "Fetch",
    )


def _query(find: Mapping[str, Any], path: str) -> Query:
    query = Query(
        path=intern(find.get("path") or ""),
        name=intern((find.get("name") or {}).get("regexp") or ""),
        tags=tuple(sorted((find.get("tags") or {}).items())),
    )
    if query == Query():
        raise SpecInvalid(
            f"{path} finds every secret of the store: name a path, a name.regexp or tags."
        )
    if query.name:
        compile_pattern(query.name, f"{path}.name.regexp")
    return query


def _handling(given: Mapping[str, Any]) -> Handling:
    handling = Handling(
        decoding=cast("Decoding", intern(given.get("decodingStrategy") or "None")),
        conversion=cast("Conversion", intern(given.get("conversionStrategy") or "Default")),
        refuse_null_bytes=given.get("nullBytePolicy") == "Fail",
    )
    return PLAIN if handling == PLAIN else handling


def _steps(entry: Mapping[str, Any], path: str) -> tuple[Step, ...]:
    return tuple(
        _step(step, f"{path}.rewrite[{number}]")
        for number, step in enumerate(entry.get("rewrite") or ())
    )


def _step(step: Mapping[str, Any], path: str) -> Step:
    if regexp := step.get("regexp"):
        source, target = intern(regexp["source"]), intern(regexp["target"])
        compile_replacement(source, target, f"{path}.regexp")
        return Regexp(source, target)
    if (merge := step.get("merge")) is not None:
        return _merge(merge, f"{path}.merge")
    if transform := step.get("transform"):
        return Transform(intern(transform["template"]))
    raise SpecInvalid(f"{path} must have one of regexp, merge and transform.")


def _merge(merge: Mapping[str, Any], path: str) -> Merge:
    strategy = cast("Strategy", intern(merge.get("strategy") or "Extract"))
    into = merge.get("into") or ""
    if (strategy == "JSON") != bool(into):
        raise SpecInvalid(
            f"{path}.into names the key of the merged JSON: set it with the strategy JSON, and "
            "leave it out with Extract."
        )
    return Merge(
        strategy=strategy,
        into=into,
        priority=tuple(merge.get("priority") or ()),
        strict=merge.get("priorityPolicy") != "IgnoreNotFound",
        refuse_conflicts=merge.get("conflictPolicy") != "Ignore",
    )

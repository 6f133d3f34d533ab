"""Which Secrets and ConfigMaps a pod reads, and which keys of them, from its spec.

Owns the walk over a pod template: environment variables and volumes of containers and init
containers. A reference that is ``optional`` counts like any other: the pod reads the key as soon
as there is one. An inline CSI volume is mounted with what its ``nodePublishSecretRef`` holds, and
keeps that until the pod is replaced: it counts, with all keys.

What images are pulled with is found too, and apart (:func:`pull_secrets`): the kubelet reads it
anew with each pull, so a restart changes nothing, and where a registry's tokens live for twelve
hours it would restart everything twice a day. What network storage of the older, built-in kinds is
mounted with does not count.

Every workload of the cluster passes here with every event, and most read no Secret. So nothing is
built before the first reference is found, and equal names and key sets are one object in memory.

Refused: telling a volume that no container mounts, or that is mounted by ``subPath``, from any
other. It would spare few restarts, and a wrong answer would leave a pod on an old credential.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import Any, Final

#: The keys of a Secret that a pod reads; None: all of them, whichever they are.
ConsumedKeys = frozenset[str] | None

#: Different key sets that are shared; a workload beyond them has its own copy.
_SHARED: Final = 4096


@dataclass(frozen=True, slots=True)
class _Fields:
    """What references to one kind of object are called."""

    variable: str
    source: str
    volume: str
    volume_name: str


_SECRETS: Final = _Fields("secretKeyRef", "secretRef", "secret", "secretName")
_CONFIG_MAPS: Final = _Fields("configMapKeyRef", "configMapRef", "configMap", "name")


def consumed_secrets(pod_spec: Any) -> dict[str, ConsumedKeys]:
    """The Secrets that the pods of this spec read, by name. Never raises, whatever it is given."""
    return _consumed(pod_spec, _SECRETS)


def consumed_config_maps(pod_spec: Any) -> dict[str, ConsumedKeys]:
    """The same of ConfigMaps."""
    return _consumed(pod_spec, _CONFIG_MAPS)


def _consumed(pod_spec: Any, fields: _Fields) -> dict[str, ConsumedKeys]:
    found: dict[str, set[str] | None] = {}
    if not isinstance(pod_spec, Mapping):
        return {}
    for field in ("containers", "initContainers"):
        for container in _mappings(pod_spec.get(field)):
            _environment(container, found, fields)
    for volume in _mappings(pod_spec.get("volumes")):
        _volume(volume, found, fields)
        if fields is _SECRETS:
            published = _mapping(_mapping(volume.get("csi")).get("nodePublishSecretRef"))
            _add(found, published.get("name"), None)
    return {
        name: None if keys is None else _shared(frozenset(keys)) for name, keys in found.items()
    }


def pull_secrets(pod_spec: Any) -> tuple[str, ...]:
    """The Secrets that the images of the pods are pulled with. Never raises."""
    if not isinstance(pod_spec, Mapping):
        return ()
    return tuple(
        intern(name)
        for reference in _mappings(pod_spec.get("imagePullSecrets"))
        if isinstance(name := reference.get("name"), str) and name
    )


def _environment(
    container: Mapping[str, Any], found: dict[str, set[str] | None], fields: _Fields
) -> None:
    for variable in _mappings(container.get("env")):
        reference = _mapping(_mapping(variable.get("valueFrom")).get(fields.variable))
        key = reference.get("key")
        if isinstance(key, str) and key:
            _add(found, reference.get("name"), {intern(key)})
    for source in _mappings(container.get("envFrom")):
        _add(found, _mapping(source.get(fields.source)).get("name"), None)


def _volume(volume: Mapping[str, Any], found: dict[str, set[str] | None], fields: _Fields) -> None:
    mounted = _mapping(volume.get(fields.volume))
    _add(found, mounted.get(fields.volume_name), _items(mounted))
    for source in _mappings(_mapping(volume.get("projected")).get("sources")):
        projected = _mapping(source.get(fields.volume))
        _add(found, projected.get("name"), _items(projected))


def _items(source: Mapping[str, Any]) -> set[str] | None:
    """The keys that a volume is limited to. Without items it has them all (the API's rule)."""
    keys = {
        intern(key)
        for item in _mappings(source.get("items"))
        if isinstance(key := item.get("key"), str) and key
    }
    return keys or None


def _add(found: dict[str, set[str] | None], name: Any, keys: set[str] | None) -> None:
    if not isinstance(name, str) or not name:
        return
    if name not in found:
        found[intern(name)] = keys
        return
    known = found[name]
    found[name] = None if known is None or keys is None else known | keys


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        for item in value:
            if isinstance(item, Mapping):
                yield item


@lru_cache(maxsize=_SHARED)
def _shared(keys: frozenset[str]) -> frozenset[str]:
    return keys

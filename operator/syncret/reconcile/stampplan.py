"""Which ExternalSecrets a ClusterExternalSecret has to make, change and delete. Pure.

An ExternalSecret is its own if it is its controller, by uid. Any other of that name is left as it
is and told of: it has an author of its own.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from syncret.api.clusterexternalsecret import KIND, ClusterExternalSecret, Stamped
from syncret.api.keys import ObjectKey
from syncret.api.selector import Namespace
from syncret.constants import API_VERSION, STAMP_ANNOTATION
from syncret.errors import ExternalSecretNotOwned


@dataclass(frozen=True, slots=True)
class StampPlan:
    """What to do.

    ``settled``: the namespaces that have one once it is done, if nothing fails; ``taken``: those
    where another one has the name. One that is being deleted is waited for.
    """

    settled: tuple[str, ...]
    create: tuple[str, ...] = ()
    update: tuple[Stamped, ...] = ()
    remove: tuple[Stamped, ...] = ()
    taken: tuple[str, ...] = ()


def plan_stamps(
    wanted: ClusterExternalSecret,
    *,
    namespaces: Iterable[Namespace],
    own: Iterable[Stamped],
    exists: Callable[[ObjectKey], bool],
) -> StampPlan:
    """``own``: what it controls; ``exists``: whether there is any ExternalSecret of that key."""
    selected = {
        one.name for one in namespaces if not one.deleting and wanted.namespaces.selects(one)
    }
    mine = {one.key: one for one in own}
    create, update, taken = [], [], []
    for namespace in sorted(selected):
        key = ObjectKey("ExternalSecret", namespace, wanted.name)
        known = mine.pop(key, None)
        if known is not None and known.deleting:
            selected.discard(namespace)
        elif known is not None:
            if not known.is_as_wanted(wanted):
                update.append(known)
        elif not exists(key):
            create.append(namespace)
        else:
            taken.append(namespace)
    remove = [one for one in mine.values() if not one.deleting]
    return StampPlan(
        settled=tuple(sorted(selected)),
        create=tuple(create),
        update=tuple(update),
        remove=tuple(sorted(remove, key=lambda one: one.key)),
        taken=tuple(taken),
    )


def stamped_body(wanted: ClusterExternalSecret, namespace: str) -> dict[str, Any]:
    """The ExternalSecret of a namespace."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ExternalSecret",
        "metadata": {
            "name": wanted.name,
            "namespace": namespace,
            "labels": dict(wanted.labels),
            "annotations": {**wanted.annotations, STAMP_ANNOTATION: wanted.stamp},
            # Without blockOwnerDeletion: nothing has to wait for it, and clusters that check it
            # would ask for one more permission.
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": KIND,
                    "name": wanted.key.name,
                    "uid": wanted.uid,
                    "controller": True,
                }
            ],
        },
        "spec": wanted.spec,
    }


def stamp_patch(
    wanted: ClusterExternalSecret, body: Mapping[str, Any], *, manager: str
) -> dict[str, Any]:
    """The merge patch of an ExternalSecret as it is to one as it should be.

    The spec becomes exactly the wanted one. Labels and annotations that ``manager`` has set and
    that are wanted no more go; those of others stay.
    """
    meta = body["metadata"]
    target = stamped_body(wanted, meta["namespace"])
    patch: dict[str, Any] = {
        "metadata": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]},
        "spec": _difference(body.get("spec") or {}, target["spec"]),
    }
    for part in ("labels", "annotations"):
        ours = _managed(meta, part, manager) & (meta.get(part) or {}).keys()
        gone = dict.fromkeys(ours - target["metadata"][part].keys())
        patch["metadata"][part] = {**target["metadata"][part], **gone}
    return patch


def not_owned(wanted: ClusterExternalSecret, namespace: str) -> ExternalSecretNotOwned:
    """Why a namespace does not get one."""
    return ExternalSecretNotOwned(
        f'The ExternalSecret "{wanted.name}" in namespace "{namespace}" was not made by '
        f"{wanted.key} and was left as it is: choose another spec.externalSecretName, or delete "
        "that ExternalSecret if nothing needs it."
    )


_MISSING: Final = object()


def _difference(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch from one object to another; lists are replaced as a whole."""
    patch: dict[str, Any] = dict.fromkeys(known.keys() - wanted.keys())
    for name, value in wanted.items():
        before = known.get(name, _MISSING)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = _difference(before, value)
            if inner:
                patch[name] = inner
        elif before != value:
            patch[name] = value
    return patch


def _managed(meta: Mapping[str, Any], part: str, manager: str) -> set[str]:
    """The labels or annotations that a field manager has set and nobody else since."""
    fields: set[str] = set()
    for entry in meta.get("managedFields") or ():
        if entry.get("manager") == manager:
            of_metadata = (entry.get("fieldsV1") or {}).get("f:metadata") or {}
            fields |= {
                name.removeprefix("f:")
                for name in of_metadata.get(f"f:{part}") or {}
                if name.startswith("f:")
            }
    return fields

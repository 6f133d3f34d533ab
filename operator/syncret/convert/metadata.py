"""References with ``metadataPolicy: Fetch``: what is read there is of more forms than here.

Here it is a map of names and texts: tags, labels or custom metadata. There it depends on the store,
which a reference does not say.
"""

from typing import Final

from syncret.convert.result import Body, Result

#: What Vault and Azure have about a secret that is no tag of it.
_ABOUT: Final = frozenset(
    {
        *("cas_required", "created", "created_time", "current_version", "delete_version_after"),
        *("deletion_time", "destroyed", "expires", "max_versions", "notBefore"),
        *("oldest_version", "updated", "updated_time"),
    }
)


def convert_fetch(reference: Body, path: str, result: Result) -> None:
    """Changes such a reference to what means the same, and says where nothing does."""
    if reference.get("metadataPolicy") != "Fetch":
        return
    if reference.pop("version", None) is not None:
        result.note(f"{path}.version", "metadata have no versions here, and it is left out")
    where = f"{path}.property"
    name = reference.get("property")
    head, _, tail = name.partition(".") if isinstance(name, str) else ("", "", "")
    if name == "labels":
        del reference["property"]
        result.note(
            where, "of Google and Kubernetes the labels are all that is read, so it is left out"
        )
    elif head == "labels" and tail:
        reference["property"] = tail
        result.note(where, f"a label of Google and Kubernetes is named without labels: {tail}")
    elif head == "annotations":
        result.note(
            where, "annotations are not read here: this fails until it names a label or a tag"
        )
    elif name in _ABOUT:
        result.note(
            where, "only tags, labels and custom metadata are read here: it fails if it is none"
        )
    elif not name:
        result.note(
            f"{path}.metadataPolicy",
            "it gives the tags, labels or custom metadata and nothing else; there, Google "
            "and Kubernetes have annotations beside them, and Vault its times",
        )

"""Where manifests come from: files, directories, the standard input, or a cluster."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

#: The resources that are read from a cluster.
PLURALS: Final = (
    "secretstores",
    "clustersecretstores",
    "clusterexternalsecrets",
    "externalsecrets",
)
_CLUSTER_SCOPED: Final = frozenset({"clustersecretstores", "clusterexternalsecrets"})
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Document = Mapping[str, Any]


class Unreadable(Exception):
    """An input cannot be read; the message says which one, and quotes nothing of it."""


def files(paths: Sequence[str]) -> Iterator[tuple[str, list[Document]]]:
    """Each file with its documents. Raises Unreadable."""
    for given in paths:
        if given == "-":
            yield "stdin.yaml", list(_documents(sys.stdin.read(), "the standard input"))
            continue
        path = Path(given)
        found = [path]
        if path.is_dir():
            found = sorted(one for one in path.rglob("*") if one.suffix in {".yaml", ".yml"})
        for one in found:
            try:
                text = one.read_text(encoding="utf-8")
            except (OSError, UnicodeError) as error:
                raise Unreadable(f"{one} cannot be read: {type(error).__name__}") from None
            name = str(one.relative_to(path)) if path.is_dir() else one.name
            yield name, list(_documents(text, str(one)))


def _documents(text: str, name: str) -> Iterator[Document]:
    try:
        loaded = list(yaml.load_all(text, Loader=_LOADER))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise Unreadable(f"{name} is not YAML{line}") from None
    for one in loaded:
        yield from _flat(one, name)


def _flat(document: Any, name: str) -> Iterator[Document]:
    if document is None:
        return
    if not isinstance(document, Mapping) or "kind" not in document:
        raise Unreadable(f"{name} holds something that is no Kubernetes object")
    items = document.get("items")
    if str(document["kind"]).endswith("List") and isinstance(items, list):
        for item in items:
            kind = str(document["kind"]).removesuffix("List")
            api = document.get("apiVersion")
            yield from _flat({"apiVersion": api, "kind": kind, **item}, name)
    else:
        yield document


def cluster(
    namespace: str, *, everywhere: bool, group: str, versions: Sequence[str]
) -> list[Document]:
    """What a cluster holds of an API group, by the user's kubeconfig. Raises Unreadable.

    Of each resource, the first of the versions that is served.
    """
    from kubernetes import client, config
    from kubernetes.client.exceptions import ApiException

    try:
        config.load_config()  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 - of many libraries, and it may quote the file
        raise Unreadable(f"there is no usable kubeconfig: {type(error).__name__}") from None
    if not namespace:
        context: Any = {}
        if not everywhere:
            _, context = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
        namespace = context.get("context", {}).get("namespace", "default")
    api = client.CustomObjectsApi()
    found: list[Document] = []
    for plural in PLURALS:
        if plural in _CLUSTER_SCOPED and not everywhere:
            continue
        try:
            found += _listed(api, (group, versions), plural, "" if everywhere else namespace)
        except ApiException as error:
            raise Unreadable(f"the API server does not list {plural}: {error.status}") from None
    return found


def _listed(
    api: Any, served: tuple[str, Sequence[str]], plural: str, namespace: str
) -> list[Document]:
    from kubernetes.client.exceptions import ApiException

    group, versions = served
    for version in versions:
        try:
            if namespace:
                body = api.list_namespaced_custom_object(group, version, namespace, plural)
            else:
                body = api.list_cluster_custom_object(group, version, plural)
        except ApiException as error:
            if error.status != 404:
                raise
            continue
        return list(_flat(body, plural))
    return []

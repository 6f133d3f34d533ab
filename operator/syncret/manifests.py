"""Where manifests come from: files, directories, the standard input, or a cluster."""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from syncret.clock import SystemClock
from syncret.errors import KubeError, KubeNotFound, SyncretError
from syncret.kube.client import KubeClient
from syncret.kube.connection import find_connection, open_session
from syncret.kube.people import yours
from syncret.kube.resources import Resource

#: The resources that are read from a cluster: plural and kind.
KINDS: Final = (
    ("secretstores", "SecretStore"),
    ("clustersecretstores", "ClusterSecretStore"),
    ("clusterexternalsecrets", "ClusterExternalSecret"),
    ("externalsecrets", "ExternalSecret"),
)
_ENDINGS: Final = (".yaml", ".yml")
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Document = Mapping[str, Any]


class Unreadable(Exception):
    """An input cannot be read; the message says which one and what to do, and quotes nothing."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the commands that read manifests take for that."""
    parser.add_argument(
        "inputs", nargs="*", metavar="FILE|DIR|-", help="files, directories, or - for the input"
    )
    parser.add_argument("--from-cluster", action="store_true", help="read from the cluster")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-n", "--namespace", default="", help="the namespace that is read")
    where.add_argument(
        "-A",
        "--all-namespaces",
        action="store_true",
        help="all namespaces, and what belongs to none",
    )
    parser.add_argument(
        "--kubeconfig", default="", metavar="FILE", help="the kubeconfig for --from-cluster"
    )
    parser.add_argument("--context", default="", help="the context of it that is used")


def read(
    arguments: argparse.Namespace, *, group: str, versions: Sequence[str]
) -> list[tuple[str, list[Document]]]:
    """What these arguments name: each file with its documents, or ``cluster.yaml`` with those of an
    API group in a cluster. Raises Unreadable.

    Of each resource of the cluster, the first of the versions that is served. Without a namespace
    it is that of the kubeconfig's context.
    """
    if bool(arguments.inputs) == arguments.from_cluster:
        raise Unreadable(
            "name files or directories, or - for the standard input, or --from-cluster"
        )
    if not arguments.from_cluster:
        if (
            arguments.namespace
            or arguments.all_namespaces
            or arguments.kubeconfig
            or arguments.context
        ):
            raise Unreadable("-n, -A, --kubeconfig and --context go with --from-cluster")
        return list(files(arguments.inputs))
    try:
        return [("cluster.yaml", asyncio.run(_cluster(arguments, group, versions)))]
    except SyncretError as error:
        raise Unreadable(error.message) from None


def files(paths: Sequence[str]) -> Iterator[tuple[str, list[Document]]]:
    """Each file with its documents. Raises Unreadable."""
    for given in paths:
        if given == "-":
            found = _documents(_standard_input(), "the standard input")
            if found is None:
                raise Unreadable(
                    "the standard input is empty: see whether what should write to it failed"
                )
            yield "stdin.yaml", found
            continue
        path = Path(given)
        if not path.is_dir():
            found = _documents(_read(path), given)
            if found is None:
                raise Unreadable(f"{given} is empty: name a file with manifests")
            yield path.name, found
            continue
        inside = _inside(path)
        if not inside:
            raise Unreadable(
                f"{given} holds no file that ends with .yaml or .yml: name the directory with the "
                "manifests, or the files"
            )
        for one in inside:
            yield str(one.relative_to(path)), _documents(_read(one), str(one)) or []


def _inside(directory: Path) -> list[Path]:
    """The manifests of a directory and those below it. Raises Unreadable."""

    def refused(error: OSError) -> None:
        raise Unreadable(_why(str(error.filename or directory), error))

    return sorted(
        Path(where, name)
        for where, _, names in os.walk(directory, onerror=refused)
        for name in names
        if name.endswith(_ENDINGS)
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(_why(str(path), error)) from None


def _standard_input() -> bytes:
    if sys.stdin is None:
        return b""
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise Unreadable(_why("the standard input", error)) from None


def _why(name: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{name} does not exist: correct the path"
    if isinstance(error, PermissionError):
        return f"you may not read {name}: have its permissions changed, or leave it out"
    return f"{name} cannot be read ({(error.strerror or 'no reason is given').lower()})"


def _documents(data: bytes, name: str) -> list[Document] | None:
    """The objects of a file; None if there is not even an empty list in it. Raises Unreadable."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeError:
        raise Unreadable(f"{name} is no text in UTF-8: save it in that encoding") from None
    try:
        loaded = list(yaml.load_all(text, Loader=_LOADER))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        if "{{" in text:
            raise Unreadable(
                f"{name} is not YAML{line}, and has templates in it: have them filled in first, as "
                "by `helm template CHART`, and read what that prints"
            ) from None
        raise Unreadable(f"{name} is not YAML{line}: correct it there") from None
    if all(one is None for one in loaded):
        return None
    return [found for one in loaded for found in _flat(one, name)]


def _flat(document: Any, name: str) -> Iterator[Document]:
    if document is None:
        return
    kind = document.get("kind") if isinstance(document, Mapping) else None
    if not isinstance(kind, str) or not kind:
        raise Unreadable(
            f"{name} holds something that is no Kubernetes object, because it has no kind: name "
            "the files with manifests (of a Helm chart, what `helm template` prints)"
        )
    if not kind.endswith("List") or "items" not in document:
        yield document
        return
    items = document["items"] or []
    for item in items if isinstance(items, list) else (None,):
        if not isinstance(item, Mapping):
            raise Unreadable(f"{name} holds a {kind} with items that are no Kubernetes objects")
        of_list = {"apiVersion": document.get("apiVersion"), "kind": kind.removesuffix("List")}
        yield from _flat({**of_list, **item}, name)


async def _cluster(
    arguments: argparse.Namespace, group: str, versions: Sequence[str]
) -> list[Document]:
    """What a cluster holds of an API group. Raises SyncretError."""
    connection = await find_connection(
        clock=SystemClock(), kubeconfig=arguments.kubeconfig, context=arguments.context
    )
    everywhere = arguments.all_namespaces
    async with open_session(connection, user_agent="syncret-cli") as session:
        kube = KubeClient(session, connection.server)
        namespace = arguments.namespace or connection.default_namespace or "default"
        found: list[Document] = []
        for plural, kind in KINDS:
            if everywhere or not kind.startswith("Cluster"):
                where = "" if everywhere else namespace
                found += await _listed(kube, (group, versions), (plural, kind), where)
        return found


async def _listed(
    kube: KubeClient, served: tuple[str, Sequence[str]], of: tuple[str, str], namespace: str
) -> list[Document]:
    """What there is of one resource; nothing if no version of it is served."""
    group, versions = served
    plural, kind = of
    for version in versions:
        resource = Resource(group, version, plural, kind, namespaced=not kind.startswith("Cluster"))
        try:
            return [
                # The items of a list do not always say what they are.
                {"apiVersion": resource.api_version, "kind": kind, **item}
                async for page in kube.list_pages(resource, namespace=namespace)
                for item in page.items
            ]
        except KubeNotFound:
            continue
        except KubeError as error:
            raise yours(error, "list", resource, namespace) from None
    return []

"""The command line of ``syncret incident``, and what it prints."""

import argparse
import asyncio
import json
from typing import Any, Final

from syncret.api.keys import CLUSTER_STORES, Kind, ObjectKey
from syncret.commands.driving import FAILED, INTERRUPTED, USAGE, Report, drive, stamp
from syncret.commands.looking import Cluster, Scope, open_cluster
from syncret.commands.picture import Consumer, Picture, Reader
from syncret.commands.rotate import add_common, ending, failed, line, say
from syncret.duration import parse_duration
from syncret.errors import SpecInvalid, SyncretError

DESCRIPTION: Final = """\
Tells who consumes a secret of a store: ExternalSecrets, Secrets, workloads, and the pods that still
have its old value. With --rotate it has the store rotate the secret, refreshes everything that
reads it ahead of all other work, follows that to the last pod, and ends with a timeline for the
post-mortem. Without --rotate nothing is changed. No secret value is read."""

EPILOG: Final = """\
exit codes: 0 told, or all pods have the new value; 1 failed; 2 wrong usage; 3 not done in time, or
not all of it could be seen; 130 interrupted by Ctrl-C, after what is known by then was printed.

examples:
  syncret incident --store ClusterSecretStore/aws --key production/database
  syncret incident --store aws --namespace shop --key db --rotate --output json > incident.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be said on the command line."""
    parser.add_argument(
        "--store",
        required=True,
        metavar="[KIND/]NAME",
        help="the store: ClusterSecretStore/NAME, or SecretStore/NAME of the namespace, or a "
        "ClusterGenerator or Generator; without a kind, a SecretStore if --namespace is given",
    )
    parser.add_argument("--key", required=True, help="the secret, in any form of its name")
    parser.add_argument(
        "--rotate", action="store_true", help="rotate it, and follow that to the last pod"
    )
    add_common(parser, timeout="5m", anywhere="all of them")


def run(arguments: argparse.Namespace) -> int:
    """Tells, or rotates; returns the exit code."""
    try:
        timeout = parse_duration(arguments.timeout)
    except SpecInvalid as error:
        return failed("incident", f"--timeout: {error.message}", USAGE)
    if not arguments.key:
        return failed("incident", "--key: name the secret, as the store calls it.", USAGE)
    try:
        store = store_of(arguments.store, arguments.namespace)
    except SpecInvalid as error:
        return failed("incident", error.message, USAGE)
    try:
        picture, report = asyncio.run(_incident(arguments, store, timeout))
    except SyncretError as error:
        return failed("incident", error.message, FAILED)
    except KeyboardInterrupt:
        return failed("incident", "interrupted", INTERRUPTED)
    if arguments.output == "json":
        print(json.dumps(body(store, arguments.key, picture, report), indent=2))
    else:
        print(text(store, arguments.key, picture, report))
    return report.code if report is not None else 0


def store_of(given: str, namespace: str) -> ObjectKey:
    """The store that is meant. Raises SpecInvalid."""
    kind, slash, name = given.rpartition("/")
    if not slash:
        kind = "SecretStore" if namespace else "ClusterSecretStore"
    kinds: dict[str, Kind] = {
        "SecretStore": "SecretStore",
        "ClusterSecretStore": "ClusterSecretStore",
        "Generator": "Generator",
        "ClusterGenerator": "ClusterGenerator",
    }
    if kind not in kinds or not name:
        raise SpecInvalid(
            f'--store: "{given}" is no store: write ClusterSecretStore/NAME or SecretStore/NAME, '
            "or of a generator ClusterGenerator/NAME or Generator/NAME."
        )
    if kinds[kind] in CLUSTER_STORES:
        return ObjectKey(kinds[kind], "", name)
    if not namespace:
        raise SpecInvalid(f"--store: a {kind} is of one namespace: name it by --namespace.")
    return ObjectKey(kinds[kind], namespace, name)


async def _incident(
    arguments: argparse.Namespace, store: ObjectKey, timeout: float
) -> tuple[Picture, Report | None]:
    async with open_cluster(arguments.kubeconfig, arguments.context) as cluster:
        stores = await cluster.stores(store)
        if store not in stores and not cluster.problems:
            raise SpecInvalid(f"There is no {store}: correct --store or --namespace.")
        scope = Scope(namespace=arguments.namespace, store=store, key=arguments.key)
        picture = await cluster.picture(scope, stores)
        if not arguments.rotate:
            return picture, None
        if not picture.readers:
            raise SpecInvalid(
                "Nobody reads that secret through this store, so nobody can have it rotated from "
                "here: rotate it in the store, and correct --key if it should be read."
            )
        chosen = leader(picture)
        report = await drive(
            cluster, scope, stores, rotates=chosen, key=chosen.key, timeout=timeout, say=say
        )
        return _with_problems(cluster, report.picture), report


def leader(picture: Picture) -> Reader:
    """Who is to ask the store: one that is in sync, if there is one."""
    return min(picture.readers, key=lambda one: (one.pinned, one.ready != "True", one.place))


def _with_problems(cluster: Cluster, picture: Picture) -> Picture:
    return Picture(picture.readers, tuple(cluster.problems), cluster.blind)


def body(store: ObjectKey, key: str, picture: Picture, report: Report | None) -> dict[str, Any]:
    """As JSON."""
    told: dict[str, Any] = {
        "store": {"kind": store.kind, "namespace": store.namespace, "name": store.name},
        "key": key,
        "externalSecrets": [_reader(one) for one in picture.readers],
        "podsWithOldValue": picture.old,
        "problems": list(picture.problems),
    }
    if report is not None:
        told["rotation"] = report.body()
    return told


def _reader(reader: Reader) -> dict[str, Any]:
    return {
        "namespace": reader.namespace,
        "name": reader.name,
        "secret": reader.secret,
        "key": reader.key,
        "version": reader.version,
        "pinned": reader.pinned,
        "ready": reader.ready,
        "message": reader.message,
        "rollout": reader.rollout,
        "lastChangeTime": reader.changed,
        "consumers": [_consumer(one) for one in reader.consumers],
    }


def _consumer(consumer: Consumer) -> dict[str, Any]:
    return {
        "kind": consumer.kind,
        "name": consumer.name,
        "how": consumer.how,
        "keys": list(consumer.keys) if consumer.keys is not None else None,
        "rolled": consumer.rolled,
        "healthy": consumer.healthy,
        "pods": [{"name": pod.name, "old": pod.old, "ready": pod.ready} for pod in consumer.pods],
    }


def text(store: ObjectKey, key: str, picture: Picture, report: Report | None) -> str:
    """For people."""
    lines = [f'Secret "{key}" of {store}', ""]
    if not picture.readers:
        lines.append(
            "Nobody reads it through this store: correct --key (status.sources of an "
            "ExternalSecret has the names) or --store; each store is asked for by itself."
        )
    for reader in picture.readers:
        ready = "in sync" if reader.ready == "True" else f"not in sync: {reader.message or 'new'}"
        lines.append(f"ExternalSecret {reader.place} ({ready})")
        lines.append(
            f"  Secret {reader.secret}, version {reader.version or '-'}, last changed "
            f"{reader.changed or 'never'}"
        )
        if reader.pinned:
            lines.append("  it names that version itself, and reads no newer one: edit it")
        if reader.rollout:
            lines.append(f"  not rolled out: {reader.rollout}")
        for consumer in reader.consumers:
            lines.append(f"  {_consumer_line(consumer)}")
            lines += [f"    {pod.name} has the old value" for pod in consumer.pods if pod.old]
        if not reader.consumers:
            lines.append("  no workload is seen to read it")
    workloads = sum(len(reader.consumers) for reader in picture.readers)
    namespaces = len({reader.namespace for reader in picture.readers})
    old = f"{_count(picture.old, 'pod')} with the old value"
    if picture.blind:
        old = f"at least {old}: not all of the workloads and pods could be seen"
    lines += [
        "",
        (
            f"{_count(len(picture.readers), 'ExternalSecret')} in "
            f"{_count(namespaces, 'namespace')}, {_count(workloads, 'workload')}, {old}."
        ),
    ]
    lines += [f"Not seen: {problem}" for problem in picture.problems]
    if report is not None:
        lines += ["", f"Timeline (began {stamp(report.started)})"]
        lines += [line(report, step) for step in report.timeline]
        lines += ["", ending(report)]
    return "\n".join(lines)


def _consumer_line(consumer: Consumer) -> str:
    keys = ", ".join(consumer.keys) if consumer.keys is not None else "all keys"
    what = f"{consumer.kind} {consumer.name} reads {keys}"
    if consumer.how == "named":
        what = f"{consumer.kind} {consumer.name} is named by spec.rollout.targets"
    if consumer.how == "pulls":
        what = f"{consumer.kind} {consumer.name} pulls its images with it"
        return f"{what}; it is not restarted: its next pull uses the new value"
    if consumer.rolled:
        what += ", available" if consumer.healthy else ", rolling or not available"
        return f"{what}, {_count(len(consumer.pods), 'pod')}"
    return f"{what}; it is not restarted: its next pod has the new value"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

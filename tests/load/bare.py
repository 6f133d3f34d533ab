"""The control: the operator's writes, made by a loop that does nothing else.

A process of its own, under the operator's ServiceAccount. For each ExternalSecret it is told of, it
POSTs a Secret and PATCHes the status, both of the bytes that the operator sent for an object of the
same shape. 64 are in flight. What it takes is what the API server takes, and the floor for every
operator on this machine.

Reads its work from a file and prints one line of JSON: seconds, and seconds of CPU of its own.
"""

import json
import resource
import sys
import time
from copy import deepcopy
from pathlib import Path

import uvloop

from load.kube import GROUP_PATH, MERGE_PATCH, Body, Kube, each


def work(sample: Body, rows: list[tuple[str, str, str]]) -> Body:
    """The content of the file. ``sample``: see fleet.sample."""
    return {"sample": sample, "rows": rows}


class _Bodies:
    """The operator's bodies, for another object."""

    def __init__(self, sample: Body) -> None:
        meta = sample["secret"]["metadata"]
        self._secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                k: meta[k] for k in ("labels", "annotations", "ownerReferences") if k in meta
            },
            "type": sample["secret"]["type"],
            "data": sample["secret"]["data"],
        }
        self._status = sample["status"]

    def secret(self, namespace: str, name: str, uid: str) -> Body:
        body = deepcopy(self._secret)
        body["metadata"] |= {"namespace": namespace, "name": name}
        for owner in body["metadata"].get("ownerReferences", ()):
            owner |= {"name": name, "uid": uid}
        return body

    def status(self, uid: str) -> Body:
        return {"metadata": {"uid": uid}, "status": self._status}


async def _run(kubeconfig: Path, file: Path) -> None:
    task = json.loads(_read(file))
    bodies = _Bodies(task["sample"])
    query = "?fieldManager=syncret"

    async with Kube(kubeconfig) as kube:

        async def write(row: tuple[str, str, str]) -> None:
            namespace, name, uid = row
            core = f"/api/v1/namespaces/{namespace}"
            await kube.send("POST", f"{core}/secrets{query}", bodies.secret(namespace, name, uid))
            path = f"{GROUP_PATH}/namespaces/{namespace}/externalsecrets/{name}/status{query}"
            await kube.send("PATCH", path, bodies.status(uid), content=MERGE_PATCH)

        before, started = _cpu(), time.monotonic()
        await each(map(tuple, task["rows"]), write)
        print(json.dumps({"wall": time.monotonic() - started, "cpu": _cpu() - before}))


def _read(file: Path) -> str:
    return file.read_text()


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    uvloop.run(_run(Path(sys.argv[1]), Path(sys.argv[2])))

"""The real node itself: its pods run, and however it ends, nothing of it stays on the machine."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from e2e.environment import REPOSITORY
from testbed.binaries import path_of
from testbed.processes import tied
from testbed.realnode import cgroups, network
from testbed.realnode.images import BUSYBOX
from testbed.realnode.record import KUBELET_SOCKET
from testbed.realnode.sweep import mounts_below, shims_of
from testbed.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),  # where the programs are not built yet
    pytest.mark.usefixtures("real_node_possible"),
]

_COMMAND: Final = (sys.executable, "-m", "testbed.realnode")
_ENV: Final = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")}
_POD: Final[dict[str, Any]] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "hello"},
    "spec": {
        "containers": [
            {
                "name": "hello",
                "image": BUSYBOX,
                "imagePullPolicy": "Never",
                "command": ["/bin/sh", "-c", "echo hello from a real pod; exec sleep 2147483647"],
            }
        ],
        "dnsPolicy": "Default",
        "terminationGracePeriodSeconds": 1,
    },
}


class Held:
    """``python -m testbed.realnode up``, and kubectl for its cluster."""

    def __init__(self) -> None:
        # Tied to us: a killed test run must not leave a node that holds the machine's only place.
        self.process = tied([*_COMMAND, "up"], stdout=subprocess.PIPE, env=_ENV)
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        found = re.fullmatch(r"export KUBECONFIG=(.+)\n", line)
        assert found, f"it did not start: {line}"
        self.kubeconfig = Path(found[1])
        self.folder = self.kubeconfig.parents[1]

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        command = [str(path_of("kubectl")), f"--kubeconfig={self.kubeconfig}", *arguments]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=True, timeout=90
        ).stdout

    def run_pod(self) -> None:
        """Runs a pod until it has said something."""
        # The controller that makes it for each namespace may still be at it.
        wait_until(
            lambda: "default" in self.kubectl("get", "serviceaccounts", "-o", "name"),
            "the ServiceAccount of the pod is there",
        )
        self.kubectl("apply", "-f", "-", stdin=json.dumps(_POD))
        self.kubectl("wait", "pod/hello", "--for=condition=Ready", "--timeout=60s")


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    if held.process.poll() is None:
        held.process.send_signal(signal.SIGTERM)
    held.process.wait(90)


def left_of(folder: Path) -> dict[str, Any]:
    """What a node in this folder may have left, by where it was found."""
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    return {
        "mounts": mounts_below(folder),
        "shims": shims_of(str(folder / "node" / "containerd.sock")),
        "cgroups": list(Path("/sys/fs/cgroup").glob(f"**{cgroups.ROOT}")),
        "bridge": Path(f"/sys/class/net/{network.BRIDGE}").exists(),
        "rules": [rule for rule in rules.splitlines() if "SYNCRET" in rule],
        "results": list(Path("/var/lib/cni/results").glob(f"{network.NETWORK}-*")),
        "logs": [
            link
            for link in Path("/var/log/containers").glob("*")
            if folder in link.resolve().parents
        ],
        "socket": KUBELET_SOCKET.exists(),
        "processes": [
            arguments
            for file in Path("/proc").glob("[0-9]*/cmdline")
            if str(folder) in (arguments := file.read_bytes().decode(errors="replace"))
        ],
    }


def nothing() -> dict[str, Any]:
    """The same where nothing is left."""
    return {name: type(value)() for name, value in left_of(Path("/nowhere")).items()}


def settings() -> str:
    """The machine's settings that a node changes while it runs."""
    names = ("kernel.panic", "vm.overcommit_memory", "net.ipv4.ip_forward")
    return subprocess.run(["sysctl", *names], capture_output=True, text=True, check=True).stdout


def test_its_pods_run_and_can_be_looked_into(held: Held) -> None:
    held.run_pod()
    assert held.kubectl("logs", "hello") == "hello from a real pod\n"
    assert held.kubectl("exec", "hello", "--", "id", "-u") == "65532\n"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_leaves_nothing_when_it_is_ended(how: signal.Signals) -> None:
    before = settings()
    held = Held()
    held.run_pod()
    assert left_of(held.folder) != nothing()
    held.process.send_signal(how)
    held.process.wait(90)
    assert left_of(held.folder) == nothing()
    assert settings() == before


def test_what_is_left_by_a_killed_run_is_cleaned_up() -> None:
    before = settings()
    held = Held()
    held.run_pod()
    held.process.kill()
    held.process.wait(30)
    assert left_of(held.folder)["mounts"]
    subprocess.run([*_COMMAND, "cleanup"], env=_ENV, check=True, stdout=subprocess.DEVNULL)
    # Servers of the control plane get the kernel's signal by themselves; their end takes a moment.
    wait_until(lambda: left_of(held.folder) == nothing(), "nothing is left")
    assert settings() == before
    shutil.rmtree(held.folder)


def test_a_second_one_is_refused(held: Held) -> None:
    second = subprocess.run(
        [*_COMMAND, "up"], env=_ENV, capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert f"process {held.process.pid}" in second.stderr
    held.run_pod()

"""The demo, run as a person runs it; and what is left of it, however it ends.

Its processes are found by the ``TMPDIR`` that only they have, so none can hide: not a detached
one, not one that runs in another session.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from testbed.binaries import CONTROL_PLANE, BuildError, ensure
from testbed.cluster import Cluster, find_cluster
from testbed.operator import REPOSITORY
from testbed.progress import Progress
from testbed.waiting import wait_until

_CRDS: Final = REPOSITORY / "crds"

#: What matters in the narration, in its order.
_TOLD: Final = (
    r"^Using a control plane built from source",
    r"^✓ the control plane is ready",
    r"^✓ AWS Secrets Manager, played by a moto server, answers",
    r'^✓ Helm has deployed the release "syncret"; the API server serves .*externalsecrets',
    r"^✓ the operator is ready: .* system:serviceaccount:syncret:syncret",
    r"^  may it do everything: no;",
    r'^✓ AWS holds "production/database", version (\S+); .* fingerprint (?P<first>\w+)',
    r'^✓ Secret "database" has appeared; .* the same as in AWS: fingerprint (?P=first)',
    r'^✓ Deployment "api": 2 of 2 replicas are Ready',
    r'^✓ AWS holds "production/database", version (?!\1)\S+; .* fingerprint (?P<second>\w+)',
    r"^✓ the Secret has followed; .* the same as in AWS: fingerprint (?P=second)",
    r"^✓ the Deployment has rolled: 2 new pods are Ready, 2 former ones are gone",
    r"^  Ready pods meanwhile, as a watch saw them: 2(, [23])+$",
    r"^  never fewer than the 2 that are wanted",
    r'^    syncret_syncs_total{result="changed"} +2 ',
    r'^    syncret_secret_changes_total{namespace="shop",name="database"} +2 ',
    r'^    syncret_rollouts_total{kind="Deployment",result="rolled"} +1 ',
    r"^✓ neither the first nor the second password is in",
    r"^  from the rotation in AWS to the end of the rollout +[\d.]+ s",
    r"^  the whole demo +[\d.]+ s",
)


@dataclass
class Demo:
    """A running demo, or one that has run."""

    folder: Path
    process: "subprocess.Popen[str]"
    said: str = ""

    def wait_for(self, text: str) -> None:
        """Until it has said a line that holds the text."""
        for line in self.process.stdout or ():
            self.said += line
            if text in line:
                return
        pytest.fail(f"it ended before it said {text!r}:\n{self.said}")

    def wait(self) -> int:
        """Until it ends; returns the exit code."""
        self.said += self.process.communicate()[0]
        return self.process.returncode

    def left(self) -> set[str]:
        """The programs of this demo's that run."""
        return programs_of(self.folder)


@dataclass
class Demos:
    """Starts demos, all with the same places for what they leave."""

    folder: Path
    env: dict[str, str]

    def start(self, *arguments: str, kubeconfig: Path | None = None) -> Demo:
        given = {"KUBECONFIG": str(kubeconfig)} if kubeconfig is not None else {}
        process = subprocess.Popen(
            [sys.executable, "-m", "demo", *arguments],
            cwd=REPOSITORY,
            env={**self.env, **given},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        return Demo(self.folder, process)

    def run(self, *arguments: str, kubeconfig: Path | None = None) -> Demo:
        demo = self.start(*arguments, kubeconfig=kubeconfig)
        demo.wait()
        return demo


def programs_of(folder: Path) -> set[str]:
    """The programs that run with this folder as their ``TMPDIR``."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"TMPDIR={folder}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.add((process / "comm").read_text().strip())
    return found


def left_in(folder: Path) -> list[Path]:
    """What there is in the folder for temporary files, and what a kept demo left."""
    return [*folder.iterdir(), *(folder.parent / "state").glob("**/demo")]


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demos]:
    """Demos with the built control plane, whatever else this machine has: the PATH is empty."""
    try:
        ensure(CONTROL_PLANE, progress=Progress(sys.stderr))
    except BuildError as error:
        pytest.skip(str(error))
    base = tmp_path_factory.mktemp("demo")
    for name in ("bin", "tmp"):
        (base / name).mkdir()
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in {"KUBECONFIG", "PYTHONPATH"} and not name.startswith("AWS_")
    }
    env |= {
        "PATH": str(base / "bin"),
        "PYTHONPATH": "tests:.",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(base / "tmp"),
        "XDG_STATE_HOME": str(base / "state"),
    }
    demos = Demos(base / "tmp", env)
    yield demos
    demos.run("--stop")


@pytest.fixture(scope="module")
def given(demos: Demos, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that is not the demo's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", demos.env["PATH"])
        patch.delenv("KUBECONFIG", raising=False)
        cluster = find_cluster(
            progress=Progress(sys.stderr), directory=tmp_path_factory.mktemp("given")
        )
    yield cluster
    cluster.stop()


def names(cluster: Cluster) -> set[str]:
    """Namespaces, cluster-wide rights and CRDs of the cluster."""
    kinds = "namespaces,clusterroles,clusterrolebindings,crds"
    return set(cluster.kubectl("get", kinds, "-o", "name").split())


def test_it_tells_what_it_has_seen_and_leaves_nothing(demos: Demos) -> None:
    demo = demos.run()
    assert demo.process.returncode == 0, demo.said
    told = "(?ms)" + ".*".join(_TOLD)
    assert re.search(told.replace(".*^", ".*?^"), demo.said), demo.said
    assert "✗" not in demo.said
    assert demo.left() == set()
    assert left_in(demos.folder) == []


def _while_the_control_plane_starts(demo: Demo) -> None:
    demo.wait_for("Using a control plane")
    wait_until(lambda: "kube-apiserver" in demo.left(), "the API server is starting", timeout=30)


def _after(text: str) -> Callable[[Demo], None]:
    def wait(demo: Demo) -> None:
        demo.wait_for(text)

    return wait


@pytest.mark.parametrize(
    ("arguments", "moment", "number"),
    [
        pytest.param((), _after("Using a control plane"), signal.SIGINT, id="begin"),
        pytest.param((), _while_the_control_plane_starts, signal.SIGINT, id="control plane"),
        pytest.param((), _after("has appeared"), signal.SIGTERM, id="Secret"),
        pytest.param((), _after("the Secret has followed"), signal.SIGINT, id="rollout"),
        pytest.param(
            ("--keep",), _while_the_control_plane_starts, signal.SIGINT, id="kept, control plane"
        ),
        pytest.param(("--keep",), _after("has appeared"), signal.SIGHUP, id="kept, Secret"),
    ],
)
def test_it_leaves_nothing_when_it_is_ended(
    demos: Demos,
    arguments: tuple[str, ...],
    moment: Callable[[Demo], None],
    number: signal.Signals,
) -> None:
    demo = demos.start(*arguments)
    moment(demo)
    demo.process.send_signal(number)
    demo.process.send_signal(number)  # an impatient second Ctrl-C does not cut the clean-up in two
    assert demo.wait() == 128 + number, demo.said
    assert demo.left() == set()
    assert left_in(demos.folder) == []
    assert "Traceback" not in demo.said


def test_no_process_is_left_when_it_is_killed(demos: Demos) -> None:
    demo = demos.start()
    demo.wait_for("has appeared")
    assert {"etcd", "kube-apiserver", "kwok"} <= demo.left()
    demo.process.kill()
    demo.process.wait()
    wait_until(lambda: demo.left() == set(), "nothing is left", timeout=10)


def test_it_can_be_kept_and_stopped(demos: Demos) -> None:
    demo = demos.run("--keep")
    assert demo.process.returncode == 0, demo.said
    assert {"etcd", "kube-apiserver", "kwok", "kube-scheduler"} <= demo.left()
    command = re.search(r"^  (KUBECONFIG=\S+) \\\n +(\S+/kubectl .*)$", demo.said, re.MULTILINE)
    assert command, demo.said
    shown = subprocess.run(
        ["/usr/bin/env", *shlex.split(f"{command[1]} {command[2]}")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "externalsecret.syncret.io/database" in shown
    assert "secret/database" in shown
    assert "deployment.apps/api" in shown

    second = demos.run("--keep")
    assert second.process.returncode == 2
    assert "make demo-stop" in second.said
    assert "etcd" in demo.left()

    stopped = demos.run("--stop")
    assert stopped.process.returncode == 0, stopped.said
    assert demo.left() == set()
    assert "No demo was left running." in demos.run("--stop").said


def test_a_given_cluster_is_as_it_was(demos: Demos, given: Cluster) -> None:
    before = names(given)
    demo = demos.start(kubeconfig=given.kubeconfig)
    demo.wait_for("has appeared")
    assert {"namespace/shop", "namespace/syncret"} <= names(given)
    demo.process.send_signal(signal.SIGINT)
    assert demo.wait() == 130, demo.said
    assert names(given) == before


def test_crds_that_were_there_stay(demos: Demos, given: Cluster) -> None:
    given.kubectl("apply", "-f", str(_CRDS))
    before = names(given)
    demo = demos.run(kubeconfig=given.kubeconfig)
    assert demo.process.returncode == 0, demo.said
    assert names(given) == before


@pytest.mark.parametrize("name", ["shop", "syncret"])
def test_a_namespace_that_is_there_is_not_touched(demos: Demos, given: Cluster, name: str) -> None:
    given.kubectl("create", "namespace", name)
    try:
        demo = demos.run(kubeconfig=given.kubeconfig)
        assert demo.process.returncode == 2
        assert f'has a namespace "{name}" already' in demo.said
        assert given.get("namespace", name) is not None
    finally:
        given.kubectl("delete", "namespace", name)


def test_another_installation_is_not_touched(demos: Demos, given: Cluster) -> None:
    chart = str(REPOSITORY / "helm" / "syncret")
    values = ("--set=replicas=0", "--set=crds.install=false")
    given.helm("install", "ours", chart, "-n", "elsewhere", "--create-namespace", *values)
    try:
        demo = demos.run(kubeconfig=given.kubeconfig)
        assert demo.process.returncode == 2
        assert 'release "ours" in namespace "elsewhere"' in demo.said
    finally:
        given.helm("uninstall", "ours", "-n", "elsewhere")

"""A containerd of our own: its root, state and socket are in the node's folder."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.processes import Child, Processes, wait_for

NAMESPACE: Final = "k8s.io"  # where the kubelet's containers and images are
_TIMEOUT: Final = 120.0


class ContainerdError(Exception):
    """ctr failed; the text has the command and what it said."""


@dataclass(frozen=True, slots=True)
class Containerd:
    """A running containerd."""

    socket: Path
    child: Child

    @classmethod
    def start(
        cls,
        processes: Processes,
        folder: Path,
        *,
        socket: Path,
        cni: Path,
        plugins: Path,
        pause: str,
    ) -> "Containerd":
        """Starts it. Raises StartError."""
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.toml"
        config.write_text(_config(folder, socket=socket, cni=cni, plugins=plugins, pause=pause))
        child = processes.start("containerd", ["containerd", "--config", str(config)])
        running = cls(socket, child)
        wait_for(running._answers, child, timeout=30, what="its socket answers")
        return running

    def ctr(self, *arguments: str) -> str:
        """Runs ctr in the kubelet's namespace. Raises ContainerdError."""
        command = ["ctr", "--address", str(self.socket), "--namespace", NAMESPACE, *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_TIMEOUT
        )
        if done.returncode:
            raise ContainerdError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def _answers(self) -> bool:
        # The plugins last: the kubelet's own interface is what has to be there.
        done = subprocess.run(
            ["ctr", "--address", str(self.socket), "plugins", "ls"],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
        return done.returncode == 0 and any(
            " cri " in line and line.rstrip().endswith("ok") for line in done.stdout.splitlines()
        )


def _config(folder: Path, *, socket: Path, cni: Path, plugins: Path, pause: str) -> str:
    # Paths are ours and pytest's: no quotes in them. restrict_oom_score_adj: without it runc dies
    # where the machine lets nobody lower the score ("can't get final child's PID from pipe: EOF").
    # netns_mounts_under_state_dir: so that every mount of the node is below its folder. Root: the
    # same for runc's own state, which a killed run would else leave in a folder of all containerds.
    return f"""\
version = 2
root = "{folder}/root"
state = "{folder}/state"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = "{folder}/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{cni}"
"""

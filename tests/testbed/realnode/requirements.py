"""What a machine needs for a real node, and how it gets it.

Nothing is installed without being asked for: Debian's containerd starts a service of its own where
systemd runs, and that is for the owner of the machine to decide.
"""

import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from testbed.realnode.record import COMMAND, KUBELET_SOCKET, Record

#: Each program (or folder), and Debian's package of it.
PROGRAMS: Final[Mapping[str, str]] = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "iptables": "iptables",
    "mount": "mount",
}
#: Packages of which a file is needed, not a command.
_CNI_PACKAGE: Final = "containernetworking-plugins"
_BUSYBOX_PACKAGE: Final = "busybox-static"
_CNI_PLUGINS: Final = ("bridge", "host-local", "loopback")
#: Debian's place first, then the usual one.
_CNI_FOLDERS: Final = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
#: What the kubelet refuses to start without.
_CONTROLLERS: Final = ("cpu", "cpuset", "memory", "pids")


class InstallError(Exception):
    """The packages could not be installed; the text says why and what to do."""


def missing_requirements() -> list[str]:
    """What is missing for a real node, one sentence each; empty where one can start."""
    if platform.system() != "Linux":
        return [f"A real node needs Linux, and this is {platform.system()}."]
    missing = []
    if os.geteuid() != 0:
        missing.append("Not root: a node makes cgroups, mounts and network devices.")
    packages = missing_packages()
    if packages:
        missing.append(
            f"Not installed: {', '.join(packages)}. On Debian, as root: {COMMAND} install "
            f"(apt-get install {' '.join(packages)})."
        )
    lacking = [name for name in _CONTROLLERS if name not in _controllers()]
    if lacking:
        missing.append(
            f"The kernel offers no cgroup controller for {', '.join(lacking)}: mount the cgroup "
            "file system, or run outside the container that hides it."
        )
    if os.geteuid() == 0:
        if not os.access("/sys/fs/cgroup", os.W_OK):
            missing.append("/sys/fs/cgroup is read-only: a node makes cgroups of its own.")
        if "overlay" not in Path("/proc/filesystems").read_text():
            missing.append("The kernel has no overlay file system: modprobe overlay.")
        # One of our own is told apart where the lock is taken, with its process.
        if Record.read() is None and _answers(KUBELET_SOCKET):
            missing.append(
                f"Another kubelet runs on this machine, and both would want {KUBELET_SOCKET}."
            )
        if shutil.which("iptables") and not _nat_works():
            missing.append(
                "iptables cannot list the nat table: the kernel or this container lacks it."
            )
    return missing


def missing_packages() -> list[str]:
    """Debian's packages that are missing, in a stable order."""
    path = os.environ.get("PATH", os.defpath)
    if os.geteuid() != 0:  # root would look there as well
        path += ":/usr/sbin:/sbin"
    missing = {
        package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None
    }
    if cni_folder() is None:
        missing.add(_CNI_PACKAGE)
    if busybox() is None:
        missing.add(_BUSYBOX_PACKAGE)
    return sorted(missing)


def install() -> list[str]:
    """Installs the missing packages; returns their names. Raises InstallError."""
    packages = missing_packages()
    if not packages:
        return []
    by_hand = f"install these by your system's means: {', '.join(packages)}"
    if shutil.which("apt-get") is None:
        raise InstallError(f"Only Debian and its relatives are known here: {by_hand}.")
    if os.geteuid() != 0:
        raise InstallError(f"Only root can install packages: run it with sudo, or {by_hand}.")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages],
    ):
        done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InstallError(
                f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-2000:]}"
            )
    return packages


def cni_folder() -> Path | None:
    """Where the CNI plugins are."""
    for folder in _CNI_FOLDERS:
        if all((folder / plugin).is_file() for plugin in _CNI_PLUGINS):
            return folder
    return None


def busybox() -> Path | None:
    """A busybox without shared libraries, for an image that holds nothing else."""
    found = shutil.which("busybox")
    if found is None:
        return None
    path = Path(found).resolve()
    # A dynamic program names its loader in the first kilobytes of the file.
    return None if b"ld-linux" in path.read_bytes()[:4096] else path


def _controllers() -> set[str]:
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    if unified.exists():
        return set(unified.read_text().split())
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return {
        option
        for mount in mounts
        if mount.partition(" - ")[2].startswith("cgroup ")
        for option in mount.rsplit(" ", 1)[1].split(",")
    }


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        return client.connect_ex(str(path)) == 0


def _nat_works() -> bool:
    listed = subprocess.run(
        ["iptables", "-w", "-t", "nat", "-S"], capture_output=True, check=False, timeout=20
    )
    return listed.returncode == 0

"""``python -m testbed.realnode``: checks and installs what a node needs, holds one, cleans up."""

import argparse
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from testbed.binaries import CONTROL_PLANE, BuildError, ensure
from testbed.controlplane import ControlPlane
from testbed.processes import StartError
from testbed.progress import Progress
from testbed.realnode.images import BUSYBOX, ImageError, Images
from testbed.realnode.network import NetworkError
from testbed.realnode.node import RealNode
from testbed.realnode.record import BusyError, lock
from testbed.realnode.requirements import InstallError, install, missing_requirements
from testbed.realnode.sweep import sweep


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m testbed.realnode", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="say what is missing; exit code 1 if anything is")
    commands.add_parser("install", help="install the missing packages (Debian, as root)")
    commands.add_parser("up", help="start a control plane with a real node, until Ctrl-C")
    commands.add_parser("cleanup", help="remove what a node left, or one that was kept running")
    command = parser.parse_args().command
    if command == "check":
        missing = missing_requirements()
        print("\n".join(missing) or "A real node can run here.")
        return 1 if missing else 0
    try:
        if command == "install":
            packages = install()
            print(f"Installed: {', '.join(packages)}." if packages else "Nothing was missing.")
        elif command == "up":
            _up(Progress())
        else:
            with lock():
                removed = sweep()
            print("\n".join(removed) or "There was nothing to remove.")
    except PermissionError as error:
        print(f"Not root: {error}", file=sys.stderr)
        return 1
    except (BuildError, BusyError, ImageError, InstallError, NetworkError, StartError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _up(progress: Progress) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    missing = missing_requirements()
    if missing:
        raise StartError(" ".join(missing))
    tools = ensure([*CONTROL_PLANE, "kubelet"], progress=progress)
    folder = Path(tempfile.mkdtemp(prefix="syncret-realnode-"))
    try:
        _hold(folder, tools, progress)
    except BusyError:
        shutil.rmtree(folder)  # nothing in it is worth a look
        raise
    shutil.rmtree(folder)


def _hold(folder: Path, tools: dict[str, Path], progress: Progress) -> None:
    with ExitStack() as stack:
        plane = ControlPlane.start(folder / "plane", binaries=tools)
        stack.callback(plane.stop)
        images = Images(folder / "images")
        node = RealNode.start(plane, folder / "node", progress=progress, images=images)
        stack.callback(node.stop)
        print(f"export KUBECONFIG={plane.kubeconfig}")
        print(f"The node has the image {BUSYBOX}. Ctrl-C ends it.", flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    sys.exit(main())

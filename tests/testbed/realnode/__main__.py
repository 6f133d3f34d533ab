"""``python -m testbed.realnode``: says what a real node needs, installs it, cleans up after one."""

import argparse
import sys

from testbed.realnode.record import BusyError, lock
from testbed.realnode.requirements import InstallError, install, missing_requirements
from testbed.realnode.sweep import sweep


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m testbed.realnode", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="say what is missing; exit code 1 if anything is")
    commands.add_parser("install", help="install the missing packages (Debian, as root)")
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
        else:
            with lock():
                removed = sweep()
            print("\n".join(removed) or "There was nothing to remove.")
    except PermissionError as error:
        print(f"Not root: {error}", file=sys.stderr)
        return 1
    except (InstallError, BusyError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

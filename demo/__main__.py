"""``python -m demo``: runs the demo; ``--keep`` leaves it running, ``--stop`` ends that."""

import argparse
import subprocess
import sys

from testbed.signals import Interrupted, raise_interrupted


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--keep", action="store_true", help="leave it running at the end")
    which.add_argument("--stop", action="store_true", help="end what --keep left running")
    arguments = parser.parse_args()
    raise_interrupted()
    try:
        return _run(keep=arguments.keep, stop=arguments.stop)
    except Interrupted as interrupted:
        print(f"Ended by {interrupted}.", file=sys.stderr)
        return interrupted.exit_code


def _run(*, keep: bool, stop: bool) -> int:
    # Imported only now that a signal is no longer a traceback: this takes a second.
    from demo import kept
    from demo.footprint import RefusedError, RemovalError
    from demo.run import run
    from demo.stage import BusyError
    from demo.story import StoryError
    from testbed.binaries import BuildError
    from testbed.cluster import CommandError
    from testbed.processes import StartError
    from testbed.progress import Progress
    from testbed.readiness import WatchError
    from testbed.waiting import NotSeenError

    progress = Progress(sys.stdout)
    try:
        if stop:
            kept.stop(progress)
        else:
            run(progress, keep=keep)
    except (BusyError, RefusedError) as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except (
        BuildError,
        CommandError,
        NotSeenError,
        RemovalError,
        StartError,
        StoryError,
        WatchError,
        subprocess.CalledProcessError,
    ) as error:
        print(f"The demo has failed. {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One run of the demo: the stage, the story, the table of times."""

import time
from contextlib import suppress

from demo import seen
from demo.stage import Stage, stage
from demo.story import Story
from testbed.cluster import CommandError
from testbed.progress import Progress, duration
from testbed.signals import deferred

_INTRODUCTION = """\
Syncret's demo. A database password goes from AWS Secrets Manager into a Secret and a Deployment of
a Kubernetes cluster, is rotated in AWS, and arrives again. Every line says what was seen, after it
was seen. Passwords are never shown, only fingerprints of them.
"""
_LOG_LINES = 12


def run(progress: Progress, *, keep: bool) -> None:
    """Tells it, and leaves it running if it is to be kept. Raises the errors of what it uses."""
    begun = time.monotonic()
    progress.say(_INTRODUCTION)
    with stage(progress, keep=keep) as ready:
        story = Story(ready, progress)
        try:
            story.tell()
        except Exception:
            _say_situation(ready, progress)
            raise
    with deferred():
        _say_times(progress, [*story.times, ("the whole demo", time.monotonic() - begun)])
        if keep:
            _say_kept(ready, progress)


def _say_times(progress: Progress, totals: list[tuple[str, float]]) -> None:
    width = max(len(text) for text, _ in (*progress.times, *totals))
    for rows in (progress.times, totals):
        progress.say()
        for text, seconds in rows:
            progress.say(f"  {text:<{width}} {duration(seconds):>10}")


def _say_situation(ready: Stage, progress: Progress) -> None:
    """What a person would look at first, and what is gone soon."""
    with suppress(CommandError):
        progress.say(f"\nIn the cluster:\n{seen.situation(ready.cluster)}")
    if ready.operator.child is not None:
        progress.say(f"The end of the operator's log:\n{ready.operator.child.tail(_LOG_LINES)}\n")


def _say_kept(ready: Stage, progress: Progress) -> None:
    cluster = ready.cluster
    progress.say(
        f"""
It is left running; the operator's token is good for eight hours. Look at it with

  KUBECONFIG={cluster.kubeconfig} \\
    {cluster.tools["kubectl"]} -n shop get externalsecrets,secrets,deployments,pods

Metrics: http://127.0.0.1:{ready.operator.port}/metrics
Logs:    {cluster.directory / "logs"}
AWS:     {ready.moto.endpoint}

`make demo-stop` ends it and removes all that it has made."""
    )

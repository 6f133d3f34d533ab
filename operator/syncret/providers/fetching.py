"""One fetch while it is under way: what is known so far, and what ended it early.

A failure that says nothing about one secret ends a fetch: calls that have not begun are not made.
What has been read by then is kept; the failure is raised if nothing was, and always if it is one of
those that are ``fatal``, such as refused credentials, because the engine then reads them anew.
"""

import asyncio
import copy
from collections.abc import Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any

from syncret.errors import ProviderError
from syncret.providers.base import Outcome, Ref


@dataclass(slots=True)
class Fetching:
    """The outcomes of one fetch."""

    fatal: type[ProviderError] | tuple[type[ProviderError], ...]
    outcomes: dict[Ref, Outcome] = field(default_factory=dict)
    problem: ProviderError | None = None

    def add(self, ref: Ref, outcome: Outcome) -> None:
        self.outcomes[ref] = outcome

    def end(self, problem: ProviderError) -> None:
        """The store failed: nothing more is to be asked of it. The first problem counts."""
        if self.problem is None or isinstance(problem, self.fatal):
            self.problem = problem

    def ended(self) -> bool:
        return self.problem is not None

    def result(self, refs: Collection[Ref]) -> dict[Ref, Outcome]:
        """The outcome of each reference. Raises the problem if there is nothing but it."""
        problem = self.problem
        if problem is None:
            return {ref: self.outcomes[ref] for ref in refs}
        if isinstance(problem, self.fatal) or not self.outcomes:
            raise problem
        # A copy each: whoever raises one writes a traceback into it.
        return {ref: self.outcomes.get(ref) or copy.copy(problem) for ref in refs}


async def together(calls: Collection[Coroutine[Any, Any, None]]) -> None:
    """Runs them at once, and to their end. A single one, the usual case, without a task for it."""
    if len(calls) == 1:
        for call in calls:
            await call
        return
    async with asyncio.TaskGroup() as group:
        for call in calls:
            group.create_task(call)

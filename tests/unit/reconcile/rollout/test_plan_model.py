"""The plan against a model that knows the data: any history, any crash.

The model is the specification, in terms of values instead of digests. For each Secret it holds
what the operator owes the pods: ``seen`` is the value that they were last known to be in line
with, that of the last round that was finished or of the last restart. A round in mode Auto restarts
exactly if the value read is another one now (so every change is served, exactly once, after any
crash), and a round with the same value never does. None: the two are not comparable (never seen,
other keys read, digest key lost, made anew), and the round only looks.

Two situations are left out, because the rule is known to be wrong there (test_plan.py has them as
expected failures): a value that returns to one which the annotation or the status still names
although the pods left it, and an entry in the annotation that was left over when the status had
nothing comparable any more.
"""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from syncret.api.externalsecret import RolloutMode
from syncret.api.workload import ConsumedKeys
from syncret.digest import Digester
from syncret.reconcile.rollout.checksum import Entry, entry_for, parse
from syncret.reconcile.rollout.plan import Verdict, decide
from unit.reconcile.rollout.world import NAMESPACE, Data, Death, World

SECRETS = ["db", "cache"]
KEYS = ["a", "b"]
CONSUMED: list[ConsumedKeys] = [None, frozenset("a"), frozenset("ab")]
VALUES = [b"0", b"1", b"2"]


@dataclass
class Seen:
    """What the operator knows the pods to be in line with: comparable within one context."""

    context: tuple[object, ...]
    data: Data


def _calm(machine: "Rollouts") -> bool:
    """Interference waits for some rounds: after each, only changes that follow show anything."""
    return machine.calm >= 6


class Rollouts(RuleBasedStateMachine):
    """Anything may happen between two rounds, and a round may die anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World({}, {})
        self.seen: dict[str, Seen] = {}
        self.finished: dict[str, Seen] = {}
        self.annotations: list[str] = [""]
        self.fresh = 0
        self.calm = 0

    @initialize(
        consumed=st.fixed_dictionaries({name: st.sampled_from(CONSUMED) for name in SECRETS})
    )
    def start(self, consumed: dict[str, ConsumedKeys]) -> None:
        self.world = World({name: {"a": b"0"} for name in SECRETS}, consumed)

    # What others do.

    @rule(name=st.sampled_from(SECRETS), key=st.sampled_from(KEYS), value=st.sampled_from(VALUES))
    def data_changes(self, name: str, key: str, value: bytes) -> None:
        self.world.secrets[name][key] = value
        self._avoid_returns()

    @rule(name=st.sampled_from(SECRETS), key=st.sampled_from(KEYS))
    def key_disappears(self, name: str, key: str) -> None:
        self.world.secrets[name].pop(key, None)
        self._avoid_returns()

    @precondition(_calm)
    @rule(name=st.sampled_from(SECRETS), consumed=st.sampled_from(CONSUMED))
    def template_reads_other_keys(self, name: str, consumed: ConsumedKeys) -> None:
        self.calm = 0
        self.world.template(consumes={**self.world.consumes, name: consumed})
        self._drop_leftovers()
        self._avoid_returns()

    @precondition(_calm)
    @rule()
    def annotation_is_taken_away(self) -> None:
        self.calm = 0
        self._set_back("")

    @precondition(lambda self: _calm(self) and len(self.annotations) > 1)
    @rule(data=st.data())
    def annotation_is_set_back(self, data: st.DataObject) -> None:
        self.calm = 0
        self._set_back(data.draw(st.sampled_from(self.annotations)))

    @precondition(_calm)
    @rule()
    def workload_is_made_anew(self) -> None:
        self.calm = 0
        self.world.recreate("")

    @precondition(_calm)
    @rule()
    def digest_key_is_lost(self) -> None:
        self.calm = 0
        self.fresh += 1
        self.world.digester = Digester(self.fresh.to_bytes(32, "big"))

    @rule(name=st.sampled_from(SECRETS), mode=st.sampled_from(["Auto", "None"]))
    def mode_is_set(self, name: str, mode: RolloutMode) -> None:
        self.world.modes[name] = mode

    # What the operator does, and what it should.

    @rule(
        name=st.sampled_from(SECRETS),
        dies=st.sampled_from([None, None, "before the patch", "before the status"]),
    )
    def round(self, name: str, dies: Death | None) -> None:
        self.calm += 1
        world, seen = self.world, self.seen.get(name)
        comparable = seen is not None and seen.context == self._context(name)
        changed = comparable and seen is not None and seen.data != world.read(name)
        owed = changed and world.modes.get(name, "Auto") == "Auto"
        restarts = world.reconcile(name, dies=dies)
        if dies == "before the patch":
            assert restarts == 0
            return
        assert restarts == (1 if owed else 0)
        if restarts:
            assert all(world.current(other) for other in SECRETS)
            self.annotations.append(world.annotation)
            for other in SECRETS:  # the restart serves all of them
                self._now_seen(other)
        elif dies is None:
            self._now_seen(name)
        if dies is None:
            self.finished[name] = self.seen[name]
            # Nothing is left to do, or to say.
            assert world.plan(name).rolls == ()
            assert world.plan(name).targets == world.statuses[name]

    @rule(
        name=st.sampled_from(SECRETS),
        value=st.sampled_from(VALUES),
        dies=st.sampled_from([None, "before the patch", "before the status"]),
    )
    def data_changes_and_round(self, name: str, value: bytes, dies: Death | None) -> None:
        self.data_changes(name=name, key="a", value=value)
        self.round(name=name, dies=dies)

    @invariant()
    def without_a_change_nothing_is_planned(self) -> None:
        for name, seen in self.seen.items():
            if seen == Seen(self._context(name), self.world.read(name)):
                assert self.world.plan(name).rolls == ()

    # The model's means.

    def _set_back(self, annotation: str) -> None:
        if annotation != self.world.annotation:
            self.world.template(annotation=annotation)
            # A restart that only the annotation told of is not known of any more.
            self.seen = dict(self.finished)
            self._drop_leftovers()
            self._avoid_returns()

    def _context(self, name: str) -> tuple[object, ...]:
        return self.world.uid, self.world.consumes[name], self.world.digester.key_id

    def _now_seen(self, name: str) -> None:
        self.seen[name] = Seen(self._context(name), self.world.read(name))

    def _entry(self, name: str, data: Data) -> Entry:
        digester = self.world.digester
        return entry_for(
            digester,
            digester.values(data),
            namespace=NAMESPACE,
            secret=name,
            consumed=self.world.consumes[name],
        )

    def _avoid_returns(self) -> None:
        """A value that would return to one still named is replaced by one that never was."""
        for name in SECRETS:
            seen = self.seen.get(name)
            known = seen.data if seen and seen.context == self._context(name) else None
            data = self.world.read(name)
            named = self._entry(name, data) in self._named(name)
            if named and data != known:
                self.fresh += 1
                self.world.secrets[name]["a"] = b"fresh %d" % self.fresh

    def _named(self, name: str) -> list[Entry]:
        entries = [parse(self.world.annotation).get(name)]
        finished = self.finished.get(name)
        if finished is not None and finished.context == self._context(name):
            entries.append(self._entry(name, finished.data))
        return [entry for entry in entries if entry is not None]

    def _drop_leftovers(self) -> None:
        """An old entry that has become comparable again is taken out, as if it had never been."""
        knows = self.world.digester.knows
        entries = parse(self.world.annotation)
        for name in SECRETS:
            seen = self.seen.get(name)
            if seen is not None and seen.context == self._context(name):
                continue
            now = self._entry(name, self.world.read(name))
            if decide(now, entries.get(name), None, knows=knows) is not Verdict.BASELINE:
                del entries[name]
        self.world.annotation = ",".join(f"{name}={entry}" for name, entry in entries.items())


Rollouts.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
test_any_history = Rollouts.TestCase

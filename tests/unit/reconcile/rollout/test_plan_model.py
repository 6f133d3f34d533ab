"""The plan against a model that knows the data: any history, any crash.

The model is the specification, in terms of values instead of digests. For each Secret it holds
what the operator owes the pods: ``seen`` is the value that they were last known to be in line
with, that of the last round that was finished or of the last restart. A round restarts exactly if
the value read is another one now and there is room (so every change is served, exactly once, after
any crash), and a round with the same value never does. None: the two are not comparable (never
seen, other keys read, digest key lost, made anew), and the round only looks.

Values return to what they were at any moment, and annotations are put back to any that there was.
What is left out: an annotation that is put back while a restart by a process that died is known
from the annotation alone, and another such restart came before it.
"""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from syncret.api.rollout import RolloutMode
from syncret.api.workload import ConsumedKeys
from syncret.digest import Digester
from unit.reconcile.rollout.world import Data, Death, World

SECRETS = ["db", "cache"]
KEYS = ["a", "b"]
CONSUMED: list[ConsumedKeys] = [None, frozenset("a"), frozenset("ab")]
VALUES = [b"0", b"1", b"2"]
DEATHS: list[Death | None] = [None, None, "before the patch", "before the status"]

Context = tuple[object, ...]


@dataclass
class Seen:
    """What the operator knows the pods to be in line with: comparable within one context."""

    context: Context
    data: Data


class Rollouts(RuleBasedStateMachine):
    """Anything may happen between two rounds, and a round may die anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World({}, {})
        self.seen: dict[str, Seen] = {}
        #: What the statuses say: the same, of the last round that was finished; the template that
        #: was seen in it; and what is waited for since.
        self.finished: dict[str, Seen] = {}
        self.template: dict[str, Context] = {}
        self.waits: dict[str, Seen] = {}
        self.annotations: list[str] = [""]
        self.fresh = 0

    @initialize(
        consumed=st.fixed_dictionaries({name: st.sampled_from(CONSUMED) for name in SECRETS})
    )
    def start(self, consumed: dict[str, ConsumedKeys]) -> None:
        self.world = World({name: {"a": b"0"} for name in SECRETS}, consumed)

    # What others do.

    @rule(name=st.sampled_from(SECRETS), key=st.sampled_from(KEYS), value=st.sampled_from(VALUES))
    def data_changes(self, name: str, key: str, value: bytes) -> None:
        self.world.secrets[name][key] = value

    @rule(name=st.sampled_from(SECRETS), key=st.sampled_from(KEYS))
    def key_disappears(self, name: str, key: str) -> None:
        self.world.secrets[name].pop(key, None)

    @rule(name=st.sampled_from(SECRETS), consumed=st.sampled_from(CONSUMED))
    def template_reads_other_keys(self, name: str, consumed: ConsumedKeys) -> None:
        self.world.template(consumes={**self.world.consumes, name: consumed})
        self._looked_at_by_all()

    @rule(name=st.sampled_from(SECRETS))
    def template_reads_a_secret_no_more(self, name: str) -> None:
        rest = {other: keys for other, keys in self.world.consumes.items() if other != name}
        if rest:
            self.world.template(consumes=rest)
            self._looked_at_by_all()

    @rule(image=st.integers(1, 3))
    def template_is_edited(self, image: int) -> None:
        self.world.template(image=image)

    @rule()
    def annotation_is_taken_away(self) -> None:
        self._set_back("")

    @precondition(lambda self: self.seen == self.finished)
    @rule(data=st.data())
    def annotation_is_set_back(self, data: st.DataObject) -> None:
        self._set_back(data.draw(st.sampled_from(self.annotations)))

    @rule()
    def workload_is_made_anew(self) -> None:
        self.world.recreate("")

    @rule()
    def digest_key_is_lost(self) -> None:
        self.fresh += 1
        self.world.digester = Digester(self.fresh.to_bytes(32, "big"))

    @rule(name=st.sampled_from(SECRETS), mode=st.sampled_from(["Auto", "None"]))
    def mode_is_set(self, name: str, mode: RolloutMode) -> None:
        self.world.modes[name] = mode

    @rule(room=st.sampled_from([0, 1000]))
    def room_is_made_or_taken(self, room: int) -> None:
        self.world.room = room

    # What the operator does, and what it should.

    @rule(name=st.sampled_from(SECRETS), dies=st.sampled_from(DEATHS))
    def round(self, name: str, dies: Death | None) -> None:
        world = self.world
        if self._served_by_others(name):
            self._now_seen(name)
        seen = self.seen.get(name)
        comparable = seen is not None and seen.context == self._context(name)
        changed = comparable and seen is not None and seen.data != world.read(name)
        owed = changed and world.modes.get(name, "Auto") == "Auto"
        restarts = world.reconcile(name, dies=dies)
        if dies == "before the patch":
            assert restarts == 0
            return
        assert restarts == (1 if owed and world.room else 0)
        if restarts:
            assert all(world.current(other) for other in SECRETS)
            self.annotations.append(world.annotation)
            for other in world.consumes:  # the restart serves all of them
                self._now_seen(other)
        if dies is not None:
            return
        self.waits.pop(name, None)
        if owed and not restarts:
            self.waits[name] = Seen(self._context(name), world.read(name))
        elif name in world.consumes:
            self._now_seen(name)
        else:
            self.seen.pop(name, None)
        self._finish(name)
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

    def _looked_at_by_all(self) -> None:
        """Each template that reads something else is seen: the watch tells of it."""
        for name in SECRETS:
            self.round(name=name, dies=None)

    def _served_by_others(self, name: str) -> bool:
        """Whether somebody else restarted the pods while they waited for us."""
        waits = self.waits.get(name)
        return (
            waits == Seen(self._context(name), self.world.read(name))
            and self.seen.get(name) == self.finished.get(name)
            and self.template[name] != self._template()
        )

    def _template(self) -> Context:
        world = self.world
        return world.annotation, tuple(sorted(world.consumes.items(), key=str)), world.image

    def _context(self, name: str) -> Context:
        world = self.world
        return world.uid, world.consumes.get(name, "nothing"), world.digester.key_id

    def _now_seen(self, name: str) -> None:
        self.seen[name] = Seen(self._context(name), self.world.read(name))

    def _finish(self, name: str) -> None:
        self.template[name] = self._template()
        self.finished.pop(name, None)
        if name in self.seen:
            self.finished[name] = self.seen[name]


Rollouts.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
test_any_history = Rollouts.TestCase

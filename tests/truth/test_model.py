"""Client, cache, watch and emulator beside a model that is a dictionary, under whatever Hypothesis thinks of."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from omniherd import RetryPolicy
from omniherd.emulator import Emulator
from omniherd.errors import AlreadyExists, FinalizersPending, NotFound, PhaseConflict, VersionConflict
from omniherd.resources import MachineClass

IDS = st.sampled_from(["a", "b", "c"])
LABELS = st.dictionaries(st.sampled_from(["on", "site"]), st.sampled_from(["yes", "no"]), max_size=2)
SELECTOR = "on = yes"
QUICK = RetryPolicy(attempts=20, initial=0.01, maximum=0.05)


class Machine(RuleBasedStateMachine):
    """The model: id to version, labels and finalizers."""

    def __init__(self) -> None:
        super().__init__()
        self.emulator = Emulator(seed_fleet=False).start()
        self.omni = self.emulator.connect(retry=QUICK)
        self.cache = self.omni.cache(MachineClass, indexes={"on": lambda one: one.labels.get("on")}).start()
        self.chosen = self.omni.cache(MachineClass, labels=SELECTOR).start()
        self.model: dict[str, tuple[int, dict[str, str], tuple[str, ...]]] = {}

    def teardown(self) -> None:
        self.cache.close()
        self.chosen.close()
        self.omni.close()
        self.emulator.close()

    @rule(id_=IDS, labels=LABELS)
    def create(self, id_: str, labels: dict[str, str]) -> None:
        made = MachineClass(id_, labels=labels, spec={"match_labels": ["site = lab"]})
        if id_ in self.model:
            try:
                self.omni.create(made)
            except AlreadyExists:
                return
            raise AssertionError(f"{id_} was there")
        assert self.omni.create(made).version == 1
        self.model[id_] = (1, labels, ())

    @rule(id_=IDS, labels=LABELS, held=st.booleans())
    def edit(self, id_: str, labels: dict[str, str], held: bool) -> None:
        def change(one: Any) -> None:
            one.labels = labels
            one.finalizers = ["test"] if held else []

        if id_ not in self.model:
            try:
                self.omni.edit(MachineClass, id_, change)
            except NotFound:
                return
            raise AssertionError(f"{id_} was not there")
        version, before, finalizers = self.model[id_]
        after = ("test",) if held else ()
        changed = self.omni.edit(MachineClass, id_, change)
        # A change that changes nothing is not sent.
        version += (before, finalizers) != (labels, after)
        assert changed.version == version
        self.model[id_] = (version, labels, after)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def update_with_an_old_version(self, data: Any) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.model)))
        old = self.omni.get(MachineClass, id_)
        old.metadata.proto.version = str(self.model[id_][0] + 1)
        try:
            self.omni.update(old)
        except VersionConflict:
            return
        raise AssertionError("a version that is not the current one was taken")

    @rule(id_=IDS)
    def destroy(self, id_: str) -> None:
        try:
            self.omni.destroy(MachineClass, id_)
        except NotFound:
            assert id_ not in self.model
        except FinalizersPending:
            assert self.model[id_][2] == ("test",)
        else:
            assert self.model.pop(id_)[2] == ()

    @precondition(lambda self: any(not finalizers for _, _, finalizers in self.model.values()))
    @rule(data=st.data())
    def delete(self, data: Any) -> None:
        free = sorted(id_ for id_, (_, _, finalizers) in self.model.items() if not finalizers)
        id_ = data.draw(st.sampled_from(free))
        try:
            self.omni.delete(MachineClass, id_, timeout=20)
        except PhaseConflict as error:
            raise AssertionError(id_) from error
        del self.model[id_]

    @rule()
    def overrun(self) -> None:
        self.emulator.faults.overrun_watches()

    @rule()
    def forget_the_history(self) -> None:
        self.emulator.faults.expire_bookmarks()
        self.emulator.faults.overrun_watches()

    @rule(after=st.integers(1, 3))
    def cut(self, after: int) -> None:
        self.emulator.faults.cut("State/Watch", after=after)

    @invariant()
    def everybody_knows_the_same(self) -> None:
        model = {id_: (version, labels) for id_, (version, labels, _) in self.model.items()}
        on = {id_: one for id_, one in model.items() if one[1].get("on") == "yes"}
        assert known(self.omni.list(MachineClass)) == model
        assert known(self.omni.list(MachineClass, labels=SELECTOR)) == on
        self.cache.wait_until(lambda held: known(held) == model, 20)
        self.chosen.wait_until(lambda held: known(held) == on, 20)
        assert known(self.cache.by("on", "yes")) == known(self.cache.list(SELECTOR)) == on


def known(resources: Any) -> dict[str, tuple[int, dict[str, str]]]:
    return {one.id: (one.version, dict(one.labels)) for one in resources}


def test_the_client_agrees_with_the_model():
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )

"""Controllers: the queue by itself, then the loop beside a server."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest

from omniherd import AsyncController, Controller, RetryPolicy, controller
from omniherd._core.queue import WorkQueue
from omniherd.emulator import Emulator
from omniherd.errors import InputError, OmniError, PermissionDenied, UnknownType
from omniherd.resources import ConfigPatch, Identity, MachineClass

PLAIN = RetryPolicy(initial=1, maximum=8, jitter=0)
QUICK = RetryPolicy(initial=0.01, maximum=0.02)


# --- the queue --------------------------------------------------------------------------------------------------------


def test_a_key_that_waits_is_one_and_keys_come_in_order():
    queue = WorkQueue(PLAIN)
    assert [queue.add(key) for key in "abab"] == [True, True, False, False]
    assert len(queue) == 2
    assert [queue.take(0) for _ in range(3)] == ["a", "b", None]
    assert queue.working == 2


def test_a_key_that_is_worked_on_comes_again_afterwards():
    queue = WorkQueue(PLAIN)
    queue.add("a")
    assert queue.take(0) == "a"
    assert [queue.add("a"), queue.add("a")] == [False, False]
    assert queue.take(0) is None, "never two at the same time"
    assert queue.done("a") is True
    assert queue.take(0) == "a"
    assert queue.done("a") is False
    assert queue.take(0) is None


def test_what_failed_comes_back_ever_later():
    queue = WorkQueue(PLAIN)
    now, delays = 0.0, []
    queue.add("a")
    for _ in range(5):
        assert queue.take(now) == "a"
        delays.append(queue.failed("a", now))
        queue.done("a")
        assert queue.patience(now) == delays[-1]
        assert queue.take(now + delays[-1] - 0.01) is None
        now += delays[-1]
    assert delays == [1, 2, 4, 8, 8]
    assert queue.failures("a") == 5
    assert queue.take(now) == "a"
    queue.succeeded("a")
    queue.done("a")
    assert queue.failures("a") == 0
    assert queue.patience(now) is None


def test_news_do_not_wait_for_the_delay():
    queue = WorkQueue(PLAIN)
    queue.add_at("a", 100)
    queue.add_at("a", 50)
    queue.add_at("a", 70)
    assert queue.patience(0) == 50
    assert queue.add("a") is True
    assert queue.take(0) == "a"
    queue.done("a")
    assert queue.patience(0) is None
    assert queue.take(1000) is None, "it came already"


@pytest.mark.parametrize("seed", range(20))
def test_no_key_is_lost_or_worked_on_twice_at_once(seed):
    """Whatever comes in whatever order: after its last `add` every key is taken once more, and never twice at once."""
    chance = random.Random(seed)
    queue = WorkQueue(PLAIN)
    now, working, seen, added = 0.0, set(), {}, {}
    for step in range(400):
        now += chance.random()
        what = chance.choice(["add", "add", "take", "done", "fail", "later"])
        key = chance.choice("abcde")
        if what == "add":
            queue.add(key)
            added[key] = step
        elif what == "later":
            queue.add_at(key, now + chance.random() * 3)
            added[key] = step
        elif what == "take":
            taken = queue.take(now)
            if taken is not None:
                assert taken not in working
                working.add(taken)
                seen[taken] = step
        elif working:
            key = chance.choice(sorted(working))
            if what == "fail":
                queue.failed(key, now)
                added[key] = step
            working.discard(key)
            queue.done(key)
    for key in sorted(working):
        queue.done(key)
    while (wait := queue.patience(now)) is not None or len(queue):
        now += wait or 0
        while (taken := queue.take(now)) is not None:
            seen[taken] = 1000
            queue.done(taken)
    assert all(seen[key] > added[key] for key in added)


# --- the loop ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def emulator():
    with Emulator(seed_fleet=False) as running:
        yield running


@pytest.fixture
def omni(emulator):
    with emulator.connect() as client:
        yield client


class Running:
    """A controller that runs in a thread until the block ends, or until it ended."""

    def __init__(self, made, omni):
        self.made = made
        self.error = None
        self.thread = threading.Thread(target=self._run, args=(omni,))

    def _run(self, omni):
        try:
            self.made.run(omni)
        except OmniError as error:
            self.error = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        if self.thread.is_alive():
            self.made.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()


class Calls:
    """What a controller was called with, to be waited for."""

    def __init__(self):
        self.seen = []
        self.changed = threading.Condition()

    def note(self, *what):
        with self.changed:
            self.seen.append(what if len(what) > 1 else what[0])
            self.changed.notify_all()

    def wait(self, test):
        with self.changed:
            assert self.changed.wait_for(lambda: test(self.seen), 20), self.seen


def lab(id_, **labels):
    return MachineClass(id_, labels=labels, spec={"match_labels": ["site = lab"]})


def test_it_is_called_for_what_is_there_and_what_changes(omni):
    calls = Calls()

    @controller(MachineClass, labels="site")
    def follow(run, name):
        found = run.get(MachineClass, name)
        assert run.synced
        assert not run.stopping
        calls.note(name, None if found is None else found.version)

    omni.create(lab("a", site="fra"))
    omni.create(lab("no"))
    with Running(follow, omni):
        calls.wait(lambda seen: ("a", 1) in seen)
        omni.edit(MachineClass, "a", lambda one: one.labels.update(x="y"))
        calls.wait(lambda seen: ("a", 2) in seen)
        omni.delete(MachineClass, "a")
        calls.wait(lambda seen: ("a", None) in seen)
    assert {id_ for id_, _ in calls.seen} == {"a"}
    assert sum(omni.channel.streams) == 0


def test_it_brings_the_world_in_line(omni):
    """A real job: every machine class gets a label, whoever takes it off."""

    @controller("machineclasses", concurrency=3)
    def label(run, name):
        found = run.get("machineclasses", name)
        if found is not None and found.phase == "running" and "kept" not in found.labels:
            run.omni.edit(MachineClass, name, lambda one: one.labels.update(kept="yes"))

    for number in range(10):
        omni.create(lab(f"{number}"))
    with Running(label, omni), omni.cache(MachineClass) as cache:
        cache.wait_until(lambda held: len(held.list("kept = yes")) == 10, 20)
        omni.edit(MachineClass, "3", lambda one: one.labels.clear())
        cache.wait_until(lambda held: held.get("3").version >= 4 and len(held.list("kept = yes")) == 10, 20)


def test_several_types_lead_to_one_key(omni):
    calls = Calls()

    @controller(MachineClass)
    def follow(run, name):
        calls.note(name, [patch.id for patch in run.cache(ConfigPatch) if patch.labels.get("class") == name])

    follow.watch(ConfigPatch, lambda patch: patch.labels.get("class"))
    omni.create(lab("a"))
    omni.create(lab("b"))
    with Running(follow, omni):
        omni.create(ConfigPatch("p", labels={"class": "a"}, spec={"data": "machine: {}\n"}))
        calls.wait(lambda seen: ("a", ["p"]) in seen)
        omni.edit(ConfigPatch, "p", lambda one: one.labels.update({"class": "b"}))
        # Both are called: the one that it concerns now, and the one that it concerned before.
        calls.wait(lambda seen: ("b", ["p"]) in seen)
        calls.wait(lambda seen: seen.index(("a", ["p"])) < len(seen) - 1 - seen[::-1].index(("a", [])))
        with pytest.raises(InputError, match="already"):
            follow.watch("configpatches", lambda patch: None)


def test_a_call_that_fails_is_told_of_and_made_again(omni, caplog):
    calls = Calls()

    @controller(MachineClass, retry=QUICK)
    def fails(run, name):
        calls.note(name)
        if len(calls.seen) < 4:
            raise ValueError(f"not yet: {len(calls.seen)}")

    omni.create(lab("a"))
    with Running(fails, omni):
        calls.wait(lambda seen: len(seen) == 4)
    errors = [record.exc_info[1].args[0] for record in caplog.records]
    assert errors == ["not yet: 1", "not yet: 2", "not yet: 3"]
    assert "the controller fails failed on a, and tries again in" in caplog.text


def test_errors_can_be_taken_elsewhere(omni, caplog):
    told = Calls()

    def on_error(error, name):
        told.note(type(error), name)
        raise RuntimeError("and this fails too")

    @controller(MachineClass, retry=QUICK, on_error=on_error)
    def fails(run, name):
        raise ValueError

    omni.create(lab("a"))
    with Running(fails, omni):
        told.wait(lambda seen: len(seen) >= 2)
    assert set(told.seen) == {(ValueError, "a")}
    assert "on_error of the controller fails failed" in caplog.text


def test_it_can_ask_to_be_called_again(omni):
    calls = Calls()

    @controller(MachineClass)
    def again(run, name):
        calls.note(name)
        return 0.01 if len(calls.seen) < 5 else None

    omni.create(lab("a"))
    with Running(again, omni):
        calls.wait(lambda seen: len(seen) == 5)


def test_as_many_at_once_as_allowed_and_none_twice(omni):
    """Each call waits until three run at the same time; news of their keys come meanwhile."""
    together = threading.Barrier(3)
    running, calls = [], Calls()

    @controller(MachineClass, concurrency=3)
    def meet(run, name):
        assert name not in running
        running.append(name)
        if name not in calls.seen:
            omni.edit(MachineClass, name, lambda one: one.labels.update(x="y"))
            together.wait(20)
        running.remove(name)
        calls.note(name)

    for id_ in "abc":
        omni.create(lab(id_))
    with Running(meet, omni):
        calls.wait(lambda seen: all(seen.count(id_) >= 2 for id_ in "abc"))


def test_stopping_lets_calls_end_and_begins_no_new_ones(omni):
    began, go_on, calls = threading.Event(), threading.Event(), Calls()

    @controller(MachineClass)
    def slow(run, name):
        began.set()
        assert go_on.wait(20)
        calls.note(name, run.stopping)

    omni.create(lab("a"))
    omni.create(lab("b"))
    with Running(slow, omni) as running:
        assert began.wait(20)
        slow.stop()
        assert running.thread.is_alive()
        go_on.set()
    assert calls.seen == [("a", True)]
    assert sum(omni.channel.streams) == 0


def test_stopping_before_it_began_ends_it_at_once(omni):
    calls = Calls()

    @controller(MachineClass)
    def follow(run, name):
        calls.note(name)

    omni.create(lab("a"))
    follow.stop()
    follow.run(omni)
    assert calls.seen == []
    with Running(follow, omni):
        calls.wait(len)


def test_stopping_does_not_wait_for_a_server(emulator, omni):
    emulator.faults.blackhole("State/Watch", times=None)

    @controller(MachineClass)
    def never(run, name):
        raise AssertionError(name)

    with Running(never, omni) as running:
        pass
    assert running.error is None


def test_a_refusal_and_a_closed_client_are_raised(emulator):
    from omniherd import Omni

    key = emulator.add_service_account("reader", "Reader")

    @controller(Identity)
    def follow(run, name):
        began.set()

    began = threading.Event()
    with Omni.connect(emulator.endpoint, service_account_key=key) as reader, pytest.raises(PermissionDenied):
        follow.run(reader)
    omni = emulator.connect()
    with Running(follow, omni) as running:
        assert began.wait(20)
        omni.close()
        running.thread.join(20)
        assert "is closed" in str(running.error)


def test_what_cannot_be_made():
    with pytest.raises(InputError, match="at least one key"):
        controller(MachineClass, concurrency=0)
    with pytest.raises(UnknownType):
        controller("no such type")

    @controller(MachineClass)
    def one(run, name): ...

    assert isinstance(one, Controller)
    assert repr(one) == "<Controller one of MachineClasses.omni.sidero.dev>"
    with pytest.raises(UnknownType):
        one.watch("no such type", lambda resource: None)


def test_a_type_that_is_not_watched_is_no_empty_one(omni):
    told = Calls()

    @controller(MachineClass, on_error=lambda error, name: told.note(error))
    def follow(run, name):
        run.get(ConfigPatch, "a")

    omni.create(lab("a"))
    with Running(follow, omni):
        told.wait(len)
    assert isinstance(told.seen[0], InputError)
    assert "does not watch ConfigPatches" in str(told.seen[0])


# --- tasks ------------------------------------------------------------------------------------------------------------


async def test_an_async_function_makes_an_async_controller(emulator):
    running, most, seen, done = [], [], [], asyncio.Event()

    @controller(MachineClass, concurrency=4, retry=QUICK)
    async def follow(run, name):
        assert name not in running
        running.append(name)
        most.append(len(running))
        await asyncio.sleep(0)
        running.remove(name)
        seen.append(name)
        if seen.count("a") == 1:
            raise ValueError("once")
        if seen.count("a") > 1 and set(seen) == set("abcd"):
            done.set()

    assert isinstance(follow, AsyncController)
    async with emulator.connect_async() as omni:
        for id_ in "abcd":
            await omni.create(lab(id_))
        task = asyncio.create_task(follow.run(omni))
        await asyncio.wait_for(done.wait(), 20)
        follow.stop()
        await asyncio.wait_for(task, 20)
        assert sum(omni.channel.streams) == 0
    assert max(most) > 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_cancelled_run_ends_in_good_order(emulator):
    began, ended = asyncio.Event(), []

    @controller(MachineClass, grace=0.01)
    async def hangs(run, name):
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async with emulator.connect_async() as omni:
        await omni.create(lab("a"))
        task = asyncio.create_task(hangs.run(omni))
        await asyncio.wait_for(began.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == ["a"]
        assert sum(omni.channel.streams) == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}

"""Watches over real streams: silence, restarts, new keys, cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading

import pytest

from omniherd import AsyncOmni, Omni, RetryPolicy
from omniherd._backend import alarms
from omniherd.credentials import ServiceAccount
from omniherd.emulator import Emulator
from omniherd.emulator.records import Stored
from omniherd.errors import CredentialError, KeyExpired, Unauthenticated, WatchExpired
from omniherd.resources import MachineClass

QUICK = RetryPolicy(initial=0.01, maximum=0.05)
WATCH = "State/Watch"


@pytest.fixture
def emulator():
    with Emulator(seed_fleet=False) as running:
        yield running


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def lab(id_):
    return MachineClass(id_, spec={"match_labels": ["site = lab"]})


def add(emulator, id_):
    """Create one with a client of its own: one whose connection broke may still be waiting to connect again."""
    with emulator.connect() as omni:
        omni.create(lab(id_))


def until_mark(watch):
    for event in watch:
        if event.kind == "bootstrapped":
            return
    raise AssertionError("the watch is over")


def test_a_silent_stream_is_opened_anew(emulator):
    emulator.faults.blackhole(WATCH, times=2)
    with emulator.connect(retry=QUICK) as omni, omni.watch(MachineClass, max_silence=0.1) as watch:
        until_mark(watch)
        assert watch.reconnects == 2


async def test_a_silent_stream_of_a_task_is_opened_anew(emulator):
    emulator.faults.blackhole(WATCH, times=2)
    async with emulator.connect_async(retry=QUICK) as omni, omni.watch(MachineClass, max_silence=0.1) as watch:
        assert (await anext(watch)).kind == "bootstrapped"
        assert watch.reconnects == 2


def test_the_bookmark_is_that_of_the_last_event_that_was_delivered(emulator):
    """The server puts several events into a message; who leaves amid them must be able to go on after what it saw."""
    with emulator.connect() as omni:
        with omni.watch(MachineClass) as watch:
            until_mark(watch)
            bookmark = watch.bookmark
        with emulator.store.lock:
            for id_ in "abcdef":
                emulator.store.create(Stored("default", MachineClass.type_name, id_))
        seen = []
        while len(seen) < 6:
            with omni.watch(MachineClass, bookmark=bookmark) as watch:
                seen.append(next(watch).resource.id)
                bookmark = watch.bookmark
            assert watch.bookmark == bookmark, "also when it is closed"
        assert "".join(seen) == "abcdef"


@pytest.mark.parametrize("break_it", ["overrun_watches", "expire_bookmarks"])
def test_dropped_events_are_made_good(emulator, break_it):
    """An overrun leaves a stream that says nothing ever after; with the bookmarks gone the contents are compared."""
    with emulator.connect(retry=QUICK) as omni, omni.watch(MachineClass, on_expired="restart") as watch:
        until_mark(watch)
        getattr(emulator.faults, break_it)()
        emulator.faults.overrun_watches()
        omni.create(lab("a"))
        assert next(watch).resource.id == "a"
        assert watch.reconnects in {1, 2}


@pytest.fixture
def clock(monkeypatch):
    """Alarms of this test only: watches that other tests forgot may have some."""
    monkeypatch.setattr(alarms, "_clock", alarms._Clock())
    return alarms._clock


def test_the_thread_of_alarms_goes_with_the_last_one(emulator, clock):
    with emulator.connect() as omni:
        watches = [omni.watch(MachineClass, max_silence=500) for _ in range(3)]
        for watch in watches:
            until_mark(watch)
        thread = clock._thread
        assert thread.is_alive()
        for watch in watches:
            watch.close()
        thread.join(20)
        assert not thread.is_alive()


def test_an_alarm_does_not_keep_what_it_watches(clock):
    class Asked:
        def __init__(self):
            self.times = 0
            self.enough = threading.Event()

        def check(self):
            self.times += 1
            if self.times == 3:
                self.enough.set()
            return 0.001

    asked = Asked()
    alarm = alarms.Alarm(0.001, asked.check)
    assert asked.enough.wait(20)
    thread = clock._thread
    del asked
    gc.collect()
    thread.join(20)
    assert not thread.is_alive()
    alarm.stop()


def restarted(emulator):
    emulator.stop()
    emulator.start()


def test_a_watch_outlives_a_restart_that_keeps_the_history():
    with Emulator(seed_fleet=False, port=free_port()) as emulator, emulator.connect(retry=QUICK) as omni:
        watch = omni.watch(MachineClass)
        until_mark(watch)
        assert watch.stale_since is None
        restarted(emulator)
        add(emulator, "a")
        assert next(watch).resource.id == "a"
        assert watch.reconnects > 0
        assert watch.stale_since is None


@pytest.mark.parametrize("on_expired", ["raise", "restart"])
def test_a_restart_that_forgets_the_history(on_expired):
    with Emulator(seed_fleet=False, port=free_port()) as emulator, emulator.connect(retry=QUICK) as omni:
        add(emulator, "gone")
        with omni.watch(MachineClass, on_expired=on_expired) as watch:
            until_mark(watch)
            emulator.stop()
            emulator.faults.expire_bookmarks()
            emulator.store.remove("default", MachineClass.type_name, "gone")
            emulator.start()
            if on_expired == "raise":
                with pytest.raises(WatchExpired):
                    next(watch)
                assert watch.stale_since is not None
                assert list(watch) == []
                return
            events = [next(watch), next(watch)]
            assert [(str(event.kind), event.synthetic) for event in events] == [
                ("destroyed", True),
                ("bootstrapped", True),
            ]
            assert events[0].resource.id == "gone"
            assert watch.stale_since is None


class Renewed:
    """A signer whose key can be replaced while it is in use."""

    def __init__(self, text):
        self.use(text)
        self.failure = None

    def use(self, text):
        self.key = ServiceAccount.decode(text).key

    @property
    def fingerprint(self):
        # While there is no key, that of none: calls of one second share the signatures of a key.
        return self.key.fingerprint if self.failure is None else ""

    @property
    def identity(self):
        return self.key.identity

    def sign(self, data):
        if self.failure is not None:
            raise self.failure
        return self.key.sign(data)


def test_a_key_that_is_renewed_while_a_stream_stands():
    """Only the start of a stream is signed: it goes on under the old key, and comes back under the new one."""
    with Emulator(seed_fleet=False, port=free_port()) as emulator:
        signer = Renewed(emulator.add_service_account("old"))
        with (
            Omni.connect(emulator.endpoint, signer=signer, retry=QUICK) as omni,
            omni.watch(MachineClass) as watch,
        ):
            until_mark(watch)
            old = signer.key
            signer.use(emulator.add_service_account("new"))
            add(emulator, "a")
            assert next(watch).resource.id == "a"
            assert watch.reconnects == 0
            emulator.store.remove("default", "PublicKeys.omni.sidero.dev", old.fingerprint)
            restarted(emulator)
            add(emulator, "b")
            assert next(watch).resource.id == "b"
            assert watch.reconnects > 0


def test_a_key_that_ran_out_ends_no_watch_before_it_is_renewed():
    """The error is told, and the watch goes on where it was once there is a key."""
    with Emulator(seed_fleet=False, port=free_port()) as emulator:
        signer = Renewed(emulator.service_account_key)
        with Omni.connect(emulator.endpoint, signer=signer, retry=QUICK) as omni, omni.watch(MachineClass) as watch:
            until_mark(watch)
            signer.failure = KeyExpired("the key is past its expiry")
            restarted(emulator)
            with pytest.raises(CredentialError):
                next(watch)
            assert watch.stale_since is not None
            add(emulator, "a")
            signer.failure = None
            assert next(watch).resource.id == "a"
            assert watch.stale_since is None


def test_a_key_that_the_server_does_not_take_any_more_ends_a_watch():
    with Emulator(seed_fleet=False, port=free_port()) as emulator:
        signer = Renewed(emulator.service_account_key)
        with Omni.connect(emulator.endpoint, signer=signer, retry=QUICK) as omni, omni.watch(MachineClass) as watch:
            until_mark(watch)
            with Emulator(seed_fleet=False) as other:
                signer.use(other.service_account_key)
            restarted(emulator)
            with pytest.raises(Unauthenticated):
                next(watch)
            assert list(watch) == []


async def test_a_cancelled_step_says_that_there_is_no_stream(emulator):
    async with emulator.connect_async() as omni, omni.watch(MachineClass) as watch:
        assert (await anext(watch)).kind == "bootstrapped"
        assert watch.stale_since is None
        step = asyncio.create_task(anext(watch))
        await asyncio.sleep(0)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        assert watch.stale_since is not None
        await omni.create(lab("a"))
        assert (await anext(watch)).resource.id == "a"
        assert watch.stale_since is None
    assert sum(omni.channel.streams) == 0


async def test_cancellation_at_any_step_of_the_loop_loses_and_doubles_nothing(emulator):
    """Every number of turns of the event loop, from none on, is tried as the moment of cancellation."""
    names = [f"{number:03}" for number in range(40)]
    seen = []
    async with emulator.connect_async(retry=QUICK) as omni, omni.watch(MachineClass) as watch:
        await omni.create(lab(names[0]))
        for turns, name in enumerate(names[1:]):
            step = asyncio.create_task(anext(watch))
            for _ in range(turns):
                await asyncio.sleep(0)
            step.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                seen.append(await step)
            await omni.create(lab(name))
        while seen == [] or seen[-1].resource.id != names[-1]:
            seen.append(await asyncio.wait_for(anext(watch), 20))
    assert [event.resource.id for event in seen if event.kind == "created"] == names
    assert sum(omni.channel.streams) == 0


async def test_a_client_that_is_closed_while_a_watch_begins(emulator):
    for turns in range(12):
        omni = AsyncOmni.connect(emulator.endpoint, service_account_key=emulator.service_account_key)
        watch = omni.watch(MachineClass)
        step = asyncio.create_task(watch.batch())
        for _ in range(turns):
            await asyncio.sleep(0)
        await omni.close()
        await asyncio.wait_for(step, 20)
        assert [event async for event in watch] == []

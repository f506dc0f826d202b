"""Caches beside a server: that they follow it, tell of it, and know when they do not."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading

import pytest

from omniherd import AsyncOmni, Omni, RetryPolicy
from omniherd._async import cache as async_cache
from omniherd._sync import cache as sync_cache
from omniherd.emulator import Emulator
from omniherd.errors import InputError, OmniError, PermissionDenied, Unauthenticated, Unavailable, WaitTimeout
from omniherd.resources import Cluster, Identity, MachineClass

QUICK = RetryPolicy(initial=0.01, maximum=0.05)
WATCH = "State/Watch"


@pytest.fixture
def emulator():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Emulator(seed_fleet=False, port=port) as running:
        yield running


@pytest.fixture
def omni(emulator):
    with emulator.connect(retry=QUICK) as client:
        yield client


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    for module in (async_cache, sync_cache):
        monkeypatch.setattr(module, "_AGAIN", QUICK)


def lab(id_, **labels):
    return MachineClass(id_, labels=labels, spec={"match_labels": ["site = lab"]})


def add(emulator, *ids, **labels):
    """Create some with a client of its own: one whose connection broke may still be waiting to connect again."""
    with emulator.connect() as omni:
        for id_ in ids:
            omni.create(lab(id_, **labels))


def short(event):
    old = event.old.version if event.old is not None else None
    return (str(event.kind), event.resource.id, event.resource.version, old)


class Book:
    """A handler that writes down what it is told, and can be waited for."""

    def __init__(self):
        self.events = []
        self.changed = threading.Condition()

    def __call__(self, event):
        with self.changed:
            self.events.append(short(event))
            self.changed.notify_all()

    def wait(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.events) >= count, 20), self.events
            return list(self.events)


MARK = ("bootstrapped", "", None, None)


def test_it_holds_what_the_server_has(emulator, omni):
    add(emulator, "a", "b")
    with omni.cache(MachineClass) as cache:
        assert cache.synced
        assert cache.stale_since is None
        assert cache.error is None
        assert [one.id for one in cache] == ["a", "b"]
        assert cache.get("a") == omni.get(MachineClass, "a")
        omni.delete(MachineClass, "a")
        omni.create(lab("c"))
        assert cache.wait_until(lambda held: "a" not in held and "c" in held, 20) is True
        assert len(cache) == 2
        assert cache.list() == omni.list(MachineClass)
    assert cache.closed
    assert not cache.synced
    assert cache.stale_since is not None
    assert sum(omni.channel.streams) == 0


async def test_it_holds_what_the_server_has_for_tasks(emulator):
    add(emulator, "a", "b")
    async with emulator.connect_async(retry=QUICK) as omni:
        async with omni.cache("machineclasses", indexes={"site": lambda one: one.labels.get("site")}) as cache:
            assert cache.synced
            await omni.create(lab("c", site="fra"))
            found = await cache.wait_until(lambda held: held.by("site", "fra"), 20)
            assert [one.id for one in found] == ["c"]
            assert cache.values("site") == ["fra"]
            cache.add_index("id", lambda one: one.id)
            assert len(cache.by("id", "a")) == 1
        assert cache.closed
        assert sum(omni.channel.streams) == 0


def test_by_labels_what_stops_matching_is_gone(emulator, omni):
    add(emulator, "a", site="fra")
    add(emulator, "b")
    book = Book()
    with omni.cache(MachineClass, labels="site = fra") as cache:
        cache.subscribe(book)
        assert [one.id for one in cache] == ["a"]
        omni.edit(MachineClass, "b", lambda one: one.labels.update(site="fra"))
        omni.edit(MachineClass, "a", lambda one: one.labels.clear())
        assert book.wait(4) == [
            ("created", "a", 1, None),
            MARK,
            ("created", "b", 2, None),
            ("destroyed", "a", 2, 1),
        ]
        assert [one.id for one in cache.list("site")] == ["b"]


def test_handlers_are_told_what_is_there_then_what_changes(emulator, omni):
    add(emulator, "a", "b")
    early, late = Book(), Book()
    cache = omni.cache(MachineClass)
    cache.subscribe(early)
    with cache:
        omni.edit(MachineClass, "a", lambda one: one.labels.update(x="1"))
        assert early.wait(4) == [
            ("created", "a", 1, None),
            ("created", "b", 1, None),
            MARK,
            ("updated", "a", 2, 1),
        ]
        cache.subscribe(late)
        assert late.wait(3) == [("created", "a", 2, None), ("created", "b", 1, None), MARK]
        omni.delete(MachineClass, "b")
        assert early.wait(6)[4:] == late.wait(5)[3:] == [("updated", "b", 2, 1), ("destroyed", "b", 2, 2)]
        assert cache.pending == 0


def test_a_cancelled_subscription_is_told_nothing_more(omni):
    first, second = Book(), Book()
    with omni.cache(MachineClass) as cache:
        subscription = cache.subscribe(first)
        first.wait(1)
        subscription.cancel()
        subscription.cancel()
        cache.subscribe(second)
        omni.create(lab("a"))
        second.wait(2)
        assert first.events == [MARK]


def test_late_handlers_miss_and_double_nothing_amid_a_stream_of_changes(emulator):
    """Handlers come at every stage of a stream of changes; each must see each resource begin once and end the same."""
    ids = [f"{number:03}" for number in range(60)]
    with emulator.connect() as omni, omni.cache(MachineClass) as cache:
        books = []
        for id_ in ids:
            omni.create(lab(id_))
            books.append(Book())
            cache.subscribe(books[-1])
        for book in books:
            book.wait(len(ids) + 1)
            seen = [event[1] for event in book.events if event[0] == "created"]
            assert seen == ids


def test_handlers_are_called_one_at_a_time(emulator, omni):
    running, overlaps, done = [], [], threading.Semaphore(0)

    def handler(event):
        running.append(event)
        if len(running) > 1:
            overlaps.append(event)
        running.remove(event)
        done.release()

    with omni.cache(MachineClass) as cache:
        for _ in range(3):
            cache.subscribe(handler)
        for number in range(10):
            omni.create(lab(str(number)))
        for _ in range(33):
            assert done.acquire(timeout=20)
    assert overlaps == []


def test_a_handler_that_fails_is_told_of_and_goes_on(emulator, omni, caplog):
    book = Book()

    def fails(event):
        if event.kind == "created":
            raise ValueError("cannot bear " + event.resource.id)

    add(emulator, "a")
    with caplog.at_level(logging.ERROR), omni.cache(MachineClass) as cache:
        cache.subscribe(fails)
        cache.subscribe(book)
        omni.create(lab("b"))
        assert [event[1] for event in book.wait(3)] == ["a", "", "b"]
        assert cache.synced
    assert [record.exc_info[1].args for record in caplog.records] == [("cannot bear a",), ("cannot bear b",)]
    assert "created of MachineClasses.omni.sidero.dev(default/a@1)" in caplog.text


def test_errors_can_be_taken_elsewhere(emulator, omni, caplog):
    found = Book()
    told = []

    def on_error(error, event):
        told.append((type(error), event.resource.id))
        raise RuntimeError("and this fails too")

    add(emulator, "a")
    with omni.cache(MachineClass, indexes={"x": lambda one: {}[one.id]}, on_error=on_error) as cache:
        cache.subscribe(lambda event: 1 / 0)
        cache.subscribe(found)
        found.wait(2)
    assert told[:2] == [(KeyError, "a"), (ZeroDivisionError, "a")]
    assert "on_error of the cache" in caplog.text


async def test_handlers_may_be_async(emulator):
    add(emulator, "a")
    told, inside, done = [], [], asyncio.Event()

    def last(event):
        told.append(short(event))
        if event.resource.id == "b":
            done.set()

    async with emulator.connect_async() as omni, omni.cache(MachineClass) as cache:

        async def handler(event):
            inside.append(event)
            await asyncio.sleep(0)
            assert len(inside) == 1, "one at a time"
            inside.remove(event)
            told.append(short(event))

        cache.subscribe(handler)
        cache.subscribe(handler)
        cache.subscribe(last)
        await omni.create(lab("b"))
        await asyncio.wait_for(done.wait(), 20)
    assert told.count(MARK) == 3
    assert told[-3:] == [("created", "b", 1, None)] * 3


def test_async_handlers_are_refused_by_the_other_side(emulator, omni, caplog):
    add(emulator, "a")
    book = Book()

    async def handler(event):
        raise AssertionError("never awaited")

    with omni.cache(MachineClass) as cache:
        cache.subscribe(handler)
        cache.subscribe(book)
        book.wait(2)
    assert {type(record.exc_info[1]) for record in caplog.records} == {InputError}


def test_a_lost_connection_is_known_and_made_good(emulator, omni):
    add(emulator, "a", "b")
    book = Book()
    with omni.cache(MachineClass) as cache:
        cache.subscribe(book)
        book.wait(3)
        emulator.stop()
        cache.wait_until(lambda held: not held.synced, 20)
        assert cache.stale_since is not None
        assert [one.id for one in cache] == ["a", "b"], "it still says what it knew"
        emulator.store.remove("default", MachineClass.type_name, "a")
        emulator.faults.expire_bookmarks()
        emulator.start()
        cache.wait_until(lambda held: held.synced, 20)
        assert [one.id for one in cache] == ["b"]
        assert book.wait(5)[3:] == [("destroyed", "a", 1, 1), MARK]
        add(emulator, "c")
        assert book.wait(6)[5:] == [("created", "c", 1, None)]


def test_it_is_not_synced_before_the_difference_is_in(emulator, omni):
    """After an expired bookmark, no moment is called current in which the cache still holds what is gone."""
    ids = [f"{number:03}" for number in range(50)]
    add(emulator, *ids)
    lies = []
    with omni.cache(MachineClass) as cache:
        emulator.stop()
        cache.wait_until(lambda held: not held.synced, 20)
        for id_ in ids[:-1]:
            emulator.store.remove("default", MachineClass.type_name, id_)
        emulator.faults.expire_bookmarks()
        emulator.start()

        def honest(held):
            if held.synced:
                lies.extend(id_ for id_ in ids[:-1] if id_ in held)
            return held.synced

        cache.wait_until(honest, 20)
        assert lies == []
        assert [one.id for one in cache] == ids[-1:]


def test_a_refusal_at_the_start_is_raised(emulator):
    key = emulator.add_service_account("reader", "Reader")
    with Omni.connect(emulator.endpoint, service_account_key=key) as omni:
        with pytest.raises(PermissionDenied), omni.cache(Identity):
            pass
        assert sum(omni.channel.streams) == 0


def test_a_server_that_is_not_there_is_told_at_the_start(emulator):
    with emulator.connect(retry=QUICK) as omni:
        emulator.stop()
        with pytest.raises(Unavailable), omni.cache(MachineClass):
            pass


async def test_a_refusal_at_the_start_is_raised_to_tasks(emulator):
    key = emulator.add_service_account("reader", "Reader")
    async with AsyncOmni.connect(emulator.endpoint, service_account_key=key) as omni:
        with pytest.raises(PermissionDenied):
            await omni.cache(Identity).start()
        assert sum(omni.channel.streams) == 0


def test_a_refusal_later_on_is_told_and_tried_again(emulator):
    errors = []
    key = emulator.add_service_account("other", "Admin")
    with Omni.connect(emulator.endpoint, service_account_key=key, retry=QUICK) as omni:
        cache = omni.cache(MachineClass, on_error=lambda error, event: errors.append((type(error), event)))
        with cache:
            fault = emulator.faults.fail(WATCH, "UNAUTHENTICATED", "invalid signature", times=3)
            emulator.stop()
            emulator.start()
            cache.wait_until(lambda held: fault.met == 3 and held.synced, 20)
            assert errors == [(Unauthenticated, None)] * 3
            add(emulator, "a")
            cache.wait_until(lambda held: "a" in held, 20)
            assert cache.error is None


def test_what_is_wrong_is_said_while_it_is_wrong(emulator, omni, caplog):
    with omni.cache(MachineClass) as cache:
        emulator.faults.fail(WATCH, "PERMISSION_DENIED", "not any more", times=None)
        emulator.stop()
        emulator.start()
        cache.wait_until(lambda held: isinstance(held.error, PermissionDenied), 20)
        assert not cache.synced
        assert cache.stale_since is not None
        emulator.faults.clear()
        cache.wait_until(lambda held: held.synced, 20)
    assert "stale and goes on trying: not any more" in caplog.text


def test_waiting_has_an_end(emulator, omni):
    with omni.cache(MachineClass) as cache:
        with pytest.raises(WaitTimeout, match=r"the cache of MachineClasses.* within 0.05 s$"):
            cache.wait_until(lambda held: "never" in held, 0.05)
        emulator.stop()
        cache.wait_until(lambda held: not held.synced, 20)
        with pytest.raises(WaitTimeout, match="not in step with the server") as caught:
            cache.wait_until(lambda held: "never" in held, 0.05)
        assert caught.value.details["synced"] is False
    with pytest.raises(OmniError, match="is closed"):
        cache.wait_until(lambda held: False, 20)


def test_contents_that_do_not_come_in_time_close_it(emulator, omni):
    emulator.faults.blackhole(WATCH, times=None)
    cache = omni.cache(MachineClass)
    with pytest.raises(WaitTimeout):
        cache.start(timeout=0.05)
    assert cache.closed
    assert sum(omni.channel.streams) == 0


def test_it_can_be_started_without_waiting(emulator, omni):
    add(emulator, "a")
    cache = omni.cache(MachineClass).start(timeout=0)
    try:
        assert cache.wait_until(lambda held: held.get("a"), 20).id == "a"
    finally:
        cache.close()
        cache.close()


def test_closing_the_client_ends_it(emulator):
    omni = emulator.connect()
    cache = omni.cache(Cluster).start()
    omni.close()
    with pytest.raises(OmniError):
        cache.wait_until(lambda held: False, 20)
    assert cache.closed
    assert not cache.synced
    assert cache.stale_since is not None
    cache.close()


def test_a_handler_may_close_its_cache(omni):
    closed = threading.Event()
    cache = omni.cache(MachineClass).start()

    def handler(event):
        cache.close()
        closed.set()

    cache.subscribe(handler)
    assert closed.wait(20)
    assert cache.closed
    cache.close()


def test_a_handler_may_cancel_itself(omni):
    first, second = Book(), Book()

    def once(event):
        subscription.cancel()
        first(event)
        raise ValueError("and fails")

    cache = omni.cache(MachineClass, on_error=lambda error, event: None)
    subscription = cache.subscribe(once)
    cache.subscribe(second)
    with cache:
        omni.create(lab("a"))
        second.wait(2)
    assert first.events == [MARK]


def test_nobody_can_subscribe_to_a_closed_cache(omni):
    with omni.cache(MachineClass) as cache:
        subscription = cache.subscribe(lambda event: None)
    with pytest.raises(OmniError, match="is closed"):
        cache.subscribe(lambda event: None)
    subscription.cancel()


async def test_a_handler_that_hangs_is_ended_with_its_cache(emulator, monkeypatch):
    monkeypatch.setattr(async_cache, "_GRACE", 0.01)
    hanging, ended = asyncio.Event(), []

    async def handler(event):
        hanging.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async with emulator.connect_async() as omni, omni.cache(MachineClass) as cache:
        cache.subscribe(handler)
        await hanging.wait()
    assert ended == [True]


def test_a_thread_that_hangs_is_left_behind(omni, monkeypatch):
    monkeypatch.setattr(sync_cache, "_GRACE", 0.01)
    hanging, go_on = threading.Event(), threading.Event()

    def handler(event):
        hanging.set()
        go_on.wait(20)

    with omni.cache(MachineClass) as cache:
        cache.subscribe(handler)
        assert hanging.wait(20)
    assert cache.closed
    go_on.set()

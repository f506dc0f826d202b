"""One seeded run: changes on an emulator, faults on the way, watchers on the other side; then the judgement."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
from typing import TYPE_CHECKING, Any

from fault_proxy import KINDS as NETWORK
from fault_proxy import FaultProxy
from history import Restarted, Told, Truth, told, violations

from omniherd import AsyncOmni, Omni, RetryPolicy
from omniherd._backend import options
from omniherd.emulator import Emulator
from omniherd.emulator.records import Stored
from omniherd.errors import WatchExpired
from omniherd.resources import MachineClass

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from omniherd.emulator.faults import Faults

SERVER = ("cut", "end", "overrun", "expire", "restart")
FAULTS = NETWORK + SERVER
CHANGES = 40
END = "zz-end"
LIMIT = 30.0
QUICK = RetryPolicy(attempts=50, initial=0.01, maximum=0.05)
SELECTOR = "on = yes"
WATCH = "State/Watch"
NAMES = {0: "created", 1: "updated", 2: "destroyed"}


def matches(labels: dict[str, str]) -> bool:
    """Tell what `SELECTOR` tells."""
    return labels.get("on") == "yes"


class Watcher:
    """Somebody who is told, and writes it down.

    Args:
        name: Who.
        filtered: Whether it looks through the selector.
    """

    def __init__(self, name: str, *, filtered: bool) -> None:
        self.name = name
        self.labels = SELECTOR if filtered else None
        self.matches: Callable[[dict[str, str]], bool] = matches if filtered else lambda labels: True
        self.seen: list[Told | Restarted] = []
        self.ended = threading.Event()
        self._end_seen = False
        self._between_marks = True

    def hear(self, event: Any) -> bool:
        """Write down an event; tell whether it was the last."""
        self.seen.append(told(event))
        if event.kind == "bootstrapped":
            self._between_marks = False
        elif event.resource.id == END:
            self._end_seen = True
            # Among contents, or differences, it is not the last: what is gone is told after it.
            self._between_marks = self._between_marks or event.synthetic
        if self._end_seen and not self._between_marks:
            self.ended.set()
        return self.ended.is_set()

    def begin_anew(self) -> None:
        """Write down that what was known was given up."""
        self.seen.append(Restarted())
        self._between_marks = True


def run(seed: int, fault: str) -> list[str]:
    """Make one run; return what was wrong.

    Args:
        seed: What everything that is left to chance is drawn from.
        fault: One of `FAULTS`.
    """
    chance = random.Random(f"{fault} {seed}")
    with _fast_keepalive(), Emulator(seed_fleet=False, port=_free_port()) as emulator:
        truth = Truth()
        emulator.store.keep(lambda event: _note(truth, event))
        side = _threads if seed % 2 else _tasks
        kind = fault if fault in NETWORK else ""
        with FaultProxy(emulator.port, kind, random.Random(chance.random())) as proxy:
            watchers: list[Watcher] = []
            failures: list[str] = []
            _change(emulator, chance, chance.randrange(10))
            endpoint = f"http://127.0.0.1:{proxy.port}"
            hops = random.Random(chance.random())
            with side(endpoint, emulator.service_account_key, watchers, failures, hops) as subscribe:
                for number in range(CHANGES):
                    _change(emulator, chance, 1)
                    if chance.random() < 0.1:
                        _harm(emulator, fault, chance)
                    if number in {15, 30}:
                        subscribe()
                    threading.Event().wait(chance.random() * 0.01)
                proxy.behave()
                emulator.faults.clear()
                # It is there until the end, so that whoever restarts late finds it too.
                emulator.store.create(_made(END, {"on": "yes"}))
                failures.extend(
                    f"{watcher.name}: not told of the last change within {LIMIT:g} s"
                    for watcher in watchers
                    if not watcher.ended.wait(LIMIT)
                )
    for watcher in watchers:
        failures.extend(f"{watcher.name}: {text}" for text in violations(truth.history(watcher.matches), watcher.seen))
    return failures


# --- the server's side ------------------------------------------------------------------------------------------------


def _note(truth: Truth, event: Any) -> None:
    resource = event.resource
    if resource.type == MachineClass.type_name:
        old = None if event.old is None else dict(event.old.labels)
        truth.note(NAMES[event.kind], resource.id, int(resource.version), _birth(resource), dict(resource.labels), old)


def _birth(resource: Stored) -> str:
    # As a client sees it, to the microsecond.
    proto = MachineClass("x")
    proto.metadata.proto.created.seconds, proto.metadata.proto.created.nanos = resource.created
    return str(proto.created)


def _made(id_: str, labels: dict[str, str]) -> Stored:
    return Stored("default", MachineClass.type_name, id_, labels=labels)


def _change(emulator: Emulator, chance: random.Random, times: int) -> None:
    store = emulator.store
    for _ in range(times):
        id_ = chance.choice("abcdefgh")
        labels = {"on": chance.choice(["yes", "no"])} if chance.random() < 0.8 else {}
        with store.lock:
            known = store.find("default", MachineClass.type_name, id_)
            if known is None:
                store.create(_made(id_, labels))
            elif chance.random() < 0.25:
                store.remove("default", MachineClass.type_name, id_)
            else:
                store.update(known.replace(labels=labels))


def _harm(emulator: Emulator, fault: str, chance: random.Random) -> None:
    faults: Faults = emulator.faults
    if fault == "cut":
        faults.cut(WATCH, after=chance.randrange(1, 5), times=3)
        faults.overrun_watches()
    elif fault == "end":
        faults.end(WATCH, after=chance.randrange(1, 5), times=3)
        faults.overrun_watches()
    elif fault == "overrun":
        faults.overrun_watches()
    elif fault == "expire":
        faults.expire_bookmarks()
        faults.overrun_watches()
    elif fault == "restart" and chance.random() < 0.4:
        emulator.stop()
        if chance.random() < 0.5:
            faults.expire_bookmarks()
        _change(emulator, chance, 2)
        emulator.start()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _fast_keepalive() -> Generator[None]:
    """Let dead connections be noticed within a second instead of 80."""
    before = options.KEEPALIVE_INTERVAL, options.KEEPALIVE_TIMEOUT
    options.KEEPALIVE_INTERVAL, options.KEEPALIVE_TIMEOUT = 0.3, 0.3
    try:
        yield
    finally:
        options.KEEPALIVE_INTERVAL, options.KEEPALIVE_TIMEOUT = before


# --- the watchers' side -----------------------------------------------------------------------------------------------


def _make(watchers: list[Watcher], name: str, *, filtered: bool) -> Watcher:
    watcher = Watcher(name, filtered=filtered)
    watchers.append(watcher)
    return watcher


@contextlib.contextmanager
def _threads(
    endpoint: str, key: str, watchers: list[Watcher], failures: list[str], chance: random.Random
) -> Generator[Callable[[], None]]:
    def follow(watcher: Watcher) -> None:
        with omni.watch(MachineClass, labels=watcher.labels, on_expired="restart") as watch:
            for event in watch:
                if watcher.hear(event):
                    return

    def hop(watcher: Watcher) -> None:
        """Leave the watch after some events and go on with a new one after its bookmark, as restarted programs do."""
        bookmark = None
        while not (watcher.ended.is_set() or omni.channel.closed):
            left = chance.randrange(1, 6)
            try:
                with omni.watch(MachineClass, labels=watcher.labels, bookmark=bookmark) as watch:
                    for event in watch:
                        watcher.hear(event)
                        left -= 1
                        if watcher.ended.is_set() or (left <= 0 and watch.bookmark is not None):
                            break
                    bookmark = watch.bookmark
            except WatchExpired:
                watcher.begin_anew()
                bookmark = None

    def guarded(work: Callable[[Watcher], None], watcher: Watcher) -> None:
        try:
            work(watcher)
        except Exception as error:  # noqa: BLE001 - it is reported with the violations
            failures.append(f"{watcher.name}: {error!r}")

    with Omni.connect(endpoint, service_account_key=key, retry=QUICK) as omni:
        threads = []
        for name, work, filtered in (
            ("watch", follow, False),
            ("watch by label", follow, True),
            ("hopper", hop, False),
            ("hopper by label", hop, True),
        ):
            watcher = _make(watchers, f"{name} in a thread", filtered=filtered)
            threads.append(threading.Thread(target=guarded, args=(work, watcher), daemon=True))
            threads[-1].start()
        with omni.cache(MachineClass, labels=SELECTOR) as cache, omni.cache(MachineClass) as other:

            def subscribe() -> None:
                for held, filtered in ((cache, True), (other, False)):
                    handler = _make(watchers, f"handler {len(watchers)} in a thread", filtered=filtered)
                    held.subscribe(handler.hear)

            subscribe()
            yield subscribe
            for thread in threads:
                thread.join(LIMIT)
            _compare(cache, other, failures)


@contextlib.contextmanager
def _tasks(
    endpoint: str, key: str, watchers: list[Watcher], failures: list[str], chance: random.Random
) -> Generator[Callable[[], None]]:
    async def follow(omni: AsyncOmni, watcher: Watcher) -> None:
        async with omni.watch(MachineClass, labels=watcher.labels, on_expired="restart") as watch:
            async for event in watch:
                if watcher.hear(event):
                    return

    async def hop(omni: AsyncOmni, watcher: Watcher) -> None:
        """Cancel steps at any moment, and leave the watch now and then for a new one after its bookmark."""
        bookmark = None
        while not (watcher.ended.is_set() or omni.channel.closed):
            left = chance.randrange(1, 6)
            try:
                async with omni.watch(MachineClass, labels=watcher.labels, bookmark=bookmark) as watch:
                    while not watcher.ended.is_set() and (left > 0 or watch.bookmark is None):
                        with contextlib.suppress(TimeoutError):
                            watcher.hear(await asyncio.wait_for(anext(watch), 0.001 + chance.random() * 0.1))
                            left -= 1
                    bookmark = watch.bookmark
            except WatchExpired:
                watcher.begin_anew()
                bookmark = None

    async def guarded(work: Any, omni: AsyncOmni, watcher: Watcher) -> None:
        try:
            await work(omni, watcher)
        except Exception as error:  # noqa: BLE001 - it is reported with the violations
            failures.append(f"{watcher.name}: {error!r}")

    async def main() -> None:
        nonlocal subscribe
        async with AsyncOmni.connect(endpoint, service_account_key=key, retry=QUICK) as omni:
            tasks = []
            for name, work, filtered in (
                ("watch", follow, False),
                ("watch by label", follow, True),
                ("hopper", hop, False),
                ("hopper by label", hop, True),
            ):
                watcher = _make(watchers, f"{name} in a task", filtered=filtered)
                tasks.append(asyncio.create_task(guarded(work, omni, watcher)))
            async with omni.cache(MachineClass, labels=SELECTOR) as cache, omni.cache(MachineClass) as other:

                def now() -> None:
                    for held, filtered in ((cache, True), (other, False)):
                        handler = _make(watchers, f"handler {len(watchers)} in a task", filtered=filtered)
                        held.subscribe(handler.hear)

                now()
                stop = asyncio.Event()
                loop = asyncio.get_running_loop()
                subscribe = lambda: loop.call_soon_threadsafe(now)  # noqa: E731 - handed over to the other thread
                ends.append(lambda: loop.call_soon_threadsafe(stop.set))
                ready.set()
                await stop.wait()
                await asyncio.wait(tasks, timeout=LIMIT)
                _compare(cache, other, failures)

    def run_main() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 - it is reported with the violations
            failures.append(f"tasks: {error!r}")
        finally:
            ready.set()

    subscribe: Callable[[], None] = lambda: None  # noqa: E731 - until there is a cache
    ends: list[Callable[[], object]] = []
    ready = threading.Event()
    thread = threading.Thread(target=run_main, daemon=True)
    thread.start()
    ready.wait()
    # What it stands for is known only now.
    yield lambda: subscribe()  # noqa: PLW0108
    for end in ends:
        end()
    thread.join(2 * LIMIT)


def _compare(cache: Any, other: Any, failures: list[str]) -> None:
    """Hold two caches that were told of the end against each other."""
    one = [(held.id, held.version) for held in cache]
    two = [(held.id, held.version) for held in other.list(SELECTOR)]
    if END in cache and END in other and one != two:
        failures.append(f"caches: one holds {one}, the other {two}")

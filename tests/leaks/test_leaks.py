"""What was opened and closed leaves nothing: threads, tasks, file descriptors, streams, memory.

Each test does something a number of times to warm up, counts, does it many times more, and counts again. The numbers of
`make test` are small; `OMNIHERD_LEAK_ROUNDS=10000` is the long form.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import tracemalloc
from pathlib import Path

import pytest

from omniherd import AsyncOmni, Omni, controller
from omniherd.emulator import Emulator
from omniherd.emulator.records import Stored
from omniherd.errors import WaitTimeout
from omniherd.resources import MachineClass

ROUNDS = int(os.environ.get("OMNIHERD_LEAK_ROUNDS", "300"))
WARM = 30
# Interpreters and gRPC keep free lists and caches; what leaks grows with every round.
BYTES_A_ROUND = 300
SLACK = 32 * 1024


@pytest.fixture(scope="module", autouse=True)
def alone(pytestconfig):
    if pytestconfig.getoption("cov_source", None):
        pytest.skip("what coverage notes of the lines that run would count as theirs; `make test` runs these apart")


@pytest.fixture(scope="module")
def server(alone):
    """An emulator in a process of its own, so that its memory is not counted."""
    import subprocess
    import sys

    text = (
        "import sys\n"
        "from omniherd.emulator import Emulator\n"
        "with Emulator(seed_fleet=False) as emulator:\n"
        "    print(emulator.endpoint, emulator.service_account_key, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", text], stdin=-1, stdout=-1, text=True) as process:
        endpoint, key = process.stdout.readline().split()
        yield {"endpoint": endpoint, "service_account_key": key}
        process.stdin.close()


def descriptors():
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("this system does not list file descriptors in /proc")
    return len(list(folder.iterdir()))


class Count:
    """What there is now."""

    def __init__(self):
        gc.collect()
        # Those that are about to end are given the time.
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and thread.name != "omniherd-emulator":
                thread.join(0.5)
        self.threads = threading.active_count()
        self.descriptors = descriptors()
        self.memory = tracemalloc.get_traced_memory()[0]
        self.objects = len(gc.get_objects())


def compare(before, after, rounds):
    assert after.threads <= before.threads
    assert after.descriptors <= before.descriptors
    memory, objects = after.memory - before.memory, after.objects - before.objects
    assert memory < SLACK + BYTES_A_ROUND * rounds, f"{memory} bytes in {rounds} rounds"
    assert objects < 100 + rounds / 2, f"{objects} objects in {rounds} rounds"


@pytest.fixture
def traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


def flat(work, rounds=ROUNDS):
    for _ in range(WARM):
        work()
    before = Count()
    for _ in range(rounds):
        work()
    compare(before, Count(), rounds)


async def settled():
    """Give tasks that are about to end, gRPC's among them, the time; there may be no others."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, left = await asyncio.wait(others, timeout=10)
        assert left == set()


async def flat_tasks(work, rounds=ROUNDS):
    for _ in range(WARM):
        await work()
    await settled()
    before = Count()
    for _ in range(rounds):
        await work()
    await settled()
    compare(before, Count(), rounds)


def test_watches(server, traced):
    with Omni.connect(**server) as omni:

        def work():
            with omni.watch(MachineClass, max_silence=600) as watch:
                next(watch)

        flat(work)
        assert sum(omni.channel.streams) == 0


async def test_watches_of_tasks(server, traced):
    async with AsyncOmni.connect(**server) as omni:

        async def work():
            async with omni.watch(MachineClass, max_silence=600) as watch:
                await anext(watch)

        await flat_tasks(work)
        assert sum(omni.channel.streams) == 0


async def test_watches_that_are_cancelled(server, traced):
    """In a read, and before the first answer came."""
    async with AsyncOmni.connect(**server) as omni:

        async def work():
            watch = omni.watch(MachineClass)
            await anext(watch)
            step = asyncio.create_task(anext(watch))
            await asyncio.sleep(0)
            step.cancel()
            await asyncio.wait([step])
            await watch.close()
            early = asyncio.create_task(anext(omni.watch(MachineClass)))
            await asyncio.sleep(0)
            early.cancel()
            await asyncio.wait([early])

        await flat_tasks(work)
        assert sum(omni.channel.streams) == 0


def test_watches_that_are_forgotten(server, traced):
    with Omni.connect(**server) as omni:

        def work():
            for event in omni.watch(MachineClass):
                if event.kind == "bootstrapped":
                    break

        flat(work)
        assert sum(omni.channel.streams) == 0


def test_waits_that_time_out(server, traced):
    with Omni.connect(**server) as omni:

        def work():
            with pytest.raises(WaitTimeout):
                omni.wait_for(MachineClass, "never", timeout=0.005)

        flat(work, max(50, ROUNDS // 10))
        assert sum(omni.channel.streams) == 0


def test_caches(server, traced):
    with Omni.connect(**server) as omni:

        def work():
            with omni.cache(MachineClass) as cache:
                cache.subscribe(lambda event: None)

        flat(work, max(50, ROUNDS // 10))
        assert sum(omni.channel.streams) == 0


async def test_caches_and_controllers_of_tasks(server, traced):
    async with AsyncOmni.connect(**server) as omni:

        @controller(MachineClass)
        async def idle(run, name): ...

        async def work():
            async with omni.cache(MachineClass) as cache:
                cache.subscribe(lambda event: None)
            task = asyncio.create_task(idle.run(omni))
            await asyncio.sleep(0)
            idle.stop()
            await task

        await flat_tasks(work, max(50, ROUNDS // 10))
        assert sum(omni.channel.streams) == 0


def test_clients(server, traced):
    def work():
        with Omni.connect(**server) as omni:
            omni.list(MachineClass)
            watch = omni.watch(MachineClass)
            next(watch)

    flat(work, max(20, ROUNDS // 30))


async def test_clients_of_tasks(server, traced):
    async def work():
        async with AsyncOmni.connect(**server) as omni:
            await omni.list(MachineClass)
            watch = omni.watch(MachineClass)
            await anext(watch)

    await flat_tasks(work, max(20, ROUNDS // 30))


def test_a_long_stream(traced):
    """A cache that takes many events holds what there is, not what there was."""
    with Emulator(seed_fleet=False) as emulator, emulator.connect() as omni, omni.cache(MachineClass) as cache:
        store = emulator.store
        made = store.create(Stored("default", MachineClass.type_name, "a"))

        def go_on(times):
            nonlocal made
            for _ in range(times):
                made = store.update(made)
            cache.wait_until(lambda held: held.get("a") is not None and held.get("a").version == int(made.version), 60)

        # The emulator keeps its last 10,000 events, so that its own memory is full before it is counted.
        for _ in range(13):
            go_on(1000)
        before = Count()
        rounds = max(12, ROUNDS // 100)
        for _ in range(rounds):
            go_on(1000)
        after = Count()
        assert after.threads <= before.threads
        assert after.descriptors <= before.descriptors
        # A message that is on its way, or a pool that has just grown, is a few hundred KiB.
        assert (after.memory - before.memory) / (1000 * rounds) < 100
        assert len(cache) == 1
        assert cache.pending == 0

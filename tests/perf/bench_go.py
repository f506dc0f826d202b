"""omniherd beside the official Go client and omnictl, in one run: `python tests/perf/bench_go.py [--help]`.

Both sides take turns on the same server, round by round, so that the machine's moods hit both; figures are medians of
the rounds. The server is an emulator in a process of its own, or the one that `--endpoint` names, which gets config
patches and machine classes called `bench-…` for the time of the run. The Go programs are built from `tests/interop`.
`--save FILE` keeps the figures as JSON, for `tests/perf/report.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource as usage
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd import AsyncOmni, Omni

INTEROP = Path(__file__).parent.parent / "interop"
SERVER = """
import sys
from omniherd.emulator import Emulator
with Emulator(seed_fleet=False) as emulator:
    print(emulator.endpoint, emulator.service_account_key, flush=True)
    sys.stdin.read()
"""
PATCHES = "ConfigPatches.omni.sidero.dev"
CALLERS = 16
DATA = "machine:\n  sysctls:\n" + "".join(f"    net.core.value{n}: '{n}'\n" for n in range(30))


def build(name: str) -> Path:
    """Build a Go program of tests/interop."""
    target = INTEROP / "bin" / name
    subprocess.run(["go", "build", "-o", str(target), f"./cmd/{name}"], cwd=INTEROP, check=True)
    return target


class Place:
    """Where the server is, for all sides."""

    def __init__(self, endpoint: str, key: str, ca: str | None) -> None:
        self.endpoint = endpoint
        self.key = key
        self.ca = ca
        self.environment = {**os.environ, "OMNI_ENDPOINT": endpoint, "OMNI_SERVICE_ACCOUNT_KEY": key}
        if ca:
            self.environment["SSL_CERT_FILE"] = ca

    def connect(self) -> Omni:
        """Return a client for threads."""
        from omniherd import Omni

        return Omni.connect(self.endpoint, service_account_key=self.key, ca=self.ca)

    def connect_async(self) -> AsyncOmni:
        """Return a client for tasks."""
        from omniherd import AsyncOmni

        return AsyncOmni.connect(self.endpoint, service_account_key=self.key, ca=self.ca)


class Go:
    """The official client, which measures what it is told to."""

    def __init__(self, place: Place, gets: int, writes: int) -> None:
        self.process = subprocess.Popen(
            [
                *(build("gobench"), "-resources", "0", "-type", PATCHES, "-turns"),
                *("-gets", str(gets), "-writes", str(writes), "-prefix", "bench-go"),
            ],
            env=place.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, name: str) -> float:
        """Measure one round."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        found = json.loads(self.process.stdout.readline())
        return float(found["seconds"][0])

    def stop(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


class Ours:
    """The same work by omniherd."""

    def __init__(self, place: Place, gets: int, writes: int) -> None:
        self.place = place
        self.gets = gets
        self.writes = writes
        self.omni = place.connect()
        self.pool = ThreadPoolExecutor(CALLERS)
        self.round = 0

    def seconds(self, name: str) -> float:
        """Measure one round."""
        work: Callable[[], float] = getattr(self, name)
        return work()

    def connect(self) -> float:
        from omniherd.resources import ConfigPatch

        begun = time.perf_counter()
        with self.place.connect() as omni:
            omni.get(ConfigPatch, "bench-00000")
            return time.perf_counter() - begun

    def get(self) -> float:
        from omniherd.resources import ConfigPatch

        begun = time.perf_counter()
        for _ in range(self.gets):
            self.omni.get(ConfigPatch, "bench-00000")
        return time.perf_counter() - begun

    def get16(self) -> float:
        from omniherd.resources import ConfigPatch

        share = self.gets // CALLERS

        def some(_: int) -> None:
            for _ in range(share):
                self.omni.get(ConfigPatch, "bench-00000")

        begun = time.perf_counter()
        list(self.pool.map(some, range(CALLERS)))
        return time.perf_counter() - begun

    def list(self) -> float:
        from omniherd.resources import ConfigPatch

        begun = time.perf_counter()
        self.omni.list(ConfigPatch)
        return time.perf_counter() - begun

    def watch(self) -> float:
        from omniherd.resources import ConfigPatch

        begun = time.perf_counter()
        with self.omni.watch(ConfigPatch) as watch:
            for event in watch:
                if event.kind == "bootstrapped":
                    break
        return time.perf_counter() - begun

    def _class(self, number: int) -> Any:
        from omniherd.resources import MachineClass

        return MachineClass(f"bench-py-{number:05}", spec={"match_labels": ["zone = a"]})

    def create(self) -> float:
        self.destroy()
        begun = time.perf_counter()
        self.made = [self.omni.create(self._class(number)) for number in range(self.writes)]
        return time.perf_counter() - begun

    def update(self) -> float:
        self.round += 1
        for one in self.made:
            one.spec.match_labels[:] = [f"round = {self.round}"]
        begun = time.perf_counter()
        self.made = [self.omni.update(one) for one in self.made]
        return time.perf_counter() - begun

    def latency(self) -> float:
        from omniherd.resources import MachineClass

        one = self.made[0]
        with self.omni.watch(MachineClass, one.id) as watch:
            next(watch)
            begun = time.perf_counter()
            for number in range(self.writes):
                one.spec.match_labels[:] = [f"seen = {self.round}.{number}"]
                one = self.omni.update(one)
                for event in watch:
                    if event.resource.version == one.version:
                        break
            self.made[0] = one
            return time.perf_counter() - begun

    def destroy(self) -> float:
        from omniherd.errors import NotFound
        from omniherd.resources import MachineClass

        begun = time.perf_counter()
        for number in range(self.writes):
            for verb in (self.omni.teardown, self.omni.destroy):
                with contextlib.suppress(NotFound):
                    verb(MachineClass, f"bench-py-{number:05}")
        return time.perf_counter() - begun


async def aio(place: Place, gets: int, work: str) -> float:
    """Measure one round for tasks."""
    from omniherd.resources import ConfigPatch

    async with place.connect_async() as omni:
        await omni.get(ConfigPatch, "bench-00000")
        begun = time.perf_counter()
        if work == "get":
            for _ in range(gets):
                await omni.get(ConfigPatch, "bench-00000")
        elif work == "list":
            await omni.list(ConfigPatch)
        else:

            async def some() -> None:
                for _ in range(gets // CALLERS):
                    await omni.get(ConfigPatch, "bench-00000")

            await asyncio.gather(*(some() for _ in range(CALLERS)))
        return time.perf_counter() - begun


async def fill(place: Place, first: int, last: int) -> None:
    """Make sure that so many config patches exist."""
    from omniherd.errors import AlreadyExists
    from omniherd.resources import ConfigPatch

    numbers = iter(range(first, last))
    async with place.connect_async() as omni:

        async def worker() -> None:
            for number in numbers:
                patch = ConfigPatch(f"bench-{number:05}", labels={"bench": "yes"}, spec={"data": DATA})
                with contextlib.suppress(AlreadyExists):
                    await omni.create(patch)

        await asyncio.gather(*(worker() for _ in range(CALLERS)))


class Table:
    """Rows of figures, printed as they come."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        print(f"{'':34} {'Go':>10} {'omniherd':>10}      {'ratio':>6}")

    def row(self, name: str, go: list[float], ours: list[float], share: int = 1, goal: str = "") -> None:
        """Print medians in milliseconds."""
        theirs, mine = (statistics.median(side) / share * 1e3 for side in (go, ours))
        self.rows.append({"name": name, "go_ms": theirs, "omniherd_ms": mine, "ratio": mine / theirs, "goal": goal})
        print(f"{name:34} {theirs:10.2f} {mine:10.2f} ms   {mine / theirs:6.2f}   {goal}", flush=True)


def turns(rounds: int, go: Callable[[], float], ours: Callable[[], float]) -> tuple[list[float], list[float]]:
    """Let both sides take turns, in changing order, after one round that does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(-1, rounds):
        order = ((0, go), (1, ours)) if number % 2 else ((1, ours), (0, go))
        for side, work in order:
            seconds = work()
            if number >= 0:
                times[side].append(seconds)
    return times


def commands(place: Place, table: Table, rounds: int, count: int) -> None:
    """Compare whole command lines."""
    omnictl = build("omnictl")
    ours = Path(sys.executable).with_name("omniherd")
    with tempfile.TemporaryDirectory() as home:
        environment = {**place.environment, "HOME": home, "OMNIHERD_CA": place.ca or ""}
        trust = [] if place.ca is None else ["--ca", place.ca]

        def run(program: Path, *arguments: str) -> Callable[[], float]:
            def once() -> float:
                begun = time.perf_counter()
                subprocess.run([program, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
                return time.perf_counter() - begun

            return once

        bare = turns(rounds, run(Path(sys.executable), "-c", "pass"), run(ours, "--help"))
        table.row("--help, Go column: bare Python", *bare, goal="<= 60 ms")
        table.row(
            "get clusters",
            *turns(rounds, run(omnictl, "get", "clusters"), run(ours, *trust, "get", "clusters")),
            goal="<= 2",
        )
        words = ("get", "configpatches")
        table.row(
            f"get configpatches of {count}",
            *turns(max(3, rounds // 3), run(omnictl, *words), run(ours, *trust, *words)),
            goal="<= 0.4",
        )


def main() -> None:
    """Run everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--gets", type=int, default=480)
    parser.add_argument("--writes", type=int, default=100)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 5000, 10_000])
    parser.add_argument("--endpoint", help="a server in place of an emulator")
    parser.add_argument("--key-file", type=Path, help="its service account's key")
    parser.add_argument("--ca", help="its certificate")
    parser.add_argument("--save", type=Path, help="where to keep the figures")
    options = parser.parse_args()
    server = None
    if options.endpoint:
        place = Place(options.endpoint, options.key_file.read_text(), options.ca)
    else:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        place = Place(*server.stdout.readline().split(), None)
    try:
        asyncio.run(fill(place, 0, 1))
        table = Table()
        go, ours = Go(place, options.gets, options.writes), Ours(place, options.gets, options.writes)

        def both(name: str) -> tuple[list[float], list[float]]:
            return turns(options.rounds, lambda: go.seconds(name), lambda: ours.seconds(name))

        def with_tasks(name: str, work: str) -> tuple[list[float], list[float]]:
            return turns(options.rounds, lambda: go.seconds(name), lambda: asyncio.run(aio(place, options.gets, work)))

        table.row("connect and first get", *both("connect"))
        table.row("get", *both("get"), options.gets, "<= 1.15")
        table.row("get, aio", *with_tasks("get", "get"), options.gets, "<= 1.0")
        table.row("get, 16 at once", *both("get16"), options.gets)
        table.row("get, 16 at once, aio", *with_tasks("get16", "get16"), options.gets, "<= 0.91")
        for verb in ("create", "update", "latency", "destroy"):
            # Each needs what the one before it left.
            title = "update until its event" if verb == "latency" else verb
            table.row(title, *both(verb), options.writes, "<= 1.1")
        done = 1
        for size in options.sizes:
            asyncio.run(fill(place, done, size))
            done = max(done, size)
            table.row(f"list of {size}", *both("list"), goal="<= 0.35")
            table.row(f"list of {size}, aio", *with_tasks("list", "list"), goal="<= 0.35")
            once = turns(options.rounds, lambda: go.seconds("watchone"), lambda: ours.seconds("watch"))
            table.row(f"watch, contents of {size}", *once, goal="<= 0.5")
            table.row(f"the same, Go's aggregated too: {size}", *both("watch"))
            if size == 5000:
                commands(place, table, options.rounds, size)
        go.stop()
        peak = usage.getrusage(usage.RUSAGE_SELF).ru_maxrss >> 10
        print(f"peak memory of this process: {peak} MiB")
        if options.save:
            options.save.write_text(json.dumps({"rows": table.rows, "peak_mib": peak}, indent=2) + "\n")
        if server is None:
            with place.connect() as omni:
                print(omni.delete_many(PATCHES, labels="bench=yes", concurrency=16).failed or "patches are gone")
                print(omni.delete_many("MachineClasses.omni.sidero.dev", labels="!x").failed or "classes are gone")
    finally:
        if server is not None:
            assert server.stdin is not None
            server.stdin.close()
            server.wait()


if __name__ == "__main__":
    main()

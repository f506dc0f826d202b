"""State verbs beside raw grpcio, in one run: `python tests/perf/bench_state.py [--resources N] [--rounds N]`.

The server is an emulator in a process of its own. Raw grpcio does what is needed to get an answer at all (it signs each
call and parses the messages) and nothing else. Both sides take turns, so that the machine's moods hit both; the figures
are medians of the rounds. What our side adds for each resource is also given in processor time of this process, least
of all rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER = """
import sys
from omniherd.emulator import Emulator
with Emulator(seed_fleet=False) as emulator:
    print(emulator.endpoint, emulator.service_account_key, flush=True)
    sys.stdin.read()
"""
STATE = "/cosi.resource.State/"


class Raw:
    """grpcio used by hand."""

    def __init__(self, endpoint: str, key: str) -> None:
        import grpc
        import grpc.experimental

        from omniherd.credentials import ServiceAccount
        from omniherd.wire import cosi_resource

        self.cosi = cosi_resource
        self.signer = ServiceAccount.decode(key).key
        target = endpoint.removeprefix("http://")
        self.options: list[tuple[str, Any]] = [("grpc.max_receive_message_length", -1)]
        self.channel = grpc.insecure_channel(target, options=self.options)
        single = [*self.options, (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1)]
        self.lists = grpc.insecure_channel(target, options=single)
        self.target = target
        out = cosi_resource
        self.get = self.channel.unary_unary(STATE + "Get", out.GetRequest.SerializeToString, out.GetResponse.FromString)
        self.list = self.lists.unary_stream(
            STATE + "List", out.ListRequest.SerializeToString, out.ListResponse.FromString
        )
        self.watch = self.channel.unary_stream(
            STATE + "Watch", out.WatchRequest.SerializeToString, out.WatchResponse.FromString
        )

    def metadata(self, verb: str) -> list[tuple[str, str]]:
        from omniherd.signing import sign_headers

        return sign_headers(self.signer, STATE + verb, (), time.time())


class Times(NamedTuple):
    """Seconds of both sides: by the clock (median) and of the processor (least)."""

    raw: float
    ours: float
    raw_cpu: float
    ours_cpu: float


def clock(work: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds that some work takes, by the clock and of the processor, without the garbage collector's."""
    gc.collect()
    gc.disable()
    try:
        begun, begun_cpu = time.perf_counter(), time.process_time()
        work()
        return time.perf_counter() - begun, time.process_time() - begun_cpu
    finally:
        gc.enable()


def compare(rounds: int, raw: Callable[[], Any], ours: Callable[[], Any]) -> Times:
    """Time both sides, taking turns in changing order."""
    raw()
    ours()
    times: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for number in range(rounds):
        order = ((0, raw), (1, ours)) if number % 2 else ((1, ours), (0, raw))
        for side, work in order:
            times[side].append(clock(work))
    return summary(times)


def summary(times: tuple[list[tuple[float, float]], list[tuple[float, float]]]) -> Times:
    """Return the figures of all rounds of both sides."""
    wall = [statistics.median(one[0] for one in side) for side in times]
    cpu = [min(one[1] for one in side) for side in times]
    return Times(wall[0], wall[1], cpu[0], cpu[1])


def row(name: str, times: Times, share: int = 1, note: str = "", resources: int = 0) -> None:
    """Print one comparison, in milliseconds."""
    raw, ours = times.raw / share * 1e3, times.ours / share * 1e3
    if resources:
        by_clock = (times.ours - times.raw) / resources * 1e6
        by_cpu = (times.ours_cpu - times.raw_cpu) / resources * 1e6
        note = f"{by_cpu:+.2f} us of processor a resource, {by_clock:+.2f} by the clock{note}"
    print(f"{name:34} {raw:9.2f} {ours:9.2f} ms {ours / raw:7.3f}  {note}")


def states(raw: Raw, omni: Any, rounds: int, count: int) -> None:
    """Compare get, list and watch for threads."""
    from omniherd.resources import MachineClass

    cosi, name = raw.cosi, MachineClass.type_name
    calls = 200
    get = cosi.GetRequest(namespace="default", type=name, id="bench-00000")

    def raw_gets() -> None:
        for _ in range(calls):
            raw.get(get, metadata=raw.metadata("Get"), timeout=30)

    def our_gets() -> None:
        for _ in range(calls):
            omni.get(MachineClass, "bench-00000")

    row("get, one after the other", compare(rounds, raw_gets, our_gets), calls, "goal <= 1.15")

    def in_threads(work: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            list(pool.map(lambda _: work(), range(calls)))

        return run

    with ThreadPoolExecutor(16) as pool:
        times = compare(
            rounds,
            in_threads(lambda: raw.get(get, metadata=raw.metadata("Get"), timeout=30)),
            in_threads(lambda: omni.get(MachineClass, "bench-00000")),
        )
    row("get, 16 threads", times, calls)

    every = cosi.ListRequest(namespace="default", type=name)

    def raw_list() -> list[Any]:
        return [answer.resource for answer in raw.list(every, metadata=raw.metadata("List"), timeout=300)]

    times = compare(rounds, raw_list, lambda: omni.list(MachineClass))
    row(f"list of {count}", times, note=", goal <= 5", resources=count)

    contents = cosi.WatchRequest(namespace="default", type=name, api_version=1)
    contents.options.bootstrap_contents = True
    contents.options.aggregated = True

    def raw_watch() -> int:
        call = raw.watch(contents, metadata=raw.metadata("Watch"))
        seen = 0
        for message in call:
            seen += len(message.event)
            if message.event and message.event[-1].event_type == 3:
                call.cancel()
                return seen
        raise AssertionError

    def our_watch() -> int:
        seen = 0
        with omni.watch(MachineClass) as watch:
            for event in watch:
                seen += 1
                if event.kind == "bootstrapped":
                    return seen
        raise AssertionError

    row(f"watch: contents of {count}", compare(rounds, raw_watch, our_watch), resources=count)


async def tasks(raw: Raw, endpoint: str, key: str, rounds: int, count: int) -> None:
    """Compare get and list for tasks."""
    import grpc.aio

    from omniherd import AsyncOmni
    from omniherd.resources import MachineClass

    cosi, name = raw.cosi, MachineClass.type_name
    get = cosi.GetRequest(namespace="default", type=name, id="bench-00000")
    every = cosi.ListRequest(namespace="default", type=name)
    calls = 200
    async with (
        AsyncOmni.connect(endpoint, service_account_key=key) as omni,
        grpc.aio.insecure_channel(raw.target, options=raw.options) as channel,
    ):
        raw_get = channel.unary_unary(STATE + "Get", cosi.GetRequest.SerializeToString, cosi.GetResponse.FromString)
        raw_list = channel.unary_stream(
            STATE + "List", cosi.ListRequest.SerializeToString, cosi.ListResponse.FromString
        )

        async def raw_gets() -> None:
            for _ in range(calls):
                await raw_get(get, metadata=raw.metadata("Get"), timeout=30)

        async def our_gets() -> None:
            for _ in range(calls):
                await omni.get(MachineClass, "bench-00000")

        async def raw_lists() -> None:
            [answer.resource async for answer in raw_list(every, metadata=raw.metadata("List"), timeout=300)]

        async def our_lists() -> None:
            await omni.list(MachineClass)

        for title, ours, theirs, share in (
            ("get, one after the other, aio", our_gets, raw_gets, calls),
            (f"list of {count}, aio", our_lists, raw_lists, 1),
        ):
            await theirs()
            await ours()
            times: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
            for number in range(rounds):
                order = ((0, theirs), (1, ours)) if number % 2 else ((1, ours), (0, theirs))
                for side, work in order:
                    gc.collect()
                    begun, begun_cpu = time.perf_counter(), time.process_time()
                    await work()
                    times[side].append((time.perf_counter() - begun, time.process_time() - begun_cpu))
            row(title, summary(times), share, resources=0 if share > 1 else count)


def start_up(rounds: int) -> None:
    """Compare the start of the command line with that of bare Python."""

    def run(*arguments: str) -> Callable[[], Any]:
        command = [sys.executable, *arguments]
        return lambda: subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    bare = run("-c", "pass")
    row("start: import omniherd", compare(rounds, bare, run("-c", "import omniherd")), note="raw is bare Python")
    command = "import sys; sys.argv = ['omniherd', '--help']; from omniherd.cli.main import entry; entry()"
    try:
        import omniherd.cli.main  # noqa: F401
    except ImportError:
        return
    row("start: omniherd --help", compare(rounds, bare, run("-c", command)), note="raw is bare Python, goal <= 60 ms")


def main() -> None:
    """Run everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resources", type=int, default=2000, help="how many resources are listed")
    parser.add_argument("--rounds", type=int, default=15, help="how often each side is timed")
    options = parser.parse_args()
    from omniherd import Omni
    from omniherd.resources import MachineClass

    server = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        endpoint, key = server.stdout.readline().split()
        with Omni.connect(endpoint, service_account_key=key) as omni, ThreadPoolExecutor(8) as pool:
            spec = {"match_labels": ["omni.sidero.dev/cores > 4", "site = lab"]}

            def make(number: int) -> None:
                omni.create(MachineClass(f"bench-{number:05}", labels={"env": "bench"}, spec=spec))

            begun = time.perf_counter()
            list(pool.map(make, range(options.resources)))
            rate = options.resources / (time.perf_counter() - begun)
            print(f"{'':34} {'raw':>9} {'omniherd':>9}     {'ratio':>7}")
            raw = Raw(endpoint, key)
            states(raw, omni, options.rounds, options.resources)
        asyncio.run(tasks(raw, endpoint, key, options.rounds, options.resources))
        start_up(options.rounds)
        print(f"creates, 8 threads: {rate:.0f} a second")
    finally:
        if server.stdin is not None:
            server.stdin.close()
        server.wait(timeout=10)


if __name__ == "__main__":
    main()

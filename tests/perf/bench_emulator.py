"""What the emulator bears: `python tests/perf/bench_emulator.py [--writes N] [--watchers N] [--listed N]`.

The emulator serves from a process of its own. Writes come from raw grpcio with many calls under way, so that the figure
is the server's; the list is omniherd's own. Figures are what this machine did in this run, other load included.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER = """
import resource, sys
from omniherd.emulator import Emulator
from omniherd.emulator.seed import MachinePlan, add_machine
from omniherd._core.pool import message
with Emulator(seed_fleet=False) as emulator:
    print(emulator.endpoint, emulator.service_account_key, flush=True)
    for line in sys.stdin:
        word, _, number = line.strip().partition(" ")
        if word == "machines":
            for n in range(int(number)):
                add_machine(emulator.store, MachinePlan(1000 + n, f"machine-{n}"))
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        times = resource.getrusage(resource.RUSAGE_SELF)
        print(pages * resource.getpagesize() >> 20, times.ru_utime + times.ru_stime, flush=True)
"""
STATE = "/cosi.resource.State/"
UNDER_WAY = 16


class Server:
    """The emulator's process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.endpoint, self.key = self.process.stdout.readline().split()

    def ask(self, line: str = "") -> tuple[int, float]:
        """Send it a line; return its memory in MiB and its processor seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        memory, cpu = self.process.stdout.readline().split()
        return int(memory), float(cpu)

    def stop(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


class Raw:
    """grpcio used by hand, with one signature for many calls: the server's time is what counts here."""

    def __init__(self, server: Server) -> None:
        import grpc.aio

        from omniherd.credentials import ServiceAccount
        from omniherd.wire import cosi_resource

        self.cosi: Any = cosi_resource
        self.signer = ServiceAccount.decode(server.key).key
        self.channel = grpc.aio.insecure_channel(server.endpoint.removeprefix("http://"))

    def unary(self, verb: str) -> Callable[[Any], Any]:
        """Return what makes a signed call of a verb."""
        from omniherd.signing import sign_headers

        metadata = tuple(sign_headers(self.signer, STATE + verb, (), time.time()))
        call = self.channel.unary_unary(STATE + verb)
        return lambda request: call(request.SerializeToString(), metadata=metadata)

    def resource(self, number: int, version: str) -> Any:
        """Return a machine class to write."""
        cosi = self.cosi
        metadata = cosi.Metadata(
            namespace="default",
            type="MachineClasses.omni.sidero.dev",
            id=f"bench-{number:06}",
            version=version,
            phase="running",
        )
        return cosi.Resource(metadata=metadata, spec=cosi.Spec(proto_spec=b"\x0a\x05a = b"))


async def at_once(number: int, work: Callable[[int], Any]) -> float:
    """Do something so many times, some at once; return the seconds."""
    waiting = iter(range(number))

    async def worker() -> None:
        for item in waiting:
            await work(item)

    begun = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(UNDER_WAY)))
    return time.perf_counter() - begun


async def writes(server: Server, number: int) -> None:
    """Create, update and destroy."""
    raw = Raw(server)
    cosi = raw.cosi
    create, update, destroy = raw.unary("Create"), raw.unary("Update"), raw.unary("Destroy")
    await create(cosi.CreateRequest(resource=raw.resource(number, "1"), options=cosi.CreateOptions()))

    async def one(kind: str, work: Callable[[int], Any]) -> None:
        _, before = server.ask()
        seconds = await at_once(number, work)
        _, after = server.ask()
        print(f"{kind:28} {number / seconds:8.0f} /s, {(after - before) / number * 1e6:6.0f} us of the server each")

    await one(
        "create",
        lambda n: create(cosi.CreateRequest(resource=raw.resource(n, "1"), options=cosi.CreateOptions())),
    )
    await one(
        "update",
        lambda n: update(cosi.UpdateRequest(new_resource=raw.resource(n, "1"), options=cosi.UpdateOptions())),
    )
    await one(
        "destroy",
        lambda n: destroy(
            cosi.DestroyRequest(
                namespace="default",
                type="MachineClasses.omni.sidero.dev",
                id=f"bench-{n:06}",
                options=cosi.DestroyOptions(),
            )
        ),
    )
    await raw.channel.close()


async def watchers(server: Server, number: int, changes: int) -> None:
    """Open watches, and see how long a change takes to reach all of them."""
    from omniherd import AsyncOmni
    from omniherd.resources import MachineClass

    async with AsyncOmni.connect(server.endpoint, service_account_key=server.key) as omni:
        begun = time.perf_counter()
        watches = [omni.watch(MachineClass) for _ in range(number)]
        await asyncio.gather(*(anext(watch) for watch in watches))
        opened = time.perf_counter() - begun
        _, before = server.ask()
        begun = time.perf_counter()

        async def read(watch: Any) -> None:
            seen = 0
            async for _ in watch:
                seen += 1
                if seen == changes:
                    return

        readers = [asyncio.ensure_future(read(watch)) for watch in watches]
        for change in range(changes):
            await omni.create(MachineClass(f"seen-{change}", spec={"match_labels": ["a"]}))
        await asyncio.gather(*readers)
        seconds = time.perf_counter() - begun
        memory, after = server.ask()
        print(
            f"{number} watchers open in {opened:.2f} s; {changes} changes reach all in {seconds:.2f} s: "
            f"{number * changes / seconds:.0f} events/s, {(after - before) / number / changes * 1e6:.0f} us of the "
            f"server each; it holds {memory} MiB"
        )
        for watch in watches:
            await watch.close()


def listed(server: Server, number: int) -> None:
    """List machines with the client."""
    from omniherd import Omni
    from omniherd.resources import MachineStatus

    memory, _ = server.ask(f"machines {number}")
    with Omni.connect(server.endpoint, service_account_key=server.key) as omni:
        for name in ("first", "second"):
            begun = time.perf_counter()
            found = len(omni.list(MachineStatus))
            print(f"list of {found} MachineStatuses, {name:8} {time.perf_counter() - begun:.2f} s; server {memory} MiB")


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writes", type=int, default=3000)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--listed", type=int, default=10_000)
    options = parser.parse_args()
    server = Server()
    try:
        asyncio.run(writes(server, options.writes))
        asyncio.run(watchers(server, options.watchers, options.changes))
        listed(server, options.listed)
    finally:
        server.stop()


if __name__ == "__main__":
    main()

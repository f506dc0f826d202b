"""The long form of the checks for leaks: streams that are held for an hour, or for `--minutes`.

A cache and a watch of each side follow resources that change twice a second. Once a minute the figures are printed:
events, threads, file descriptors, tasks, memory. It fails when an event is missing, or when something has grown since
the first tenth of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from omniherd import AsyncOmni, Omni
from omniherd.resources import MachineClass

SERVER = """
import sys
from omniherd.emulator import Emulator
with Emulator(seed_fleet=False) as emulator:
    print(emulator.endpoint, emulator.service_account_key, flush=True)
    sys.stdin.read()
"""
PAUSE = 0.5
NAMES = [f"class-{number}" for number in range(20)]
# The interpreter's and gRPC's own pools breathe by less than this.
SLACK = 3 * 1024


@dataclass
class Figures:
    """What there is now; memory in KiB."""

    threads: int
    descriptors: int
    tasks: int
    memory: int

    @classmethod
    def now(cls) -> Figures:
        gc.collect()
        status = Path("/proc/self/status").read_text()
        memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return cls(
            threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks()), memory
        )


async def hold(endpoint: str, key: str, minutes: float) -> int:
    counts = dict.fromkeys(("cache", "watch", "cache of tasks", "watch of tasks"), 0)

    def count(name: str, kind: str) -> None:
        counts[name] += kind == "updated"

    with Omni.connect(endpoint, service_account_key=key) as omni:
        for name in NAMES:
            new = MachineClass(name)
            new.spec.match_labels.append("site")
            omni.create(new)
        async with AsyncOmni.connect(endpoint, service_account_key=key) as tasks:
            with omni.cache(MachineClass) as cache, omni.watch(MachineClass) as watch:
                async with tasks.cache(MachineClass) as other, tasks.watch(MachineClass) as changes:

                    def follow() -> None:
                        for event in watch:
                            count("watch", event.kind)

                    async def follow_by_tasks() -> None:
                        async for event in changes:
                            count("watch of tasks", event.kind)

                    cache.subscribe(lambda event: count("cache", event.kind))
                    other.subscribe(lambda event: count("cache of tasks", event.kind))
                    thread = threading.Thread(target=follow, daemon=True)
                    thread.start()
                    task = asyncio.create_task(follow_by_tasks())
                    sent, first = await change(tasks, counts, minutes)
                    last = Figures.now()
                    task.cancel()
                    await asyncio.wait([task])
                watch.close()
                thread.join()
    wrong = [f"{name}: {seen} events of {sent}" for name, seen in counts.items() if seen != sent]
    for name in ("threads", "descriptors", "tasks", "memory"):
        before, after = getattr(first, name), getattr(last, name)
        if after > before + (SLACK if name == "memory" else 0):
            wrong.append(f"{name}: {before}, then {after}")
    print("\n".join(wrong or ["flat"]))
    return 1 if wrong else 0


async def change(tasks: AsyncOmni, counts: dict[str, int], minutes: float) -> tuple[int, Figures]:
    """Change resources until the time is over; return how often, and the figures after a tenth of the time."""
    begun = time.monotonic()
    sent, minute, first = 0, 0, None
    while (now := (time.monotonic() - begun) / 60) < minutes:
        one = await tasks.get(MachineClass, NAMES[sent % len(NAMES)])
        one.labels["round"] = str(sent)
        await tasks.update(one)
        sent += 1
        if first is None and now >= minutes / 10:
            first = Figures.now()
        if now >= minute:
            print(f"{now:5.1f} min  {sent:6} changes  {counts}  {Figures.now()}", flush=True)
            minute += 1
        await asyncio.sleep(PAUSE)
    # The last events are on their way.
    for _ in range(60):
        if all(seen == sent for seen in counts.values()):
            break
        await asyncio.sleep(PAUSE)
    assert first is not None
    return sent, first


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    options = parser.parse_args()
    with subprocess.Popen([sys.executable, "-c", SERVER], stdin=-1, stdout=-1, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        endpoint, key = server.stdout.readline().split()
        failed = asyncio.run(hold(endpoint, key, options.minutes))
        server.stdin.close()
    return failed


if __name__ == "__main__":
    sys.exit(main())

"""Memory of what `list` returns, beside the bytes that the server sent: `python tests/perf/bench_memory.py [COUNT]`.

Resident memory of this process is read before and after, once it has given back what it does not need.
"""

from __future__ import annotations

import ctypes
import gc
import resource
import subprocess
import sys
from pathlib import Path

SERVER = """
import sys
from omniherd.emulator import Emulator
from omniherd.emulator.seed import MachinePlan, add_machine
with Emulator(seed_fleet=False) as emulator:
    for number in range(int(sys.argv[1])):
        add_machine(emulator.store, MachinePlan(1000 + number, f"machine-{number}"))
    print(emulator.endpoint, emulator.service_account_key, flush=True)
    sys.stdin.read()
"""


def resident() -> int:
    """Return the bytes of memory that this process needs."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    """Measure."""
    from omniherd import Omni
    from omniherd.resources import MachineStatus

    count = sys.argv[1] if len(sys.argv) > 1 else "10000"
    command = [sys.executable, "-c", SERVER, count]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        endpoint, key = server.stdout.readline().split()
        with Omni.connect(endpoint, service_account_key=key) as omni:
            omni.list(MachineStatus, id_regexp="nothing is called so")
            before = resident()
            found = omni.list(MachineStatus)
            after = resident()
            raw = sum(one._proto.ByteSize() for one in found)
            held = after - before
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            print(
                f"{len(found)} resources, {raw >> 20} MiB as messages: {held >> 20} MiB are held, {held / raw:.2f} x; "
                f"this process had {peak} MiB at most"
            )
    finally:
        server.stdin.close()
        server.wait()


if __name__ == "__main__":
    main()

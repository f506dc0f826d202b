"""A template of many machines, planned and synced: `python tests/perf/bench_templates.py [--machines N] [--rounds N]`.

The server is an emulator in a process of its own. Every machine has a document with a patch, extensions and kernel
arguments. Times are medians of the rounds, those of the command with the start of Python.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omniherd import Omni, template

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER = """
import sys
from omniherd.emulator import Emulator
with Emulator(seed_fleet=False) as emulator:
    print(emulator.endpoint, emulator.service_account_key, flush=True)
    sys.stdin.read()
"""
PROGRAM = (sys.executable, "-c", "from omniherd.cli.main import entry; entry()")


def large(machines: int) -> template.Template:
    """Return a template of many machines."""
    ids = [str(uuid.UUID(int=(4 << 76) | (2 << 62) | number)) for number in range(machines)]
    return template.Template(
        [
            template.Cluster("large", template.Kubernetes("v1.34.3"), template.Talos("v1.12.7")),
            template.ControlPlane(machines=ids[:3]),
            template.Workers(machines=ids[3:]),
            *(
                template.Machine(
                    one,
                    patches=[template.Patch("host", {"machine": {"network": {"hostname": f"node-{number}"}}})],
                    system_extensions=["siderolabs/iscsi-tools"],
                    kernel_args=["quiet"],
                )
                for number, one in enumerate(ids)
            ),
        ]
    )


def median(work: Callable[[], Any], rounds: int) -> float:
    """Return the median of the seconds that something takes."""
    seconds: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def count_calls(omni: Omni, work: Callable[[], Any]) -> dict[str, int]:
    """Return how often each method is called."""
    made: dict[str, int] = {}
    channel: Any = omni.channel
    kept = {name: getattr(channel, name) for name in ("unary", "open")}
    for name, original in kept.items():

        def counted(path: str, *arguments: Any, original: Any = original, **options: Any) -> Any:
            verb = path.rpartition("/")[2]
            made[verb] = made.get(verb, 0) + 1
            return original(path, *arguments, **options)

        setattr(channel, name, counted)
    try:
        work()
    finally:
        for name, original in kept.items():
            setattr(channel, name, original)
    return made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    made = large(chosen.machines)
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        endpoint, key = server.stdout.readline().split()
        with Omni.connect(endpoint, service_account_key=key) as omni, tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "large.yaml"
            path.write_text(made.to_yaml())
            environ = {**os.environ, "OMNI_ENDPOINT": endpoint, "OMNI_SERVICE_ACCOUNT_KEY": key}

            def command() -> None:
                subprocess.run([*PROGRAM, "plan", str(path)], env=environ, check=True, capture_output=True)

            first = median(lambda: omni.templates.sync(made), 1)
            rows = {
                "read, check and render the file": median(lambda: template.load(path).render(), chosen.rounds),
                f"first sync, {len(made.resources())} resources": first,
                "plan": median(lambda: omni.templates.plan(made), chosen.rounds),
                "sync that changes nothing": median(lambda: omni.templates.sync(made), chosen.rounds),
                "omniherd plan large.yaml": median(command, chosen.rounds),
            }
            calls = count_calls(omni, lambda: omni.templates.sync(made))
        server.communicate()
    print(f"{chosen.machines} machines")
    for what, seconds in rows.items():
        print(f"  {what:40} {seconds * 1000:8.0f} ms")
    print(
        "  calls of a sync that changes nothing: "
        + ", ".join(f"{count} {verb}" for verb, count in sorted(calls.items()))
    )


if __name__ == "__main__":
    main()

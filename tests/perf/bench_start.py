"""How long short commands take beside the official command line, on the same emulator and in the same rounds.

`python tests/perf/bench_start.py [OMNICTL]`; without a path, what tests/interop built is taken.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from omniherd.emulator import Emulator

ROUNDS = 25
OURS = Path(sys.executable).parent / "omniherd"
BUILT = Path(__file__).parent.parent / "interop" / "bin" / "omnictl"
COMMANDS = (("--help",), ("get", "clusters"), ("get", "clusters", "-o", "yaml"), ("get", "machinestatuses"))


def measure(words: tuple[str, ...], environ: dict[str, str]) -> float:
    """Return the milliseconds that a program takes from start to end."""
    began = time.perf_counter()
    subprocess.run(words, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    """Measure in rounds, each program once a round, so that all see the same machine; print the medians."""
    found = sys.argv[1] if len(sys.argv) > 1 else shutil.which("omnictl") or (str(BUILT) if BUILT.exists() else None)
    with Emulator() as emulator, tempfile.TemporaryDirectory() as home:
        # Installed programs have their bytecode written; so has this one then.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMNI", "PYTHONDONT"))}
        environ = {**kept, **emulator.environment(), "HOME": home}
        bare = (sys.executable, "-c", "pass")
        for words in COMMANDS:
            programs = {"python": bare, "omniherd": (str(OURS), *words)}
            if found:
                programs["omnictl"] = (found, *words)
            times: dict[str, list[float]] = {name: [] for name in programs}
            for number in range(ROUNDS + 2):
                for name, program in programs.items():
                    taken = measure(program, environ)
                    # The first rounds write bytecode and fill the disk's cache.
                    if number >= 2:
                        times[name].append(taken)
            medians = {name: statistics.median(all_) for name, all_ in times.items()}
            line = "  ".join(f"{name} {medians[name]:6.1f} ms (best {min(times[name]):5.1f})" for name in programs)
            ratio = f"  omniherd/omnictl {medians['omniherd'] / medians['omnictl']:.2f}" if found else ""
            print(f"{' '.join(words):28} {line}{ratio}")
    if not found:
        print("omnictl is not here: give its path, or run tests/interop once", file=sys.stderr)


if __name__ == "__main__":
    main()

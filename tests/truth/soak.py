"""The long form of the checks of truth: `make soak`, or this script with options.

Prints each seed that found something, with what it found, and the figures at the end. `--seeds 1 --first N FAULT` makes
one run again.
"""

from __future__ import annotations

import argparse
import sys
import time

from run import FAULTS, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", default=FAULTS, help=f"some of {', '.join(FAULTS)}")
    parser.add_argument("--seeds", type=int, default=200, help="runs for each fault")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    found = 0
    for fault in options.faults:
        began = time.monotonic()
        bad = 0
        for seed in range(options.first, options.first + options.seeds):
            wrong = run(seed, fault)
            bad += bool(wrong)
            for text in wrong:
                print(f"{fault} {seed}: {text}", flush=True)
        found += bad
        last = options.first + options.seeds - 1
        print(
            f"{fault:10}  seeds {options.first} to {last}  violations in {bad} runs  {time.monotonic() - began:5.0f} s",
            flush=True,
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

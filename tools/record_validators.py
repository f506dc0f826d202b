"""Ask a real server what it says to the writes and reads of `validator_scenarios`, and keep its answers for the tests.

Usage: `python tools/record_validators.py CERTIFICATE [NAME…]`, with `OMNI_ENDPOINT` and `OMNI_SERVICE_ACCOUNT_KEY` set.
Everything that it makes there begins with `omniherd-test-` and is removed again. With names, only those scenarios are
asked anew.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
RECORD = ROOT / "tests" / "data" / "validators.json"
sys.path[:0] = [str(ROOT / "tests" / "contract"), str(HERE)]


from validator_scenarios import SCENARIOS  # noqa: E402


def main() -> int:
    """Record; return the exit code."""
    if len(sys.argv) < 2 or "OMNI_ENDPOINT" not in os.environ:
        print(__doc__, file=sys.stderr)
        return 2
    certificate = Path(sys.argv[1]).read_bytes()
    wanted = set(sys.argv[2:])
    kept: dict[str, Any] = json.loads(RECORD.read_text()) if wanted and RECORD.exists() else {}
    validator_player: Any = importlib.import_module("validator_player")
    caller: Any = validator_player.Caller(
        os.environ["OMNI_ENDPOINT"], os.environ["OMNI_SERVICE_ACCOUNT_KEY"], certificate
    )
    player: Any = validator_player.Player(caller)
    record: dict[str, list[dict[str, Any]]] = {}
    try:
        for name, steps in SCENARIOS.items():
            if wanted and name not in wanted:
                if name in kept:
                    record[name] = kept[name]
                continue
            player.clean(steps)
            answers = player.play_all(steps)
            left = player.clean(steps)
            record[name] = [
                {**step, "code": code, "text": text} for step, (code, text) in zip(steps, answers, strict=True)
            ]
            print(f"{name}: {len(steps)} steps" + (f", left over: {left}" if left else ""))
    finally:
        caller.close()
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=True) + "\n")
    print(f"{sum(map(len, record.values()))} steps in {len(record)} scenarios")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

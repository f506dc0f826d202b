"""Import a cluster without machines on a real server that admits imports, and keep what became of it for the tests.

Usage: `python tools/record_imports.py CERTIFICATE`, with `OMNI_ENDPOINT` and `OMNI_SERVICE_ACCOUNT_KEY` set. What it
makes is called `omniherd-test-imported` and is removed again.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "tests" / "data" / "imports.json"
sys.path.insert(0, str(ROOT / "tests" / "contract"))

from omniherd import Omni  # noqa: E402

_PATIENCE = 5.0


def main() -> int:
    """Record; return the exit code."""
    player: Any = importlib.import_module("import_player")
    with Omni.connect(os.environ["OMNI_ENDPOINT"], ca=sys.argv[1]) as omni:
        stages = player.play(omni, lambda: time.sleep(_PATIENCE))
    RECORD.write_text(json.dumps(stages, indent=1) + "\n")
    print(", ".join(f"{stage}: {len(found)} resources" for stage, found in stages.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

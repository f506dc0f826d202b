"""Build the reference into site/: every public module, from its docstrings."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pdoc
import pdoc.render

ROOT = Path(__file__).resolve().parent.parent
MODULES = [
    "omniherd",
    "omniherd.credentials",
    "omniherd.emulator",
    "omniherd.errors",
    "omniherd.jsonpath",
    "omniherd.machineconfig",
    "omniherd.omniconfig",
    "omniherd.resource",
    "omniherd.resources",
    "omniherd.selectors",
    "omniherd.signing",
    "omniherd.yamlform",
    "!omniherd.resources.*",
]


def main() -> int:
    """Write site/ and say how many pages it has."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "site"
    if target.exists():
        shutil.rmtree(target)
    pdoc.render.configure(docformat="google", show_source=False, footer_text="omniherd, unofficial")
    pdoc.pdoc(*MODULES, output_directory=target)
    pages = list(target.rglob("*.html"))
    print(f"{len(pages)} pages in {target.name}/")
    return 0 if pages else 1


if __name__ == "__main__":
    sys.exit(main())

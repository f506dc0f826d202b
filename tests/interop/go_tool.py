"""The Go tool, run in the module beside this file."""

import subprocess
from pathlib import Path

HERE = Path(__file__).parent


def go(*arguments, timeout, **options):
    """Run the Go tool in the module, as a good neighbour."""
    command = ["nice", "go", *arguments]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=timeout, check=False, **options)

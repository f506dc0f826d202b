"""Run pyright where Node.js is at hand, which it needs; say so where it is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

if shutil.which("node") is None:
    print("pyright skipped: it needs Node.js, which is not on this machine (mypy has run)")
    sys.exit(0)
environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
sys.exit(subprocess.run([sys.executable, "-m", "pyright", *sys.argv[1:]], env=environment, check=False).returncode)

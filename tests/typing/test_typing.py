"""The types that users see, judged by mypy and pyright."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FILES = sorted(Path(__file__).parent.glob("*_types.py"))


def by_mypy(path):
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-pretty", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    lines = re.findall(rf"{re.escape(path.name)}:(\d+)(?::\d+)?: error", done.stdout)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return {int(line) for line in lines}, done.stdout


def by_pyright(path):
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    errors = [one for one in found if one["severity"] == "error"]
    return {one["range"]["start"]["line"] + 1 for one in errors}, json.dumps(errors, indent=1)


@pytest.mark.parametrize("judge", [by_mypy, by_pyright])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_exactly_the_marked_lines_are_refused(path, judge):
    marked = {number for number, line in enumerate(path.read_text().splitlines(), 1) if line.endswith("# refused")}
    assert marked
    lines, output = judge(path)
    assert lines == marked, output

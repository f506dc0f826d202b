"""The types that users see, judged by two type checkers: right calls pass with the right types, wrong ones do not."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def mypy(*files):
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    pattern = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: (?P<text>.*)$", re.MULTILINE)
    assert done.stderr == ""
    return [(Path(match["file"]).name, int(match["line"]), match["text"]) for match in pattern.finditer(done.stdout)]


def pyright(*files):
    if shutil.which("node") is None:
        pytest.skip("pyright needs Node.js, which is not on this machine")
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    command = [sys.executable, "-m", "pyright", "--outputjson", *files]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return [
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1, one["message"])
        for one in json.loads(done.stdout)["generalDiagnostics"]
        if one["severity"] == "error"
    ]


def expected_lines():
    lines = (HERE / "refused.py").read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# error")}


@pytest.mark.parametrize("checker", [mypy, pyright], ids=["mypy", "pyright"])
def test_right_calls_are_accepted(checker):
    assert checker(HERE / "accepted.py") == []


@pytest.mark.parametrize("checker", [mypy, pyright], ids=["mypy", "pyright"])
def test_wrong_calls_are_refused(checker):
    found = {line for _, line, _ in checker(HERE / "refused.py")}
    assert found == expected_lines()
    assert len(found) == 16

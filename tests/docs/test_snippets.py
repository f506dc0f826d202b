"""Every snippet of the documentation runs, in order, page by page, against an emulator of its own.

- ```` ```python ```` blocks of a page share one interpreter; ```` ```sh ```` blocks share one folder and environment.
- A block below `<!-- output -->` is what the block before it prints.
- A block below `<!-- not run: reason -->` is left alone; the reason is printed in the test's skip summary.
"""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from omniherd.emulator import Emulator

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(
    r"(?:<!--\s*(?P<mark>.*?)\s*-->\s*\n)?^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)


def blocks(text):
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("language")) + 1
        yield line, match["language"], match["body"], match["mark"] or ""


def run_python(code, name, scope):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, name, "exec", dont_inherit=True), scope)
    return out.getvalue()


def run_shell(code, folder, environment):
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_page(page, tmp_path, monkeypatch):
    found = list(blocks(page.read_text()))
    if not any(language in {"python", "sh"} for _, language, _, _ in found):
        pytest.skip("the page has no snippet to run")
    with Emulator() as emulator:
        environment = {
            **os.environ,
            **emulator.environment(),
            "HOME": str(tmp_path),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        for name in ("OMNI_ENDPOINT", "OMNI_SERVICE_ACCOUNT_KEY", "HOME"):
            monkeypatch.setenv(name, environment[name])
        monkeypatch.chdir(tmp_path)
        scope = {"__name__": "snippet"}
        printed = None
        for line, language, body, mark in found:
            where = f"{page.name}:{line}"
            if mark.startswith("not run:"):
                assert mark.removeprefix("not run:").strip(), f"{where}: say why it is not run"
            elif mark == "output":
                assert printed is not None, f"{where}: no snippet before this output"
                assert printed.strip() == body.strip(), where
            elif language == "python":
                printed = run_python(body, where, scope)
            elif language == "sh":
                printed = run_shell(body, tmp_path, environment)


def test_the_runner_sees_blocks_marks_and_lines():
    text = "a\n```python\nprint(1)\n```\n<!-- output -->\n```text\n1\n```\n"
    text += "<!-- not run: no server -->\n```sh\nfalse\n```\n"
    assert list(blocks(text)) == [
        (2, "python", "print(1)\n", ""),
        (6, "text", "1\n", "output"),
        (10, "sh", "false\n", "not run: no server"),
    ]

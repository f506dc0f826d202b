"""Progress is for people: on a terminal, on standard error, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

from command_shell import PROGRAM

from omniherd.cli.progress import Progress
from omniherd.emulator import Emulator

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

BAR = """
from omniherd.cli import progress
progress._PATIENCE = 0
with progress.Progress("downloading [x].iso", bytes_=True) as bar:
    bar.at(512, 1024)
    bar.at(1024, 1024)
print("done")
"""


def on_a_terminal(words: list[str], environ: dict[str, str]) -> tuple[int, str, str]:
    """Run a program whose standard error is a terminal; return its exit code, output and what the terminal got."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", "LC_ALL": "C.UTF-8", "COLUMNS": "120", **environ},
        text=True,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            # How Linux says that the other side is closed.
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out, shown.decode()


def test_a_bar_on_a_terminal() -> None:
    code, out, shown = on_a_terminal([sys.executable, "-c", BAR], {})
    assert (code, out) == (0, "done\n")
    assert "downloading [x].iso" in shown
    assert "1.0/1.0 kB" in shown


def test_a_wait_says_what_it_waits_for(tmp_path: Path) -> None:
    with Emulator() as emulator:
        environ = {"HOME": str(tmp_path), **emulator.environment()}
        code, out, shown = on_a_terminal([*PROGRAM, "wait", "cluster", "edge-lab", "--timeout", "500ms"], environ)
        assert (code, out) == (124, "")
        assert "waiting for Cluster to be ready" in shown
        assert "1 of 2 machines are healthy" in shown


def test_nothing_where_nobody_looks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omniherd.cli.progress._PATIENCE", 0)
    with Progress("x", total=2) as progress:
        progress.advance(1)
        progress.at(2, 2)
        progress.tell("news")
    assert capsys.readouterr() == ("", "")


def test_what_is_soon_over_shows_nothing_and_imports_nothing() -> None:
    code = (
        "import sys\nfrom omniherd.cli.progress import Progress\n"
        "with Progress('x', total=1, show=True) as progress:\n    progress.advance(1)\n"
        "sys.exit('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

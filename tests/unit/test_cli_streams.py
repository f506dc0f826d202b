"""What becomes of a command whose streams are full or closed, or that is interrupted before it began."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_shell import PROGRAM

if TYPE_CHECKING:
    from command_shell import Shell

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.is_char_device(), reason="this system has no device that is always full")
COMMANDS = [(), ("--help",), ("cluster",), ("get", "--help"), ("get", "clusters"), ("--version",)]
NAMES = [" ".join(words) or "none" for words in COMMANDS]


def started(shell: Shell, script: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command by a shell, which sees to its streams."""
    return subprocess.run(
        ["sh", "-c", script, "sh", *PROGRAM, *words],
        cwd=shell.home,
        env={**shell.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@needs_full
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", COMMANDS, ids=NAMES)
def test_a_full_disk_is_told(shell: Shell, words: tuple[str, ...], unbuffered: str) -> None:
    done = started(shell, '"$@" > /dev/full', *words, PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (1, "Error: write /dev/stdout: no space left on device\n")


@pytest.mark.parametrize("words", COMMANDS, ids=NAMES)
def test_a_closed_output_is_told(shell: Shell, words: tuple[str, ...]) -> None:
    done = started(shell, '"$@" >&-', *words)
    assert (done.returncode, done.stderr) == (1, "Error: write /dev/stdout: bad file descriptor\n")


def test_nobody_has_to_hear_of_errors(shell: Shell) -> None:
    done = started(shell, '"$@" 2>&-', "get", "clusters", "-o", "jsonpath={.metadata.id}")
    assert (done.returncode, done.stdout) == (0, "edge-lab\nprod\nstaging\n")
    assert started(shell, '"$@" 2>&-', "get", "nopes").returncode == 1


@needs_full
def test_an_error_that_cannot_be_told_is_one_all_the_same(shell: Shell) -> None:
    assert started(shell, '"$@" 2> /dev/full', "get", "nopes").returncode == 1


def test_a_closed_input_is_an_empty_one(shell: Shell) -> None:
    done = started(shell, '"$@" <&-', "apply", "-f", "-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_early_interrupt_leaves_no_traceback(shell: Shell) -> None:
    code = (
        "import os\n"
        "import omniherd.cli.main as main\n"
        f"main.run = lambda *_, **__: os.kill(os.getpid(), {signal.SIGINT.value})\n"
        "main.entry()\n"
    )
    done = subprocess.run(
        [PROGRAM[0], "-c", code], env=shell.environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")

"""Commands that write files, killed before each line that has to do with it: files are old or new, never in between."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from image_factory import IMAGE, Factory, image_factory

from omniherd.emulator import Emulator
from omniherd.signing import PGPKey

if TYPE_CHECKING:
    from collections.abc import Iterator

# Runs the program and counts the lines that it comes by in some of its files; at the given one it is killed. Without
# one it says on standard error which lines those were.
PROGRAM = """
import os, signal, sys

stop, files, words = int(sys.argv[1]), tuple(sys.argv[2].split(",")), sys.argv[3:]
seen = []

def line(frame, event, argument):
    if event == "line":
        seen.append(f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}")
        if len(seen) == stop:
            os.kill(os.getpid(), signal.SIGKILL)
    return line

def call(frame, event, argument):
    return line if frame.f_code.co_filename.endswith(files) else None

if words[0] == "key":
    from omniherd.credentials import KeyStore
    from omniherd.signing import PGPKey
    key = PGPKey.from_armored(open("other").read(), identity="")
    sys.settrace(call)
    KeyStore("keys").save("lab", "me@example.com", key)
    code = 0
else:
    from omniherd.cli.main import run
    sys.settrace(call)
    code = run(words)
sys.settrace(None)
if not stop:
    print(*seen, file=sys.stderr)
sys.stdout.flush()
os._exit(code)
"""
# What is stopped at: lines of the first ones, and some of the others.
WRITING = ("/_core/files.py", "/_backend/download.py")
AROUND = ("/cli/client_files.py", "/cli/kubeconfig_merge.py", "/cli/config.py", "/cli/media.py", "/omniconfig.py")

KUBECONFIG = """apiVersion: v1
kind: Config
clusters:
- name: mine
  cluster: {server: "https://mine.example"}
users:
- name: me
  user: {token: secret}
contexts:
- name: mine
  context: {cluster: mine, user: me}
current-context: mine
"""
TALOSCONFIG = "context: mine\ncontexts:\n    mine:\n        endpoints:\n            - mine.example\n"
OMNICONFIG = "contexts:\n    mine:\n        url: https://mine.example\ncontext: mine\n"
KEY = PGPKey.generate("", "", "me@example.com", 3600).private_armored()


class Case(NamedTuple):
    """A command that writes a file.

    Attributes:
        words: The command.
        file: What it writes.
        before: What stands in it before, None for no file.
        secret: Whether it holds one.
        other: The file `other`.
        every: Whether it is killed before every line that writes, or before some.
    """

    words: tuple[str, ...]
    file: str
    before: str | None
    secret: bool
    every: bool = False
    other: str = "contexts:\n    mine:\n        url: https://other.example\ncontext: mine\n"


CASES = {
    "kubeconfig": Case(("kubeconfig", "-c", "prod", "file"), "file", KUBECONFIG, secret=False, every=True),
    "kubeconfig with a token": Case(
        ("kubeconfig", "-c", "prod", "--service-account", "--user", "ci", "file"), "file", None, secret=True
    ),
    "talosconfig": Case(("talosconfig", "-c", "prod", "file"), "file", TALOSCONFIG, secret=False),
    "config merge": Case(
        ("--omniconfig", "file", "config", "merge", "other"), "file", OMNICONFIG, secret=True, every=True
    ),
    "a person's key": Case(("key",), "keys/lab-me@example.com.pgp", None, secret=True, every=True, other=KEY),
    "download": Case(("media", "download", "edge", "--output", "edge.iso"), "edge.iso", None, secret=True, every=True),
}


@pytest.fixture(scope="module")
def factory() -> Iterator[Factory]:
    with image_factory() as running:
        yield running


@pytest.fixture(scope="module")
def environment(factory: Factory) -> Iterator[dict[str, str]]:
    with Emulator() as emulator:
        emulator.store.put(
            "FeaturesConfigs.omni.sidero.dev", "features-config", {"image_factory_base_url": factory.url}
        )
        with emulator.connect() as omni:
            omni.media.create_preset("edge")
        yield {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "OMNIHERD_NO_NOTICES": "1",
            **emulator.environment(),
        }


def run(directory: Path, environ: dict[str, str], stop: int, *words: str) -> tuple[int, list[str]]:
    files = ",".join((*WRITING, *AROUND))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(stop), files, *words],
        cwd=directory,
        env={**environ, "HOME": str(directory)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()[-1].split() if done.stderr else []


def prepared(directory: Path, case: Case) -> Path:
    directory.mkdir()
    (directory / "other").write_text(case.other)
    path = directory / case.file
    if case.before is not None:
        path.write_text(case.before)
        path.chmod(0o600)
    return path


def whole(path: Path, case: Case, after: bytes) -> bool:
    """Whether a file is as it was or as it should be; a token in it is another one each time."""
    if not path.exists():
        return case.before is None
    data = path.read_bytes()
    if case.file == "edge.iso":
        return data == IMAGE
    if b"token:" in after and case.before is None:
        return len(data.splitlines()) == len(after.splitlines()) and data.endswith(b"\n")
    return data == after or (case.before is not None and data == case.before.encode())


def moments(name: str, lines: list[str]) -> list[int]:
    """Where to kill a command, by the lines that it comes by: at the first and the last time of each that writes.

    They are the same in each run, and others for each command.
    """
    files = tuple(Path(file).name for file in WRITING)
    writing: dict[str, list[int]] = {}
    others: list[int] = []
    for number, line in enumerate(lines, 1):
        if line.startswith(files):
            writing.setdefault(line, []).append(number)
        else:
            others.append(number)
    assert len(writing) > 5, lines
    found = sorted({number for numbers in writing.values() for number in (numbers[0], numbers[-1])})
    chance = random.Random(name)
    if not CASES[name].every:
        # The first and the last are the moments before and after everything.
        found = [found[0], *chance.sample(found[1:-1], 4), found[-1]]
    return sorted({*found, *chance.sample(others, min(2, len(others)))})


@pytest.mark.parametrize("name", CASES)
def test_a_killed_command_leaves_whole_files(name: str, environment: dict[str, str], tmp_path: Path) -> None:
    case = CASES[name]
    path = prepared(tmp_path / "whole", case)
    code, lines = run(tmp_path / "whole", environment, 0, *case.words)
    assert code == 0, lines
    after = path.read_bytes()
    assert after != (case.before or "").encode()
    outcomes = set()
    for stop in moments(name, lines):
        directory = tmp_path / str(stop)
        path = prepared(directory, case)
        code, _ = run(directory, environment, stop, *case.words)
        assert code == -signal.SIGKILL, stop
        assert whole(path, case, after), f"killed before {lines[stop - 1]}"
        outcomes.add(path.exists() and path.read_bytes() != (case.before or "").encode())
        for left in directory.rglob(f".{path.name}.*"):
            mode = stat.S_IMODE(left.stat().st_mode)
            assert not mode & (0o077 if case.secret else 0o007), f"killed before {lines[stop - 1]}: {mode:o}"
    # Some were too early to change anything, some too late to prevent it.
    assert outcomes == {False, True}


def test_a_killed_command_leaves_no_key_behind(environment: dict[str, str], tmp_path: Path) -> None:
    """`serviceaccount create` has nothing to write: its key is printed, and nowhere else."""
    for stop in (1, 20):
        (tmp_path / str(stop)).mkdir()
        run(tmp_path / str(stop), environment, stop, "serviceaccount", "create", f"killed-{stop}")
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and "PRIVATE KEY" in path.read_text()]
    assert kept == []

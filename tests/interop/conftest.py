"""Programs of the official Go libraries, built once a session from the small module beside this file."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess

import pytest
from go_tool import HERE, go

from omniherd.emulator import Emulator
from unit.inner_shell import PERSONAL, inner_shell

BIN = HERE / "bin"


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.interop)
            # One worker builds and runs Go, which takes all the cores that it finds.
            item.add_marker(pytest.mark.xdist_group("interop"))


@pytest.fixture(scope="session")
def modules():
    """The Go tool, with the module's dependencies at hand; skips where either is missing."""
    if shutil.which("go") is None:
        pytest.skip("the Go toolchain is not on this machine")
    done = go("mod", "download", timeout=600)
    if done.returncode != 0:
        pytest.skip(f"the Go modules cannot be had here: {done.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="session")
def build(modules):
    """Build a program of the module, one test process at a time; return its path."""

    def make(name):
        BIN.mkdir(exist_ok=True)
        with (BIN / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = go("build", "-o", str(BIN / name), f"./cmd/{name}", timeout=1200)
        assert done.returncode == 0, done.stderr
        return BIN / name

    return make


@pytest.fixture(scope="session")
def omnictl(build):
    return build("omnictl")


@pytest.fixture
def emulator():
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def environment(emulator, tmp_path):
    """The environment of a program that is to use the emulator and nothing else of this machine."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(PERSONAL)}
    return {**others, **emulator.environment(), "HOME": str(tmp_path), "TZ": "UTC"}


@pytest.fixture
def run(environment, tmp_path):
    """Run a program to its end; return its exit code, output and errors."""

    def call(program, *arguments, **options):
        options = {"cwd": tmp_path, "env": environment} | options
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)
        return done.returncode, done.stdout, done.stderr

    return call


@pytest.fixture
def ours(environment, tmp_path, monkeypatch, capsys):
    """Run our command line in this process: a start of Python for each of many hundred outputs takes minutes."""
    names = ("OMNI_ENDPOINT", "OMNI_SERVICE_ACCOUNT_KEY", "HOME", "TZ")
    yield from inner_shell(tmp_path, {name: environment[name] for name in names}, monkeypatch, capsys)

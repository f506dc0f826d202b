"""Programs of the official Go libraries, built once a session from the small module beside this file."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from omniherd.emulator import Emulator

HERE = Path(__file__).parent
BIN = HERE / "bin"

# One worker builds and runs Go; the machine has two cores, and Go takes all it finds.
pytestmark = pytest.mark.xdist_group("interop")


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.interop)
            item.add_marker(pytest.mark.xdist_group("interop"))


def go(*arguments, timeout, **options):
    """Run the Go tool in the module, as a good neighbour."""
    command = ["nice", "go", *arguments]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=timeout, check=False, **options)


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


@pytest.fixture
def environment(tmp_path):
    """An emulator, and the environment of a program that is to use it."""
    with Emulator() as emulator:
        yield {**os.environ, **emulator.environment(), "HOME": str(tmp_path), "TZ": "UTC"}

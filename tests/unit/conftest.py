"""Servers and command lines as most tests want them; a module that wants others names its own the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from command_shell import Shell
from inner_shell import InnerShell, inner_shell
from recorded_server import RecordedServer, recorded_server

from omniherd.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from omniherd import Omni, Resource


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture(scope="module")
def server(emulator: Emulator) -> Emulator:
    return emulator


@pytest.fixture
def omni(server: Emulator) -> Iterator[Omni]:
    with server.connect() as client:
        yield client


@pytest.fixture
def shell(server: Emulator, tmp_path: Path) -> Shell:
    return Shell(tmp_path, server.environment())


@pytest.fixture
def inner(
    server: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[InnerShell]:
    yield from inner_shell(tmp_path, server.environment(), monkeypatch, capsys)


@pytest.fixture(scope="module")
def recorded_resources() -> dict[str, list[Resource]]:
    """What the recorded server answers to those who ask for a whole kind."""
    return {}


@pytest.fixture(scope="module")
def running_record(recorded_resources: dict[str, list[Resource]]) -> Iterator[RecordedServer]:
    with recorded_server(recorded_resources) as running:
        yield running


@pytest.fixture
def recorded(running_record: RecordedServer) -> Iterator[RecordedServer]:
    """A server that plays records, and what was asked of it in a test is what it was told to expect."""
    running_record.faults.clear()
    running_record.expected.clear()
    yield running_record
    assert running_record.faults == []
    assert running_record.expected == []

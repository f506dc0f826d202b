from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from omniherd.cli import machines
from omniherd.cli.output.tables import layout
from omniherd.errors import NotFound, OmniError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from omniherd.cli.flags import Command

NAMES = ("power-on", "shutdown", "install", "upgrade")


class Lines:
    def __enter__(self) -> list[str]:
        return ["pulling", "writing"]

    def __exit__(self, *_error: object) -> None: ...


class Management:
    """Notes the calls; a machine named `absent` is not there."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        if call[1] == "absent":
            raise NotFound("machine not found", code="NOT_FOUND")

    def power_on(self, machine: str) -> None:
        self._note("on", machine)

    def power_off(self, machine: str) -> None:
        self._note("off", machine)

    def maintenance_lifecycle(self, machine: str, operation: str, *, version: str, disk: str) -> Lines:
        self._note(operation, machine, version, disk)
        return Lines()


@pytest.fixture
def management(monkeypatch: pytest.MonkeyPatch) -> Management:
    class Machines:
        @staticmethod
        def find(name: str) -> None:
            raise NotFound(f"no machine goes by {name!r}")

    class Server:
        management = Management()
        machines = Machines

    @contextmanager
    def connected(_settings: Any) -> Iterator[Any]:
        yield Server

    monkeypatch.setattr(machines, "connected", connected)
    return Server.management


def run(command: Command, *words: str) -> None:
    with command.make_context("machine", list(words)) as context:
        command.invoke(context)


@pytest.mark.parametrize(
    ("command", "words", "call", "said"),
    [
        (machines.power_on, ("m",), ("on", "m"), 'machine "m" power on requested\n'),
        (machines.shutdown, ("m",), ("off", "m"), 'machine "m" is shutting down\n'),
        (
            machines.install,
            ("m", "--disk", "/dev/sda"),
            ("install", "m", "", "/dev/sda"),
            'pulling\nwriting\nmachine "m": Talos installed to /dev/sda\n',
        ),
        (
            machines.upgrade,
            ("m", "--version", "1.13.0"),
            ("upgrade", "m", "1.13.0", ""),
            'pulling\nwriting\nmachine "m": Talos upgraded\n',
        ),
    ],
    ids=NAMES,
)
def test_what_is_called_and_said(
    management: Management,
    capsys: pytest.CaptureFixture[str],
    command: Command,
    words: tuple[str, ...],
    call: tuple[str, ...],
    said: str,
) -> None:
    run(command, *words)
    assert management.calls == [call]
    assert capsys.readouterr() == ("", said)


def test_a_failure_names_the_machine(management: Management) -> None:
    with pytest.raises(OmniError) as caught:
        run(machines.shutdown, "absent")
    assert str(caught.value) == (
        'failed to shut down machine "absent": rpc error: code = NotFound desc = machine not found'
    )


@pytest.mark.parametrize(
    ("command", "words", "error"),
    [
        (machines.install, ("m",), "--disk is required"),
        (machines.upgrade, ("m",), "--version is required"),
        (machines.power_on, ("m", "--read-only"), "read-only: to power on a machine is refused"),
    ],
)
def test_what_is_refused(management: Management, command: Command, words: tuple[str, ...], error: str) -> None:
    with pytest.raises(OmniError) as caught:
        run(command, *words)
    assert str(caught.value) == error
    assert management.calls == []


def test_columns_may_stand_further_apart() -> None:
    assert layout([("A", "B"), ("cc", "d")], padding=4) == "A     B\ncc    d\n"

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from omniherd.cli import delete
from omniherd.cli.delete import Outcome, delete_each, delete_one
from omniherd.errors import DeleteTimeout, NotFound, PermissionDenied

if TYPE_CHECKING:
    import pytest

KEY = ("MachineLabels.omni.sidero.dev", "default", "a")


class Server:
    """Answers `delete` with what it is given, one after another."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.timeouts: list[float] = []

    def delete(self, kind: str, ident: str, *, namespace: str, timeout: float) -> None:
        assert (kind, namespace, ident) == KEY
        self.timeouts.append(timeout)
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer


def run(server: Server, limit: float | None = None) -> tuple[Outcome, list[str]]:
    said: list[str] = []
    return delete_one(server, KEY, limit, said.append), said  # type: ignore[arg-type]


def held(by: str) -> DeleteTimeout:
    return DeleteTimeout(f"MachineLabels.omni.sidero.dev(default/a) is still tearing down after 10 s: held by {by}")


def test_what_is_deleted_is_told() -> None:
    assert run(Server(None)) == (Outcome("destroyed MachineLabels.omni.sidero.dev a"), [])


def test_what_is_absent_is_told() -> None:
    assert run(Server(NotFound("gone"))) == (Outcome("not found: MachineLabels.omni.sidero.dev a"), [])


def test_a_refusal_is_returned() -> None:
    refusal = PermissionDenied("no")
    assert run(Server(refusal)) == (Outcome(error=refusal), [])


def test_a_wait_says_what_it_is_for() -> None:
    outcome, said = run(Server(held("X"), held("X"), held("Y"), NotFound("gone")))
    # The server finished between two waits: that is a deletion of ours.
    assert outcome.line == "destroyed MachineLabels.omni.sidero.dev a"
    assert said == [f"waiting for MachineLabels.omni.sidero.dev a: held by {name}" for name in ("X", "Y")]


def test_a_limit_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 0.0, 10.0, 10.0, 12.0, 12.0])
    monkeypatch.setattr(delete.time, "monotonic", lambda: next(times))
    server = Server(held("X"), last := held("X"))
    outcome, said = run(server, 12.0)
    assert (outcome.error, len(said), server.timeouts) == (last, 1, [10.0, 2.0])


def test_each_is_deleted_once_and_eight_at_a_time() -> None:
    lock = threading.Lock()
    now, most, seen = 0, 0, []
    gate = threading.Barrier(8, timeout=10)

    def one(ident: str) -> Outcome:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            seen.append(ident)
        gate.wait()
        with lock:
            now -= 1
        return Outcome(f"gone {ident}")

    said: list[str] = []
    names = [str(number) for number in range(16)]
    outcomes = delete_each([*names, "3"], one, said.append)
    assert [outcome.line for outcome in outcomes] == [f"gone {name}" for name in names]
    assert (sorted(seen), most, len(said)) == (sorted(names), 8, 16)

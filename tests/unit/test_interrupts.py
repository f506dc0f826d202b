"""Ctrl-C at a bad moment: nothing may wait for what will never come."""

from __future__ import annotations

import threading

import pytest

from omniherd._backend import sync


class Stuck:
    """A channel whose close waits for a call that nobody ends, as gRPC's does after a Ctrl-C in a call's start."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.asked = threading.Event()

    def close(self) -> None:
        self.asked.set()
        self.released.wait()


def test_a_close_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = Stuck()
    monkeypatch.setattr(sync, "_CLOSING", 0.05)
    connection = sync.Connection("127.0.0.1:1", tls=False, roots=None, name=None, gzip=False)
    real, connection._channel = connection._channel, stuck
    connection.close()
    assert stuck.asked.is_set()
    assert not stuck.released.is_set()
    stuck.released.set()
    real.close()


def test_an_interrupt_does_not_wait_for_the_others() -> None:
    release, begun, ended = threading.Event(), threading.Event(), threading.Event()

    def work(item: int) -> None:
        if item:
            begun.wait(30)
            raise KeyboardInterrupt
        begun.set()
        release.wait(5)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        sync.each([1, 0], work, 2)
    assert not ended.is_set()
    release.set()


def test_a_failure_waits_for_those_that_had_begun() -> None:
    begun, done = threading.Event(), threading.Event()

    def work(item: int) -> None:
        if item:
            begun.wait(30)
            raise ValueError(item)
        begun.set()
        threading.Event().wait(0.05)
        done.set()

    with pytest.raises(ValueError, match="1"):
        sync.each([1, 0], work, 2)
    assert done.is_set()


class Unlucky:
    """A call whose wait is interrupted just when its lock was let go of, as it may happen in `threading.Condition`."""

    def __init__(self, interrupt: type[BaseException]) -> None:
        self.interrupt = interrupt

    def __next__(self) -> bytes:
        condition = threading.Condition()
        with condition:
            condition.release()
            raise self.interrupt


def test_an_interrupt_that_breaks_a_lock_is_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt):
        sync.Call(Unlucky(KeyboardInterrupt)).read()


def test_a_broken_lock_alone_is_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="un-acquired"):
        sync.Call(Unlucky(ValueError)).read()

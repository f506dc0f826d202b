"""Faults on demand: what networks and servers do at bad times, to chosen methods, a chosen number of times.

Each fault is met by the calls that come after it was asked for; those of a call add up in the order they were asked
for. `Emulator.faults` has them.
"""

from __future__ import annotations

import asyncio
import fnmatch
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omniherd._core.status import CODES
from omniherd.emulator.records import StateError
from omniherd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from omniherd.emulator.store import Clock, Store

__all__ = ["Fault", "Faults", "Meeting"]

_CODES = frozenset(CODES) - {"OK"}
_FOREVER = float("inf")


@dataclass(slots=True, eq=False)
class Fault:
    """A fault that was asked for.

    Attributes:
        method: Which methods it is for: `*`, a path, its end (`Get`, `State/Get`), or a pattern of paths.
        left: How many calls are still to meet it; infinity for all.
        met: How many calls met it.
        delay: Seconds before the call is looked at.
        pause: Seconds before each message of a stream.
        blackhole: Whether the call is never answered.
        code: Name of the gRPC code it fails with; empty for none, `OK` for a stream that just ends.
        text: The text it fails with.
        after: After how many messages of its answer the call fails.
        done: Whether the call does its work before it fails, so that only the answer is lost.
    """

    method: str
    left: float
    met: int = 0
    delay: float = 0.0
    pause: float = 0.0
    blackhole: bool = False
    code: str = ""
    text: str = ""
    after: int = 0
    done: bool = False

    def concerns(self, path: str) -> bool:
        """Tell whether it is for a method."""
        return path.endswith(("/" + self.method, "." + self.method)) or fnmatch.fnmatchcase(path, self.method)


class _StreamEnds(Exception):
    """The stream is to end without an error."""


class Meeting:
    """The faults that one call met."""

    def __init__(self, faults: list[Fault], forever: Callable[[], Awaitable[None]]) -> None:
        self._faults = faults
        self._forever = forever
        self._sent = 0

    async def before(self) -> None:
        """Do what comes before the call is looked at.

        Raises:
            StateError: The call fails.
        """
        for fault in self._faults:
            if fault.delay:
                await asyncio.sleep(fault.delay)
            if fault.blackhole:
                await self._forever()
            if fault.code and not fault.done and not fault.after:
                self._fail(fault)

    def after(self) -> None:
        """Lose the answer of a call that was done.

        Raises:
            StateError: The call fails.
        """
        for fault in self._faults:
            if fault.code and fault.done:
                self._fail(fault)

    def sender(self, send: Callable[[bytes], Awaitable[None]]) -> Callable[[bytes], Awaitable[None]]:
        """Return what sends the messages of a stream.

        Args:
            send: What sends them when all is well.
        """

        async def through(data: bytes) -> None:
            for fault in self._faults:
                if fault.after and self._sent >= fault.after:
                    self._fail(fault)
                if fault.pause:
                    await asyncio.sleep(fault.pause)
            await send(data)
            self._sent += 1
            for fault in self._faults:
                if fault.after and self._sent >= fault.after:
                    self._fail(fault)

        return through

    @staticmethod
    def _fail(fault: Fault) -> None:
        if fault.code == "OK":
            raise _StreamEnds
        raise StateError(fault.code, fault.text)


class Faults:
    """The faults of an emulator. From any thread.

    Args:
        store: The emulator's state.

    Example:
        >>> from omniherd.emulator import Emulator
        >>> with Emulator() as emulator, emulator.connect() as omni:
        ...     fault = emulator.faults.fail("State/Get", "UNAVAILABLE", times=2)
        ...     omni.get("clusters", "prod").id, fault.met
        ('prod', 2)
    """

    ends = _StreamEnds

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._true_clock: Clock = store.clock

    def delay(self, method: str, seconds: float, times: int | None = None) -> Fault:
        """Let calls wait before the server looks at them.

        Args:
            method: Which; see `Fault.method`.
            seconds: How long.
            times: How many calls; None for all that come.
        """
        return self._add(Fault(method, _count(times), delay=_positive(seconds)))

    def slow(self, method: str, seconds: float, times: int | None = None) -> Fault:
        """Let streams wait before each message, as if their readers were slow; they may fall behind what is kept.

        Args:
            method: Which; see `Fault.method`.
            seconds: How long.
            times: How many streams; None for all that come.
        """
        return self._add(Fault(method, _count(times), pause=_positive(seconds)))

    def blackhole(self, method: str, times: int | None = 1) -> Fault:
        """Never answer calls; they end with their deadline or with the server.

        Args:
            method: Which; see `Fault.method`.
            times: How many calls; None for all that come.
        """
        return self._add(Fault(method, _count(times), blackhole=True))

    def fail(
        self, method: str, code: str, text: str = "", *, times: int | None = 1, after: int = 0, done: bool = False
    ) -> Fault:
        """Let calls fail.

        Args:
            method: Which; see `Fault.method`.
            code: Name of a gRPC code: `UNAVAILABLE`, `INTERNAL`, `RESOURCE_EXHAUSTED` and so on.
            text: The text; one that says that the fault was asked for by default.
            times: How many calls; None for all that come.
            after: For streams: how many messages come through before.
            done: Whether a call does its work all the same and only its answer is lost.

        Raises:
            InputError: There is no such code.
        """
        if code not in _CODES:
            raise InputError(f"{code!r} is no gRPC code of a failure", hint=f"they are {', '.join(sorted(_CODES))}")
        if after < 0 or (after and done):
            raise InputError("a call fails after a number of messages, or when it is done")
        told = text or "the emulator was asked for this fault"
        return self._add(Fault(method, _count(times), code=code, text=told, after=after, done=done))

    def cut(self, method: str, after: int = 1, times: int | None = 1) -> Fault:
        """Cut streams in the middle, as a connection that breaks does: they end with UNAVAILABLE.

        Args:
            method: Which; see `Fault.method`.
            after: How many messages come through before, at least 1.
            times: How many streams; None for all that come.
        """
        return self.fail(method, "UNAVAILABLE", "error reading from server: EOF", times=times, after=max(1, after))

    def end(self, method: str, after: int = 1, times: int | None = 1) -> Fault:
        """End streams as if nothing more was to come, which proxies do.

        Args:
            method: Which; see `Fault.method`.
            after: How many messages come through before, at least 1.
            times: How many streams; None for all that come.
        """
        return self._add(Fault(method, _count(times), code="OK", after=max(1, after)))

    def expire_bookmarks(self) -> None:
        """Make all bookmarks that were given out invalid, as a restart of the server does."""
        with self._store.lock:
            self._store.cookie = os.urandom(8)

    def overrun_watches(self) -> int:
        """Let all running watches fall behind the history that is kept; return how many there were.

        Each gets one ERRORED event (none when it does not know them) and nothing ever after.
        """
        return self._store.overrun()

    def skew_clock(self, seconds: float) -> None:
        """Set the server's clock off from the true time.

        Args:
            seconds: How far ahead; negative for behind, 0 for right.
        """
        offset, clock = round(seconds * 1e9), self._true_clock
        self._store.clock = clock if not offset else lambda: clock() + offset

    def clear(self) -> None:
        """End all faults: calls that come meet none, and the clock is right."""
        with self._lock:
            self._faults.clear()
        self.skew_clock(0)

    def meet(self, path: str, forever: Callable[[], Awaitable[None]]) -> Meeting | None:
        """Return the faults that a call meets, None for none; called by the server.

        Args:
            path: The call's method.
            forever: What waits until the server stops.
        """
        if not self._faults:
            return None
        with self._lock:
            found = [fault for fault in self._faults if fault.concerns(path)]
            for fault in found:
                fault.met += 1
                fault.left -= 1
            self._faults = [fault for fault in self._faults if fault.left > 0]
        return Meeting(found, forever) if found else None

    def _add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault


def _count(times: int | None) -> float:
    if times is not None and times < 1:
        raise InputError(f"a fault happens at least once, not {times} times")
    return _FOREVER if times is None else times


def _positive(seconds: float) -> float:
    if not 0 < seconds < _FOREVER:
        raise InputError(f"a fault takes a positive number of seconds, not {seconds}")
    return seconds

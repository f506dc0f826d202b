"""Alarms for threads: one thread that asks, for all of them."""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Alarm"]


class Alarm:
    """Asks now and then, beside everything else, whether something is to be done.

    It does not keep alive who is asked.

    Args:
        seconds: When to ask first.
        check: A method that returns when to ask again; None for never. It must not block.
    """

    __slots__ = ("_number",)

    def __init__(self, seconds: float, check: Callable[[], float | None]) -> None:
        self._number = _clock.add(seconds, weakref.WeakMethod(check))

    def stop(self) -> None:
        """Ask no more."""
        _clock.remove(self._number)


class _Clock:
    """What is to be asked and when; its thread is there while there is anything."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[int, tuple[float, weakref.WeakMethod[Callable[[], float | None]]]] = {}
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._until = 0.0

    def add(self, seconds: float, check: weakref.WeakMethod[Callable[[], float | None]]) -> int:
        due = time.monotonic() + seconds
        with self._changed:
            number = next(self._numbers)
            self._waiting[number] = (due, check)
            # After a fork the thread is there no more.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="omniherd-alarms", daemon=True)
                self._thread.start()
            elif due < self._until:
                self._changed.notify()
        return number

    def remove(self, number: int) -> None:
        with self._changed:
            self._waiting.pop(number, None)
            if not self._waiting:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                due = {number: check for number, (when, check) in self._waiting.items() if when <= now}
                if not due:
                    if not self._waiting:
                        self._thread = None
                        return
                    self._until = min(when for when, _ in self._waiting.values())
                    self._changed.wait(self._until - now)
                    continue
            for number, check in due.items():
                self._ask(number, check)

    def _ask(self, number: int, check: weakref.WeakMethod[Callable[[], float | None]]) -> None:
        asked = check()
        again = None if asked is None else asked()
        with self._changed:
            if again is None:
                self._waiting.pop(number, None)
            elif number in self._waiting:
                self._waiting[number] = (time.monotonic() + again, check)


_clock = _Clock()

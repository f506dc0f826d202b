"""Time that only moves when it is told to, and what tells it: what is due, and when."""

from __future__ import annotations

import heapq
import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pace", "Schedule"]

_log = logging.getLogger(__name__)


class Schedule:
    """Actions by the second at which they are due; those of the same second run in the order they were planned.

    Example:
        >>> schedule = Schedule()
        >>> schedule.after(2, lambda: print("due"))
        >>> schedule.step(1)
        >>> schedule.step(1)
        due
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._stepping = threading.RLock()
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = 0
        self._now = 0.0
        self._stepper: int | None = None
        self._pace: Pace | None = None

    @property
    def now(self) -> float:
        """Seconds since the schedule began."""
        return self._now

    @property
    def next_due(self) -> float | None:
        """The second at which something is due next, None when nothing is planned."""
        with self._lock:
            return self._waiting[0][0] if self._waiting else None

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Plan an action.

        Args:
            seconds: How long from now.
            action: What to do then.
        """
        pace = self._pace
        # An action counts from the second at which it was due, everybody else from the second that it is by now.
        live = pace is not None and threading.get_ident() != self._stepper
        with self._lock:
            now = max(self._now, pace.now()) if pace is not None and live else self._now
            self._planned += 1
            heapq.heappush(self._waiting, (now + seconds, self._planned, action))
            first = self._waiting[0][1] == self._planned
        if first and pace is not None:
            pace.wake()

    def clear(self) -> None:
        """Forget all that is planned."""
        with self._lock:
            self._waiting.clear()

    def step(self, seconds: float) -> None:
        """Let time pass, and do all that becomes due, also what is planned meanwhile.

        Args:
            seconds: How long; 0 does what is due now.
        """
        pace = self._pace
        end = (self._now if pace is None else max(self._now, pace.now())) + seconds
        self.step_to(end)
        if pace is not None:
            pace.move_to(end)

    def step_to(self, end: float) -> None:
        """Let time pass to a second, and do all that becomes due; nothing when that second is over.

        Args:
            end: The second.
        """
        with self._stepping:
            before, self._stepper = self._stepper, threading.get_ident()
            try:
                while self._next(end):
                    pass
            finally:
                self._stepper = before
            self._now = max(self._now, end)

    def run_until(self, predicate: Callable[[], bool], limit: float = 3600.0) -> bool:
        """Let time pass from one action to the next until something is true.

        Args:
            predicate: What to wait for.
            limit: How many seconds to let pass at most.

        Returns:
            Whether it became true; False also when nothing is planned any more.
        """
        with self._stepping:
            before, self._stepper = self._stepper, threading.get_ident()
            try:
                end = self._now + limit
                while not predicate():
                    if not self._next(end):
                        return False
            finally:
                self._stepper = before
        return True

    def follow(self, pace: Pace | None) -> None:
        """Let time pass at a pace; None to let it stand still."""
        self._pace = pace

    def _next(self, end: float) -> bool:
        # The action runs outside the lock: it takes the store's, and a writer that holds that one plans actions.
        with self._lock:
            if not self._waiting or self._waiting[0][0] > end:
                return False
            self._now, _, action = heapq.heappop(self._waiting)
        action()
        return True


class Pace:
    """Lets a schedule's time pass as real time does, or faster, in a thread of its own.

    Args:
        schedule: The schedule.
        speed: Seconds of the schedule in one real second.
    """

    def __init__(self, schedule: Schedule, speed: float) -> None:
        self._schedule = schedule
        self._speed = speed
        self._woken = threading.Event()
        self._began = (0.0, 0.0)
        self._done = False
        self._thread: threading.Thread | None = None

    def now(self) -> float:
        """Return the second of the schedule that it is by now."""
        real, second = self._began
        return second + (time.monotonic() - real) * self._speed

    def move_to(self, second: float) -> None:
        """Go on from another second of the schedule."""
        self._began = (time.monotonic(), second)
        self._woken.set()

    def wake(self) -> None:
        """Look again what is due next."""
        self._woken.set()

    def start(self) -> None:
        """Let time pass; nothing happens when it does already."""
        if self._thread is None:
            self._done = False
            self._began = (time.monotonic(), self._schedule.now)
            self._schedule.follow(self)
            self._thread = threading.Thread(target=self._run, name="fleet", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Let time stand still; returns when no action runs any more."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._done = True
            self._woken.set()
            thread.join()
            self._schedule.follow(None)

    def _run(self) -> None:
        while not self._done:
            try:
                self._schedule.step_to(self.now())
            except Exception:  # noqa: BLE001 - it is logged, whatever it is
                # Time goes on for all other machines.
                _log.exception("an action of the fleet failed")
            due = self._schedule.next_due
            self._woken.wait(None if due is None else max(0.0, (due - self.now()) / self._speed))
            self._woken.clear()

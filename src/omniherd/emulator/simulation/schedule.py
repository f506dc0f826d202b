"""Time that only moves when it is told to: what is due, and when."""

from __future__ import annotations

import heapq
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Schedule"]


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
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = 0
        self._now = 0.0

    @property
    def now(self) -> float:
        """Seconds since the schedule began."""
        return self._now

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Plan an action.

        Args:
            seconds: How long from now.
            action: What to do then.
        """
        with self._lock:
            self._planned += 1
            heapq.heappush(self._waiting, (self._now + seconds, self._planned, action))

    def step(self, seconds: float) -> None:
        """Let time pass, and do all that becomes due, also what is planned meanwhile.

        Args:
            seconds: How long; 0 does what is due now.
        """
        end = self._now + seconds
        while self._next(end):
            pass
        self._now = end

    def run_until(self, predicate: Callable[[], bool], limit: float = 3600.0) -> bool:
        """Let time pass from one action to the next until something is true.

        Args:
            predicate: What to wait for.
            limit: How many seconds to let pass at most.

        Returns:
            Whether it became true; False also when nothing is planned any more.
        """
        end = self._now + limit
        while not predicate():
            if not self._next(end):
                return False
        return True

    def _next(self, end: float) -> bool:
        # The action runs outside the lock: it takes the store's, and a writer that holds that one plans actions.
        with self._lock:
            if not self._waiting or self._waiting[0][0] > end:
                return False
            self._now, _, action = heapq.heappop(self._waiting)
        action()
        return True

"""Which connection a stream goes on.

A server allows a number of concurrent streams on one connection (Omni: 250) and lets any more wait without a word. So
streams are counted here, and a further connection is opened before the first one is full; the rest is left for short
calls.
"""

from __future__ import annotations

import threading

__all__ = ["STREAMS_PER_CONNECTION", "Slots"]

STREAMS_PER_CONNECTION = 200


class Slots:
    """Counts the streams of each connection. Safe to use from several threads.

    Args:
        limit: Streams that one connection may carry.

    Example:
        >>> slots = Slots(limit=2)
        >>> [slots.take() for _ in range(3)]
        [0, 0, 1]
        >>> slots.give_back(0)
        >>> slots.take()
        0
    """

    def __init__(self, limit: int = STREAMS_PER_CONNECTION) -> None:
        self._limit = limit
        self._used: list[int] = [0]
        # Re-entrant: the garbage collector may close a stream while this thread is in here.
        self._lock = threading.RLock()

    def take(self) -> int:
        """Reserve a place and return the number of its connection; a number one past the last means a new one."""
        with self._lock:
            for number, used in enumerate(self._used):
                if used < self._limit:
                    self._used[number] += 1
                    return number
            self._used.append(1)
            return len(self._used) - 1

    def give_back(self, number: int) -> None:
        """Free a place that was reserved on a connection."""
        with self._lock:
            self._used[number] -= 1

    @property
    def used(self) -> tuple[int, ...]:
        """How many streams each connection carries now."""
        with self._lock:
            return tuple(self._used)

"""A queue of keys to be worked on: each once, never by two at the same time, again later after a failure. No I/O.

Safe to use from several threads. Times are told to it, seconds of any clock that does not go back.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omniherd._core.retry import RetryPolicy

__all__ = ["WorkQueue"]


class WorkQueue:
    """Keys to be worked on, in the order in which they came.

    A key that is added while it waits stays one. A key that is added while it is being worked on comes again when that
    is done: what the worker saw may be old.

    Args:
        retry: The delays after failures; its number of attempts does not count here.

    Example:
        >>> from omniherd import RetryPolicy
        >>> queue = WorkQueue(RetryPolicy(jitter=0))
        >>> queue.add("a"), queue.add("a")
        (True, False)
        >>> queue.take(0.0), queue.take(0.0)
        ('a', None)
    """

    def __init__(self, retry: RetryPolicy) -> None:
        self._retry = retry
        self._lock = threading.Lock()
        self._ready: deque[str] = deque()
        self._waiting: set[str] = set()
        self._working: set[str] = set()
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        # When keys come back, earliest first; what the dict does not confirm is out of date.
        self._later: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many keys wait to be worked on now."""
        return len(self._ready)

    @property
    def working(self) -> int:
        """How many keys are being worked on."""
        return len(self._working)

    def failures(self, key: str) -> int:
        """Return how often a key failed in a row."""
        return self._failures.get(key, 0)

    def add(self, key: str) -> bool:
        """Let a key be worked on; tell whether a worker is to be woken for it."""
        with self._lock:
            return self._add(key)

    def add_at(self, key: str, due: float) -> None:
        """Let a key be worked on at a time; the earliest counts, and `add` in the meantime goes before."""
        with self._lock:
            known = self._due.get(key)
            if known is None or due < known:
                self._due[key] = due
                heapq.heappush(self._later, (due, key))

    def take(self, now: float) -> str | None:
        """Return the next key, which is `done` with later; None when there is none now."""
        with self._lock:
            while self._later and self._later[0][0] <= now:
                due, key = heapq.heappop(self._later)
                if self._due.get(key) == due:
                    del self._due[key]
                    self._add(key)
            if not self._ready:
                return None
            key = self._ready.popleft()
            self._waiting.discard(key)
            self._working.add(key)
            return key

    def done(self, key: str) -> bool:
        """Take note that nobody works on a key any more; tell whether it is to be worked on again at once."""
        with self._lock:
            self._working.discard(key)
            if key not in self._again:
                return False
            self._again.discard(key)
            return self._add(key)

    def succeeded(self, key: str) -> None:
        """Forget how often a key failed."""
        with self._lock:
            self._failures.pop(key, None)

    def failed(self, key: str, now: float) -> float:
        """Let a key come back after a delay that grows with each failure in a row; return the seconds."""
        with self._lock:
            count = self._failures.get(key, 0)
            self._failures[key] = count + 1
        delay = self._retry.delay(count)
        self.add_at(key, now + delay)
        return delay

    def patience(self, now: float) -> float | None:
        """Return in how many seconds a key comes back, None when there is nothing to wait for but news."""
        with self._lock:
            while self._later and self._due.get(self._later[0][1]) != self._later[0][0]:
                heapq.heappop(self._later)
            return max(0.0, self._later[0][0] - now) if self._later else None

    def _add(self, key: str) -> bool:
        # What was to come later comes now.
        self._due.pop(key, None)
        if key in self._working:
            self._again.add(key)
            return False
        if key in self._waiting:
            return False
        self._waiting.add(key)
        self._ready.append(key)
        return True

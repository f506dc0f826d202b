"""When a failed call may be repeated, and after how long.

The policy is deliberately narrow. A read is repeated while the server is unavailable. A write is repeated only when it
is certain that it never left this machine (the connection could not be made): a write that broke on the way may have
had its effect, and repeating it silently could undo what somebody did in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.errors import APIError

__all__ = ["RetryPolicy"]


def _drawn() -> float:
    # Nothing is drawn as long as no call fails.
    import random

    return random.random()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how fast a call is repeated.

    Attributes:
        attempts: Calls in all, the first included; 1 turns repetition off.
        initial: Seconds before the first repetition.
        multiplier: What each further delay is multiplied by.
        maximum: The longest delay in seconds.
        jitter: How far a delay may shrink by chance, from 0 (never) to 1 (down to nothing), so that many clients do not
            come back in step.

    Example:
        >>> RetryPolicy(jitter=0).delay(2)
        0.4
    """

    attempts: int = 5
    initial: float = 0.1
    multiplier: float = 2.0
    maximum: float = 5.0
    jitter: float = 0.5

    def delay(self, repetition: int, chance: Callable[[], float] = _drawn) -> float:
        """Return the seconds to wait before a repetition.

        Args:
            repetition: 0 for the first repetition, 1 for the second.
            chance: Draws from [0, 1).
        """
        # The exponent is bounded: a watch that is cut off for days must not overflow a float.
        full = min(self.maximum, self.initial * self.multiplier ** min(repetition, 64))
        return full * (1 - self.jitter * chance())

    def next_delay(
        self,
        error: APIError,
        *,
        safe: bool,
        repetition: int,
        remaining: float | None = None,
        chance: Callable[[], float] = _drawn,
    ) -> float | None:
        """Decide about a failed call.

        Args:
            error: How it failed.
            safe: Whether repeating it cannot do harm, as with every read.
            repetition: How many times it was repeated before.
            remaining: Seconds left of the deadline; None for no deadline.
            chance: Draws from [0, 1).

        Returns:
            Seconds to wait before the next attempt, or None: give the error to the caller.
        """
        if repetition + 1 >= self.attempts or not error.retryable:
            return None
        if not safe and error.details.get("sent", True):
            return None
        delay = self.delay(repetition, chance)
        if remaining is not None and delay >= remaining:
            return None
        return delay

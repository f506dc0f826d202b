"""When a call is repeated, and the count of streams."""

from __future__ import annotations

import pytest

from omniherd._core.retry import RetryPolicy
from omniherd._core.slots import Slots
from omniherd.errors import DeadlineExceeded, NotFound, Unavailable

NEVER_SENT = Unavailable("refused", details={"sent": False})
MAYBE_SENT = Unavailable("broke", details={"sent": True})
DISTRUST = Unavailable("certificate", details={"sent": False}, retryable=False)


@pytest.mark.parametrize(
    ("error", "safe", "repeated"),
    [
        (NEVER_SENT, True, True),
        (NEVER_SENT, False, True),
        (MAYBE_SENT, True, True),
        (MAYBE_SENT, False, False),
        (Unavailable("nothing is known"), False, False),
        (DISTRUST, True, False),
        (NotFound("x"), True, False),
        (DeadlineExceeded("x"), True, False),
    ],
)
def test_what_is_repeated(error, safe, repeated):
    delay = RetryPolicy().next_delay(error, safe=safe, repetition=0)
    assert (delay is not None) == repeated


def test_delays_grow_to_a_bound_and_shrink_by_chance():
    policy = RetryPolicy(initial=1, multiplier=3, maximum=20, jitter=0.5)
    assert [policy.delay(number, lambda: 0) for number in range(5)] == [1, 3, 9, 20, 20]
    assert policy.delay(1, lambda: 1) == 1.5
    assert policy.delay(10**6, lambda: 0) == 20
    assert 0.5 <= policy.delay(0) <= 1


def test_attempts_are_counted_and_the_deadline_kept():
    policy = RetryPolicy(attempts=3, initial=1, jitter=0)
    ask = policy.next_delay
    assert [ask(NEVER_SENT, safe=True, repetition=number) for number in range(3)] == [1, 2, None]
    assert ask(NEVER_SENT, safe=True, repetition=0, remaining=1.5) == 1
    assert ask(NEVER_SENT, safe=True, repetition=0, remaining=1) is None
    assert RetryPolicy(attempts=1).next_delay(NEVER_SENT, safe=True, repetition=0) is None


def test_slots_fill_a_connection_before_the_next_and_reuse_what_is_given_back():
    slots = Slots(limit=2)
    assert [slots.take() for _ in range(5)] == [0, 0, 1, 1, 2]
    assert slots.used == (2, 2, 1)
    slots.give_back(1)
    slots.give_back(0)
    assert [slots.take() for _ in range(3)] == [0, 1, 2]
    assert slots.used == (2, 2, 2)

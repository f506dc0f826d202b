"""The checker finds what it is there to find; then the short form of the runs that it judges."""

from __future__ import annotations

import pytest
from history import Change, Restarted, Told, violations
from run import FAULTS, run

SEEDS = 3
A1, A2, B1, A_GONE = (
    Change("created", "a", 1, "x"),
    Change("updated", "a", 2, "x"),
    Change("created", "b", 1, "y"),
    Change("destroyed", "a", 2, "x"),
)
HISTORY = [A1, B1, A2, A_GONE]
MARK = Told(Change("bootstrapped", "", 0, ""), None, synthetic=False)


def live(change, old=None):
    return Told(change, old, synthetic=False)


def found(change, old=None):
    return Told(change, old, synthetic=True)


@pytest.mark.parametrize(
    "seen",
    [
        [MARK, live(A1), live(B1), live(A2, 1), live(A_GONE)],
        [live(A1), live(B1), MARK, live(A2, 1), live(A_GONE)],
        [live(B1), MARK],
        # It may stand before or after what came and went; the first change afterwards tells.
        [MARK, live(A1), live(B1), found(A_GONE), MARK],
        [MARK, live(A1), found(Change("updated", "a", 2, "x"), 1), found(B1), MARK, live(A_GONE)],
        [MARK, live(A1), Restarted(), live(A1), live(B1), MARK, live(A2, 1), live(A_GONE)],
    ],
)
def test_what_is_right(seen):
    assert violations(HISTORY, seen) == []


@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        ("not told of", [MARK, live(A1), live(A2, 1), live(B1), live(A_GONE)]),
        ("not told of", [MARK, live(A1), live(A2, 1), live(A_GONE)]),
        ("told again", [MARK, live(A1), live(B1), live(B1), live(A2, 1), live(A_GONE)]),
        ("told again", [live(A1), live(B1), MARK, live(B1), live(A2, 1), live(A_GONE)]),
        ("did not happen", [MARK, live(A1), live(B1), live(Change("updated", "a", 7, "x"), 1), live(A_GONE)]),
        ("never had", [live(A1), found(A_GONE), live(Change("created", "c", 1, "z")), MARK]),
        ("in the end", [MARK, live(A1), live(B1), live(A2, 1)]),
        ("in the end", [live(A1), live(B1), MARK]),
        ("before, which it knew", [MARK, live(A1), live(B1), live(A2, 9), live(A_GONE)]),
        ("did not know", [MARK, live(A_GONE)]),
        ("did not know", [MARK, live(A2, 1)]),
    ],
)
def test_what_is_wrong(rule, seen):
    assert any(rule in text for text in violations(HISTORY, seen)), violations(HISTORY, seen)


def test_a_watcher_may_not_go_back_to_an_older_state():
    seen = [MARK, live(A1), live(B1), live(A2, 1), found(Change("updated", "a", 1, "x")), MARK]
    assert any("never had after change 3" in text for text in violations(HISTORY, seen))


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("fault", FAULTS)
def test_nobody_is_told_anything_but_the_truth(fault, seed):
    """What is told to watches, filtered watches, watches that go on after bookmarks, and handlers of caches."""
    assert run(seed, fault) == [], f"to see it again: python tests/truth/soak.py --seeds 1 --first {seed} {fault}"

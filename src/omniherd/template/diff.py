"""Unified diffs of resources, line for line as `omnictl cluster template diff` computes and prints them.

Where a text has several shortest diffs, which one is shown is a matter of the search. This one is Myers' search from
both ends for the middle of the path; pieces of fewer than ten lines are left to the longest common subsequence, in
which deletions stand before insertions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from omniherd.template.language import OLDEST
from omniherd.template.rendering import render_resource

if TYPE_CHECKING:
    from datetime import datetime

    from omniherd.resource import Resource

__all__ = ["resource_diff", "text_diff"]

# How a line is marked, and the line.
_Edit: TypeAlias = tuple[str, str]

_LARGEST = 75_000
_SMALL = 10
_DEEPEST = 30
_CONTEXT = 3


def resource_diff(
    old: Resource[Any] | None,
    new: Resource[Any] | None,
    *,
    now: datetime | None = None,
    dialect: str = OLDEST,
    tidy: bool = False,
) -> str:
    """Return how a resource changes, headed by its name on both sides; empty when nothing shows.

    Args:
        old: The resource as it is, None when it is created.
        new: The resource as it shall be, None when it is destroyed.
        now: What to show for times that are not set, as those of a new resource; the zero time unless given.
        dialect: The version of Omni whose fields are shown.
        tidy: Whether what is removed stands before what comes in its place; omnictl mixes them now and then.
    """
    before = "" if old is None else render_resource(old, now=now, dialect=dialect)
    after = "" if new is None else render_resource(new, now=now, dialect=dialect)
    body = text_diff(before, after, tidy=tidy)
    if not body:
        return ""
    names = ["/dev/null" if one is None else f"{one.type}({one.namespace}/{one.id})" for one in (old, new)]
    return f"--- {names[0]}\n+++ {names[1]}\n{body}"


def text_diff(old: str, new: str, *, tidy: bool = False) -> str:
    r"""Return the hunks of a unified diff, without a header; empty when the texts are equal.

    Args:
        old: The text as it was.
        new: The text as it is.
        tidy: Whether what is removed stands before what comes in its place.

    Example:
        >>> print(text_diff("a\nb\n", "a\nc\n"), end="")
        @@ -1,2 +1,2 @@
         a
        -b
        +c
    """
    if old == new:
        return ""
    counts = old.count("\n"), new.count("\n")
    if sum(counts) > _LARGEST:
        return f"@@ -1,{counts[0]} +1,{counts[1]} @@ diff too large to display\n"
    edits = _Search(_lines(old), _lines(new)).edits()
    return _hunks(_removals_first(edits) if tidy else edits)


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _removals_first(edits: list[_Edit]) -> list[_Edit]:
    found: list[_Edit] = []
    added: list[_Edit] = []
    for edit in edits:
        if edit[0] == "+":
            added.append(edit)
            continue
        if edit[0] == " ":
            found += added
            added = []
        found.append(edit)
    return found + added


def _hunks(edits: list[_Edit]) -> str:
    changed = [index for index, edit in enumerate(edits) if edit[0] != " "]
    if not changed:
        # Texts that differ in their last line break only.
        return _hunk(edits, 0, len(edits)) if edits else ""
    ranges: list[tuple[int, int]] = []
    for index in changed:
        start, end = max(0, index - _CONTEXT), min(len(edits), index + _CONTEXT + 1)
        if ranges and start < ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
    return "".join(_hunk(edits, start, end) for start, end in ranges)


def _hunk(edits: list[_Edit], start: int, end: int) -> str:
    before_old = sum(1 for edit in edits[:start] if edit[0] != "+")
    before_new = sum(1 for edit in edits[:start] if edit[0] != "-")
    old = sum(1 for edit in edits[start:end] if edit[0] != "+")
    new = sum(1 for edit in edits[start:end] if edit[0] != "-")
    # An empty side is named by the line before it.
    head = f"@@ -{before_old + bool(old)},{old} +{before_new + bool(new)},{new} @@\n"
    return head + "".join(f"{kind}{text}\n" for kind, text in edits[start:end])


class _Search:
    """Finds the edits from one list of lines to another."""

    def __init__(self, old: list[str], new: list[str]) -> None:
        self._old = old
        self._new = new

    def edits(self) -> list[_Edit]:
        found: list[_Edit] = []
        self._part((0, len(self._old), 0, len(self._new)), 0, found)
        return found

    def _part(self, part: tuple[int, int, int, int], depth: int, found: list[_Edit]) -> None:
        old, new = self._old, self._new
        a, a_end, b, b_end = part
        if a == a_end:
            found += [("+", line) for line in new[b:b_end]]
            return
        if b == b_end:
            found += [("-", line) for line in old[a:a_end]]
            return
        if depth >= _DEEPEST or (a_end - a < _SMALL and b_end - b < _SMALL):
            _by_subsequence(old[a:a_end], new[b:b_end], found)
            return
        head = 0
        while a + head < a_end and b + head < b_end and old[a + head] == new[b + head]:
            head += 1
        tail = 0
        while a_end - tail > a + head and b_end - tail > b + head and old[a_end - 1 - tail] == new[b_end - 1 - tail]:
            tail += 1
        if head or tail:
            found += [(" ", line) for line in old[a : a + head]]
            self._part((a + head, a_end - tail, b + head, b_end - tail), depth + 1, found)
            found += [(" ", line) for line in old[a_end - tail : a_end]]
            return
        x, y, x_end, y_end = self._middle(a, a_end, b, b_end)
        self._part((a, x, b, y), depth + 1, found)
        found += [(" ", line) for line in old[x:x_end]]
        self._part((x_end, a_end, y_end, b_end), depth + 1, found)

    def _middle(self, a: int, a_end: int, b: int, b_end: int) -> tuple[int, int, int, int]:
        """Return the run of equal lines in the middle of a shortest path: its start and end in both lists."""
        old, new = self._old, self._new
        n, m = a_end - a, b_end - b
        nothing = (a, b, a, b)
        if n == 1 or m == 1:
            for i in range(a, a_end):
                for j in range(b, b_end):
                    if old[i] == new[j]:
                        return i, j, i + 1, j + 1
            return nothing
        delta, most = n - m, (n + m + 1) // 2
        # The furthest place on each diagonal, seen from the start and from the end.
        low, high = -most + min(delta, 0), most + max(delta, 0)
        forward: dict[int, int] = {0: 0}
        backward: dict[int, int] = {delta: n}
        odd = delta % 2 != 0
        for d in range(most + 1):
            for k in range(-d, d + 1, 2):
                if not low <= k <= high:
                    continue
                right = forward.get(k - 1) if k > -d else None
                down = forward.get(k + 1) if k < d else None
                if right is None and down is None:
                    if k or d:
                        continue
                    x = forward[k]
                else:
                    x = max(-1 if right is None else right + 1, -1 if down is None else down)
                x = min(x, n)
                y = x - k
                if not 0 <= y <= m:
                    continue
                start = x
                while x < n and y < m and old[a + x] == new[b + y]:
                    x, y = x + 1, y + 1
                forward[k] = x
                if odd and delta - d < k < delta + d and k in backward and x >= backward[k]:
                    return a + start, b + start - k, a + x, b + y
            for k in range(delta - d, delta + d + 1, 2):
                if not low <= k <= high:
                    continue
                left = backward.get(k - 1) if k > delta - d else None
                up = backward.get(k + 1) if k < delta + d else None
                if left is None and up is None:
                    continue
                x = min(n if left is None else left, n if up is None else up - 1)
                x = max(x, 0)
                y = x - k
                if not 0 <= y <= m:
                    continue
                end = x
                while x > 0 and y > 0 and old[a + x - 1] == new[b + y - 1]:
                    x, y = x - 1, y - 1
                backward[k] = x
                if not odd and -d <= k <= d and k in forward and forward[k] >= x:
                    return a + x, b + y, a + end, b + end - k
        return nothing


def _by_subsequence(old: list[str], new: list[str], found: list[_Edit]) -> None:
    """Append the edits that keep the longest common subsequence, the latest one where there are several."""
    n, m = len(old), len(new)
    best = [[0] * (m + 1) for _ in range(n + 1)]
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            same = old[i - 1] == new[j - 1]
            best[i][j] = best[i - 1][j - 1] + 1 if same else max(best[i - 1][j], best[i][j - 1])
    kept: list[tuple[int, int]] = []
    i, j = n, m
    while i and j:
        if old[i - 1] == new[j - 1]:
            i, j = i - 1, j - 1
            kept.append((i, j))
        elif best[i - 1][j] > best[i][j - 1]:
            i -= 1
        else:
            j -= 1
    i = j = 0
    for at_old, at_new in [*reversed(kept), (n, m)]:
        found += [("-", line) for line in old[i:at_old]]
        found += [("+", line) for line in new[j:at_new]]
        if at_old < n and at_new < m:
            found.append((" ", old[at_old]))
        i, j = at_old + 1, at_new + 1

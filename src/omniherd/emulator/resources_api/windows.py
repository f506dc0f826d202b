"""The part of a sorted stream that a caller wants to see: so many after so many."""

from __future__ import annotations

from bisect import bisect_left, insort
from functools import total_ordering
from typing import TYPE_CHECKING

from omniherd.emulator.records import StateError
from omniherd.emulator.resources_api.shown import sort_field

if TYPE_CHECKING:
    from omniherd.emulator.records import Stored

__all__ = ["Rank", "Sorting", "Window"]


@total_ordering
class Rank:
    """Where a resource stands in an order.

    Args:
        text: What is compared first.
        name: Namespace and id, which decide where texts are equal.
        descending: Whether larger texts come first.
    """

    __slots__ = ("_descending", "_name", "_text")

    def __init__(self, text: str, name: tuple[str, str], *, descending: bool) -> None:
        self._text = text
        self._name = name
        self._descending = descending

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rank) and (self._text, self._name) == (other._text, other._name)

    def __lt__(self, other: Rank) -> bool:
        if self._text != other._text:
            return (self._text < other._text) != self._descending
        return self._name < other._name

    def __hash__(self) -> int:
        return hash((self._text, self._name))


class Sorting:
    """The order of an answer.

    Args:
        field: What to sort by; empty for the order of names.
        descending: Whether the largest comes first; without a field nobody asks.
    """

    def __init__(self, field: str, *, descending: bool) -> None:
        self._field = field
        self._descending = descending and bool(field)

    def text(self, resource: Stored) -> str:
        """Return what a resource is sorted by.

        Raises:
            StateError: `UNKNOWN`: it has no such field.
        """
        found = sort_field(resource, self._field)
        if found is None:
            told = f'failed to sort: field "{self._field}" for element "{resource.id}" not found'
            raise StateError("UNKNOWN", told)
        return found

    def rank(self, resource: Stored) -> Rank:
        """Return where a resource stands.

        Raises:
            StateError: `UNKNOWN`: it has no such field.
        """
        name = (resource.namespace, resource.id)
        if not self._field:
            return Rank("", name, descending=False)
        return Rank(self.text(resource), name, descending=self._descending)


class Window:
    """What of a stream of changes lies within a range, which the first resources that come by settle.

    Args:
        offset: How many resources to leave out.
        limit: How many to show, 0 for all.
    """

    def __init__(self, offset: int, limit: int) -> None:
        self._offset = max(offset, 0)
        self._limit = max(limit, 0)
        self._skipped: list[Rank] = []
        self._shown: list[Rank] = []
        self._low: Rank | None = None
        self._high: Rank | None = None

    def shows(self, rank: Rank) -> bool:
        """Whether a change of the resource that stands there is shown."""
        if not self._limit and not self._offset:
            return True
        if self._low is not None:
            if self._high is None:
                return rank > self._low
            return self._low <= rank <= self._high
        if len(self._skipped) < self._offset:
            _put(self._skipped, rank)
            return False
        if _in(self._skipped, rank):
            return False
        if not self._limit:
            self._low = self._skipped[-1]
            return rank > self._low
        if len(self._shown) < self._limit:
            _put(self._shown, rank)
            return True
        self._low, self._high = self._shown[0], self._shown[-1]
        return self._low <= rank <= self._high


def _in(ranks: list[Rank], rank: Rank) -> bool:
    place = bisect_left(ranks, rank)
    return place < len(ranks) and ranks[place] == rank


def _put(ranks: list[Rank], rank: Rank) -> None:
    if not _in(ranks, rank):
        insort(ranks, rank)

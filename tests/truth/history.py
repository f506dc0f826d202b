"""What watchers were told, held against what happened.

The rules, by name, for whoever watches a type, or what matches a selector:

- reliable: after the contents, every change is told, none is left out;
- ordered: in the order in which the server made them;
- unique: none twice;
- resumable, bookmarkable: that holds on across breaks, and for a new watch that goes on after a bookmark;
- filtered: through a selector, a resource comes when it begins to match and goes when it stops;
- where the server forgot the history (and only there) differences stand for changes: at their end the watcher knows a
  state that the server had, not older than what it was told before;
- equal: in the end it knows what the server has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from omniherd import Event

State = dict[str, tuple[int, str]]


@dataclass(frozen=True)
class Change:
    """One change of one resource; `birth` tells one life of an id from the next."""

    kind: str
    id: str
    version: int
    birth: str


@dataclass(frozen=True)
class Told:
    """What a watcher was told: a change, or a mark (without id), and whether it was found by comparing."""

    change: Change
    old: int | None
    synthetic: bool

    @property
    def mark(self) -> bool:
        return not self.change.id


def told(event: Event) -> Told:
    """Return an event as it is written down."""
    resource = event.resource
    change = Change(event.kind.value, resource.id, resource.version or 0, str(resource.created))
    return Told(change, None if event.old is None else event.old.version, event.synthetic)


class Restarted:
    """Stands in what was told where a watcher gave up what it knew and began anew."""


class Truth:
    """The changes of a type, written down in the server as they were made."""

    def __init__(self) -> None:
        # Each with whether the resource mattered before and after, by selector.
        self._log: list[tuple[str, str, int, str, dict[str, str], dict[str, str] | None]] = []

    def note(
        self, kind: str, id_: str, version: int, birth: str, labels: dict[str, str], old: dict[str, str] | None
    ) -> None:
        """Write down a change; called under the server's lock."""
        self._log.append((kind, id_, version, birth, labels, old))

    def history(self, matches: Callable[[dict[str, str]], bool] = lambda labels: True) -> list[Change]:
        """Return the changes as they look through a selector."""
        found = []
        for kind, id_, version, birth, labels, old in tuple(self._log):
            now, before = matches(labels), old is not None and matches(old)
            if kind == "updated":
                seen = "updated" if now and before else "created" if now else "destroyed" if before else None
            else:
                seen = kind if now else None
            if seen is not None:
                found.append(Change(seen, id_, version, birth))
        return found


def states(history: Iterable[Change]) -> list[State]:
    """Return what exists before the first change and after each."""
    state: State = {}
    found = [dict(state)]
    for change in history:
        if change.kind == "destroyed":
            state.pop(change.id, None)
        else:
            state[change.id] = (change.version, change.birth)
        found.append(dict(state))
    return found


def violations(history: list[Change], seen: Iterable[Told | Restarted]) -> list[str]:
    """Return what is wrong with what a watcher was told; nothing when all is well.

    Args:
        history: What happened, as it looks through the watcher's selector.
        seen: What it was told.
    """
    after = states(history)
    position = {change: number for number, change in enumerate(history)}
    held: State = {}
    # Where in the history the watcher may stand; none before its first mark.
    stands: set[int] = set()
    floor = 0
    wrong = []
    for one in seen:
        if isinstance(one, Restarted):
            held, stands = {}, set()
            continue
        change = one.change
        if one.mark:
            stands = {number for number in range(floor, len(after)) if after[number] == held}
            if not stands:
                wrong.append(f"at a mark it knows {held}, which the server never had after change {floor}")
            else:
                floor = min(stands)
            continue
        wrong.extend(_against_what_it_knows(one, held))
        if not stands or one.synthetic:
            continue
        number = position.get(change)
        if number is None:
            wrong.append(f"told of {change}, which did not happen")
        elif number not in stands:
            where = min(stands)
            if number < where:
                wrong.append(f"told again, or too late, of {change}: number {number}, when it stood at {where}")
            else:
                wrong.append(f"not told of {history[where:number]} before {change}")
            stands, floor = {number + 1}, number + 1
        else:
            stands, floor = {number + 1}, number + 1
    if held != after[-1]:
        wrong.append(f"in the end it knows {held}, and the server has {after[-1]}")
    return wrong


def _against_what_it_knows(one: Told, held: State) -> list[str]:
    """Take a change into what a watcher knows; return how it contradicts that."""
    change, wrong = one.change, []
    known = held.get(change.id)
    if change.kind == "created":
        if known is not None:
            wrong.append(f"told that {change} began, which it knew as {known}")
        held[change.id] = (change.version, change.birth)
    elif change.kind == "updated":
        if known is None:
            wrong.append(f"told of an update of what it did not know: {change}")
        elif one.old is not None and one.old != known[0]:
            wrong.append(f"told that {change} was {one.old} before, which it knew as {known}")
        held[change.id] = (change.version, change.birth)
    elif change.kind == "destroyed":
        if known is None:
            wrong.append(f"told of the end of what it did not know: {change}")
        held.pop(change.id, None)
    return wrong

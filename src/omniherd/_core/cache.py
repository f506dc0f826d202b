"""What a cache holds: resources by id, and indexes over them. No I/O; safe to use from several threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from omniherd._core.watch import Event, EventKind
from omniherd.errors import InputError

R = TypeVar("R", bound="Resource[Any]")

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable, Mapping

    from omniherd._core.requests import Labels
    from omniherd.resource import Resource

    # What an index files a resource under: one value, several, or none.
    Index = Callable[[R], str | Iterable[str] | None]
    # Who is told of an error, and what it happened on.
    Report = Callable[[Exception, Event[R] | None], object]

__all__ = ["Index", "Report", "Shelf", "keys_of"]


class Shelf(Generic[R]):
    """Resources by id, and indexes over them.

    Args:
        indexes: What each index files a resource under.
        report: Who is told when an index fails on a resource; the resource is then not found by that index.

    Attributes:
        lock: Held while something changes; hold it to look and act in one.
    """

    def __init__(self, indexes: Mapping[str, Index[R]], report: Report[R]) -> None:
        self.lock = threading.RLock()
        self._report = report
        self._resources: dict[str, R] = {}
        self._indexes: dict[str, Index[R]] = dict(indexes)
        # Index, then value, then ids; and index, then id, then values.
        self._filed: dict[str, dict[str, set[str]]] = {name: {} for name in indexes}
        self._under: dict[str, dict[str, tuple[str, ...]]] = {name: {} for name in indexes}

    # --- reading --------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._resources)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._resources

    def get(self, id_: str) -> R | None:
        """Return a resource, None when it is not there."""
        return self._resources.get(id_)

    def list(self, labels: Labels = None) -> list[R]:
        """Return all resources, or those that match a selector, sorted by id.

        Raises:
            SelectorError: The selector does not parse.
        """
        from omniherd.selectors import Selector

        with self.lock:
            found = sorted(self._resources.items())
        if labels is None:
            return [resource for _, resource in found]
        selector = Selector.of(labels)
        return [resource for _, resource in found if selector.matches(resource.labels)]

    def by(self, index: str, value: str) -> builtins.list[R]:
        """Return the resources that an index files under a value, sorted by id.

        Raises:
            InputError: There is no such index.
        """
        with self.lock:
            ids = self._index(index).get(value, ())
            return [self._resources[id_] for id_ in sorted(ids)]

    def values(self, index: str) -> builtins.list[str]:
        """Return the values under which an index files anything, sorted.

        Raises:
            InputError: There is no such index.
        """
        with self.lock:
            return sorted(self._index(index))

    def _index(self, name: str) -> dict[str, set[str]]:
        found = self._filed.get(name)
        if found is None:
            known = ", ".join(sorted(self._filed)) or "none"
            raise InputError(f"the cache has no index {name!r}", hint=f"it has these: {known}")
        return found

    # --- writing --------------------------------------------------------------------------------------------------

    def add_index(self, name: str, index: Index[R]) -> None:
        """File everything under one more index.

        Raises:
            InputError: There is one of that name.
        """
        with self.lock:
            if name in self._indexes:
                raise InputError(f"the cache has an index {name!r} already")
            self._indexes[name] = index
            self._filed[name] = {}
            self._under[name] = {}
            for id_, resource in self._resources.items():
                self._file(name, id_, Event(EventKind.CREATED, resource))

    def apply(self, event: Event[R]) -> Event[R] | None:
        """Take an event of a watch; return it as readers of the shelf see it, None when it is no news to them.

        Updates carry what was on the shelf before, and so do destroyed ones, whose `resource` is the server's last
        state.
        """
        kind = event.kind
        if kind in {EventKind.BOOTSTRAPPED, EventKind.NOOP}:
            return None
        resource = event.resource
        id_ = resource.id
        with self.lock:
            resources = self._resources
            if kind == EventKind.DESTROYED:
                old = resources.pop(id_, None)
                if old is None:
                    return None
                for name in self._indexes:
                    self._remove(name, id_)
                return Event(kind, resource, old, event.bookmark, event.synthetic)
            old = resources.get(id_)
            resources[id_] = resource
            for name in self._indexes:
                self._file(name, id_, event)
        if old is None:
            if kind == EventKind.CREATED:
                return event
            return Event(EventKind.CREATED, resource, None, event.bookmark, event.synthetic)
        return Event(EventKind.UPDATED, resource, old, event.bookmark, event.synthetic)

    def _file(self, name: str, id_: str, event: Event[R]) -> None:
        self._remove(name, id_)
        try:
            values = keys_of(self._indexes[name](event.resource))
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises is told, and ends nothing
            self._report(error, event)
            return
        if not values:
            return
        self._under[name][id_] = values
        filed = self._filed[name]
        for value in values:
            filed.setdefault(value, set()).add(id_)

    def _remove(self, name: str, id_: str) -> None:
        # The index is not asked again: it may answer otherwise by now.
        filed = self._filed[name]
        for value in self._under[name].pop(id_, ()):
            ids = filed[value]
            ids.discard(id_)
            if not ids:
                del filed[value]


def keys_of(answer: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return what an index or a mapping answered as a tuple without repetitions."""
    if answer is None:
        return ()
    if isinstance(answer, str):
        return (answer,)
    return tuple(dict.fromkeys(answer))

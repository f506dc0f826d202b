"""Events of the State service as ResourceService tells them: sorted at first, counted, searched, in a window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd._core.pool import message
from omniherd.emulator.records import BOOTSTRAPPED, DESTROYED, ERRORED, NOOP, UNDEFINED, StateError, Stored
from omniherd.emulator.resources_api.shown import resource_json, searched
from omniherd.emulator.resources_api.windows import Sorting, Window

if TYPE_CHECKING:
    from omniherd.emulator.server import Send

__all__ = ["Changes"]

# Numbers of `omni.resources.EventType`: those of COSI, one higher.
_CREATED, _DESTROYED, _BOOTSTRAPPED = 1, 3, 4


class Changes:
    """The answers of one watch.

    Args:
        request: The `omni.resources.WatchRequest`.
        send: Where the answers go.
        node: The machine that is watched, as the caller named it; empty for none.
    """

    def __init__(self, request: Any, send: Send, node: str = "") -> None:
        self._send = send
        self._node = node
        self._single = bool(request.id)
        self._words = tuple(request.search_for)
        # What nobody sorts goes by its id.
        self._sorting = Sorting(request.sort_by_field or "id", descending=request.sort_descending)
        self._descending: bool = request.sort_descending
        self._window = Window(request.offset, request.limit)
        self._waiting: list[tuple[int, Stored, Stored | None]] | None = []
        self._total = 0
        self._sent: set[str] = set()

    async def take(self, data: bytes) -> None:
        """Take an answer of the State service's watch.

        Raises:
            StateError: `UNKNOWN`: the reader was too slow, or there is no such field to sort by.
        """
        answer: Any = message("cosi.resource.WatchResponse").FromString(data)
        for event in answer.event:
            kind = int(event.event_type)
            if kind == ERRORED:
                raise StateError("UNKNOWN", f"watch error: {event.error}")
            if kind == BOOTSTRAPPED:
                await self._begin()
            elif kind != NOOP:
                await self._change(kind, Stored.of(event.resource), event)

    async def _change(self, kind: int, resource: Stored, event: Any) -> None:
        if kind == DESTROYED and resource.version == UNDEFINED:
            # It was not there when the watch began.
            await self._begin()
            return
        change = (kind + 1, resource, Stored.of(event.old) if event.HasField("old") else None)
        if self._waiting is None:
            await self._tell(*change)
            return
        self._waiting.append(change)
        if self._single:
            await self._begin()

    async def _begin(self) -> None:
        """Tell what was there, once."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        # Go's sort looks at the second element first, and tells its name when there is no such field.
        ranked = {id(change): self._sorting.rank(change[1]) for change in [*waiting[1:2], *waiting]}
        waiting.sort(key=lambda change: ranked[id(change)])
        for change in waiting:
            await self._tell(*change)
        await self._answer(_BOOTSTRAPPED)

    async def _tell(self, kind: int, resource: Stored, old: Stored | None) -> None:
        if self._words:
            found = self._reconciled(kind, resource)
            if found is None:
                return
            old = old if found == kind else None
            kind = found
        if kind in {_CREATED, _DESTROYED}:
            self._total += 1 if kind == _CREATED else -1
        if self._window.shows(self._sorting.rank(resource)):
            await self._answer(kind, resource, old)

    def _reconciled(self, kind: int, resource: Stored) -> int | None:
        """Return what an event is to somebody who searches; None for nothing."""
        sent = resource.id in self._sent
        if kind != _DESTROYED and searched(resource, self._words):
            self._sent.add(resource.id)
            return kind if sent else _CREATED
        self._sent.discard(resource.id)
        return _DESTROYED if sent else None

    async def _answer(self, kind: int, resource: Stored | None = None, old: Stored | None = None) -> None:
        answer: Any = message("omni.resources.WatchResponse")(total=self._total)
        answer.event.event_type = kind
        if resource is not None:
            answer.event.resource = resource_json(resource, self._node)
            answer.sort_field_data = self._sorting.text(resource)
            answer.sort_descending = self._descending
        if old is not None:
            answer.event.old = resource_json(old, self._node)
        await self._send(answer.SerializeToString())

"""What the server does by itself when resources change. It all happens at once, inside the change that caused it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from omniherd.emulator.forms import TYPES
from omniherd.emulator.records import DESTROYED, TEARING_DOWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.records import Event, Stored
    from omniherd.emulator.store import Store

__all__ = ["Controllers"]

USER_MANAGED = frozenset(info.type for info in TYPES.values() if info.user_managed)


class Controllers:
    """The controllers, fed with every change in order.

    Args:
        store: What they watch and change.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: deque[Event] = deque()
        self._running = False
        self._handlers: list[Callable[[Event], None]] = [self._reap]
        store.observe(self._take)

    def _take(self, event: Event) -> None:
        # A controller's own changes come here while it runs: they wait until it is done, so each sees one at a time.
        self._queue.append(event)
        if self._running:
            return
        self._running = True
        try:
            while self._queue:
                current = self._queue.popleft()
                for handler in self._handlers:
                    handler(current)
        finally:
            self._running = False

    def _reap(self, event: Event) -> None:
        """Destroy what users tore down, once nothing holds it."""
        resource = event.resource
        if event.kind == DESTROYED or resource is None:
            return
        if resource.type in USER_MANAGED and _finished(resource):
            current = self._store.find(resource.namespace, resource.type, resource.id)
            if current is not None and _finished(current):
                self._store.remove(resource.namespace, resource.type, resource.id)


def _finished(resource: Stored) -> bool:
    return resource.phase == TEARING_DOWN and not resource.owner and not resource.finalizers

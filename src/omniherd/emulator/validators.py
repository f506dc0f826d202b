"""What may be written: the server's validators, by type, with their texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omniherd.emulator.access import Principal
    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Store

__all__ = ["Validators"]


class Validators:
    """All validators.

    Args:
        store: The state that they look things up in.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def judge(self, verb: str, current: Stored | None, resource: Stored, principal: Principal) -> list[str]:
        """Return what is wrong with a write, one text for each fault.

        Args:
            verb: `create`, `update`, `teardown` or `destroy`.
            current: What is stored; None when nothing is.
            resource: What is to be stored; for the last two verbs what is stored.
            principal: The caller.
        """
        return []

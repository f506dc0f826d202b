"""What a wait for several resources has seen, and what is missing still. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omniherd.conditions import Condition
    from omniherd.resource import Resource

__all__ = ["WaitingState"]

R = TypeVar("R", bound="Resource[Any]")


class WaitingState(Generic[R]):
    """The state of a wait.

    A resource that fulfilled the condition once and does not any more is missing again: in the end all hold together.

    Args:
        condition: What is waited for.
        ids: The resources.

    Attributes:
        seen: The last state of each resource, None for none.
        missing: What is missing, by id; only those that something is missing of, in the order of `ids`.
    """

    def __init__(self, condition: Condition, ids: Sequence[str]) -> None:
        self.condition = condition
        self.seen: dict[str, R | None] = dict.fromkeys(ids)
        self.missing: dict[str, list[str]] = {}
        self._told: dict[str, list[str]] | None = None

    def take(self, id: str, resource: R | None) -> None:  # noqa: A002 - the field's name for it
        """Take note of a resource's state; of resources that nobody waits for as well."""
        if id in self.seen:
            self.seen[id] = resource

    def judge(self) -> bool:
        """Judge all; return whether there is news since the last time."""
        judged = ((id_, self.condition.missing(resource)) for id_, resource in self.seen.items())
        self.missing = {id_: reasons for id_, reasons in judged if reasons}
        news = self.missing != self._told
        self._told = dict(self.missing)
        return news

    @property
    def text(self) -> str:
        """What is missing, as one line."""
        return "; ".join(f"{id_}: {', '.join(reasons)}" for id_, reasons in self.missing.items())

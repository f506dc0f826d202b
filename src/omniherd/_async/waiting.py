"""Waiting for named conditions, of one resource or several."""
# ruff: noqa: ASYNC109 - a timeout here is a gRPC deadline too

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, TypeVar

from omniherd._async.reading import WAIT_TIMEOUT, AsyncReading
from omniherd._core.requests import check_id
from omniherd._core.waiting import WaitingState
from omniherd._core.watch import EventKind
from omniherd.errors import DeadlineExceeded, Unimplemented, WaitTimeout
from omniherd.resource import Resource, resource_class

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping

    from omniherd.conditions import Condition

__all__ = ["AsyncWaiting"]

R = TypeVar("R", bound="Resource[Any]")


class AsyncWaiting(AsyncReading):
    """What waits for conditions that have names."""

    async def wait_until(
        self,
        kind: type[Resource[Any]] | str,
        ids: str | Iterable[str],
        condition: str | Condition = "ready",
        timeout: float | None = WAIT_TIMEOUT,
        *,
        namespace: str | None = None,
        report: Callable[[Mapping[str, list[str]]], None] | None = None,
    ) -> dict[str, Resource[Any] | None]:
        """Wait until resources fulfil a condition, all at the same time.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            ids: One id, or several.
            condition: The name of one of `omniherd.conditions`: `ready`, `running`, `deleted`, `jsonpath={.spec.x}=y`
                and others, depending on the type.
            timeout: Seconds; None to wait for ever.
            namespace: The resources' namespace, by default the one of the type.
            report: Is told what is missing, by id, whenever that changes.

        Returns:
            The resources that told, by id: for a Cluster its ClusterStatus; None for what is deleted.

        Raises:
            InputError: The type has no such condition.
            WaitTimeout: It did not come true in time. `details["missing"]` says what is missing, by id;
                `details["last"]` has the last states.
            APIError: The resources cannot be read.

        Example:
            >>> await omni.wait_until("clusters", ["prod", "staging"], "ready", timeout=600)
        """
        from omniherd import conditions

        cls = resource_class(kind)
        named = conditions.condition(cls.type_name, condition) if isinstance(condition, str) else condition
        names = [ids] if isinstance(ids, str) else list(dict.fromkeys(ids))
        for name in names:
            check_id(name)
        own = named.kind == cls.type_name
        watched = cls if own else resource_class(named.kind)
        where = namespace if own and namespace is not None else watched.default_namespace
        waiting: WaitingState[Resource[Any]] = WaitingState(named, names)
        if not names:
            return {}
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            async with contextlib.aclosing(self._seen(watched, names, where, deadline)) as states:
                async for changes in states:
                    for id_, resource in changes.items():
                        waiting.take(id_, resource)
                    if waiting.judge() and report is not None:
                        report(waiting.missing)
                    if not waiting.missing:
                        return waiting.seen
        except DeadlineExceeded:
            waiting.judge()
        raise WaitTimeout(
            f"{cls.type_name} not {named.name} within {timeout:g} s: {waiting.text}",
            resource=cls.type_name,
            details={"missing": waiting.missing, "last": waiting.seen},
        )

    async def _seen(
        self, cls: type[R], names: list[str], where: str, deadline: float | None
    ) -> AsyncGenerator[Mapping[str, R | None], None]:
        """Give the states of resources: first what is there, then what changes.

        Raises:
            DeadlineExceeded: The deadline passed.
        """
        one = names[0] if len(names) == 1 else None
        found: dict[str, R | None] = {}
        caught_up = False
        watch = self._changes(cls, where, one, deadline)
        try:
            async for event in watch:
                if event.kind == EventKind.BOOTSTRAPPED:
                    caught_up = True
                    yield found
                    continue
                state = None if event.kind == EventKind.DESTROYED else event.resource
                # While contents come, what has not come yet may still: nothing can be judged.
                if caught_up:
                    yield {event.resource.id: state}
                else:
                    found[event.resource.id] = state
        except Unimplemented:
            # Types that are made up for each reader cannot be watched.
            pass
        finally:
            await watch.close()
        repetition = 0
        while True:
            there = {resource.id: resource for resource in await self.list(cls, namespace=where)}
            yield {name: there.get(name) for name in names}
            await self._pause(repetition, deadline)
            repetition += 1

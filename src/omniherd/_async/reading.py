"""The verbs that read: get, list, watch and wait."""
# ruff: noqa: A002, ASYNC109 - `id` is the field's name for it; a timeout here is a gRPC deadline too

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from omniherd._async.channel import DEFAULT, AsyncChannel, Timeout
from omniherd._async.listing import read_kind
from omniherd._async.watch import AsyncWatch
from omniherd._backend import aio as backend
from omniherd._core.decoding import decode
from omniherd._core.requests import check_id, label_queries, list_options, resource_text
from omniherd._core.sorting import Sort, sorted_resources
from omniherd._core.watch import EventKind, OnExpired, WatchState
from omniherd.errors import (
    DeadlineExceeded,
    NotFound,
    Unimplemented,
    WaitTimeout,
)
from omniherd.resource import Resource, resource_class

if TYPE_CHECKING:
    import builtins
    from collections.abc import AsyncGenerator, Callable

    from omniherd._core.requests import Labels

__all__ = ["LIST_TIMEOUT", "WAIT_TIMEOUT", "AsyncReading"]

R = TypeVar("R", bound="Resource[Any]")

_STATE = "/cosi.resource.State/"
# Lists of a large fleet take longer than one answer, waits for finalizers longer still.
LIST_TIMEOUT: Final = 300.0
WAIT_TIMEOUT: Final = 300.0


class AsyncReading:
    """What reads resources, over one channel.

    Attributes:
        channel: What calls go over.
    """

    channel: AsyncChannel

    @overload
    async def get(self, kind: type[R], id: str, *, namespace: str | None = None, timeout: Timeout = DEFAULT) -> R: ...
    @overload
    async def get(
        self, kind: str, id: str, *, namespace: str | None = None, timeout: Timeout = DEFAULT
    ) -> Resource[Any]: ...
    async def get(
        self, kind: type[R] | str, id: str, *, namespace: str | None = None, timeout: Timeout = DEFAULT
    ) -> R | Resource[Any]:
        """Return one resource.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            id: Its id.
            namespace: Its namespace, by default the one of the type.
            timeout: Seconds, instead of the client's.

        Raises:
            NotFound: There is none of that id.
            PermissionDenied: The identity may not read the type, or the server does not know it.
            APIError: Otherwise refused, or not got through.
        """
        from omniherd.wire import cosi_resource

        cls = resource_class(kind)
        check_id(id)
        where = cls.default_namespace if namespace is None else namespace
        request = cosi_resource.GetRequest(namespace=where, type=cls.type_name, id=id)
        data = await self.channel.unary(
            _STATE + "Get",
            request.SerializeToString(),
            timeout=timeout,
            safe=True,
            resource=resource_text(where, cls.type_name, id),
        )
        return cls.from_proto(decode(cosi_resource.GetResponse.FromString, data).resource)

    @overload
    async def list(
        self,
        kind: type[R],
        *,
        namespace: str | None = None,
        labels: Labels = None,
        id_regexp: str | None = None,
        sort: Sort | None = None,
        timeout: float | None = LIST_TIMEOUT,
    ) -> builtins.list[R]: ...
    @overload
    async def list(
        self,
        kind: str,
        *,
        namespace: str | None = None,
        labels: Labels = None,
        id_regexp: str | None = None,
        sort: Sort | None = None,
        timeout: float | None = LIST_TIMEOUT,
    ) -> builtins.list[Resource[Any]]: ...
    async def list(
        self,
        kind: type[R] | str,
        *,
        namespace: str | None = None,
        labels: Labels = None,
        id_regexp: str | None = None,
        sort: Sort | None = None,
        timeout: float | None = LIST_TIMEOUT,
    ) -> builtins.list[R] | builtins.list[Resource[Any]]:
        """Return the resources of a type, all or those that match.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            namespace: Their namespace, by default the one of the type.
            labels: A selector: text such as `env in (prod, staging), !retired`, a mapping of labels to values, or one
                built with `omniherd.selectors`.
            id_regexp: An RE2 regular expression that is found somewhere in the id.
            sort: What to sort by: an attribute path (`created`, `spec.kubernetes_version`; a leading `-` turns the
                order around; what has no value comes last) or a key function. The server's order, by id, by default.
            timeout: Seconds for the whole list.

        Raises:
            SelectorError: The selector does not parse.
            InputError: There is nothing of the name to sort by.
            PermissionDenied: The identity may not read the type, or the server does not know it.
            APIError: Otherwise refused, or not got through.
        """
        cls = resource_class(kind)
        where = cls.default_namespace if namespace is None else namespace
        found = await read_kind(self.channel, cls, where, options=list_options(labels, id_regexp), timeout=timeout)
        return found if sort is None else sorted_resources(found, sort)

    @overload
    def watch(
        self,
        kind: type[R],
        id: str | None = None,
        *,
        namespace: str | None = None,
        labels: Labels = None,
        id_regexp: str | None = None,
        bootstrap: bool | None = None,
        tail: int = 0,
        bookmark: bytes | None = None,
        aggregated: bool = True,
        on_expired: OnExpired = "raise",
        resume: bool = True,
        max_silence: float | None = None,
    ) -> AsyncWatch[R]: ...
    @overload
    def watch(
        self,
        kind: str,
        id: str | None = None,
        *,
        namespace: str | None = None,
        labels: Labels = None,
        id_regexp: str | None = None,
        bootstrap: bool | None = None,
        tail: int = 0,
        bookmark: bytes | None = None,
        aggregated: bool = True,
        on_expired: OnExpired = "raise",
        resume: bool = True,
        max_silence: float | None = None,
    ) -> AsyncWatch[Resource[Any]]: ...
    def watch(
        self,
        kind: type[R] | str,
        id: str | None = None,
        *,
        namespace: str | None = None,
        labels: Labels = None,
        id_regexp: str | None = None,
        bootstrap: bool | None = None,
        tail: int = 0,
        bookmark: bytes | None = None,
        aggregated: bool = True,
        on_expired: OnExpired = "raise",
        resume: bool = True,
        max_silence: float | None = None,
    ) -> AsyncWatch[R] | AsyncWatch[Resource[Any]]:
        """Follow one resource or a kind: what exists, then a `bootstrapped` event, then what happens.

        A watch survives lost connections; a stream that the server ends counts as one. It goes on after the last
        bookmark, so that no event is lost and none comes twice.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            id: One resource, which need not exist yet; by default the whole kind.
            namespace: Its namespace, by default the one of the type.
            labels: A selector, for a kind. What stops matching comes as destroyed.
            id_regexp: A regular expression on ids, for a kind.
            bootstrap: Whether to begin with what exists; by default unless `tail` or `bookmark` are given. Without any
                of them the first event is a `noop`, which says that the watch stands.
            tail: Begin with so many past events.
            bookmark: Begin after the event that bore this bookmark.
            aggregated: Let the server put several events in one message, which is several times faster.
            on_expired: When the server has forgotten the bookmark: `raise` WatchExpired, or `restart` with the contents
                and report how they differ from what was seen, by events marked `synthetic`. Restarting keeps the
                resources in memory.
            resume: Whether to go on after a break at all.
            max_silence: Seconds without a message after which the stream is opened anew, for proxies that keep a
                connection alive whose other end is gone. By default only dead connections are noticed, within 80 s.

        Returns:
            An iterator over `Event`; close it, or use it as a context manager, or just stop iterating.

        Raises:
            InputError: The arguments do not go together.
            WatchExpired: While iterating: the bookmark is not known to the server any more.
            WatchError: While iterating, without `resume`: the server dropped events because the reader was slow.
            APIError: While iterating: refused, or the first connection did not come about.
        """
        cls = resource_class(kind)
        if id is not None:
            check_id(id)
        state = WatchState(
            cls,
            cls.default_namespace if namespace is None else namespace,
            id,
            queries=label_queries(labels),
            id_regexp=id_regexp,
            bootstrap=bootstrap,
            tail=tail,
            bookmark=bookmark,
            aggregated=aggregated,
            on_expired=on_expired,
            resume=resume,
            max_silence=max_silence,
            retry=self.channel.retry,
        )
        return AsyncWatch(self.channel, state)

    @overload
    async def wait_for(
        self,
        kind: type[R],
        id: str,
        predicate: Callable[[R], bool] | None = None,
        timeout: float | None = WAIT_TIMEOUT,
        *,
        namespace: str | None = None,
    ) -> R: ...
    @overload
    async def wait_for(
        self,
        kind: str,
        id: str,
        predicate: Callable[[Resource[Any]], bool] | None = None,
        timeout: float | None = WAIT_TIMEOUT,
        *,
        namespace: str | None = None,
    ) -> Resource[Any]: ...
    async def wait_for(
        self,
        kind: type[R] | str,
        id: str,
        predicate: Callable[[Any], bool] | None = None,
        timeout: float | None = WAIT_TIMEOUT,
        *,
        namespace: str | None = None,
    ) -> R | Resource[Any]:
        """Wait until a resource exists and fulfils a condition; return it.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            id: Its id.
            predicate: The condition; by default that it exists. It is asked whenever the resource changes.
            timeout: Seconds; None to wait for ever.
            namespace: Its namespace, by default the one of the type.

        Raises:
            WaitTimeout: It did not come true in time; `details["last"]` is the last state seen, None if there was none.
            APIError: The resource cannot be read.
        """
        cls = resource_class(kind)
        last: Any = None
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            async with contextlib.aclosing(self._states(cls, id, namespace, deadline)) as states:
                async for resource in states:
                    last = resource
                    if resource is not None and (predicate is None or predicate(resource)):
                        return resource
        except DeadlineExceeded:
            pass
        what = resource_text(cls.default_namespace if namespace is None else namespace, cls.type_name, id)
        seen = "it does not exist" if last is None else f"it is at version {last.version}, {last.phase}"
        raise WaitTimeout(
            f"{what} did not become what was waited for within {timeout:g} s: {seen}",
            resource=what,
            details={"last": last},
        )

    async def wait_gone(
        self,
        kind: type[Resource[Any]] | str,
        id: str,
        timeout: float | None = WAIT_TIMEOUT,
        *,
        namespace: str | None = None,
    ) -> None:
        """Wait until a resource does not exist.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            id: Its id.
            timeout: Seconds; None to wait for ever.
            namespace: Its namespace, by default the one of the type.

        Raises:
            WaitTimeout: It still exists; `details["last"]` is the last state seen.
            APIError: The resource cannot be read.
        """
        cls = resource_class(kind)
        last: Any = None
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            async with contextlib.aclosing(self._states(cls, id, namespace, deadline)) as states:
                async for resource in states:
                    last = resource
                    if resource is None:
                        return
        except DeadlineExceeded:
            pass
        what = resource_text(cls.default_namespace if namespace is None else namespace, cls.type_name, id)
        raise WaitTimeout(f"{what} still exists after {timeout:g} s", resource=what, details={"last": last})

    async def _states(
        self, cls: type[R], id: str, namespace: str | None, deadline: float | None
    ) -> AsyncGenerator[R | None, None]:
        """Give the present state of a resource (None: it does not exist), then each new one.

        Raises:
            DeadlineExceeded: The deadline passed.
        """
        where = cls.default_namespace if namespace is None else namespace
        check_id(id)
        seen = False
        watch = self._changes(cls, where, id, deadline)
        try:
            async for event in watch:
                if event.kind == EventKind.BOOTSTRAPPED:
                    if not seen:
                        yield None
                    continue
                seen = True
                yield None if event.kind == EventKind.DESTROYED else event.resource
        except Unimplemented:
            # Types that are made up for each reader cannot be watched.
            pass
        finally:
            await watch.close()
        repetition = 0
        while True:
            try:
                current = await self.get(cls, id, namespace=where)
            except NotFound:
                yield None
            else:
                yield current
            await self._pause(repetition, deadline)
            repetition += 1

    def _changes(self, cls: type[R], where: str, id: str | None, deadline: float | None) -> AsyncWatch[R]:
        """Return a watch that goes on until a deadline, whatever the server forgets."""
        state = WatchState(cls, where, id, on_expired="restart", retry=self.channel.retry)
        return AsyncWatch(self.channel, state, deadline=deadline)

    async def _pause(self, repetition: int, deadline: float | None) -> None:
        """Sleep before what cannot be watched is read again.

        Raises:
            DeadlineExceeded: The deadline passed.
        """
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise DeadlineExceeded("the time is over")
        delay = self.channel.retry.delay(repetition)
        await backend.sleep(delay if left is None else min(delay, left))

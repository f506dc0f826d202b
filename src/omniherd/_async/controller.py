"""A controller: a function that is called for every id about which something changed, until the world is in line."""
# ruff: noqa: A002 - `id` is the field's name for it

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, TypeVar, overload

from omniherd._backend import aio as backend
from omniherd._core.controller import CONTROLLER_RETRY, Source, check_concurrency
from omniherd._core.queue import WorkQueue
from omniherd._core.watch import EventKind
from omniherd.errors import InputError
from omniherd.resource import resource_class

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Self

    from omniherd._async.cache import AsyncCache
    from omniherd._async.client import AsyncOmni
    from omniherd._core.controller import Key
    from omniherd._core.requests import Labels
    from omniherd._core.retry import RetryPolicy
    from omniherd._core.watch import Event
    from omniherd.resource import Resource

__all__ = ["AsyncController", "AsyncRun"]

R = TypeVar("R", bound="Resource[Any]")

_log = logging.getLogger("omniherd.controller")


class AsyncController:
    """A function and what it is to be called for. Made by `omniherd.controller`.

    Args:
        function: Called with a run and an id; see `omniherd.controller`, also for the options.
        kind: The type whose ids it is called with.
    """

    def __init__(
        self,
        function: Callable[[AsyncRun, str], Awaitable[float | None]],
        kind: type[Resource[Any]] | str,
        *,
        namespace: str | None = None,
        labels: Labels = None,
        id_regexp: str | None = None,
        concurrency: int = 1,
        retry: RetryPolicy = CONTROLLER_RETRY,
        grace: float = 30.0,
        on_error: Callable[[Exception, str], object] | None = None,
    ) -> None:
        self.function = function
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self.concurrency = check_concurrency(concurrency)
        self.retry = retry
        self.grace = grace
        self.on_error = on_error
        self.sources = [Source(resource_class(kind), None, namespace, labels, id_regexp)]
        self._runs: list[AsyncRun] = []
        self._stopped_before = False

    def watch(
        self,
        kind: type[R] | str,
        key: Key,
        *,
        namespace: str | None = None,
        labels: Labels = None,
        id_regexp: str | None = None,
    ) -> Self:
        """Call the function for what concerns resources of another type, too.

        Args:
            kind: The other type.
            key: Returns the id, or the ids, that a resource of it concerns; None for none. When a resource changes,
                those that it concerned before are called for as well.
            namespace: Their namespace, by default the one of the type.
            labels: A selector.
            id_regexp: A regular expression on ids.

        Raises:
            InputError: The type is watched already.
            UnknownType: There is no type of that name.
        """
        cls = resource_class(kind)
        if any(source.kind is cls for source in self.sources):
            raise InputError(f"the controller {self.name} watches {cls.type_name} already")
        self.sources.append(Source(cls, key, namespace, labels, id_regexp))
        return self

    async def run(self, omni: AsyncOmni) -> None:
        """Work until `stop` is called; then let the calls that run come to their end.

        Args:
            omni: The client.

        Raises:
            APIError: A type cannot be watched, or the first connection did not come about.
            OmniError: The client was closed.
        """
        run = AsyncRun(omni, self)
        self._runs.append(run)
        if self._stopped_before:
            self._stopped_before = False
            run.stop()
        try:
            await run.serve()
        finally:
            self._runs.remove(run)

    def stop(self) -> None:
        """End `run`: no new calls begin. May be called from a signal handler.

        When nothing runs the next run ends as soon as it begins: whoever starts one in a thread or task and stops it at
        once is not left with one that goes on for ever.
        """
        runs = tuple(self._runs)
        self._stopped_before = not runs
        for run in runs:
            run.stop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} of {', '.join(source.kind.type_name for source in self.sources)}>"


class AsyncRun:
    """What a controller's function works with: the client, and what is known of the types that it watches.

    Attributes:
        omni: The client, for writing.
    """

    def __init__(self, omni: AsyncOmni, controller: AsyncController) -> None:
        self.omni = omni
        self._controller = controller
        self._queue = WorkQueue(controller.retry)
        self._bell = backend.Bell()
        self._caches: dict[str, AsyncCache[Any]] = {}
        self._stopping = False

    # --- for the function -----------------------------------------------------------------------------------------

    @overload
    def cache(self, kind: type[R]) -> AsyncCache[R]: ...
    @overload
    def cache(self, kind: str) -> AsyncCache[Resource[Any]]: ...
    def cache(self, kind: type[Any] | str) -> AsyncCache[Any]:
        """Return the cache of a type that the controller watches.

        Raises:
            InputError: It does not watch that type.
        """
        name = resource_class(kind).type_name
        found = self._caches.get(name)
        if found is None:
            raise InputError(
                f"the controller {self._controller.name} does not watch {name}", hint="let it with `watch`"
            )
        return found

    @overload
    def get(self, kind: type[R], id: str) -> R | None: ...
    @overload
    def get(self, kind: str, id: str) -> Resource[Any] | None: ...
    def get(self, kind: type[Any] | str, id: str) -> Any:
        """Return a resource as it is known here, None when it does not exist. Take a `copy()` before you change it.

        Raises:
            InputError: The controller does not watch that type.
        """
        return self.cache(kind).get(id)

    @property
    def synced(self) -> bool:
        """Whether everything that is known here is current, as far as anybody can know."""
        return all(cache.synced for cache in self._caches.values())

    @property
    def stopping(self) -> bool:
        """Whether the controller is to stop; long work should look at it."""
        return self._stopping

    # --- running --------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin no new calls."""
        self._stopping = True
        self._bell.ring()
        for cache in self._caches.values():
            cache.wake()

    async def serve(self) -> None:
        """Fill the caches, then work until it is stopped; called by `AsyncController.run`."""
        controller = self._controller
        jobs: list[backend.Job] = []
        try:
            caches: dict[str, AsyncCache[Any]] = {}
            for source in controller.sources:
                caches[source.kind.type_name] = cache = self.omni.cache(
                    source.kind, namespace=source.namespace, labels=source.labels, id_regexp=source.id_regexp
                )
                cache.subscribe(self._listener(source))
            self._caches = caches
            for cache in caches.values():
                await cache.start(timeout=0)
            for cache in caches.values():
                await cache.wait_until(lambda held: self._stopping or held.complete, None)
            jobs.extend(
                backend.Job(self._work, f"omniherd-{controller.name}-{number}")
                for number in range(controller.concurrency)
            )
            # Caches end by themselves only with their client, all at once.
            await self.cache(controller.sources[0].kind).wait_until(lambda _held: self._stopping, None)
        finally:
            self.stop()
            await self._end(jobs)

    async def _end(self, jobs: list[backend.Job]) -> None:
        deadline = time.monotonic() + self._controller.grace
        try:
            for job in jobs:
                await job.join(max(0.0, deadline - time.monotonic()))
        finally:
            for job in jobs:
                if not job.done:
                    await job.cancel()
            for cache in self._caches.values():
                await cache.close()

    def _listener(self, source: Source) -> Callable[[Event[Any]], None]:
        def listen(event: Event[Any]) -> None:
            if event.kind == EventKind.BOOTSTRAPPED:
                return
            woken = False
            for key in source.keys(event):
                woken = self._queue.add(key) or woken
            if woken:
                self._bell.ring()

        return listen

    async def _work(self) -> None:
        queue, controller = self._queue, self._controller
        while not self._stopping:
            seen = self._bell.count
            key = queue.take(time.monotonic())
            if key is None:
                await self._bell.wait(seen, queue.patience(time.monotonic()))
                continue
            try:
                again: float | None = await backend.call(controller.function, self, key)
                queue.succeeded(key)
                if again is not None:
                    queue.add_at(key, time.monotonic() + again)
            except Exception as error:  # noqa: BLE001 - whatever a user's function raises is told, and tried again
                self._report(error, key, queue.failed(key, time.monotonic()))
            finally:
                if queue.done(key) or queue.patience(time.monotonic()) is not None:
                    self._bell.ring()

    def _report(self, error: Exception, key: str, delay: float) -> None:
        name = self._controller.name
        if self._controller.on_error is None:
            _log.error("the controller %s failed on %s, and tries again in %.1f s", name, key, delay, exc_info=error)
            return
        try:
            self._controller.on_error(error, key)
        except Exception:  # noqa: BLE001 - the same holds for who is told
            _log.exception("on_error of the controller %s failed", name)

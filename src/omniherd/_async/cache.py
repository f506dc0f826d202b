"""A cache: what a watch tells, kept, so that reading costs nothing; and who is told of changes."""
# ruff: noqa: A002, ASYNC109 - `id` is the field's name for it; a timeout here is a gRPC deadline too

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from omniherd._async.watch import AsyncWatch
from omniherd._backend import aio as backend
from omniherd._core.cache import Shelf
from omniherd._core.retry import RetryPolicy
from omniherd._core.watch import Event, EventKind
from omniherd.errors import OmniError, WaitTimeout

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from omniherd._async.channel import AsyncChannel
    from omniherd._core.cache import Index, Report
    from omniherd._core.requests import Labels
    from omniherd._core.watch import WatchState
    from omniherd.resource import Resource

__all__ = ["AsyncCache", "AsyncSubscription"]

R = TypeVar("R", bound="Resource[Any]")
T = TypeVar("T")

_log = logging.getLogger("omniherd.cache")

# How long the first contents may take, and the handler that runs when the cache is closed.
_START_TIMEOUT: Final = 300.0
_GRACE: Final = 5.0
# What ended the watch may need a person: a role, a key. It is tried again, not often.
_AGAIN = RetryPolicy(initial=1.0, maximum=60.0)


class AsyncSubscription(Generic[R]):
    """A handler that is told of changes. Obtained from `AsyncCache.subscribe`."""

    def __init__(self, cache: AsyncCache[R], handler: Callable[[Event[R]], object]) -> None:
        self._cache = cache
        self.handler = handler
        self.active = False

    def cancel(self) -> None:
        """Tell the handler nothing more; a call that runs goes on."""
        self.active = False
        self._cache.forget(self)


class AsyncCache(Generic[R]):
    """The resources of a type, or those that match, as the server has them; kept current by a watch.

    Made by `AsyncOmni.cache`; use it as a context manager. Reading from it asks no server. Resources in it are shared:
    take a `copy()` before you change one.

    A cache goes on for ever. What a watch cannot bear (a role or a key that was taken away) ends it only before it was
    complete for the first time; after that it is tried again, `error` says what is wrong and `stale_since` since when.

    Example:
        >>> async with omni.cache(Cluster) as clusters:
        ...     print(len(clusters), clusters.get("prod").spec.kubernetes_version)
    """

    def __init__(
        self,
        channel: AsyncChannel,
        state: WatchState[R],
        *,
        indexes: Mapping[str, Index[R]] | None = None,
        on_error: Report[R] | None = None,
    ) -> None:
        self._channel = channel
        self._state = state
        self._on_error = on_error
        self._shelf: Shelf[R] = Shelf(indexes or {}, self._report)
        self._bell = backend.Bell()
        self._watch = AsyncWatch(channel, state, noticed=self._bell.ring)
        self._subscriptions: list[AsyncSubscription[R]] = []
        # What is to be told: to one, or to all that are active by then.
        self._news: deque[tuple[AsyncSubscription[R] | None, list[Event[R]]]] = deque()
        self._jobs: list[backend.Job] = []
        self._complete = False
        self._closed = False
        self._error: OmniError | None = None
        self._failures = 0

    # --- how it stands --------------------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether everything that existed was in it once; from then on it is at worst out of date."""
        return self._complete

    @property
    def synced(self) -> bool:
        """Whether it holds what the server has, as far as anybody can know: it is complete and a stream stands."""
        return self._complete and not self._closed and self._watch.stale_since is None

    @property
    def stale_since(self) -> datetime | None:
        """Since when something may be missing in it, UTC; None while it is `synced`.

        When a connection broke, this is the last moment at which it was certainly whole: up to 80 seconds before the
        break was noticed.
        """
        return self._watch.stale_since

    @property
    def error(self) -> OmniError | None:
        """What keeps it from being current, if it is more than a lost connection; None when all is well."""
        return None if self.synced else self._error

    @property
    def closed(self) -> bool:
        """Whether it is not kept current any more."""
        return self._closed

    @property
    def pending(self) -> int:
        """How many events wait for handlers: many when handlers are slower than the events come."""
        with self._shelf.lock:
            return sum(len(events) for _, events in self._news)

    # --- reading --------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._shelf)

    def __contains__(self, id: object) -> bool:
        return id in self._shelf

    def __iter__(self) -> Iterator[R]:
        return iter(self._shelf.list())

    def get(self, id: str) -> R | None:
        """Return a resource by its id, None when it does not exist."""
        return self._shelf.get(id)

    def list(self, labels: Labels = None) -> builtins.list[R]:
        """Return all resources, or those that match a selector, sorted by id.

        Args:
            labels: A selector as `AsyncOmni.list` takes it.

        Raises:
            SelectorError: The selector does not parse.
        """
        return self._shelf.list(labels)

    def by(self, index: str, value: str) -> builtins.list[R]:
        """Return the resources that an index files under a value, sorted by id.

        Args:
            index: The index, by the name that it was given.
            value: The value.

        Raises:
            InputError: There is no such index.
        """
        return self._shelf.by(index, value)

    def values(self, index: str) -> builtins.list[str]:
        """Return the values under which an index files anything, sorted.

        Args:
            index: The index, by the name that it was given.

        Raises:
            InputError: There is no such index.
        """
        return self._shelf.values(index)

    def add_index(self, name: str, index: Index[R]) -> None:
        """File the resources under one more index.

        Args:
            name: Its name.
            index: What it files a resource under: a text, several, or None.

        Raises:
            InputError: There is one of that name.
        """
        self._shelf.add_index(name, index)

    async def wait_until(
        self, condition: Callable[[AsyncCache[R]], T | None], timeout: float | None = _START_TIMEOUT
    ) -> T:
        """Wait until something is true of the cache; return what the condition returned.

        Args:
            condition: Asked now and after each change, with the cache. It must not block.
            timeout: Seconds; None to wait for ever.

        Raises:
            WaitTimeout: It did not come true in time.
            OmniError: The cache cannot become complete, or was closed.

        Example:
            >>> await clusters.wait_until(lambda cache: "prod" in cache, timeout=60)
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            seen = self._bell.count
            found = condition(self)
            if found:
                return found
            if self._closed:
                raise self._error or OmniError(f"the cache of {self._state.subject} is closed")
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise WaitTimeout(
                    f"the cache of {self._state.subject} did not become what was waited for within {timeout:g} s"
                    + ("" if self.synced else ": it is not in step with the server"),
                    resource=self._state.subject,
                    details={"last": None, "synced": self.synced},
                )
            await self._bell.wait(seen, left)

    def wake(self) -> None:
        """Let everybody who waits in `wait_until` look again, for conditions that hang on something else, too."""
        self._bell.ring()

    # --- telling --------------------------------------------------------------------------------------------------

    def subscribe(self, handler: Callable[[Event[R]], object]) -> AsyncSubscription[R]:
        """Tell a function of what exists, then `bootstrapped`, then of every change, in order.

        All handlers of a cache are called one after the other, never two at once. A slow one keeps the others waiting,
        not the cache, which may be ahead of what handlers were told. `event.old` is the state before an update, and
        what the cache last held of a destroyed resource. Where the server had forgotten what happened during a break,
        events that are `synthetic` tell the difference, and another `bootstrapped` ends them. What a handler raises is
        reported, and the next event comes.

        Args:
            handler: Called with each `Event`; it may be `async` with an async client.

        Returns:
            A subscription to cancel; the handler stays until then, or until the cache is closed.

        Raises:
            OmniError: The cache is closed: nothing would be told.
        """
        if self._closed:
            raise OmniError(f"the cache of {self._state.subject} is closed")
        subscription = AsyncSubscription(self, handler)
        with self._shelf.lock:
            self._subscriptions.append(subscription)
            first = [Event(EventKind.CREATED, resource) for resource in self._shelf.list()]
            if self._complete:
                first.append(Event(EventKind.BOOTSTRAPPED, self._state.nothing()))
            self._news.append((subscription, first))
        self._bell.ring()
        return subscription

    def forget(self, subscription: AsyncSubscription[R]) -> None:
        """Take a subscription out; called by `AsyncSubscription.cancel`."""
        with self._shelf.lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)

    # --- running --------------------------------------------------------------------------------------------------

    async def start(self, timeout: float | None = _START_TIMEOUT) -> Self:
        """Fill the cache and keep it current; return when it is complete. Entering it as a context manager does this.

        Args:
            timeout: Seconds that the first contents may take; 0 to return at once, None for as long as it takes.

        Raises:
            WaitTimeout: It was not complete in time; it is closed then.
            APIError: Refused, or the first connection did not come about.
        """
        if not self._jobs:
            name = f"omniherd-cache-{self._state.cls.type_name.partition('.')[0]}"
            self._jobs = [backend.Job(self._follow, name), backend.Job(self._tell, name + "-handlers")]
        if timeout == 0:
            return self
        try:
            await self.wait_until(lambda cache: cache.complete, timeout)
        except BaseException:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """End the watch and the telling; closing twice does nothing.

        A handler that runs is given a few seconds to end; what waits to be told is dropped.
        """
        self._closed = True
        self._bell.ring()
        await self._watch.close()
        for job in self._jobs:
            if not await job.join(_GRACE):
                await job.cancel()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _follow(self) -> None:
        """Read the watch, and begin it anew when it was refused."""
        try:
            while not self._closed:
                try:
                    events = await self._watch.batch()
                except OmniError as error:
                    self._error = error
                    if not self._complete or self._channel.closed:
                        return
                    await self._wait_to_try_again(error)
                    continue
                if not events:
                    return
                self._error = None
                self._failures = 0
                self._take(events)
        finally:
            self._closed = True
            await self._watch.close()
            self._bell.ring()

    async def _wait_to_try_again(self, error: OmniError) -> None:
        delay = _AGAIN.delay(self._failures)
        self._failures += 1
        self._report(error, None)
        self._bell.ring()
        # The state goes on: it knows the last bookmark, and what it told.
        self._watch = AsyncWatch(self._channel, self._state, noticed=self._bell.ring)
        deadline = time.monotonic() + delay
        while not self._closed and (left := deadline - time.monotonic()) > 0:
            await self._bell.wait(self._bell.count, left)

    def _take(self, events: builtins.list[Event[R]]) -> None:
        told: builtins.list[Event[R]] = []
        with self._shelf.lock:
            for event in events:
                if event.kind == EventKind.BOOTSTRAPPED:
                    self._complete = True
                    told.append(event)
                    continue
                news = self._shelf.apply(event)
                if news is not None:
                    told.append(news)
            if told and self._subscriptions:
                self._news.append((None, told))
        self._bell.ring()

    async def _tell(self) -> None:
        """Call the handlers, one after the other."""
        while not self._closed:
            seen = self._bell.count
            with self._shelf.lock:
                only, events = self._news.popleft() if self._news else (None, [])
            if not events and only is None:
                await self._bell.wait(seen, None)
                continue
            if only is not None and only in self._subscriptions:
                only.active = True
            for event in events:
                for subscription in (only,) if only is not None else tuple(self._subscriptions):
                    if subscription.active and not self._closed:
                        await self._tell_one(subscription, event)
            # Handlers that never wait must not keep everything else from running.
            await backend.sleep(0)

    async def _tell_one(self, subscription: AsyncSubscription[R], event: Event[R]) -> None:
        try:
            await backend.call(subscription.handler, event)
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises is told, and ends nothing
            self._report(error, event)

    def _report(self, error: Exception, event: Event[R] | None) -> None:
        """Tell of an error: to who asked for it, else to the log."""
        if self._on_error is not None:
            try:
                self._on_error(error, event)
            except Exception:  # noqa: BLE001 - the same holds for who is told
                _log.exception("on_error of the cache of %s failed", self._state.subject)
            return
        if event is None:
            _log.warning("the cache of %s is stale and goes on trying: %s", self._state.subject, error)
        else:
            _log.error(
                "a function given to the cache of %s failed on %s of %s",
                self._state.subject,
                event.kind.value,
                event.resource,
                exc_info=error,
            )

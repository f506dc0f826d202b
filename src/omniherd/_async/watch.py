"""A watch as an iterator: reads the stream, and opens it again when it breaks."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from omniherd._backend import aio as backend
from omniherd._core.decoding import decode
from omniherd.errors import APIError, DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from omniherd._async.channel import AsyncChannel, AsyncMessages
    from omniherd._core.watch import Event, WatchState
    from omniherd.resource import Resource

__all__ = ["AsyncWatch"]

R = TypeVar("R", bound="Resource[Any]")


class AsyncWatch(Generic[R]):
    """The events of a watch. Made by `AsyncOmni.watch`; iterate over it.

    Leaving the loop ends the watch as soon as nothing refers to it; `close`, or use as a context manager, ends it at
    once.
    """

    def __init__(
        self,
        channel: AsyncChannel,
        state: WatchState[R],
        *,
        deadline: float | None = None,
        noticed: Callable[[], None] | None = None,
    ) -> None:
        self._channel = channel
        self._state = state
        self._deadline = deadline
        # Called when `stale_since` changes without an event.
        self._noticed = noticed
        # Several events may come in one message, so that the state's bookmark is ahead of what was delivered.
        self._bookmark = state.bookmark
        self._events: deque[Event[R]] = deque()
        self._messages: AsyncMessages | None = None
        self._waker = backend.Waker()
        self._closed = False
        self._reconnects = 0
        self._alarm: backend.Alarm | None = None
        state.opened(time.time())

    @property
    def bookmark(self) -> bytes | None:
        """The bookmark of the last event that was delivered: another watch can go on after it."""
        return self._bookmark

    @property
    def caught_up(self) -> bool:
        """Whether everything that existed at the start was reported."""
        return self._state.caught_up

    @property
    def reconnects(self) -> int:
        """How often the stream broke and was opened again."""
        return self._reconnects

    @property
    def stale_since(self) -> datetime | None:
        """Since when events may be outstanding, UTC; None while a stream stands and all it had to tell was told.

        When a connection broke, this is the last moment at which it was certainly whole: up to 80 seconds before the
        break was noticed.
        """
        since = self._state.stale_since
        return None if since is None else datetime.fromtimestamp(since, UTC)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event[R]:
        events = self._events
        while not events:
            if self._closed or self._channel.closed:
                raise StopAsyncIteration
            await self._fill()
        event = events.popleft()
        if event.bookmark is not None:
            self._bookmark = event.bookmark
        return event

    async def batch(self) -> list[Event[R]]:
        """Return all events that are there, waiting for the first; none when the watch is over.

        Raises:
            APIError: As while iterating.
        """
        events = self._events
        while not events:
            if self._closed or self._channel.closed:
                return []
            await self._fill()
        found = list(events)
        events.clear()
        self._bookmark = self._state.bookmark
        return found

    async def _fill(self) -> None:
        """Wait for the next message, or for the end of the stream, and do what it demands."""
        state = self._state
        broken: APIError | None = state.failure
        if broken is None:
            try:
                messages = self._messages
                if messages is None:
                    messages = await self._open()
                data = await messages.read()
                if data is not None:
                    self._events.extend(state.feed(decode(_parse(), data, state.subject)))
                    if not self._events:
                        self._bookmark = state.bookmark
                    self._note(state.heard)
                    return
            except APIError as error:
                broken = error
            except BaseException:
                # A cancelled read ends the call beneath it; the next step, if there is one, begins a new stream.
                self._drop()
                if self._closed or self._channel.closed:
                    return
                raise
        self._drop()
        if self._closed or self._channel.closed:
            return
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise broken if isinstance(broken, DeadlineExceeded) else DeadlineExceeded("the time is over")
        # An error that ends the watch leaves it closed: iterating again must not open a stream by surprise.
        try:
            delay = state.broken(broken)
        except APIError as error:
            self._closed = True
            self._stop_alarm()
            raise error from error.__cause__
        self._reconnects += 1
        if self._deadline is not None:
            delay = min(delay, max(0.0, self._deadline - time.monotonic()))
        if delay:
            await self._waker.wait(delay)

    async def _open(self) -> AsyncMessages:
        left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        self._state.opened(time.time())
        messages = await self._channel.open(
            "/cosi.resource.State/Watch",
            self._state.request().SerializeToString(),
            timeout=left,
            resource=self._state.subject,
        )
        self._messages = messages
        patience = self._state.patience(time.time())
        self._stop_alarm()
        if patience is not None:
            self._alarm = backend.Alarm(patience, self._listen)
        return messages

    def _stop_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.stop()
            self._alarm = None

    def _listen(self) -> float | None:
        """End a stream that was silent for too long; return when to look again."""
        messages, patience = self._messages, self._state.patience(time.time())
        if messages is None or self._closed or patience is None:
            return None
        if patience:
            return patience
        messages.cancel()
        return None

    def _note(self, what: Callable[[float], None]) -> None:
        before = self._state.stale_since
        what(time.time())
        if self._noticed is not None and self._state.stale_since != before:
            self._noticed()

    def _drop(self) -> None:
        self._note(self._state.lost)
        messages, self._messages = self._messages, None
        if messages is not None:
            messages.cancel()

    async def close(self) -> None:
        """End the watch; the iteration ends too, also one that is waiting for the next event."""
        self._closed = True
        self._events.clear()
        self._waker.wake()
        self._note(self._state.lost)
        self._stop_alarm()
        messages, self._messages = self._messages, None
        if messages is not None:
            await messages.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        # A loop that was left by `break` must not keep a stream open on the server.
        messages = getattr(self, "_messages", None)
        if messages is not None:
            with contextlib.suppress(Exception):
                messages.cancel()


def _parse() -> Callable[[bytes], Any]:
    from omniherd.wire import cosi_resource

    return cosi_resource.WatchResponse.FromString

"""gRPC and waiting for asyncio; `sync` is its twin."""
# ruff: noqa: ASYNC109 - a timeout here is a gRPC deadline
# grpc ships without types
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import contextlib
import inspect
import weakref
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from omniherd._backend.options import channel_options
from omniherd.errors import OmniError

__all__ = ["RPC_ERRORS", "Alarm", "Bell", "Connection", "Job", "Waker", "call", "each", "in_thread", "sleep"]

import grpc
import grpc.aio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

T = TypeVar("T")
U = TypeVar("U")
Metadata = tuple[tuple[str, str], ...]

_EOF: Any = cast("Any", grpc.aio).EOF
RPC_ERRORS: tuple[type[BaseException], ...] = (grpc.RpcError,)


class _Closed(grpc.RpcError):  # type: ignore[misc]
    """A call that was ended from this side, not by its task; grpc.aio shows both as the cancellation of the task."""

    def code(self) -> Any:
        return grpc.StatusCode.CANCELLED

    def details(self) -> str:
        return "closed from this side"


def _raise_closed(error: asyncio.CancelledError) -> NoReturn:
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise error
    raise _Closed from error


class Call:
    """A running stream of answers."""

    __slots__ = ("_call", "_read")

    def __init__(self, call: Any) -> None:
        self._call = call
        self._read = call.read

    async def read(self) -> bytes | None:
        """Return the next message, or None at a clean end.

        Raises:
            grpc.RpcError: The call failed.
        """
        try:
            message: Any = await self._read()
        except asyncio.CancelledError as error:
            _raise_closed(error)
        return None if message is _EOF else message

    def cancel(self) -> None:
        """End the call from this side."""
        self._call.cancel()

    async def finish(self) -> None:
        """Wait until a cancelled call has ended: grpc.aio keeps what is not waited for."""
        try:
            await self._call.code()
        except asyncio.CancelledError as error:
            with contextlib.suppress(_Closed):
                _raise_closed(error)


class Connection:
    """One HTTP/2 connection. Belongs to the event loop in which it was made.

    Args:
        target: `host:port`.
        tls: Whether to encrypt.
        roots: Root certificates as PEM, None for gRPC's own bundle.
        name: The name to expect in the certificate, None for the host.
        gzip: Whether requests are compressed, and answers asked for compressed.
    """

    def __init__(self, target: str, *, tls: bool, roots: bytes | None, name: str | None, gzip: bool) -> None:
        self._loop = asyncio.get_running_loop()
        options = channel_options(name)
        compression = grpc.Compression.Gzip if gzip else None
        if tls:
            credentials = grpc.ssl_channel_credentials(root_certificates=roots)
            self._channel: Any = grpc.aio.secure_channel(target, credentials, options=options, compression=compression)
        else:
            self._channel = grpc.aio.insecure_channel(target, options=options, compression=compression)
        self._methods: dict[tuple[str, bool], Any] = {}

    def _method(self, path: str, stream: bool) -> Any:
        if asyncio.get_running_loop() is not self._loop:
            raise OmniError(
                "this client belongs to another event loop", hint="make one client for each event loop, in that loop"
            )
        made = self._methods.get((path, stream))
        if made is None:
            make = self._channel.unary_stream if stream else self._channel.unary_unary
            made = self._methods[path, stream] = make(path)
        return made

    async def unary(self, path: str, request: bytes, metadata: Metadata, timeout: float | None) -> bytes:
        """Make one call.

        Raises:
            grpc.RpcError: It failed.
        """
        try:
            answer: bytes = await self._method(path, stream=False)(request, metadata=metadata, timeout=timeout)
        except asyncio.CancelledError as error:
            _raise_closed(error)
        return answer

    def stream(self, path: str, request: bytes, metadata: Metadata, timeout: float | None, *, bulk: bool) -> Call:
        """Start a call that answers with a stream.

        Args:
            path: The method.
            request: The one request.
            metadata: All metadata, signature included.
            timeout: Seconds, None for no deadline.
            bulk: Whether many messages come at once and are all read by the caller; matters to the twin only.
        """
        del bulk
        return Call(self._method(path, stream=True)(request, metadata=metadata, timeout=timeout))

    async def close(self) -> None:
        """End all calls and close."""
        await self._channel.close()


class Waker:
    """Something to sleep on that can be woken."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        """Sleep; tell whether it was woken."""
        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def wake(self) -> None:
        """Wake the sleeper, now or when it comes."""
        self._event.set()


class Alarm:
    """Asks now and then, beside everything else, whether something is to be done.

    It does not keep alive who is asked.

    Args:
        seconds: When to ask first.
        check: A method that returns when to ask again; None for never.
    """

    __slots__ = ("_check", "_handle", "_loop")

    def __init__(self, seconds: float, check: Callable[[], float | None]) -> None:
        self._check = weakref.WeakMethod(check)
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_later(seconds, self._ring)

    def _ring(self) -> None:
        check = self._check()
        again = None if check is None else check()
        if again is not None:
            self._handle = self._loop.call_later(again, self._ring)

    def stop(self) -> None:
        """Ask no more."""
        self._handle.cancel()


class Bell:
    """Wakes everybody who waits.

    Attributes:
        count: How often it rang. Look at it first, then at what you wait for, then wait: no ring is missed.
    """

    __slots__ = ("_waiting", "count")

    def __init__(self) -> None:
        self.count = 0
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Wake all."""
        self.count += 1
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    async def wait(self, seen: int, seconds: float | None) -> bool:
        """Wait until it has rung more than `seen` times; tell whether it has within the time."""
        if self.count != seen:
            return True
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await asyncio.wait_for(waiting, seconds)
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(waiting)
        return True


class Job:
    """Work beside everything else.

    Args:
        work: The work.
        name: What it shows as in lists of tasks.
    """

    __slots__ = ("_task",)

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        self._task = asyncio.create_task(work(), name=name)

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._task.done()

    async def join(self, seconds: float | None = None) -> bool:
        """Wait until it has ended; tell whether it has. From within, this waits for nothing.

        An error that ended it is raised.
        """
        if asyncio.current_task() is self._task:
            return False
        done, _ = await asyncio.wait([self._task], timeout=seconds)
        if done and not self._task.cancelled():
            self._task.result()
        return bool(done)

    async def cancel(self) -> None:
        """End it at its next step. Only tasks can be ended; the twin leaves a thread to its work."""
        if asyncio.current_task() is not self._task:
            self._task.cancel()
            await asyncio.wait([self._task])


async def call(function: Callable[..., object], *arguments: Any) -> Any:
    """Call a function of the user's, `async` or not."""
    answer = function(*arguments)
    return await answer if inspect.isawaitable(answer) else answer


async def sleep(seconds: float) -> None:
    """Sleep."""
    await asyncio.sleep(seconds)


async def in_thread(work: Callable[[], T]) -> T:
    """Run something that blocks."""
    return await asyncio.to_thread(work)


async def each(items: Iterable[T], work: Callable[[T], Awaitable[U]], concurrency: int) -> list[U]:
    """Apply work to every item, some at a time; return the results in order.

    An exception of one cancels the others and is raised.
    """
    gate = asyncio.Semaphore(concurrency)

    async def one(item: T) -> U:
        async with gate:
            return await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]

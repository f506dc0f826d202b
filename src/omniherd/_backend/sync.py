"""gRPC and waiting for threads; `aio` is its twin."""
# grpc ships without types
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import inspect
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from omniherd._backend.alarms import Alarm
from omniherd._backend.options import channel_options
from omniherd.errors import InputError

__all__ = ["RPC_ERRORS", "Alarm", "Bell", "Connection", "Job", "Waker", "call", "each", "in_thread", "sleep"]

import grpc
import grpc.experimental

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")
U = TypeVar("U")
Metadata = tuple[tuple[str, str], ...]

# Seconds that cancelled calls get to end; they need milliseconds.
_CLOSING = 1.0

RPC_ERRORS: tuple[type[BaseException], ...] = (grpc.RpcError,)


class _Closed(grpc.RpcError):  # type: ignore[misc]
    """The connection was closed by another thread just before the call; grpc says so with a bare ValueError."""

    def code(self) -> Any:
        return grpc.StatusCode.CANCELLED

    def details(self) -> str:
        return "closed from this side"


class Call:
    """A running stream of answers."""

    __slots__ = ("_call", "_next")

    def __init__(self, call: Any) -> None:
        self._call = call
        self._next = call.__next__

    def read(self) -> bytes | None:
        """Return the next message, or None at a clean end.

        Raises:
            grpc.RpcError: The call failed.
        """
        try:
            message: bytes = self._next()
        except StopIteration:
            return None
        except RuntimeError as error:
            # Ctrl-C in the middle of gRPC's wait may find a lock already let go of; what was meant is the Ctrl-C.
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            raise
        return message

    def cancel(self) -> None:
        """End the call from this side; another thread's `read` then fails."""
        self._call.cancel()

    def finish(self) -> None:
        """Nothing is left to wait for once a call is cancelled."""


class Connection:
    """One HTTP/2 connection. Safe to use from several threads.

    Args:
        target: `host:port`.
        tls: Whether to encrypt.
        roots: Root certificates as PEM, None for gRPC's own bundle.
        name: The name to expect in the certificate, None for the host.
        gzip: Whether requests are compressed, and answers asked for compressed.
    """

    def __init__(self, target: str, *, tls: bool, roots: bytes | None, name: str | None, gzip: bool) -> None:
        options = channel_options(name)
        compression = grpc.Compression.Gzip if gzip else None
        credentials = grpc.ssl_channel_credentials(root_certificates=roots) if tls else None

        def channel(extra: list[tuple[str, int]]) -> Any:
            every = [*options, *extra]
            if credentials is None:
                return grpc.insecure_channel(target, options=every, compression=compression)
            return grpc.secure_channel(target, credentials, options=every, compression=compression)

        self._channel: Any = channel([])
        # Reading a stream in the caller's own thread halves the time of a long list. The option is for a whole channel
        # and not part of what gRPC compares, so that both channels share one connection.
        self._bulk: Any = channel([(grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1)])
        self._methods: dict[tuple[str, str], Any] = {}

    def _method(self, path: str, kind: str) -> Any:
        made = self._methods.get((path, kind))
        if made is None:
            make = {
                "unary": self._channel.unary_unary,
                "stream": self._channel.unary_stream,
                "bulk": self._bulk.unary_stream,
            }[kind]
            made = self._methods[path, kind] = make(path)
        return made

    def unary(self, path: str, request: bytes, metadata: Metadata, timeout: float | None) -> bytes:
        """Make one call.

        Raises:
            grpc.RpcError: It failed.
        """
        method = self._method(path, "unary")
        try:
            answer: bytes = method(request, metadata=metadata, timeout=timeout)
        except ValueError as error:
            raise _Closed from error
        return answer

    def stream(self, path: str, request: bytes, metadata: Metadata, timeout: float | None, *, bulk: bool) -> Call:
        """Start a call that answers with a stream.

        Args:
            path: The method.
            request: The one request.
            metadata: All metadata, signature included.
            timeout: Seconds, None for no deadline.
            bulk: Whether many messages come at once and are all read by the caller in one go.
        """
        kind = "bulk" if bulk else "stream"
        method = self._method(path, kind)
        try:
            return Call(method(request, metadata=metadata, timeout=timeout))
        except ValueError as error:
            raise _Closed from error

    def close(self) -> None:
        """End all calls and close."""
        # gRPC cancels its calls and then waits until each has ended, without limit. A Ctrl-C in the middle of a start
        # leaves it a call that nobody serves and that never ends, so the wait is another thread's and ours is short.
        closing = threading.Thread(target=self._close, name="omniherd-close", daemon=True)
        closing.start()
        closing.join(_CLOSING)

    def _close(self) -> None:
        self._bulk.close()
        self._channel.close()


class Waker:
    """Something to sleep on that another thread can wake."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def wait(self, seconds: float) -> bool:
        """Sleep; tell whether it was woken."""
        return self._event.wait(seconds)

    def wake(self) -> None:
        """Wake the sleeper, now or when it comes."""
        self._event.set()


class Bell:
    """Wakes everybody who waits.

    Attributes:
        count: How often it rang. Look at it first, then at what you wait for, then wait: no ring is missed.
    """

    __slots__ = ("_changed", "count")

    def __init__(self) -> None:
        self.count = 0
        self._changed = threading.Condition()

    def ring(self) -> None:
        """Wake all."""
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def wait(self, seen: int, seconds: float | None) -> bool:
        """Wait until it has rung more than `seen` times; tell whether it has within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.count != seen, seconds)


class Job:
    """Work beside everything else, in a thread that does not keep the program alive.

    Args:
        work: The work.
        name: What it shows as in lists of threads.
    """

    __slots__ = ("_failure", "_thread", "_work")

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._work = work
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised where the end is waited for
            self._failure = error

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return not self._thread.is_alive()

    def join(self, seconds: float | None = None) -> bool:
        """Wait until it has ended; tell whether it has. From within, this waits for nothing.

        An error that ended it is raised.
        """
        if threading.current_thread() is self._thread:
            return False
        self._thread.join(seconds)
        if self._thread.is_alive():
            return False
        if self._failure is not None:
            raise self._failure
        return True

    def cancel(self) -> None:
        """Leave it to its work: a thread cannot be ended from outside."""


def call(function: Callable[..., object], *arguments: Any) -> Any:
    """Call a function of the user's.

    Raises:
        InputError: It is an `async` one.
    """
    answer = function(*arguments)
    if inspect.iscoroutine(answer):
        answer.close()
        raise InputError(f"{function!r} is an async function; use it with AsyncOmni")
    return answer


def sleep(seconds: float) -> None:
    """Sleep."""
    time.sleep(seconds)


def in_thread(work: Callable[[], T]) -> T:
    """Run something that blocks; here that is no problem."""
    return work()


def each(items: Iterable[T], work: Callable[[T], U], concurrency: int) -> list[U]:
    """Apply work to every item, some at a time; return the results in order.

    An exception of one is raised when those that had begun are done.
    """
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="omniherd")
    try:
        results = [future.result() for future in [pool.submit(work, item) for item in items]]
    except BaseException as error:
        # Whoever presses Ctrl-C does not wait for those that wait; closing the client ends their calls.
        pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
        raise
    pool.shutdown()
    return results

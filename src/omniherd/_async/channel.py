"""Signed calls to one server: connections, deadlines, repetition, and errors of our own."""
# ruff: noqa: ASYNC109 - a timeout here is a gRPC deadline

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from omniherd._backend import aio as backend
from omniherd._backend.options import MAX_REQUEST, gunzip
from omniherd._backend.tls import TLS, trust
from omniherd._core.retry import RetryPolicy
from omniherd._core.slots import Slots
from omniherd.errors import Canceled, ForkError, OmniError, ResourceExhausted, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from omniherd._backend.tls import Trust
    from omniherd._backend.tunnel import Tunnel
    from omniherd.credentials import Endpoint
    from omniherd.errors import APIError
    from omniherd.signing import CallSigner, Signer

__all__ = ["DEFAULT", "AsyncChannel", "AsyncMessages", "Timeout"]


class _Default:
    """The client's own deadline, where None means no deadline."""

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT: Final = _Default()
Timeout = float | None | _Default


class AsyncMessages:
    """The answers of a running call, undecoded.

    Obtained from `AsyncChannel.open`. It holds a place on a connection until it ends or is closed.
    """

    __slots__ = ("_call", "_channel", "_open", "_resource", "_slot")

    def __init__(self, channel: AsyncChannel, call: Any, slot: int, resource: str | None) -> None:
        self._channel = channel
        self._call = call
        self._slot = slot
        self._resource = resource
        self._open = True

    async def read(self) -> bytes | None:
        """Return the next message, or None at a clean end.

        Raises:
            APIError: The call failed; `Canceled` when it was closed from this side.
        """
        if not self._open:
            raise Canceled("the stream is closed", resource=self._resource)
        try:
            data = await self._call.read()
        except backend.RPC_ERRORS as error:
            self._release()
            raise self._channel.translate(error, self._resource) from error
        if data is None:
            self._release()
            return None
        return gunzip(data)

    def cancel(self) -> None:
        """End the call; what was read stays good."""
        if self._open:
            self._release()
            self._call.cancel()

    async def close(self) -> None:
        """End the call and wait until it has ended."""
        self.cancel()
        await self._call.finish()

    def _release(self) -> None:
        if self._open:
            self._open = False
            self._channel.ended(self, self._slot)


class AsyncChannel:
    """Calls to one server, signed by one identity.

    Args:
        endpoint: The server.
        signer: Who signs; None sends unsigned calls, which the server allows for very few methods.
        tls: How the certificate is judged.
        gzip: Whether messages are compressed.
        timeout: Seconds that a call may take where it does not say so itself; None for no bound.
        retry: When failed calls are repeated.
        clock: Unix seconds; signatures bear them.
        dig: Makes a tunnel that every connection goes through, instead of one to the endpoint itself.

    Attributes:
        tls: How certificates are judged, those of an image factory too.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        signer: Signer | None = None,
        *,
        tls: TLS | None = None,
        gzip: bool = False,
        timeout: float | None = 30.0,
        retry: RetryPolicy | None = None,
        clock: Callable[[], float] = time.time,
        dig: Callable[[], Tunnel] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        self.retry = RetryPolicy() if retry is None else retry
        self._signer = signer
        self._calls: CallSigner | None = None
        self.tls = TLS() if tls is None else tls
        self._gzip = gzip
        self._clock = clock
        self._slots = Slots()
        self._connections: list[backend.Connection] = []
        self._trust: Trust | None = None
        self._dig = dig
        self._tunnel: Tunnel | None = None
        self._streams: set[AsyncMessages] = set()
        # Re-entrant: a forgotten watch is closed by the garbage collector, which may run while this thread holds it.
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._closed = False

    # --- calls ----------------------------------------------------------------------------------------------------

    async def unary(
        self,
        path: str,
        request: bytes,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        timeout: Timeout = DEFAULT,
        safe: bool = False,
        long: bool = False,
        resource: str | None = None,
    ) -> bytes:
        """Make a call with one answer.

        Args:
            path: The method, `/cosi.resource.State/Get`.
            request: The encoded request.
            metadata: Metadata in addition to the signature.
            timeout: Seconds for everything, repetitions included.
            safe: Whether the call may be repeated when it is not known whether it had its effect: reads.
            long: Whether the server holds the call open, like a stream; it then gets a place of its own.
            resource: What it is about, for errors.

        Raises:
            APIError: The server refused, or the call did not get through.
            ForkError: The client was made in another process.
        """
        self._check(request, resource)
        seconds = self.timeout if isinstance(timeout, _Default) else timeout
        deadline = None if seconds is None else time.monotonic() + seconds
        slot = self._slots.take() if long else 0
        try:
            repetition = 0
            while True:
                connection = await self._connection(slot)
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                try:
                    return gunzip(await connection.unary(path, request, self._signed(path, metadata), left))
                except backend.RPC_ERRORS as error:
                    failed = self.translate(error, resource)
                    left = None if deadline is None else deadline - time.monotonic()
                    delay = self.retry.next_delay(failed, safe=safe, repetition=repetition, remaining=left)
                    if delay is None:
                        raise failed from error
                repetition += 1
                await backend.sleep(delay)
        finally:
            if long:
                self._slots.give_back(slot)

    async def open(
        self,
        path: str,
        request: bytes,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        timeout: float | None = None,
        bulk: bool = False,
        resource: str | None = None,
    ) -> AsyncMessages:
        """Start a call that answers with a stream; failures show when it is read.

        Args:
            path: The method.
            request: The encoded request.
            metadata: Metadata in addition to the signature.
            timeout: Seconds until the stream is cut off, None for never.
            bulk: Whether the caller reads all of it in one go.
            resource: What it is about, for errors.

        Raises:
            ForkError: The client was made in another process.
        """
        self._check(request, resource)
        slot = self._slots.take()
        try:
            connection = await self._connection(slot)
            call = connection.stream(path, request, self._signed(path, metadata), timeout, bulk=bulk)
        except backend.RPC_ERRORS as error:
            self._slots.give_back(slot)
            raise self.translate(error, resource) from error
        except BaseException:
            self._slots.give_back(slot)
            raise
        messages = AsyncMessages(self, call, slot, resource)
        with self._lock:
            self._streams.add(messages)
        return messages

    async def close(self) -> None:
        """End every call and close the connections. Closing twice does nothing."""
        with self._lock:
            self._closed = True
            streams, self._streams = self._streams, set()
            connections, self._connections = self._connections, []
            tunnel, self._tunnel = self._tunnel, None
        if os.getpid() != self._pid:
            return
        for messages in streams:
            messages.cancel()
        for messages in streams:
            await messages.close()
        for connection in connections:
            await connection.close()
        if tunnel is not None:
            await backend.in_thread(tunnel.close)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def streams(self) -> tuple[int, ...]:
        """How many streams are open on each connection."""
        return self._slots.used

    # --- parts ----------------------------------------------------------------------------------------------------

    def _check(self, request: bytes, resource: str | None) -> None:
        if os.getpid() != self._pid:
            raise ForkError("this client was made in another process, and its connections did not survive the fork")
        if self._closed:
            raise OmniError("this client is closed")
        if len(request) > MAX_REQUEST:
            raise ResourceExhausted(
                f"the request is {len(request)} bytes long; the server takes up to {MAX_REQUEST}",
                resource=resource,
                details={"sent": False},
            )

    def _signed(self, path: str, metadata: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        # A signature bears the time, so that each attempt asks for one anew.
        if self._signer is None:
            return tuple(metadata)
        if self._calls is None:
            from omniherd.signing import CallSigner

            self._calls = CallSigner(self._signer)
        return self._calls.metadata(path, tuple(metadata), self._clock())

    async def _connection(self, number: int) -> backend.Connection:
        connections = self._connections
        if number < len(connections):
            return connections[number]
        if self._dig is not None:
            return await self._through(self._dig, number)
        if self._trust is None and self.endpoint.tls:
            bound = 10.0 if self.timeout is None else self.timeout
            self._trust = await backend.in_thread(lambda: trust(self.endpoint, self.tls, bound))
        with self._lock:
            if self._closed:
                raise OmniError("this client is closed")
            while len(self._connections) <= number:
                self._connections.append(
                    backend.Connection(
                        self.endpoint.target,
                        tls=self.endpoint.tls,
                        roots=self._trust.roots if self._trust else None,
                        name=self._trust.name if self._trust else self.tls.server_name,
                        gzip=self._gzip,
                    )
                )
            return self._connections[number]

    async def _through(self, dig: Callable[[], Tunnel], number: int) -> backend.Connection:
        def ready() -> str:
            with self._lock:
                if self._closed:
                    raise OmniError("this client is closed")
                if self._tunnel is None:
                    self._tunnel = dig()
                return self._tunnel.target

        target = await backend.in_thread(ready)
        with self._lock:
            while len(self._connections) <= number:
                self._connections.append(backend.Connection(target, tls=False, roots=None, name=None, gzip=self._gzip))
            return self._connections[number]

    def translate(self, error: Any, resource: str | None) -> APIError:
        """Return the error of ours for one of gRPC's."""
        from omniherd._core.status import error_from_status

        code, text = error.code(), error.details()
        name = "UNKNOWN" if code is None else code.name
        if name == "UNAVAILABLE" and self._tunnel is not None and self._tunnel.failure is not None:
            return Unavailable(
                f"cannot reach the Talos API: {self._tunnel.failure}",
                code=name,
                resource=resource,
                details={"text": text or "", "sent": False},
                retryable=True,
                hint="check the talosconfig's endpoints and that they can be reached from here",
            )
        return error_from_status(name, text or "", resource=resource, endpoint=self.endpoint.url)

    def ended(self, messages: AsyncMessages, slot: int) -> None:
        """Take note that a stream is over."""
        self._slots.give_back(slot)
        with self._lock:
            self._streams.discard(messages)

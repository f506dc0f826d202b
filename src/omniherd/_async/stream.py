"""The answers of a streaming call, decoded, for any method of the API."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from omniherd._core.decoding import decode
from omniherd.errors import InputError, OmniError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self

    from omniherd._async.channel import AsyncMessages

__all__ = ["AsyncStream", "decoder"]


class AsyncStream:
    """The answers of a streaming call, decoded; iterate over it, or close it early.

    Obtained from `AsyncOmni.stream`. The call begins with the first step of the iteration.
    """

    def __init__(self, start: Callable[[], Awaitable[AsyncMessages]], decode: Callable[[bytes], Any]) -> None:
        self._start = start
        self._decode = decode
        self._messages: AsyncMessages | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if self._closed:
            raise StopAsyncIteration
        if self._messages is None:
            self._messages = await self._start()
        data = await self._messages.read()
        if data is None:
            self._closed = True
            raise StopAsyncIteration
        try:
            return self._decode(data)
        except OmniError:
            self._closed = True
            self._messages.cancel()
            raise

    async def close(self) -> None:
        """End the call; the iteration then ends too."""
        self._closed = True
        if self._messages is not None:
            await self._messages.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if self._messages is not None:
            with contextlib.suppress(Exception):
                self._messages.cancel()


def decoder(path: str, *, stream: bool) -> Callable[[bytes], Any]:
    """Return what decodes the answers of a method.

    Args:
        path: The method; see `omniherd.wire.calls`.
        stream: Whether the caller expects a stream.

    Raises:
        InputError: There is no such method, or it answers otherwise.
    """
    from omniherd._core.pool import message
    from omniherd.wire.calls import CALLS

    call = CALLS.get(path)
    if call is None:
        raise InputError(f"the API has no method {path!r}")
    if call.server_stream != stream:
        raise InputError(f"{path} {'answers once' if stream else 'answers with a stream'}")
    if call.client_stream:
        raise InputError(f"{path} takes a stream of requests, which this call cannot send")
    parse = message(call.response).FromString
    return lambda data: decode(parse, data)

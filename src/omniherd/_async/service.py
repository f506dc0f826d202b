"""What every service is built of: calls by name, for one cluster where it matters, and typed streams."""
# ruff: noqa: ASYNC109 - a timeout here is a gRPC deadline

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from omniherd._async.channel import DEFAULT, Timeout
from omniherd.errors import APIError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from google.protobuf.message import Message

    from omniherd._async.client import AsyncOmni, AsyncStream

__all__ = ["AsyncAnswers", "AsyncService", "cluster_metadata"]

T = TypeVar("T")


class AsyncAnswers(Generic[T]):
    """The answers of a streaming call; iterate over it, or close it early.

    The call begins with the first step of the iteration, so that errors show there. As a context manager it closes
    itself.
    """

    def __init__(
        self,
        stream: AsyncStream,
        convert: Callable[[Any], T | None],
        explain: Callable[[APIError], APIError] | None = None,
    ) -> None:
        self._stream = stream
        self._convert = convert
        self._explain = explain

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            value = self._convert(await self._next())
            if value is not None:
                return value

    async def _next(self) -> Any:
        try:
            return await self._stream.__anext__()
        except APIError as error:
            if self._explain is None:
                raise
            raise self._explain(error) from error.__cause__

    async def close(self) -> None:
        """End the call; the iteration then ends too."""
        await self._stream.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncService:
    """One service of the API, called through a client.

    Args:
        omni: The client.
    """

    service: ClassVar[str] = ""

    def __init__(self, omni: AsyncOmni) -> None:
        self._omni = omni

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._omni!r}>"

    async def _call(
        self,
        method: str,
        request: Message,
        *,
        cluster: str | None = None,
        timeout: Timeout = DEFAULT,
        safe: bool = False,
    ) -> Any:
        return await self._omni.call(
            f"/{self.service}/{method}", request, metadata=cluster_metadata(cluster), timeout=timeout, safe=safe
        )

    def _stream(
        self,
        method: str,
        request: Message,
        convert: Callable[[Any], T | None],
        *,
        cluster: str | None = None,
        timeout: float | None = None,
    ) -> AsyncAnswers[T]:
        stream = self._omni.stream(
            f"/{self.service}/{method}", request, metadata=cluster_metadata(cluster), timeout=timeout
        )
        return AsyncAnswers(stream, convert)


def cluster_metadata(cluster: str | None) -> list[tuple[str, str]]:
    """Return the metadata that chooses a cluster; the signature covers it."""
    return [("cluster", cluster)] if cluster else []

"""HTTP/1.1 over asyncio streams, as much of it as clients on the same machine need."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import re
import zlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException, parse_headers
from typing import TYPE_CHECKING, SupportsIndex
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from email.message import Message as Headers

__all__ = ["Answer", "Reader", "Request", "Write", "serve"]

_HEAD_LIMIT = 1024 * 1024
_FIRST = 3
_BODY_LIMIT = 96 * 1024 * 1024
_REQUEST_LINE = re.compile(r"([A-Z]+) (\S+) HTTP/1\.([01])")


@dataclass(slots=True, frozen=True)
class Request:
    """A request.

    Attributes:
        method: `GET` and the like.
        path: The path, as it was sent.
        query: What stands behind the question mark, the last of several values.
        headers: The headers.
        body: The body.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: Headers
    body: bytes

    def header(self, name: str) -> str:
        """Return a header, empty when it was not sent."""
        return str(self.headers.get(name, ""))

    def form(self) -> dict[str, str]:
        """Return the fields of a form."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    def accepts_gzip(self) -> bool:
        """Whether the answer may be compressed."""
        return any(part.strip() == "gzip" for part in self.header("accept-encoding").split(","))


Write = Callable[[bytes], Awaitable[None]]


@dataclass(slots=True)
class Answer:
    """An answer.

    Attributes:
        status: The status.
        headers: Headers besides those for the length.
        body: The body, when it is one piece.
        stream: What writes the body piece by piece instead.
        packs: Whether it is compressed for clients that take that.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    stream: Callable[[Write], Awaitable[None]] | None = None
    packs: bool = False


Handler = Callable[[Request], Awaitable[Answer]]


class _BadRequest(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Reader(asyncio.StreamReader):
    """A stream that tells when the other side has closed it, while what came before is still unread.

    Attributes:
        gone: Set from then on.
    """

    def __init__(self) -> None:
        super().__init__(limit=_HEAD_LIMIT)
        self.gone = asyncio.Event()
        self._come = asyncio.Event()
        self._first = b""

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        """Take what came."""
        if len(self._first) < _FIRST:
            self._first += bytes(data)[:_FIRST]
            if len(self._first) >= _FIRST:
                self._come.set()
        super().feed_data(data)

    async def first(self) -> bytes:
        """Return how the connection begins, as soon as three bytes have come or it has ended; they stay unread."""
        await self._come.wait()
        return self._first[:_FIRST]

    def feed_eof(self) -> None:
        """Take note of the end."""
        super().feed_eof()
        self._come.set()
        self.gone.set()

    def set_exception(self, exc: Exception) -> None:
        """Take note of a broken connection."""
        super().set_exception(exc)
        self._come.set()
        self.gone.set()


async def serve(reader: Reader, writer: asyncio.StreamWriter, handler: Handler) -> None:
    """Answer the requests of a connection until it ends.

    Args:
        reader: What comes.
        writer: What goes.
        handler: What answers a request. It is cancelled when the client leaves.
    """
    with contextlib.suppress(ConnectionError):
        while True:
            try:
                found = await _read(reader, writer)
            except _BadRequest as fault:
                await _send(writer, Answer(fault.status), head=False, last=True, packed=False)
                return
            if found is None:
                return
            request, last = found
            answer = await _while_there(reader, handler(request))
            if answer is None:
                return
            packed = answer.packs and request.accepts_gzip()
            head = request.method == "HEAD"
            sending = _send(writer, answer, head=head, last=last, packed=packed)
            if await _while_there(reader, sending) is None or last:
                return


async def _while_there(reader: Reader, work: Awaitable[Answer]) -> Answer | None:
    """Wait for something unless the client leaves; None when it did."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(reader.gone.wait())
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[Request, bool] | None:
    """Return the next request and whether it is the last; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except asyncio.LimitOverrunError:
        raise _BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) from None
    line, _, rest = head.lstrip(b"\r\n").partition(b"\r\n")
    found = _REQUEST_LINE.fullmatch(line.decode("latin-1"))
    if found is None:
        raise _BadRequest(HTTPStatus.BAD_REQUEST)
    try:
        headers = parse_headers(io.BytesIO(rest))
    except HTTPException:
        raise _BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) from None
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await _body(reader, headers)
    if body is None:
        return None
    try:
        target = urlsplit(found[2])
    except ValueError:
        raise _BadRequest(HTTPStatus.BAD_REQUEST) from None
    query = dict(parse_qsl(target.query, keep_blank_values=True))
    last = found[3] == "0" or headers.get("connection", "").lower() == "close"
    return Request(found[1], target.path or "/", query, headers, body), last


async def _body(reader: asyncio.StreamReader, headers: Headers) -> bytes | None:
    """Return a request's body; None when the connection ended in it."""
    try:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return await _chunks(reader)
        text = headers.get("content-length", "0").strip()
        if not (text.isascii() and text.isdigit()):
            raise _BadRequest(HTTPStatus.BAD_REQUEST)
        return await reader.readexactly(_within(int(text)))
    except asyncio.IncompleteReadError:
        return None


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    total = 0
    while True:
        line = (await reader.readuntil(b"\r\n")).partition(b";")[0].strip()
        try:
            size = int(line, 16)
        except ValueError:
            raise _BadRequest(HTTPStatus.BAD_REQUEST) from None
        total = _within(total + size)
        parts.append(await reader.readexactly(size))
        if not size:
            # Headers behind the last piece are passed over.
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return b"".join(parts)
        await reader.readexactly(2)


def _within(size: int) -> int:
    if not 0 <= size <= _BODY_LIMIT:
        raise _BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return size


async def _send(writer: asyncio.StreamWriter, answer: Answer, *, head: bool, last: bool, packed: bool) -> Answer:
    headers = dict(answer.headers)
    body = answer.body
    if answer.packs:
        headers["Vary"] = "Accept-Encoding"
    if packed and (body or answer.stream is not None):
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(body) if body else body
    if last:
        headers["Connection"] = "close"
    if answer.stream is None:
        headers["Content-Length"] = str(len(body))
    else:
        headers["Transfer-Encoding"] = "chunked"
    status = HTTPStatus(answer.status)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join((*lines, "", "")).encode("latin-1", "replace"))
    if answer.stream is not None and not head:
        await _pieces(writer, answer.stream, packed=packed)
    elif not head:
        writer.write(body)
    await writer.drain()
    return answer


async def _pieces(writer: asyncio.StreamWriter, stream: Callable[[Write], Awaitable[None]], *, packed: bool) -> None:
    packer = zlib.compressobj(wbits=31) if packed else None

    async def write(data: bytes) -> None:
        if packer is not None:
            data = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
        if data:
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()

    await stream(write)
    rest = b"" if packer is None else packer.flush()
    if rest:
        writer.write(b"%x\r\n%b\r\n" % (len(rest), rest))
    writer.write(b"0\r\n\r\n")

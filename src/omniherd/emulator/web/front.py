"""Where HTTP clients come in: a port of its own, or the one port that gRPC has too."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from omniherd.emulator.web.http import Reader, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.web.http import Handler

__all__ = ["Front"]

_log = logging.getLogger(__name__)

# What every connection of HTTP/2 begins with, of which the first bytes are like no request of HTTP/1.
_PREFACE = b"PRI"
_PIECE = 256 * 1024


class Front:
    """A listener.

    Args:
        handler: What answers requests of HTTP/1.
        host: The address.
        port: The port, 0 for a free one.
        certificate: Certificate chain and key, PEM, for TLS; None for plain text.
        backend: Where connections of HTTP/2 go: the plain port of gRPC on the same address. None to refuse them.

    Attributes:
        port: The port that it listens on, 0 before the start.
    """

    def __init__(
        self,
        handler: Handler,
        host: str,
        port: int,
        certificate: tuple[bytes, bytes] | None = None,
        *,
        backend: Callable[[], int] | None = None,
    ) -> None:
        self._handler = handler
        self._host = host
        self._wanted_port = port
        self._tls = None if certificate is None else _context(*certificate, both=backend is not None)
        self._backend = backend
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        """Listen, in the loop that calls.

        Raises:
            OSError: The port is taken.
        """
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.StreamReaderProtocol:
            reader = Reader()

            async def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await self._connected(reader, writer)

            return asyncio.StreamReaderProtocol(reader, connected)

        self._server = await loop.create_server(protocol, self._host, self._wanted_port, ssl=self._tls)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """End all connections and stop listening."""
        if self._server is not None:
            self._server.close()
        connections = tuple(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _connected(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs it in one
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            # The server stops; asyncio would log a task that says so.
            pass
        except Exception:  # noqa: BLE001 - a broken connection must not end the others; the log has the trace
            _log.exception("the emulator's HTTP side failed on a connection")
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        if self._backend is None:
            await serve(reader, writer, self._handler)
            return
        if await reader.first() == _PREFACE:
            await _relay(reader, writer, self._host, self._backend())
        else:
            await serve(reader, writer, self._handler)


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    """Hand a connection on, until either side ends."""
    inner_reader, inner_writer = await asyncio.open_connection(host, port, limit=_PIECE)

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(_PIECE):
                target.write(data)
                await target.drain()

    ways = [asyncio.ensure_future(pump(reader, inner_writer)), asyncio.ensure_future(pump(inner_reader, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        inner_writer.close()


def _context(chain: bytes, key: bytes, *, both: bool) -> ssl.SSLContext:
    """Return what TLS is served with: Python takes certificates from files only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"] if both else ["http/1.1"])
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "pair.pem"
        path.touch(mode=0o600)
        path.write_bytes(key.rstrip() + b"\n" + chain)
        context.load_cert_chain(path)
    return context

"""A TCP proxy that does to bytes what bad networks do. It knows nothing of what they mean.

The faults of a connection are drawn from a seeded source when it is made, so that a seed tells what happened in which
order (not at which instant: that is the machine's).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from typing import Self

KINDS = ("latency", "slicing", "reset", "blackhole", "slow_close")


class FaultProxy:
    """Passes connections on to a port, with one kind of fault, until it is told to behave.

    Args:
        port: Where to.
        kind: One of `KINDS`; empty for none.
        chance: Where the faults are drawn from.
    """

    def __init__(self, port: int, kind: str, chance: random.Random) -> None:
        self._to = port
        self._kind = kind
        self._chance = chance
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._open: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0
        self.faults = 0
        self.behaves = not kind
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def behave(self) -> None:
        """Do nothing to connections that come from now on."""
        self.behaves = True

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        try:
            await self._pass(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        kind = "" if self.behaves else self._kind
        # After how many bytes of answers the fault comes, for those that come once.
        after = self._chance.randrange(40, 6000)
        try:
            up = asyncio.create_task(_copy(reader, there_writer))
            down = asyncio.create_task(self._answers(there_reader, writer, kind, after))
            try:
                await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
                if kind == "slow_close":
                    # One side is gone, and the other does not hear of it for a while.
                    self.faults += 1
                    await asyncio.sleep(self._chance.random() * 0.2)
            finally:
                up.cancel()
                down.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
        finally:
            there_writer.transport.abort()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: str, after: int) -> None:
        passed = 0
        while data := await reader.read(65536):
            if self.behaves and kind in {"latency", "slicing"}:
                kind = ""
            if kind == "latency":
                self.faults += 1
                await asyncio.sleep(self._chance.random() * 0.02)
            elif kind == "slicing":
                self.faults += 1
                for piece in self._pieces(data):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                continue
            elif kind and passed + len(data) > after:
                self.faults += 1
                writer.write(data[: after - passed])
                await writer.drain()
                if kind == "reset":
                    _reset(writer)
                    return
                if kind == "blackhole":
                    # Everything is taken, nothing is passed on, and nobody is told.
                    while await reader.read(65536):
                        pass
                    await asyncio.Event().wait()
                return
            passed += len(data)
            writer.write(data)
            await writer.drain()

    def _pieces(self, data: bytes) -> list[bytes]:
        pieces, at = [], 0
        # Long answers in bigger slices, so that the run ends.
        longest = max(7, len(data) // 50)
        while at < len(data):
            size = self._chance.randint(1, longest)
            pieces.append(data[at : at + size])
            at += size
        return pieces


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close without a farewell: the other side gets an RST."""
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

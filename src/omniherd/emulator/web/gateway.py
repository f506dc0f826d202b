"""The JSON gateway: `POST /api/PACKAGE.SERVICE/METHOD` is a call of that method, messages and errors as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import re
from typing import TYPE_CHECKING, Any, cast

from omniherd._core.pool import message
from omniherd.emulator.faults import Faults
from omniherd.emulator.protojson import JSONFault, read, write
from omniherd.emulator.records import StateError
from omniherd.emulator.server import MESSAGE_LIMIT, SERVICES
from omniherd.emulator.web.http import Answer
from omniherd.wire.calls import CALLS

if TYPE_CHECKING:
    from omniherd.emulator.server import Incoming, Send, Server, StreamMethod, UnaryMethod
    from omniherd.emulator.web.http import Request, Write

__all__ = ["Gateway"]

_log = logging.getLogger(__name__)

PREFIX = "/api/"
_JSON = {"Content-Type": "application/json"}
_ANSWERED = {**_JSON, "Grpc-Metadata-Content-Type": "application/grpc"}
_METADATA = "grpc-metadata-"
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])", re.ASCII)
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

# Number and HTTP status of gRPC's codes.
_CODES = {
    "CANCELLED": (1, 499),
    "UNKNOWN": (2, 500),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "OUT_OF_RANGE": (11, 400),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "DATA_LOSS": (15, 500),
    "UNAUTHENTICATED": (16, 401),
}


class Gateway:
    """The gateway.

    Args:
        server: What answers the calls.
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    async def answer(self, request: Request) -> Answer:
        """Answer a request under `/api/`."""
        path = "/" + request.path.removeprefix(PREFIX)
        if path not in CALLS or path[1:].partition("/")[0] not in SERVICES:
            return _failed("NOT_FOUND", "Not Found")
        if request.method != "POST":
            return _failed("UNIMPLEMENTED", "Method Not Allowed")
        try:
            asked = _message(path, request.body)
            call = self._server.call(path, _metadata(request))
        except StateError as error:
            return _failed(error.code, error.message)
        seconds = _seconds(request.header("grpc-timeout"))
        if CALLS[path].server_stream:
            return await self._stream(path, call, asked, seconds)
        found: list[bytes] = []

        async def keep(data: bytes) -> None:
            found.append(data)

        try:
            await self._run(path, call, asked, keep, seconds)
        except StateError as error:
            return _failed(error.code, error.message)
        return Answer(200, _ANSWERED, _json(path, found[0]), packs=True)

    async def _run(self, path: str, call: Incoming, asked: Any, send: Send, seconds: float | None) -> None:
        """Make a call; its answers go to `send`.

        Raises:
            StateError: How it ended.
        """
        method = self._server.method(path)
        if method is None:
            raise StateError("UNIMPLEMENTED", f"{path} is not emulated")
        meeting = self._server.meet(path)
        clock = asyncio.get_running_loop().time
        limit = math.inf if seconds is None else clock() + seconds
        late = StateError("DEADLINE_EXCEEDED", "context deadline exceeded")
        try:
            async with asyncio.timeout(seconds):
                if meeting is not None:
                    await meeting.before()
                with contextlib.suppress(Faults.ends):
                    if CALLS[path].server_stream:
                        send = send if meeting is None else meeting.sender(send)
                        await cast("StreamMethod", method)(call, asked, send)
                    else:
                        answer = await cast("UnaryMethod", method)(call, asked)
                        await send(answer if isinstance(answer, bytes) else answer.SerializeToString())
                    if meeting is not None:
                        meeting.after()
        except TimeoutError:
            raise late from None
        except StateError as error:
            # What never waits is not stopped in time: it is late all the same.
            raise (late if clock() > limit else error) from None
        except Exception as error:  # noqa: BLE001 - a caller must get an answer; the log has the trace
            _log.exception("the emulator failed on a call")
            raise StateError("INTERNAL", f"the emulator failed, which is a bug of omniherd: {error!r}") from None

    async def _stream(self, path: str, call: Incoming, asked: Any, seconds: float | None) -> Answer:
        """Answer line by line; how the call begins decides on the status."""
        lines: asyncio.Queue[bytes | StateError | None] = asyncio.Queue(1)

        async def work() -> None:
            end: StateError | None = None
            try:
                await self._run(path, call, asked, lambda data: lines.put(_line(path, data)), seconds)
            except StateError as error:
                end = error
            await lines.put(end)

        running = asyncio.ensure_future(work())
        try:
            first = await lines.get()
        except BaseException:
            running.cancel()
            raise
        if isinstance(first, StateError):
            return Answer(_CODES[first.code][1], _JSON, stream=_once(_error_line(first)), packs=True)
        headers = {} if first is None else _ANSWERED

        async def stream(send: Write) -> None:
            line: bytes | StateError | None = first
            try:
                while line is not None:
                    await send(_error_line(line) if isinstance(line, StateError) else line)
                    line = None if isinstance(line, StateError) else await lines.get()
            finally:
                running.cancel()

        return Answer(200, headers, stream=stream, packs=True)


def _once(data: bytes) -> Any:
    async def stream(send: Write) -> None:
        await send(data)

    return stream


def _message(path: str, body: bytes) -> Any:
    """Read the request of a call.

    Raises:
        StateError: It is no JSON for that message, or too large.
    """
    try:
        asked = read(message(CALLS[path].request), body.decode("utf-8", "replace"), whole=False)
    except JSONFault as fault:
        raise StateError("INVALID_ARGUMENT", str(fault)) from None
    size = asked.ByteSize()
    if size > MESSAGE_LIMIT:
        text = f"grpc: received message larger than max ({size} vs. {MESSAGE_LIMIT})"
        raise StateError("RESOURCE_EXHAUSTED", text)
    return asked


def _metadata(request: Request) -> list[tuple[str, str]]:
    found = [
        (name.lower().removeprefix(_METADATA), str(value))
        for name, value in request.headers.items()
        if name.lower().startswith(_METADATA)
    ]
    token = request.header("authorization")
    return [*found, ("authorization", token)] if token else found


def _seconds(text: str) -> float | None:
    found = _TIMEOUT.fullmatch(text)
    return None if found is None else int(found[1]) * _UNITS[found[2]]


def _json(path: str, data: bytes) -> bytes:
    return write(message(CALLS[path].response).FromString(data), escape=False).encode()


def _line(path: str, data: bytes) -> bytes:
    return b'{"result":' + _json(path, data) + b"}\n"


def _error(code: str, text: str) -> str:
    return json.dumps({"code": _CODES[code][0], "message": text}, separators=(",", ":"), ensure_ascii=False)


def _error_line(error: StateError) -> bytes:
    return f'{{"error":{_error(error.code, error.message)}}}\n'.encode()


def _failed(code: str, text: str) -> Answer:
    headers = {**_JSON, "WWW-Authenticate": text.replace("\n", " ")} if code == "UNAUTHENTICATED" else _JSON
    return Answer(_CODES[code][1], headers, _error(code, text).encode(), packs=True)

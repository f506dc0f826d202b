"""Every call of Omni's own services has a method, on both sides, and what streams can be closed."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from omniherd import AsyncOmni, Omni
from omniherd._async.channel import AsyncChannel
from omniherd._async.service import AsyncAnswers
from omniherd._sync.channel import Channel
from omniherd._sync.service import Answers
from omniherd.credentials import Connection, Endpoint
from omniherd.errors import InternalError
from omniherd.signing import PGPKey
from omniherd.wire.calls import CALLS

# What the resource verbs call: get, list, watch, create, update, destroy, teardown, teardown_and_destroy.
SERVICES = {
    "management": "management.ManagementService",
    "auth": "auth.AuthService",
    "oidc": "oidc.OIDCService",
}
KEY = PGPKey.generate("", "", "me@example.com", 3600)
NOW = datetime.now(UTC) + timedelta(hours=1)
ARGUMENTS: dict[str, Any] = {
    "kind": "iso",
    "role": "Reader",
    "operation": "install",
    "config": "{}",
    "data": "{}",
    "schema": "{}",
    "lifetime": 60,
    "not_before": NOW,
    "not_after": NOW,
    "expires": NOW,
    "key": KEY,
}


class Called(Exception):
    """Stops a method at its first call."""


class Stream:
    """A stream that ends without an answer; knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def __next__(self) -> Any:
        raise StopIteration

    def close(self) -> None:
        self.closed = True


class AsyncStream(Stream):
    async def __anext__(self) -> Any:
        raise StopAsyncIteration

    async def close(self) -> None:  # type: ignore[override]
        self.closed = True


def services(client: Any) -> list[tuple[str, str, Any]]:
    """The methods of a client's services: service, name, bound method."""
    return [
        (full_name, name, member)
        for attribute, full_name in SERVICES.items()
        for name, member in inspect.getmembers(getattr(client, attribute), callable)
        if not name.startswith("_")
    ]


def call(method: Any) -> Any:
    """Call a method with something for each parameter that it needs."""
    given = {
        name: ARGUMENTS.get(name, "x")
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.default is inspect.Parameter.empty or name in ARGUMENTS
    }
    return method(**given)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What was called, with the streams that were opened."""
    found: dict[str, list[Any]] = {}

    def unary(self: Any, path: str, *_arguments: Any, **_options: Any) -> Any:
        found.setdefault(path, [])
        raise Called

    async def unary_async(self: Any, path: str, *_arguments: Any, **_options: Any) -> Any:
        found.setdefault(path, [])
        raise Called

    def stream(kind: type[Stream]) -> Any:
        def opened(self: Any, path: str, *_arguments: Any, **_options: Any) -> Any:
            made = kind()
            found.setdefault(path, []).append(made)
            return made

        return opened

    monkeypatch.setattr(Omni, "call", unary)
    monkeypatch.setattr(AsyncOmni, "call", unary_async)
    # Resources, which some methods make as well.
    monkeypatch.setattr(Channel, "unary", unary)
    monkeypatch.setattr(AsyncChannel, "unary", unary_async)
    monkeypatch.setattr(Omni, "stream", stream(Stream))
    monkeypatch.setattr(AsyncOmni, "stream", stream(AsyncStream))
    return found


CONNECTION = Connection(Endpoint.parse("http://127.0.0.1:1"), KEY, "explicit")
WANTED = {path for path in CALLS if path.split("/")[1] in SERVICES.values()}
STREAMING = {path for path in WANTED if CALLS[path].server_stream}


def test_there_is_something_to_cover() -> None:
    assert len(WANTED) == 33
    assert len(STREAMING) == 5


def test_every_call_has_a_method(seen: dict[str, list[Any]]) -> None:
    for _, name, method in services(Omni.connect(connection=CONNECTION)):
        try:
            result = call(method)
        except (Called, InternalError):
            continue
        except Exception as error:
            error.add_note(name)
            raise
        if isinstance(result, Answers):
            with result:
                pass
    assert seen.keys() >= WANTED
    for path in STREAMING:
        assert seen[path]
        assert all(stream.closed for stream in seen[path]), path


async def test_every_call_has_a_method_for_tasks(seen: dict[str, list[Any]]) -> None:
    for _, name, method in services(AsyncOmni.connect(connection=CONNECTION)):
        result = call(method)
        if isinstance(result, AsyncAnswers):
            async with result:
                pass
            continue
        try:
            await result
        except (Called, InternalError):
            continue
        except Exception as error:
            error.add_note(name)
            raise
    assert seen.keys() >= WANTED
    for path in STREAMING:
        assert seen[path]
        assert all(stream.closed for stream in seen[path]), path

"""All resources of a kind: by the contents of a watch where that is the same and faster, else by a list."""
# ruff: noqa: ASYNC109 - a timeout here is a gRPC deadline

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from omniherd._backend import aio as backend
from omniherd._core.contents import Contents, has_contents
from omniherd._core.decoding import decode
from omniherd._core.requests import resource_text
from omniherd.errors import APIError, ResourceExhausted, Unimplemented

if TYPE_CHECKING:
    from omniherd._async.channel import AsyncChannel
    from omniherd.resource import Resource
    from omniherd.wire import cosi_resource

__all__ = ["read_kind"]

R = TypeVar("R", bound="Resource[Any]")

_STATE = "/cosi.resource.State/"


async def read_kind(
    channel: AsyncChannel,
    cls: type[R],
    namespace: str,
    *,
    options: cosi_resource.ListOptions | None,
    timeout: float | None,
) -> list[R]:
    """Return all resources of a kind, repeating what did not get through.

    Args:
        channel: What calls go over.
        cls: Their class.
        namespace: Their namespace.
        options: The queries, None for everything.
        timeout: Seconds for everything.

    Raises:
        APIError: Refused, or not got through.
    """
    from omniherd.wire import cosi_resource

    request = cosi_resource.ListRequest(namespace=namespace, type=cls.type_name, options=options)
    at_once = has_contents(cls.info, namespace)
    deadline = None if timeout is None else time.monotonic() + timeout
    repetition = 0
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            found = await _contents(channel, request, left) if at_once else None
            if found is not None:
                return [cls.from_bytes(one) for one in found]
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            return [cls.from_proto(one) for one in await _list(channel, request, left)]
        except APIError as error:
            left = None if deadline is None else deadline - time.monotonic()
            delay = channel.retry.next_delay(error, safe=True, repetition=repetition, remaining=left)
            if delay is None:
                raise
        repetition += 1
        await backend.sleep(delay)


async def _contents(
    channel: AsyncChannel, request: cosi_resource.ListRequest, timeout: float | None
) -> list[bytes] | None:
    """Read the contents that a watch begins with; None when the server has none for us."""
    contents = Contents(request)
    subject = resource_text(request.namespace, request.type, "*")
    messages = await channel.open(_STATE + "Watch", contents.request(), timeout=timeout, resource=subject)
    try:
        while not contents.complete:
            data = await messages.read()
            if data is None:
                return None
            decode(contents.feed, data, subject)
            if contents.broken:
                return None
    except (ResourceExhausted, Unimplemented):
        return None
    finally:
        messages.cancel()
    return contents.found


async def _list(channel: AsyncChannel, request: cosi_resource.ListRequest, timeout: float | None) -> list[Any]:
    from omniherd.wire import cosi_resource

    parse = cosi_resource.ListResponse.FromString
    subject = resource_text(request.namespace, request.type, "*")
    messages = await channel.open(
        _STATE + "List", request.SerializeToString(), timeout=timeout, bulk=True, resource=subject
    )
    found: list[Any] = []
    try:
        read = messages.read
        while (data := await read()) is not None:
            found.append(decode(parse, data, subject).resource)
    finally:
        messages.cancel()
    return found

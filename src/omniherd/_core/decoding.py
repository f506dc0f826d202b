"""From a server's bytes to messages; bytes that are none are an error of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from omniherd.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["decode"]

T = TypeVar("T")


def decode(parse: Callable[[bytes], T], data: bytes, resource: str | None = None) -> T:
    """Return what a message says.

    Args:
        parse: `FromString` of the message's class.
        data: Its bytes.
        resource: What the call was about, for errors.

    Raises:
        InternalError: The bytes are no such message: garbage, or text that is not UTF-8.
    """
    try:
        return parse(data)
    except Exception as error:  # noqa: BLE001 - protobuf raises a class of its own for each backend
        raise InternalError(
            f"the server's answer of {len(data)} bytes cannot be read: {error}",
            resource=resource,
            hint="something between here and the server may have changed it; or the server is no Omni",
        ) from None

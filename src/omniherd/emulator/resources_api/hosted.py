"""What Omni's hosted service says where ResourceService is: its web server refuses the call before gRPC sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd.emulator.records import StateError

if TYPE_CHECKING:
    from omniherd.emulator.server import Incoming, Method

__all__ = ["PREFIX", "refusing"]

PREFIX = "/omni.resources.ResourceService/"

_GO = (
    "unexpected HTTP status code received from server: 405 (Method Not Allowed); "
    'transport: received unexpected content-type "text/plain; charset=utf-8"'
)
_CORE = "Received http2 header with status: 405"


def refusing(methods: dict[str, Method]) -> dict[str, Method]:
    """Return methods of which those of ResourceService end as an HTTP answer 405 does for the library that calls.

    gRPC for Python cannot send that status itself, so the calls end with the error that each library makes of it.

    Args:
        methods: What answers, by path.
    """

    async def refuse(call: Incoming, _request: Any, *_send: Any) -> Any:
        raise StateError("UNKNOWN", _GO if "grpc-go" in (call.header("user-agent") or "") else _CORE)

    return {path: refuse if path.startswith(PREFIX) else method for path, method in methods.items()}

"""The gate before everything: until somebody has accepted the licence, a server only lets that be done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd.emulator.records import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.server import Incoming, Method
    from omniherd.emulator.store import Store

__all__ = ["EULA", "behind_eula", "licence"]

EULA = "EulaAcceptances.omni.sidero.dev"
_PUBLIC = frozenset({EULA, "AuthConfigs.omni.sidero.dev"})
_RESOURCES = "/omni.resources.ResourceService/"


def behind_eula(methods: dict[str, Method], store: Store, endpoint: Callable[[], str]) -> dict[str, Method]:
    """Return methods that refuse every call until the licence is accepted, before they look at its signature.

    Args:
        methods: What answers, by path.
        store: The state, with the acceptance or without.
        endpoint: The server's address, for the text.
    """
    check = licence(store, endpoint)

    def gated(path: str, method: Any) -> Method:
        async def serve(call: Incoming, request: Any, *send: Any) -> Any:
            check(path, request)
            return await method(call, request, *send)

        return serve

    return {path: gated(path, method) for path, method in methods.items()}


def licence(store: Store, endpoint: Callable[[], str]) -> Callable[[str, Any], None]:
    """Return what refuses a call, given its path and its request, until the licence is accepted.

    Args:
        store: The state, with the acceptance or without.
        endpoint: The server's address, for the text.
    """
    accepted = False

    def check(path: str, request: Any) -> None:
        nonlocal accepted
        if accepted or _is_open(path, request):
            return
        if store.find("default", EULA, "eula") is None:
            raise StateError(
                "FAILED_PRECONDITION",
                "EULA has not been accepted; please accept the End User License Agreement before using Omni: "
                f"{endpoint()}/eula",
            )
        accepted = True

    return check


def _is_open(path: str, request: Any) -> bool:
    """Whether a call is one of those that show the licence and accept it; they go through ResourceService only."""
    if path == _RESOURCES + "Watch":
        return True
    if path in {_RESOURCES + "Get", _RESOURCES + "List"}:
        return request.type in _PUBLIC
    return path == _RESOURCES + "Create" and request.resource.metadata.type == EULA

"""What a server wants its users to know: its version, where it is another than the one followed here, and its notices.

What a server of another version lacks or has besides is found out when it is met: nothing is refused for a number.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from omniherd.errors import APIError, NotFound, PermissionDenied, Unimplemented

if TYPE_CHECKING:
    from omniherd import Omni

__all__ = ["FOLLOWED", "greet", "version_notices"]

FOLLOWED = "1.9"
"""The Omni whose commands and answers this program follows."""

_API_VERSION = 2
_SEVERITIES = ("INFO", "WARN", "ERROR")
# Several connections of one command tell it once.
_TOLD: set[str] = set()


def greet(omni: Omni) -> None:
    """Say on standard error what is to be known about a server; each thing once.

    Args:
        omni: The client. It is asked for the server's version and, where servers have them, its notifications.

    Raises:
        APIError: The server does not answer, or not to this identity.
    """
    from omniherd.resources import Notification, SysVersion

    try:
        spec = omni.get(SysVersion, "current").spec
    except (NotFound, PermissionDenied, Unimplemented):
        _tell(f"[WARN] the server does not tell its version; omniherd follows Omni {FOLLOWED}.")
        return
    for line in version_notices(spec.backend_version, spec.backend_api_version):
        _tell(line)
    if _before(spec.backend_version, (1, 6)):
        return
    try:
        notifications = omni.list(Notification)
    except APIError:
        # A server that has none to give is no reason to stop.
        return
    for one in notifications:
        severity = one.spec.type
        name = _SEVERITIES[severity] if 0 <= severity < len(_SEVERITIES) else "UNKNOWN"
        _tell(f"[{name}] {one.spec.title}: {one.spec.body}")


def _tell(line: str) -> None:
    if line not in _TOLD:
        _TOLD.add(line)
        sys.stderr.write(f"{line}\n")


def version_notices(backend: str, api: int = _API_VERSION) -> list[str]:
    """Return what is to be said about a server's version: a warning when it is not the one that is followed here.

    Args:
        backend: The version, `v1.9.3`; what is no version, as of a server built by hand, is passed over.
        api: The version of its API.

    Example:
        >>> version_notices("v1.9.7")
        []
    """
    lines: list[str] = []
    numbers = _numbers(backend)
    if numbers and ".".join(map(str, numbers)) != FOLLOWED:
        lines.append(f'[WARN] omniherd follows Omni {FOLLOWED}, which differs from the backend version "{backend}".')
    if api != _API_VERSION:
        lines.append(
            f"[WARN] the server speaks API version {api or 'unknown'}, omniherd speaks {_API_VERSION}: "
            "what one of them does not know fails when it is asked for."
        )
    return lines


def _numbers(backend: str) -> tuple[int, ...]:
    parts = backend.removeprefix("v").split(".")[:2]
    return tuple(map(int, parts)) if len(parts) == 2 and all(part.isdigit() for part in parts) else ()


def _before(backend: str, version: tuple[int, int]) -> bool:
    numbers = _numbers(backend)
    return bool(numbers) and numbers < version

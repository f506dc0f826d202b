"""From the flags of every command to a connected client, with what omnictl checks before it begins."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from omniherd.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Generator

    from omniherd import Omni

__all__ = ["Settings", "connected", "refuse_read_only", "version_notices"]

_API_VERSION = 2
# Seconds for a call of a command whose own `--timeout` means something else.
_TIMEOUT = 30.0
# The Omni whose commands and answers this program follows.
_OMNI = ("1", "9")
_SEVERITIES = ("INFO", "WARN", "ERROR")


class Settings:
    """The flags of every command.

    Args:
        values: What click parsed; the flags of every command are taken out of it.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self.ca: str | None = values.pop("ca")
        self.context: str | None = values.pop("context")
        # Commands that write much at once have a flag of their own, and show all of it.
        self.dry_run: bool = values.pop("without_writing", False)
        self.insecure: bool = values.pop("insecure_skip_tls_verify")
        self.omniconfig: str | None = values.pop("omniconfig")
        self.read_only: bool = values.pop("read_only")
        self.server_name: str | None = values.pop("server_name")
        self.keys_dir: str | None = values.pop("siderov1_keys_dir")
        self.timeout: float = values.pop("timeout", _TIMEOUT)


def refuse_read_only(settings: Settings, what: str) -> None:
    """Stop a command that writes when only reading is wanted.

    Args:
        settings: The flags.
        what: What the command would do.

    Raises:
        InputError: `--read-only` or `OMNIHERD_READ_ONLY` is set.
    """
    if settings.read_only and not settings.dry_run:
        raise InputError(f"read-only: {what} is refused", hint="leave out --read-only, and unset OMNIHERD_READ_ONLY")


@contextlib.contextmanager
def connected(settings: Settings, *, checks: bool = True) -> Generator[Omni]:
    """Connect; on the way say what the server wants its users to know.

    Args:
        settings: The flags.
        checks: Whether to ask for the server's version and notifications first.

    Raises:
        OmniError: See `Omni.connect`.
    """
    from omniherd import Omni
    from omniherd.credentials import resolve

    try:
        connection = resolve(
            context=settings.context, omniconfig=settings.omniconfig, keys_dir=settings.keys_dir, create_config=True
        )
    except ConfigError as error:
        _notice(error.details.get("notices", ()))
        raise
    _notice(connection.notices)
    client = Omni.connect(
        connection=connection,
        ca=settings.ca,
        server_name=settings.server_name,
        insecure_skip_tls_verify=settings.insecure,
        timeout=settings.timeout or None,
    )
    with client as omni:
        if checks:
            _check(omni)
        if settings.read_only or settings.dry_run:
            from omniherd.cli.guard import Guard

            # Commands refuse by themselves before they connect; nothing gets past this where one forgets to.
            guard: Any = Guard(omni.channel, dry_run=settings.dry_run)
            omni.channel = guard
        yield omni


def _notice(lines: Any) -> None:
    for line in lines:
        sys.stderr.write(f"{line}\n")


def _check(omni: Omni) -> None:
    """Compare versions and show the server's notifications on standard error."""
    from omniherd.errors import APIError, ConfigError
    from omniherd.resources import Notification, SysVersion

    spec = omni.get(SysVersion, "current").spec
    if spec.backend_api_version != _API_VERSION:
        raise ConfigError(
            f"the server speaks API version {spec.backend_api_version}, omniherd speaks {_API_VERSION}",
            hint="use a version of omniherd made for that server",
        )
    numbers = spec.backend_version.lstrip("v").split(".")[:2]
    _notice(version_notices(spec.backend_version))
    if _older(numbers, ("1", "6")):
        return
    try:
        notifications = omni.list(Notification)
    except APIError:
        # A server that has none to give is no reason to stop.
        return
    for one in notifications:
        severity = one.spec.type
        name = _SEVERITIES[severity] if 0 <= severity < len(_SEVERITIES) else "UNKNOWN"
        sys.stderr.write(f"[{name}] {one.spec.title}: {one.spec.body}\n")


def version_notices(backend: str) -> list[str]:
    """Return what is to be said about a server's version: a warning when it is not the one that is followed here.

    Args:
        backend: The version, `v1.9.3`; what is no version, as of a server built by hand, is passed over.

    Example:
        >>> version_notices("v1.9.7")
        []
    """
    numbers = backend.lstrip("v").split(".")[:2]
    if len(numbers) != 2 or not all(number.isdigit() for number in numbers) or tuple(numbers) == _OMNI:
        return []
    return [f'[WARN] omniherd follows Omni {".".join(_OMNI)}, which differs from the backend version "{backend}".']


def _older(numbers: list[str], than: tuple[str, str]) -> bool:
    if not all(number.isdigit() for number in numbers):
        return False
    return [int(number) for number in numbers] < [int(number) for number in than]

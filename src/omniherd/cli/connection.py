"""From the flags of every command to a connected client, with what omnictl checks before it begins."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from omniherd.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from omniherd import Omni
    from omniherd.credentials import Connection
    from omniherd.errors import OmniError

__all__ = ["Settings", "connected", "refuse_read_only"]

# Seconds for a call of a command whose own `--timeout` means something else.
_TIMEOUT = 30.0


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
        self.quiet: bool = values.pop("no_notices")
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
def connected(settings: Settings, *, checks: bool = True, environ: Mapping[str, str] | None = None) -> Generator[Omni]:
    """Connect; on the way log a person in whose key is no good, and say what the server wants its users to know.

    Args:
        settings: The flags.
        checks: Whether to ask for the server's version and notifications first, unless `--no-notices` says not to.
        environ: The environment, the process's by default.

    Raises:
        OmniError: See `Omni.connect`.
    """
    from omniherd.credentials import resolve
    from omniherd.errors import KeyExpired, Unauthenticated

    try:
        connection = resolve(
            context=settings.context,
            omniconfig=settings.omniconfig,
            keys_dir=settings.keys_dir,
            create_config=True,
            environ=environ,
        )
    except ConfigError as error:
        _notice(error.details.get("notices", ()))
        raise
    _notice(connection.notices)
    notices = checks and not settings.quiet
    with contextlib.ExitStack() as stack:
        fresh = connection.problem is not None
        if connection.problem is not None:
            connection = _log_in(settings, connection, connection.problem)
        omni = stack.enter_context(_client(settings, connection))
        try:
            _greet(omni, notices=notices)
        except (Unauthenticated, KeyExpired) as error:
            # A person's key that the server does not take, or takes no more. Of a service account there is no other.
            if fresh or connection.kind != "user":
                raise
            omni.close()
            omni = stack.enter_context(_client(settings, _log_in(settings, connection, error)))
            _greet(omni, notices=notices)
        if settings.read_only or settings.dry_run:
            from omniherd.cli.guard import Guard

            # Commands refuse by themselves before they connect; nothing gets past this where one forgets to.
            guard: Any = Guard(omni.channel, dry_run=settings.dry_run)
            omni.channel = guard
        yield omni


def _log_in(settings: Settings, connection: Connection, problem: OmniError) -> Connection:
    from omniherd.cli.login import log_in

    return log_in(settings, connection, problem)


def _client(settings: Settings, connection: Connection) -> Omni:
    from omniherd import Omni

    return Omni.connect(
        connection=connection,
        ca=settings.ca,
        server_name=settings.server_name,
        insecure_skip_tls_verify=settings.insecure,
        timeout=settings.timeout or None,
    )


def _greet(omni: Omni, *, notices: bool) -> None:
    """Make the first call: what the server wants to be known, or for a person whether the key is taken at all."""
    if notices:
        from omniherd.cli.skew import greet

        greet(omni)
    elif omni.connection.kind == "user":
        from omniherd.resources import SysVersion

        omni.get(SysVersion, "current")


def _notice(lines: Any) -> None:
    for line in lines:
        sys.stderr.write(f"{line}\n")

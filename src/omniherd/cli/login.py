"""A person's login on the way to a command: a new key, confirmed in the browser, with omnictl's lines about it."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import TYPE_CHECKING

from omniherd._core.login import present, success
from omniherd.errors import CredentialError, OmniError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omniherd.cli.connection import Settings
    from omniherd.credentials import Connection

__all__ = ["log_in", "unwatched"]

_CANCELED = "rpc error: code = Canceled desc = context canceled"


def unwatched(environ: Mapping[str, str] | None = None) -> bool:
    """Whether nobody sits here who could confirm a key, and nobody asked for the address by `BROWSER=echo`."""
    env = os.environ if environ is None else environ
    return env.get("BROWSER") != "echo" and not sys.stderr.isatty()


def log_in(settings: Settings, connection: Connection, problem: OmniError) -> Connection:
    """Make a person's key, have it confirmed, and return the connection with it.

    Off a terminal nobody is waited for: the key is registered and stored, and the error says where to confirm it.

    Args:
        settings: The flags.
        connection: A person's connection.
        problem: Why there is no usable key.

    Raises:
        OmniError: The login did not come to its end.
    """
    from omniherd import Login
    from omniherd.cli.failures import describe, rpc_text

    why = rpc_text(problem)
    _say(f"Could not authenticate: {why}")
    # An old key may have been taken here and refused there.
    connection = dataclasses.replace(connection, signer=None)
    try:
        with Login(
            connection,
            ca=settings.ca,
            server_name=settings.server_name,
            insecure_skip_tls_verify=settings.insecure,
        ) as login:
            _show(login.start(), why)
            ready = login.wait()
            assert login.key is not None  # noqa: S101 - it has been started
            assert login.path is not None  # noqa: S101 - the same
            for line in success(login.key.fingerprint, login.identity, login.path):
                _say(line)
            return ready
    except KeyboardInterrupt:
        raise OmniError(f"{why}\n{_CANCELED}") from None
    except CredentialError:
        raise
    except WaitTimeout as error:
        raise OmniError(f"{why}\n{error.message}", hint=error.hint) from None
    except OmniError as error:
        raise OmniError(f"{why}\n{describe(error)}", code=error.code) from None


def _show(url: str, why: str) -> None:
    """Open the page, or say where it is.

    Raises:
        CredentialError: Nobody is here who could go there.
    """
    if unwatched():
        hint = f"confirm it at {url}, then run the command again"
        raise CredentialError(f"{why}\na new key waits for its owner", hint=hint)
    present(url)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()

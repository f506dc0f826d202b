"""A person's login in the browser, apart from its input and output.

A new key is made and registered; the server answers with the page on which its owner confirms it. The texts are those
that omnictl prints, since people look for them.
"""

from __future__ import annotations

import os
import platform
import sys
from typing import TYPE_CHECKING

from omniherd._version import __version__
from omniherd.errors import ConfigError
from omniherd.signing import PGPKey

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from omniherd.credentials import Connection, KeyStore

__all__ = ["announcement", "login_key", "login_target", "may_open_browser", "present", "success"]


def login_target(connection: Connection) -> tuple[str, str, KeyStore]:
    """Return the context, the identity and the key directory of a person who is to log in.

    Raises:
        ConfigError: The connection is no person's: service accounts have their keys from elsewhere.
    """
    if connection.kind != "user" or connection.key_store is None or not connection.identity:
        raise ConfigError(
            "only a context with an identity can log in",
            hint="write the e-mail address into the context: omniherd config identity me@example.com",
        )
    return connection.context or "", connection.identity, connection.key_store


def login_key(identity: str, lifetime: timedelta) -> PGPKey:
    """Return a new key for a person; what made it stands in its user id, where the server shows it."""
    comment = f"{platform.system()}/{platform.machine()}".lower()
    return PGPKey.generate(f"omniherd {__version__}", comment, identity, lifetime)


def may_open_browser(environ: Mapping[str, str] | None = None, *, terminal: bool | None = None) -> bool:
    """Whether a person sits here who would see a browser.

    Args:
        environ: The environment; `BROWSER=echo` asks for the URL to be printed.
        terminal: Whether standard error is a terminal; found out by default.
    """
    env = os.environ if environ is None else environ
    if env.get("BROWSER") == "echo" or env.get("CI"):
        return False
    if terminal is None:
        terminal = sys.stderr.isatty()
    if not terminal:
        return False
    if platform.system() in {"Darwin", "Windows"}:
        return True
    return bool(env.get("DISPLAY") or env.get("WAYLAND_DISPLAY") or env.get("BROWSER"))


def announcement(url: str, *, opening: bool) -> str:
    """Return the line that tells a person where to confirm the key."""
    if opening:
        return f"Attempting to open URL: {url}"
    return f"Please visit this page to authenticate: {url}"


def present(url: str) -> None:
    """Show a person the page: in a browser where one can be seen, else as an address on standard error.

    Args:
        url: The page.
    """
    opening = may_open_browser()
    _say(announcement(url, opening=opening))
    if not opening:
        return
    import webbrowser

    if not webbrowser.open(url):
        _say(announcement(url, opening=False))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def success(fingerprint: str, identity: str, path: str) -> list[str]:
    """Return the lines that tell a person that it is done."""
    return [f"Public key {fingerprint} is now registered for user {identity}", f"PGP key saved to {path}"]

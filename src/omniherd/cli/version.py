"""`omniherd version`."""

from __future__ import annotations

import sys
from typing import Any

from omniherd._version import __version__
from omniherd.cli.connection import Settings, connected
from omniherd.cli.flags import command, flag

__all__ = ["version"]


@command()
@flag("--client", help="only that of this program")
def version(**values: Any) -> None:
    """Show the versions of this program and of the server."""
    settings = Settings(values)
    sys.stdout.write(f"Client: {__version__}\n")
    # It stands there also when there is no server to ask.
    sys.stdout.flush()
    if values["client"]:
        return
    with connected(settings, checks=False) as omni:
        from omniherd.resources import SysVersion

        system = omni.get(SysVersion, "current").spec
    sys.stdout.write(f"Server: {system.backend_version} (API {system.backend_api_version})\n")

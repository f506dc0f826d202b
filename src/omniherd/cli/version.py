"""`omniherd version`."""

from __future__ import annotations

import sys
from typing import Any

from omniherd._version import __version__
from omniherd.cli.connection import Settings, connected
from omniherd.cli.flags import command, flag, option

__all__ = ["version"]


@command()
@flag("--client", help="only that of this program")
@option("-o", "--output", metavar="FORMAT", help="table, json or yaml")
def version(**values: Any) -> None:
    """Show the versions of this program and of the server."""
    from omniherd.cli.output.records import check_format, write_record

    settings = Settings(values)
    form = check_format(values["output"])
    if form == "table":
        sys.stdout.write(f"Client: {__version__}\n")
        # It stands there also when there is no server to ask.
        sys.stdout.flush()
    server: dict[str, Any] | None = None
    if not values["client"]:
        with connected(settings, checks=False) as omni:
            from omniherd.resources import SysVersion

            system = omni.get(SysVersion, "current").spec
        server = {"version": system.backend_version, "api_version": system.backend_api_version}
    if form != "table":
        write_record(form, {"client": {"version": __version__}, "server": server})
    elif server is not None:
        sys.stdout.write(f"Server: {server['version']} (API {server['api_version']})\n")

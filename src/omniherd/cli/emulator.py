"""`omniherd emulator`: an Omni-compatible server on this machine."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from omniherd.cli.connection import Settings, connected
from omniherd.cli.flags import Choice, Number, command, flag, option
from omniherd.errors import ContextNotFound, InputError

__all__ = ["emulator", "environment_text", "split_address"]


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`; a host in brackets may hold colons.

    Raises:
        InputError: It has another form, or the port is out of range.

    Example:
        >>> split_address("127.0.0.1:0")
        ('127.0.0.1', 0)
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InputError(f"--listen wants HOST:PORT, not {text!r}", hint="port 0 picks a free one: 127.0.0.1:0")
    return host, int(port)


def environment_text(variables: dict[str, str]) -> str:
    """Return environment variables as lines `NAME=value`."""
    return "".join(f"{name}={value}\n" for name, value in variables.items())


def _counts(text: str) -> tuple[int, int]:
    """Return two numbers with a comma between them.

    Raises:
        InputError: It has another form.
    """
    planes, _, workers = text.partition(",")
    if not (planes.isascii() and planes.isdigit() and workers.isascii() and workers.isdigit()):
        raise InputError(f"--foreign-machines wants N,M, not {text!r}", hint="three control planes and a worker: 3,1")
    return int(planes), int(workers)


def _seed(source: str | None, settings: Settings) -> str | list[bytes] | None:
    """Return a file's name as it is, else what the server of a context has.

    Raises:
        InputError: There is neither a file nor a context of that name.
        OmniError: The server cannot be reached, or refuses.
    """
    if not source:
        return None
    if Path(source).exists():
        return source
    from omniherd.credentials import ENDPOINT_VARIABLE, SERVICE_ACCOUNT_VARIABLES
    from omniherd.emulator.fixtures import export

    # The context was named, so that a key in the environment does not go before it.
    named = {*SERVICE_ACCOUNT_VARIABLES, ENDPOINT_VARIABLE}
    settings.context = source
    try:
        with connected(
            settings, checks=False, environ={name: value for name, value in os.environ.items() if name not in named}
        ) as omni:
            return export(omni)
    except ContextNotFound:
        raise InputError(
            f"--seed-from {source}: there is no such file, and no context of that name",
            hint="`omniherd config contexts` lists the contexts",
        ) from None


@command()
@option("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="loopback address; port 0 picks a free one")
@option("--ready-file", metavar="FILE", help="write the environment lines there once it serves")
@flag("--no-fleet", help="start empty")
@option("--web-port", type=Number(0, 65535), default=0, metavar="PORT", help="JSON gateway and login page")
@flag("--single-port", help="serve those on the port of --listen, too, as real servers do; slower")
@flag("--hosted", help="refuse ResourceService as the hosted service does, with HTTP status 405")
@option("--omni-version", type=Choice(("1.9", "1.10")), default="1.9", metavar="VERSION", help="1.9 (v1.9.3) or 1.10")
@option("--machines", type=Number(0), default=0, metavar="N", help="let N machines live, and no still fleet")
@option("--speed", type=Number(0, whole=False), default=1.0, metavar="X", help="their time: 2 twice as fast, 0 stops")
@option("--seed", type=Number(), default=0, metavar="N", help="where their chance comes from, 0 by default")
@flag("--any-type", help="admit resource types that Omni does not have")
@option("--data", metavar="FILE", help="keep everything in a file, and go on from it")
@option("--seed-from", metavar="FILE|CONTEXT", help="start with what a file has, or a copy of a real server's state")
@option("--foreign-cluster", metavar="FILE", help="start a Talos cluster outside, too; its talosconfig goes there")
@option("--foreign-machines", default="1,1", metavar="N,M", help="its control planes and workers, 1,1 by default")
def emulator(**values: Any) -> None:
    """Serve an Omni of your own on this machine, until Ctrl-C. Its state is gone with it, unless --data keeps it."""
    from omniherd._core.files import write_atomic
    from omniherd.emulator import Emulator

    settings = Settings(values)
    host, port = split_address(values["listen"])
    planes, workers = _counts(values["foreign_machines"])
    done = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        done.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with Emulator(
            seed_fleet=False if values["no_fleet"] else None,
            machines=values["machines"],
            speed=values["speed"],
            seed=values["seed"],
            host=host,
            port=port,
            any_type=values["any_type"],
            resource_service=not values["hosted"],
            version=values["omni_version"],
            web_port=values["web_port"],
            single_port=values["single_port"],
            data=values["data"] or None,
            seed_from=_seed(values["seed_from"], settings),
        ) as server:
            text = environment_text(server.environment())
            if values["foreign_cluster"]:
                foreign = server.foreign_cluster(control_planes=planes, workers=workers)
                write_atomic(values["foreign_cluster"], foreign.talosconfig, 0o600)
                sys.stderr.write(f"foreign cluster {foreign.name} has the nodes {','.join(foreign.nodes)}\n")
            if values["ready_file"]:
                write_atomic(values["ready_file"], text, 0o600)
            sys.stdout.write("".join(f"export {line}\n" for line in text.splitlines()))
            sys.stdout.flush()
            sys.stderr.write(f"serving on {server.endpoint}, pages on {server.web_endpoint}; stop with Ctrl-C\n")
            # A signal that comes in the moment before the wait would not end it, so it is looked at now and again.
            while not done.wait(0.5):
                pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

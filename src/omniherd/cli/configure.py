"""`omniherd configure machine`: how machines reach Omni, and by which token."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from omniherd.cli.connection import Settings, connected, refuse_read_only
from omniherd.cli.failures import wrapped
from omniherd.cli.flags import Choice, command, flag, option
from omniherd.errors import InputError, NotFound, OmniError

if TYPE_CHECKING:
    from omniherd import Omni

__all__ = ["machine"]

_MODES: dict[str, bool | None] = {"udp": False, "http-tunnel": True, "auto": None}
_DELAY = "It will take around 4m35s for the machine to reconnect back in the new mode."
_DONE = {
    False: "disabled gRPC tunnel mode for machine {}",
    True: "enabled gRPC tunnel mode for machine {}",
    None: "deleted grpc tunnel config for the machine {}",
}


class _Mode(Choice):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value and value not in _MODES:
            return self.fail(f'unknown mode "{value}", should be one of [{",".join(_MODES)}]', param, ctx)
        return str(value)


@command(minimum=1, maximum=None)
@click.argument("words", nargs=-1, metavar="MACHINE...")
@flag("--reset-node-unique-token", help="let the machine join anew, as if it had never proven who it is")
@option("--siderolink-connection", type=_Mode(tuple(_MODES)), metavar="MODE", help="udp, http-tunnel or auto")
def machine(**values: Any) -> None:
    """Say how machines reach Omni from their next join on, or let them join anew."""
    settings = Settings(values)
    mode = values["siderolink_connection"]
    if not mode and not values["reset_node_unique_token"]:
        raise InputError("nothing to change", hint="give --siderolink-connection or --reset-node-unique-token")
    refuse_read_only(settings, "`configure machine`")
    with connected(settings) as omni:
        for name in values["words"]:
            if mode:
                try:
                    _connect(omni, name, _MODES[mode])
                except OmniError as error:
                    raise wrapped(error, f"failed to update SideroLink connection mode for machine {name}") from error
            if values["reset_node_unique_token"]:
                try:
                    omni.management.reset_node_unique_token(_id(omni, name))
                except OmniError as error:
                    raise wrapped(error, f"failed to reset node unique token for machine {name}") from error
                _say(f"reset node unique token for machine {name}")


def _id(omni: Omni, name: str) -> str:
    from omniherd._core.nodes import is_machine_id

    return name if is_machine_id(name) else omni.machines.find(name).id


def _connect(omni: Omni, name: str, tunnel: bool | None) -> None:
    from omniherd.resources import Machine

    try:
        ident = _id(omni, name)
        omni.get(Machine, ident)
    except NotFound:
        raise InputError(f"machine with id {name} doesn't exist") from None
    changed = omni.machines.set_grpc_tunnel(ident, tunnel)
    if changed or tunnel is None:
        _say(_DONE[tunnel].format(name))
        _say(_DELAY)
    else:
        sys.stderr.write(f"nothing to change for machine {name}\n")
    if tunnel is None:
        _say("WARNING: the changes won't be applied until the machine is restarted")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()

"""`omniherd machine`: power of machines, and Talos on those that wait in maintenance mode."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

import click

from omniherd.cli.connection import Settings, connected, refuse_read_only
from omniherd.cli.failures import wrapped
from omniherd.cli.flags import command, option
from omniherd.cli.names import machine_id, shown
from omniherd.errors import InputError, OmniError

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd import Omni

__all__ = ["install", "power_on", "shutdown", "upgrade"]


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _act(values: dict[str, Any], what: str, action: Callable[[Omni, str], None], done: str) -> None:
    """Do something to the machine that is named, and say that it is done.

    Args:
        values: What click parsed.
        what: What failed, if it does: `power on`.
        action: Does it.
        done: What is said of the machine then.
    """
    settings = Settings(values)
    refuse_read_only(settings, f"to {what} a machine")
    machine = values["words"][0]
    with connected(settings) as omni:
        try:
            ident = machine_id(omni, machine)
            action(omni, ident)
        except OmniError as error:
            raise wrapped(error, f'failed to {what} machine "{machine}"') from error
    _say(f"machine {shown(machine, ident)}{done}")


def _lifecycle(
    omni: Omni, machine: str, operation: Literal["install", "upgrade"], *, version: str, disk: str = ""
) -> None:
    with omni.management.maintenance_lifecycle(machine, operation, version=version, disk=disk) as lines:
        for line in lines:
            _say(line)


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="MACHINE")
def power_on(**values: Any) -> None:
    """Switch on a machine that an infra provider runs."""
    _act(values, "power on", lambda omni, machine: omni.management.power_on(machine), " power on requested")


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="MACHINE")
def shutdown(**values: Any) -> None:
    """Switch a machine off."""
    _act(values, "shut down", lambda omni, machine: omni.management.power_off(machine), " is shutting down")


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="MACHINE")
@option("--disk", metavar="DEVICE", help="the disk to install to: /dev/sda")
@option("--version", metavar="VERSION", help="the Talos version, by default the one that runs")
def install(**values: Any) -> None:
    """Install Talos on a machine that waits in maintenance mode."""
    disk, version = values["disk"], values["version"]
    if not disk:
        raise InputError("--disk is required")

    def action(omni: Omni, machine: str) -> None:
        _lifecycle(omni, machine, "install", version=version, disk=disk)

    _act(values, "install Talos on", action, f": Talos installed to {disk}")


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="MACHINE")
@option("--version", metavar="VERSION", help="the Talos version to go to")
def upgrade(**values: Any) -> None:
    """Upgrade Talos on a machine that waits in maintenance mode."""
    version = values["version"]
    if not version:
        raise InputError("--version is required")

    def action(omni: Omni, machine: str) -> None:
        _lifecycle(omni, machine, "upgrade", version=version)

    _act(values, "upgrade Talos on", action, ": Talos upgraded")

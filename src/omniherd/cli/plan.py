"""`omniherd plan` and `omniherd sync`: what files of a fleet would change on a server, and doing it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from omniherd.cli.connection import Settings, connected, refuse_read_only
from omniherd.cli.flags import Choice, command, flag, listed, option
from omniherd.cli.template import WAIT_TIMEOUT, carry_out
from omniherd.errors import InputError, OmniError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omniherd.template import Fleet, FleetPlan

__all__ = ["IGNORE", "PRUNE", "carry_out_plan", "plan", "read_files", "sync", "sync_files"]

_PATHS = click.argument("words", nargs=-1, metavar="PATH...")
_ALLOWED = option("--allowed-dir", metavar="DIR", help="folder that files named in templates must lie in")
IGNORE = option(
    "--ignore",
    multiple=True,
    default=(),
    metavar="RULE",
    help="leave as it is: locks, numbers, labels=PATTERN, annotations=PATTERN, TYPE or TYPE/PATTERN; may be repeated",
)
PRUNE = flag("--prune", help="delete clusters that a template made and that none of the files has")
_BRIEF = flag("--brief", help="leave the diffs out")


@command(minimum=1, maximum=None)
@_PATHS
@_ALLOWED
@_BRIEF
@IGNORE
@PRUNE
@option("--out", metavar="FILE", help="keep the plan in a file, for `sync FILE`")
@option("-o", "--output", type=Choice(("text", "json", "markdown")), metavar="FORMAT", help="text, json or markdown")
def plan(**values: Any) -> None:
    """Say what would make the server what templates, overlays and resources say; PATHs are files and folders.

    Exits with 0 when nothing would change, with 2 when something would, with 1 when something is wrong.
    """
    settings = Settings(values)
    fleet = read_files(values["words"], values)
    with connected(settings) as omni:
        found = omni.templates.plan_fleet(fleet, ignore=listed(values["ignore"]), prune=values["prune"])
    if values["out"]:
        from omniherd.template import save_plan

        save_plan(found, values["out"])
    sys.stdout.write(_shown(found, values["output"], brief=values["brief"]))
    if not found.empty:
        raise click.exceptions.Exit(2)


@command(minimum=1, maximum=None)
@_PATHS
@_ALLOWED
@flag("-d", "--dry-run", help="change nothing; say what would be done")
@IGNORE
@PRUNE
@flag("-v", "--verbose", help="print what changes in each resource")
@WAIT_TIMEOUT
def sync(**values: Any) -> None:
    """Make the server what templates, overlays and resources say; PATHs are files and folders, or one saved plan.

    A saved plan is carried out only as long as the server is what it was when the plan was made.
    """
    settings = Settings(values)
    sync_files(settings, values, "`sync`")


def sync_files(settings: Settings, values: dict[str, Any], what: str) -> None:
    """Carry out a saved plan, or plan the files and carry that out.

    Args:
        settings: The flags of every command.
        values: `words`, `allowed_dir`, `ignore`, `prune`, `dry_run` and `verbose`.
        what: What the command is called.

    Raises:
        OmniError: Files are not valid, or the server refuses.
    """
    if not values["dry_run"]:
        refuse_read_only(settings, what)
    saved = _saved(values["words"])
    if saved is not None and (values["ignore"] or values["prune"]):
        raise InputError("a saved plan is carried out as it is", hint="give --ignore and --prune to `plan`")
    fleet = read_files(values["words"], values) if saved is None else None
    with connected(settings) as omni:
        if fleet is not None:
            saved = omni.templates.plan_fleet(fleet, ignore=listed(values["ignore"]), prune=values["prune"])
        elif saved is not None:
            omni.templates.check_plan(saved)
        if saved is not None:
            carry_out_plan(omni, saved, values)


def carry_out_plan(omni: Any, made: FleetPlan, values: dict[str, Any]) -> None:
    """Do what a plan says, part by part, and say so.

    Args:
        omni: The client.
        made: The plan.
        values: See `omniherd.cli.template.carry_out`.

    Raises:
        OmniError: A step failed; what was done before it stays.
    """
    from omniherd.cli.failures import rpc_text

    for part in made.parts:
        try:
            carry_out(omni, part.plan, values)
        except OmniError as error:
            name = part.file or (f"cluster {part.cluster}" if part.cluster else "resources")
            raise OmniError(f'failed to sync "{name}": {rpc_text(error)}', hint=error.hint) from error


def read_files(paths: Sequence[str], values: dict[str, Any]) -> Fleet:
    """Return what files say, all of them checked; say which were passed over.

    Args:
        paths: Files and folders.
        values: `allowed_dir`, and `strict` where there is such a flag.

    Raises:
        OmniError: Something is wrong with them; the text lists everything.
    """
    from omniherd.template import read_fleet

    fleet = read_fleet(paths, allowed_dir=values.get("allowed_dir") or None, dialect="auto")
    fleet.validate(strict=values.get("strict", False))
    for name in fleet.unused:
        sys.stderr.write(f"passed over {name}: neither a template nor a resource, and no template names it\n")
    return fleet


def _saved(paths: Sequence[str]) -> FleetPlan | None:
    """Return the plan that is meant, None when the paths are not one file of JSON."""
    from pathlib import Path

    if len(paths) != 1 or not Path(paths[0]).is_file():
        return None
    with Path(paths[0]).open("rb") as file:
        start = file.read(64)
    if not start.lstrip().startswith(b'{\n "format"'):
        return None
    from omniherd.template import load_plan

    return load_plan(paths[0])


def _shown(found: FleetPlan, output: str, *, brief: bool) -> str:
    from omniherd.cli.output import plans

    now = datetime.now(UTC)
    if output == "json":
        import json

        return json.dumps(plans.record(found, now=now), indent=4, ensure_ascii=False) + "\n"
    if output == "markdown":
        return plans.markdown(found, now=now, brief=brief)
    return plans.text(found, now=now, colour=sys.stdout.isatty(), brief=brief)

"""`omniherd apply` and `omniherd create`: resources from files to the server."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from omniherd.cli.connection import Settings, connected, refuse_read_only
from omniherd.cli.failures import os_text, rpc_text
from omniherd.cli.flags import command, flag, option
from omniherd.errors import AlreadyExists, InputError, NotFound, OmniError, PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd import Omni
    from omniherd.resource import Resource

__all__ = ["Step", "apply", "create", "plan"]


class Step(NamedTuple):
    """What is to be done for a document.

    Attributes:
        verb: `create`, `update` or `nothing`.
        wanted: What is sent.
        stored: What is there, if anything was found.
        denied: Why it is not known whether anything is there.
    """

    verb: str
    wanted: Resource[Any]
    stored: Resource[Any] | None = None
    denied: PermissionDenied | None = None


def plan(wanted: Resource[Any], read: Callable[[], Resource[Any]]) -> Step:
    """Decide what a document demands.

    The stored version is taken; stored finalizers are kept where the document names none.

    Args:
        wanted: The document.
        read: Gets the stored resource.

    Raises:
        APIError: It cannot be read.
    """
    from omniherd.cli.output.changes import same_wish

    try:
        stored = read()
    except NotFound:
        return Step("create", wanted)
    except PermissionDenied as error:
        # Some types can be written and not read.
        return Step("create", wanted, denied=error)
    result = wanted.copy()
    result.metadata.version = stored.version
    if not result.finalizers:
        result.finalizers = list(stored.finalizers)
    return Step("nothing" if same_wish(stored, result) else "update", result, stored)


_FILE = option("-f", "--file", metavar="PATH", help="file, directory (*.yaml, *.yml in it) or - for standard input")
_DRY_RUN = flag("-d", "--dry-run", help="send nothing; say what would be done")
_OUTPUT = option("-o", "--output", metavar="FORMAT", help="table, json or yaml: what became of each resource")
_VERBOSE = flag("-v", "--verbose", help="say what is done")
_TITLES = ("TYPE", "ID", "ACTION")
_ACTIONS = {"create": "created", "update": "updated", "nothing": "unchanged"}


@command(maximum=None)
@click.argument("words", nargs=-1, metavar="[PATH...]")
@_FILE
@_DRY_RUN
@_OUTPUT
@_VERBOSE
def apply(**values: Any) -> None:
    """Create or update resources from YAML. What is as it should be is not written again.

    PATHs are the files of a fleet, as `export --all` writes them: templates, overlays and resources, see `sync`.
    """
    settings = Settings(values)
    if values["words"] and values["file"]:
        # What omnictl says of any word.
        raise click.UsageError(f'unknown command "{values["words"][0]}" for "omniherd apply"')
    if values["words"]:
        from omniherd.cli.plan import sync_files

        if values["output"]:
            raise InputError("-o is for files given with -f", hint="`plan -o json` shows what a fleet's files change")
        sync_files(settings, {**values, "allowed_dir": None, "ignore": (), "prune": False}, "`apply`")
        return
    if not values["file"]:
        raise click.UsageError('required flag(s) "file" not set')
    _each(settings, values, _apply, "apply")


@command(required=("file",))
@_FILE
@_DRY_RUN
@_OUTPUT
@_VERBOSE
def create(**values: Any) -> None:
    """Create resources from YAML; one that exists already is an error."""
    _each(Settings(values), values, _create, "create")


def _each(
    settings: Settings, values: dict[str, Any], write: Callable[[Omni, Resource[Any], bool, bool], str], verb: str
) -> None:
    from omniherd.cli.output.records import check_format

    form = check_format(values["output"]) if values["output"] else ""
    if not values["dry_run"]:
        refuse_read_only(settings, f"`{verb}`")
    done: list[tuple[Resource[Any], str]] = []
    try:
        _write_files(settings, values, write, done, verbose=not form and (values["dry_run"] or values["verbose"]))
    finally:
        # Also of those that were sent before one failed.
        if form:
            _tell(form, done, dry_run=values["dry_run"])


def _tell(form: str, done: list[tuple[Resource[Any], str]], *, dry_run: bool) -> None:
    from omniherd.cli.output.records import write_records

    records = [
        {"type": one.type, "namespace": one.namespace, "id": one.id, "action": _ACTIONS[verb], "dry_run": dry_run}
        for one, verb in done
    ]
    write_records(form, records, _TITLES, [(one.type, one.id, _ACTIONS[verb]) for one, verb in done])


def _write_files(
    settings: Settings,
    values: dict[str, Any],
    write: Callable[[Omni, Resource[Any], bool, bool], str],
    done: list[tuple[Resource[Any], str]],
    *,
    verbose: bool,
) -> None:
    from omniherd.cli.documents import discover, read_resources

    dry_run: bool = values["dry_run"]
    with connected(settings) as omni:
        files = discover(values["file"])
        _say(verbose, f"Processing {len(files)} resource file(s)\n")
        for file in files:
            _say(verbose, f"Applying resources from: {file}\n")
            try:
                for resource in read_resources(file):
                    action = write(omni, resource, dry_run, verbose)
                    done.append((resource, action))
            except (OmniError, OSError) as error:
                told = os_text(error) if isinstance(error, OSError) else rpc_text(error)
                hint = None if isinstance(error, OSError) else error.hint
                # What was sent before stays; which file stopped it must be told.
                raise OmniError(f'failed to apply resources from file "{file}": {told}', hint=hint) from error


def _say(verbose: bool, text: str) -> None:
    if verbose:
        sys.stdout.write(text)


def _apply(omni: Omni, resource: Resource[Any], dry_run: bool, verbose: bool) -> str:
    from omniherd.cli.output import changes

    step = plan(resource, lambda: omni.get(resource.type, resource.id, namespace=resource.namespace))
    if step.stored is None:
        _say(verbose, changes.created(step.wanted))
    else:
        _say(verbose, changes.updated(step.stored, step.wanted, colour=sys.stdout.isatty()))
    if dry_run or step.verb == "nothing":
        return step.verb
    try:
        if step.verb == "create":
            omni.create(step.wanted)
        else:
            omni.update(step.wanted)
    except AlreadyExists as error:
        if step.denied is None:
            raise _failed(step, error) from error
        raise OmniError(
            f"resource '{resource.id}' '{resource.type}' already exists and cannot be read "
            f"({rpc_text(step.denied)}); destroy it before applying again",
            hint=step.denied.hint,
        ) from error
    except OmniError as error:
        raise _failed(step, error) from error
    return step.verb


def _create(omni: Omni, resource: Resource[Any], dry_run: bool, verbose: bool) -> str:
    from omniherd.cli.output import changes

    _say(verbose, changes.created(resource))
    if dry_run:
        return "create"
    try:
        omni.create(resource)
    except OmniError as error:
        raise _failed(Step("create", resource), error) from error
    return "create"


def _failed(step: Step, error: OmniError) -> OmniError:
    wanted = step.wanted
    return OmniError(
        f"failed to {step.verb} resource '{wanted.id}' '{wanted.type}': {rpc_text(error)}", hint=error.hint
    )

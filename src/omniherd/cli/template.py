"""`omniherd cluster template`: clusters described in files, with the words and flags of omnictl."""

from __future__ import annotations

import contextlib
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omniherd.cli.connection import Settings, connected, refuse_read_only
from omniherd.cli.failures import os_text, rpc_text, wrapped
from omniherd.cli.flags import Choice, Duration, Seconds, command, flag, option
from omniherd.errors import InputError, NotFound, OmniError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from omniherd import Omni
    from omniherd.errors import DeleteTimeout
    from omniherd.template import Plan, Problem, Step, Template

__all__ = ["WAIT_TIMEOUT", "carry_out", "delete", "diff", "export", "render", "status", "sync", "validate"]

_FILE = option("-f", "--file", metavar="FILE", help="template file")
_ALLOWED = option(
    "--allowed-dir", default="./", metavar="DIR", help="folder that files must lie in, relative to the template's"
)
_DRY_RUN = flag("-d", "--dry-run", help="change nothing; say what would be done")
WAIT_TIMEOUT = option(
    "--wait-timeout",
    type=Seconds(),
    default=0.0,
    metavar="DURATION",
    help="give up on what does not go after so long; 0 waits on",
)
_VERBOSE = flag("-v", "--verbose", help="print what changes in each resource")
_PREFIXES = {"loading": "error loading template: "}


# --- without a server -------------------------------------------------------------------------------------------------


@command(maximum=None)
@click.argument("words", nargs=-1, metavar="[PATH...]")
@_FILE
@_ALLOWED
@option("-o", "--output", type=Choice(("text", "lines", "json")), metavar="FORMAT", help="text, lines or json")
@flag("--strict", help="find what omnictl and the server would find only later, too")
def validate(**values: Any) -> None:
    """Check templates; no server is asked.

    -f is one template; PATHs are the files of a fleet, and folders of them, see `omniherd plan`. Everything that is
    wrong is found at once. `-o lines` prints a finding a line, FILE:LINE:COLUMN: TEXT; `-o json` a list of them.
    """
    from omniherd.template import TemplateError

    Settings(values)
    paths: tuple[str, ...] = values["words"]
    if paths and values["file"]:
        # What omnictl says of any word.
        raise click.UsageError(f'unknown command "{paths[0]}" for "omniherd cluster template validate"')
    if not paths and not values["file"]:
        raise click.UsageError('required flag(s) "file" not set')
    try:
        if paths:
            from omniherd.cli.plan import read_files

            # A template's own folder is too narrow for those of a fleet.
            read_files(paths, {**values, "allowed_dir": values["allowed_dir"].removeprefix("./")})
        else:
            with _telling():
                _load(values["file"], values).validate(strict=values["strict"])
    except OmniError as error:
        cause = error if isinstance(error, TemplateError) else error.__cause__
        if values["output"] not in {"lines", "json"} or not isinstance(cause, TemplateError):
            raise
        _list(cause.problems, values["output"])
        raise click.exceptions.Exit(1) from None
    if values["output"] == "json":
        _list((), "json")


def _list(problems: Sequence[Problem], form: str) -> None:
    if form == "lines":
        sys.stdout.write("".join(f"{one}\n" for one in problems))
        return
    import json

    records = [{"file": one.file, "line": one.line, "column": one.column, "text": one.text.strip()} for one in problems]
    sys.stdout.write(json.dumps(records, indent=4, ensure_ascii=False) + "\n")


@command(required=("file",))
@_FILE
@_ALLOWED
@option("-o", "--output", type=Choice(("resources", "template")), metavar="FORMAT", help="resources, or one template")
def render(**values: Any) -> None:
    """Print the resources that a template stands for; no server is asked.

    `-o template` prints the template itself, an overlay put together with its base, as omnictl can read it.
    """
    Settings(values)
    with _telling("error rendering template: "):
        template = _load(values["file"], values)
        if values["output"] == "template":
            template.validate()
            sys.stdout.write(template.to_yaml())
        else:
            sys.stdout.write(template.render(now=datetime.now(UTC)))


# --- with one ---------------------------------------------------------------------------------------------------------


@command(required=("file",))
@_FILE
@_ALLOWED
@flag("--exit-code", help="exit with 2 when something would change")
def diff(**values: Any) -> None:
    """Print what `sync` would change."""
    settings = Settings(values)
    with _telling():
        template = _load(values["file"], values)
        template.validate()
    with connected(settings) as omni, _telling():
        text = omni.templates.plan(template).diff(now=datetime.now(UTC), tidy=True)
    sys.stdout.write(_shown(text))
    if text and values["exit_code"]:
        raise click.exceptions.Exit(2)


@command(required=("file",))
@_FILE
@_ALLOWED
@_DRY_RUN
@_VERBOSE
@WAIT_TIMEOUT
def sync(**values: Any) -> None:
    """Bring Omni in line with a template, or with every one of a folder."""
    from omniherd.cli.documents import discover

    settings = Settings(values)
    path: str = values["file"]
    if not values["dry_run"]:
        refuse_read_only(settings, "`cluster template sync`")
    try:
        files = discover(path)
    except InputError as error:
        raise InputError(str(error).replace("yaml files", "template files", 1)) from None
    # In a folder the allowed one is counted from the folder that it lies in, and files from their template.
    root = Path(path).parent / values["allowed_dir"] if Path(path).is_dir() else None
    with connected(settings) as omni:
        if values["verbose"]:
            sys.stdout.write(f"Processing {len(files)} template file(s)\n")
        for file in files:
            if values["verbose"]:
                sys.stdout.write(f"Syncing template: {file}\n")
            try:
                with _telling():
                    template = _load(file, values, root)
                    plan = omni.templates.plan(template)
                carry_out(omni, plan, values)
            except OmniError as error:
                raise OmniError(f'failed to sync template "{file}": {rpc_text(error)}', hint=error.hint) from error


@command(required=("file",))
@_FILE
@_ALLOWED
@flag("--destroy-disconnected-machines", help="remove machines that are away from Omni as well")
@_DRY_RUN
@_VERBOSE
@WAIT_TIMEOUT
def delete(**values: Any) -> None:
    """Delete everything that a template made, and wait until it is gone. Machines are wiped, and free afterwards."""
    settings = Settings(values)
    if not values["dry_run"]:
        refuse_read_only(settings, "`cluster template delete`")
    with _telling():
        template = _load(values["file"], values)
        template.validate()
    with connected(settings) as omni:
        with _telling():
            plan = omni.templates.plan_delete(template, disconnected=values["destroy_disconnected_machines"])
        carry_out(omni, plan, values)


@command(required=("file",))
@_FILE
@_ALLOWED
@flag("-q", "--quiet", help="print nothing, only wait")
@option("-w", "--wait", type=Duration(), default=300.0, metavar="DURATION", help="limit, 5m by default; 0 looks once")
def status(**values: Any) -> None:
    """Print the status of a template's cluster, again whenever it changes, until it is healthy."""
    from omniherd.cli.clusters import follow_status

    settings = Settings(values)
    with _telling():
        template = _load(values["file"], values)
        template.validate()
    with connected(settings) as omni:
        follow_status(omni, template.cluster.name, quiet=values["quiet"], limit=values["wait"])


@command(required=("cluster",))
@option("-c", "--cluster", metavar="NAME", help="the cluster")
@flag("-f", "--force", help="overwrite the file")
@flag("--include-kernel-args", help="write the kernel arguments of every machine")
@option("-o", "--output", metavar="FILE", help="write to a file instead of standard output")
@_ALLOWED
def export(**values: Any) -> None:
    """Write the template of a cluster that exists."""
    settings = Settings(values)
    output: str = values["output"]
    name: str = values["cluster"]
    with connected(settings) as omni, _telling():
        try:
            template = omni.templates.export(name, include_kernel_args=values["include_kernel_args"])
        except NotFound as error:
            raise wrapped(error, f'error getting cluster "{name}"') from error
    text = template.to_yaml()
    if not output:
        sys.stdout.write(text)
        return
    try:
        # Patches may hold secrets.
        if values["force"]:
            from omniherd._core.files import write_atomic

            write_atomic(output, text)
            return
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OmniError(f"failed to open output file: {os_text(error)}") from error


# --- shared -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _telling(before: str = "error syncing template: ") -> Generator[None]:
    """Let errors of templates say what was being done, as omnictl does.

    Args:
        before: What stands before errors of rendering and planning.
    """
    from omniherd.template import TemplateError

    try:
        yield
    except TemplateError as error:
        prefix = _PREFIXES.get(error.stage, before if error.stage in {"rendering", "planning"} else "")
        raise OmniError(f"{prefix}{error}", hint=error.hint) from error


def _load(path: str, values: dict[str, Any], allowed: Path | None = None) -> Template:
    from omniherd.template import load, loads

    if path == "-":
        return loads(sys.stdin.buffer.read(), allowed_dir=values["allowed_dir"])
    return load(
        path, allowed_dir=values["allowed_dir"] if allowed is None else os.path.relpath(allowed, Path(path).parent)
    )


def _shown(text: str) -> str:
    """Return a diff, in colour for a terminal."""
    if text and sys.stdout.isatty():
        from omniherd.cli.output.diffs import coloured

        return coloured(text)
    return text


def carry_out(omni: Omni, plan: Plan, values: Mapping[str, Any]) -> None:
    """Do what a plan says, or only say it.

    Args:
        omni: The client.
        plan: The plan.
        values: `dry_run`, `verbose` for the diffs, and `wait_timeout`, seconds for each phase of what is destroyed.

    Raises:
        OmniError: A step failed; what was done before it stays.
    """
    dry_run: bool = values["dry_run"]

    def say(step: Step, done: bool) -> None:
        if done:
            sys.stdout.write(f"* destroyed {step.name}\n")
        else:
            text = f"{step.line(dry_run=dry_run)}\n"
            if values["verbose"]:
                text += _shown(step.diff(now=datetime.now(UTC), dialect=plan.dialect, tidy=True))
            sys.stdout.write(text)
        sys.stdout.flush()

    if dry_run:
        for step in plan.steps():
            say(step, False)
        return
    omni.templates.carry_out(plan, on_step=say, on_wait=_waiting(), timeout=values.get("wait_timeout") or None)


def _waiting() -> Any:
    """Return what says what a deletion waits for, each thing once."""
    said: set[str] = set()

    def say(error: DeleteTimeout) -> None:
        resource, held = error.resource or "", str(error).partition(": ")[2]
        text = f"waiting for {resource}: {held}\n"
        if text not in said:
            said.add(text)
            sys.stderr.write(text)
            sys.stderr.flush()

    return say

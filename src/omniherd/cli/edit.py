"""`omniherd edit`: resources in an editor, and what was changed back to the server."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from omniherd._core.files import reason
from omniherd.cli.connection import Settings, connected, refuse_read_only
from omniherd.cli.failures import describe
from omniherd.cli.flags import command, flag, option
from omniherd.errors import InputError, OmniError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from omniherd import Omni
    from omniherd.resource import Resource

__all__ = ["Changes", "changed", "document", "edit", "editing", "editor"]


class Changes(NamedTuple):
    """What an edited text asks for.

    Attributes:
        updates: Pairs of a resource as it was and as it shall be.
        strangers: Documents that are none of the edited resources; they are left alone.
        empty: Whether there is no document at all.
    """

    updates: list[tuple[Resource[Any], Resource[Any]]]
    strangers: list[Resource[Any]]
    empty: bool


def document(resources: Sequence[Resource[Any]], body: str | None = None, problem: str = "") -> str:
    """Return the text that is edited.

    Args:
        resources: What is edited.
        body: The documents as they were left in the editor; the resources' own by default.
        problem: Why the last attempt failed.
    """
    lines = ["Editing:", *(f"  {resource.type}/{resource.id}" for resource in resources)]
    if problem:
        lines += ["", "Edit Failed:", *problem.splitlines()]
    head = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    return head + ("---\n".join(resource.to_yaml() for resource in resources) if body is None else body)


def without_head(text: str) -> str:
    """Return a text without the comments that it begins with."""
    lines = text.splitlines(keepends=True)
    first = next((at for at, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "".join(lines[first:])


def changed(resources: Sequence[Resource[Any]], text: str) -> Changes:
    """Compare an edited text with the resources that it was made from.

    Raises:
        YAMLError: A document does not parse, or is no resource.
    """
    from omniherd.cli.output.changes import same_wish
    from omniherd.yamlform import resources_from_yaml

    originals = {resource.key: resource for resource in resources}
    updates: list[tuple[Resource[Any], Resource[Any]]] = []
    strangers: list[Resource[Any]] = []
    empty = True
    for wanted in resources_from_yaml(text):
        empty = False
        before = originals.get(wanted.key)
        if before is None:
            strangers.append(wanted)
        elif not same_wish(before, wanted):
            updates.append((before, wanted))
    return Changes(updates, strangers, empty)


def editor(environ: Mapping[str, str]) -> list[str]:
    """Return the words that start the editor of an environment.

    Raises:
        InputError: The variable's quotes are not closed.
    """
    names = ("OMNI_EDITOR", "TALOS_EDITOR", "EDITOR")
    chosen = next((environ[name] for name in names if environ.get(name)), "vi")
    try:
        return shlex.split(chosen)
    except ValueError as error:
        raise InputError(f'there was a problem with the editor "{chosen}": {error}') from None


def editing(
    resources: Sequence[Resource[Any]],
    ask: Callable[[str], str],
    send: Callable[[Resource[Any], Resource[Any]], None],
    say: Callable[[str], None],
    *,
    again: bool,
) -> str:
    """Edit until it is accepted or given up.

    Args:
        resources: What is edited.
        ask: Shows a text in the editor and returns what became of it.
        send: Sends one change: the resource as it was, and as it shall be.
        say: Tells a line.
        again: Whether the editor is opened again after a failure, with the reason at the top; for terminals.

    Returns:
        What was left in the editor when it was accepted.

    Raises:
        OmniError: The text does not parse, or the server refuses, and the person gave up.
    """
    pending = list(resources)
    shown = document(pending)
    while True:
        text = ask(shown)
        body = without_head(text)
        try:
            changes = changed(pending, body)
            for stranger in changes.strangers:
                say(f"ignored {stranger.type} '{stranger.id}': it is none of those that are edited")
            for before, after in changes.updates:
                send(before, after)
                # What is written is not sent twice when a later one fails.
                pending = [resource for resource in pending if resource is not before]
        except OmniError as error:
            if not again or text == shown:
                raise
            shown = document(pending, body, describe(error))
            continue
        if changes.empty:
            say("Apply was skipped: empty file.")
        elif not changes.updates:
            say("Apply was skipped: no changes detected.")
        return body


@command(minimum=1, maximum=2)
@click.argument("words", nargs=-1, metavar="TYPE [ID]")
@flag("--dry-run", help="send nothing; show what would be changed")
@option("--id-match-regexp", metavar="REGEXP", help="RE2 expression that is found somewhere in the id")
@option("-n", "--namespace", metavar="NAME", help="namespace, by default the one of the type")
@option("-l", "--selector", metavar="TERMS", help="label selector")
@flag("-v", "--verbose", help="show what is changed")
def edit(**values: Any) -> None:
    """Edit resources in $OMNI_EDITOR, $TALOS_EDITOR, $EDITOR or vi, and send what was changed."""
    settings = Settings(values)
    dry_run: bool = values["dry_run"]
    if not dry_run:
        refuse_read_only(settings, "`edit`")
    with connected(settings) as omni:
        resources = _find(omni, values)
        if not resources:
            raise InputError("no resources found for editing")

        def send(before: Resource[Any], after: Resource[Any]) -> None:
            if dry_run or values["verbose"]:
                from omniherd.cli.output.changes import updated

                sys.stdout.write(updated(before, after, colour=sys.stdout.isatty()))
            if not dry_run:
                omni.update(after)
                _say(f"Updated {after.type} '{after.id}'")

        with _Draft() as draft:
            editing(resources, draft.ask, send, _say, again=sys.stdin.isatty())
            draft.keep = False


def _find(omni: Omni, values: dict[str, Any]) -> list[Resource[Any]]:
    from omniherd.cli.regexps import check_regexp
    from omniherd.cli.types import resolve_type
    from omniherd.selectors import parse

    word, *ids = values["words"]
    selector, regexp = values["selector"], values["id_match_regexp"]
    if ids and (selector or regexp):
        raise InputError(f"cannot specify both resource ID and {'selector' if selector else 'ID regexp'}")
    terms = parse(selector)
    if regexp:
        check_regexp(regexp)
    definition = resolve_type(omni, word)
    namespace = values["namespace"] or definition.namespace
    if ids:
        from omniherd.cli.names import resource_id

        ident = resource_id(omni, definition.type, ids[0], namespace)
        return [omni.get(definition.type, ident, namespace=namespace)]
    return omni.list(definition.type, namespace=namespace, labels=terms, id_regexp=regexp or None)


class _Draft:
    """The file that is edited. It stays when the edit failed, so that no work is lost.

    Attributes:
        keep: Whether it stays.
    """

    def __init__(self) -> None:
        handle, name = tempfile.mkstemp(prefix="omniherd-edit-", suffix=".yaml")
        os.close(handle)
        self.path = Path(name)
        self.keep = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.keep:
            _say(f"what was edited is kept in {self.path}")
        else:
            self.path.unlink(missing_ok=True)

    def ask(self, text: str) -> str:
        self.path.write_text(text, encoding="utf-8")
        words = editor(os.environ)
        try:
            status = subprocess.run([*words, str(self.path)], check=False).returncode  # noqa: S603 - the user's own
        except OSError as error:
            raise InputError(
                f'there was a problem with the editor "{words[0]}": {reason(error)}',
                hint="set EDITOR to one that is installed",
            ) from None
        if status:
            raise InputError(f'there was a problem with the editor "{words[0]}": it ended with exit code {status}')
        try:
            edited = self.path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            self.keep = True
            raise InputError("the editor left a file that is no UTF-8 text") from None
        self.keep = edited != text
        return edited


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")

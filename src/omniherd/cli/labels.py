"""`omniherd label` and `omniherd annotate`: labels and annotations of many resources at once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from omniherd.cli.connection import Settings, connected, refuse_read_only
from omniherd.cli.failures import describe
from omniherd.cli.flags import command, flag, option
from omniherd.errors import InputError, NotFound, OmniError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from omniherd import Omni
    from omniherd.cli.types import Definition
    from omniherd.resource import Resource

__all__ = ["Wish", "annotate", "clashes", "label", "read_words", "wished"]

# People's labels of a machine lie in a resource of their own; the server adds them to those that it gives itself.
_LABELLED_BESIDE = {
    "Machines.omni.sidero.dev": "MachineLabels.omni.sidero.dev",
    "MachineStatuses.omni.sidero.dev": "MachineLabels.omni.sidero.dev",
}
# Where the labels stand that a selector of machines means.
_SELECTED_BY = {"Machines.omni.sidero.dev": "MachineStatuses.omni.sidero.dev"}
_TITLES = ("TYPE", "ID", "CHANGED")


class Wish(NamedTuple):
    """What is to become of labels or annotations.

    Attributes:
        put: Values by key.
        drop: Keys to take away.
    """

    put: dict[str, str]
    drop: tuple[str, ...]


def read_words(words: Sequence[str]) -> tuple[list[str], Wish]:
    """Part words into ids and changes: `key=value` puts, `key-` takes away, everything else is an id.

    Args:
        words: What stands behind the type.

    Raises:
        InputError: There is no change, or two of the same key.

    Example:
        >>> read_words(["prod", "env=test", "old-"])
        (['prod'], Wish(put={'env': 'test'}, drop=('old',)))
    """
    ids: list[str] = []
    put: dict[str, str] = {}
    drop: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals and not word.endswith("-"):
            ids.append(word)
            continue
        key = key if equals else word[:-1]
        if not key:
            raise InputError(f"{word!r} names no key", hint="write key=value, or key- to take it away")
        if key in put or key in drop:
            raise InputError(f"{key!r} is given twice")
        if equals:
            put[key] = value
        else:
            drop.append(key)
    if not put and not drop:
        raise InputError("nothing to change", hint="write key=value, or key- to take a key away")
    return ids, Wish(put, tuple(drop))


def clashes(before: Mapping[str, str], wish: Wish) -> list[str]:
    """Return the keys that have another value than the one that is wished for."""
    return [key for key, value in wish.put.items() if before.get(key, value) != value]


def wished(before: Mapping[str, str], wish: Wish) -> dict[str, str]:
    """Return labels or annotations as they are wished for; all others stay."""
    return {**{key: value for key, value in before.items() if key not in wish.drop}, **wish.put}


_OPTIONS = (
    flag("-d", "--dry-run", help="send nothing; show what would be changed"),
    option("-n", "--namespace", metavar="NAME", help="namespace, by default the one of the type"),
    option("-o", "--output", metavar="FORMAT", help="table, json or yaml: what was changed"),
    flag("--overwrite", help="replace values that are there"),
    option("-l", "--selector", metavar="TERMS", help="label selector, instead of ids"),
)


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    for one in reversed(_OPTIONS):
        function = one(function)
    return function


@command(minimum=2, maximum=None)
@click.argument("words", nargs=-1, metavar="TYPE [ID...] KEY=VALUE... KEY-...")
@_options
def label(**values: Any) -> None:
    """Put labels on resources of a TYPE, or take them away. A machine's labels are those that people gave to it."""
    _change(values, "labels")


@command(minimum=2, maximum=None)
@click.argument("words", nargs=-1, metavar="TYPE [ID...] KEY=VALUE... KEY-...")
@_options
def annotate(**values: Any) -> None:
    """Put annotations on resources of a TYPE, or take them away."""
    _change(values, "annotations")


def _change(values: dict[str, Any], field: str) -> None:
    from omniherd.cli.output.records import check_format, write_records
    from omniherd.selectors import parse

    settings = Settings(values)
    form = check_format(values["output"]) if values["output"] else ""
    word, *rest = values["words"]
    ids, wish = read_words(rest)
    terms = parse(values["selector"])
    if ids and values["selector"]:
        raise InputError("cannot specify both resource ID and selector")
    if not ids and not values["selector"]:
        raise InputError("either resource ID or --selector must be specified")
    if not ids and not terms.terms:
        raise InputError("the selector is empty, it would match everything")
    if not values["dry_run"]:
        refuse_read_only(settings, f"`{'label' if field == 'labels' else 'annotate'}`")
    with connected(settings) as omni:
        from omniherd.cli.types import resolve_type

        definition = resolve_type(omni, word)
        namespace = values["namespace"] or definition.namespace
        kind = _LABELLED_BESIDE.get(definition.type, definition.type) if field == "labels" else definition.type
        if not ids:
            chosen_by = _SELECTED_BY.get(definition.type, definition.type)
            ids = [one.id for one in omni.list(chosen_by, namespace=namespace, labels=terms)]
            if not ids:
                raise InputError(f"no {definition.display} matches {values['selector']!r}")
        stored = [_stored(omni, definition, kind, namespace, ident) for ident in dict.fromkeys(ids)]
        # All or nothing, as far as it can be known before: half of a selection is the worst of both.
        if not values["overwrite"]:
            _refuse_clashes(stored, field, wish)
        changed, failed = _write(omni, stored, field, wish, values)
    if form:
        records = [{"type": one.type, "id": one.id, "changed": one.id in changed} for one in stored]
        rows = [(one.type, one.id, "true" if one.id in changed else "false") for one in stored]
        write_records(form, records, _TITLES, rows)
    for error in failed[1:]:
        _say(f"Error: {describe(error)}")
    if failed:
        raise failed[0]


def _stored(omni: Omni, definition: Definition, kind: str, namespace: str, name: str) -> Resource[Any]:
    """Return the resource whose labels are meant."""
    from omniherd.cli.names import resource_id
    from omniherd.resource import resource_class

    ident = resource_id(omni, definition.type, name, namespace)
    if kind == definition.type:
        return omni.get(kind, ident, namespace=namespace)
    try:
        return omni.get(kind, ident, namespace=namespace)
    except NotFound:
        # It is made with the first label. The machine must be there, though: the server takes labels of any.
        omni.get(definition.type, ident, namespace=namespace)
        return resource_class(kind)(ident, namespace=namespace)


def _refuse_clashes(stored: Sequence[Resource[Any]], field: str, wish: Wish) -> None:
    told = [
        f"{one.id} has {key}={getattr(one, field)[key]}"
        for one in stored
        for key in clashes(dict(getattr(one, field)), wish)
    ]
    if told:
        shown = "; ".join(told[:5]) + (f"; and {len(told) - 5} more" if len(told) > 5 else "")
        raise InputError(f"{field} are there already: {shown}", hint="--overwrite replaces them")


def _write(
    omni: Omni, stored: Sequence[Resource[Any]], field: str, wish: Wish, values: dict[str, Any]
) -> tuple[set[str], list[OmniError]]:
    """Write what changes; return the ids that did, and the refusals."""
    from omniherd.cli.output.changes import created, updated
    from omniherd.cli.progress import Progress

    changed: set[str] = set()
    failed: list[OmniError] = []

    def bring(current: Resource[Any]) -> None:
        setattr(current, field, wished(dict(getattr(current, field)), wish))

    with Progress(f"writing {field}", total=len(stored)) as progress:
        for before in stored:
            after = before.copy()
            bring(after)
            new = not before.version
            if dict(getattr(after, field)) == dict(getattr(before, field)):
                _say(f"unchanged {before.type} {before.id}")
            elif values["dry_run"]:
                sys.stdout.write(created(after) if new else updated(before, after, colour=sys.stdout.isatty()))
                changed.add(before.id)
            else:
                try:
                    if new:
                        omni.create(after)
                    else:
                        omni.edit(before.type, before.id, bring, namespace=before.namespace)
                    changed.add(before.id)
                except OmniError as error:
                    failed.append(error)
                else:
                    _say(f"changed {before.type} {before.id}")
            progress.advance(1)
    return changed, failed


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")

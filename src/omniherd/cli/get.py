"""`omniherd get`: show or watch resources."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from omniherd.cli.connection import Settings, connected
from omniherd.cli.flags import command, flag, option
from omniherd.errors import InputError, NotFound

if TYPE_CHECKING:
    from omniherd import Omni
    from omniherd.cli.output.printers import Beside, Printer
    from omniherd.cli.types import Definition
    from omniherd.resource import Resource
    from omniherd.selectors import Selector

__all__ = ["get"]


class _Query(NamedTuple):
    """What is asked for.

    Attributes:
        ident: One resource's id, or None for the kind.
        namespace: The namespace, `""` for the type's own.
        terms: The label selector, or None.
        regexp: The expression on ids, or None.
    """

    ident: str | None
    namespace: str
    terms: Selector | None
    regexp: str | None


@command(minimum=1, maximum=2)
@click.argument("words", nargs=-1, metavar="TYPE [ID]")
@option(
    "-o",
    "--output",
    default="table",
    metavar="FORMAT",
    help="table, wide (names of machines beside their ids), yaml, json, jsonl or jsonpath=TEMPLATE",
)
@flag("-w", "--watch", help="go on with changes as they happen, until Ctrl-C")
@option("-l", "--selector", metavar="TERMS", help="label selector: a=b, a!=b, 'a in (x, y)', a, !a, 'a > 4GiB'")
@option("--id-match-regexp", metavar="REGEXP", help="RE2 expression that is found somewhere in the id")
@option("-n", "--namespace", metavar="NAME", help="namespace, by default the one of the type")
def get(**values: Any) -> None:
    """Show or watch resources of a TYPE: all, those that match, or the one of an ID.

    A TYPE is a full name, or any of the short ones that `omniherd get resourcedefinitions` lists. Machines go by their
    names, addresses and serial numbers as well; `-o wide` shows them. With `-o jsonl`
    each resource is one line, and label values are texts, whatever they look like.
    """
    settings = Settings(values)
    query = _query(values)
    with connected(settings) as omni:
        from omniherd.cli.output.printers import printer_for
        from omniherd.cli.types import resolve_type

        definition = resolve_type(omni, values["words"][0])
        watch: bool = values["watch"]
        output, beside = values["output"], None
        if output == "wide":
            output, beside = "table", _beside(omni, definition)
        printer = printer_for(output, definition.columns, definition.display, watch=watch, beside=beside)
        (_watch if watch else _show)(omni, definition, printer, query)


def _query(values: dict[str, Any]) -> _Query:
    ident = values["words"][1] if len(values["words"]) > 1 else None
    selector, regexp = values["selector"], values["id_match_regexp"]
    if ident is not None and selector:
        raise InputError("cannot specify both resource ID and selector")
    if ident is not None and regexp:
        raise InputError("cannot specify both resource ID and ID regexp")
    if regexp:
        from omniherd.cli.regexps import check_regexp

        check_regexp(regexp)
    terms = None
    if selector:
        from omniherd.selectors import parse

        terms = parse(selector)
    return _Query(ident, values["namespace"], terms, regexp or None)


def _show(omni: Omni, definition: Definition, printer: Printer, query: _Query) -> None:
    namespace = query.namespace or definition.namespace
    write = sys.stdout.write
    try:
        if query.ident is not None:
            found = [_one(omni, definition.type, query.ident, namespace)]
        else:
            found = omni.list(definition.type, namespace=namespace, labels=query.terms, id_regexp=query.regexp)
        for resource in found:
            write(printer.add(resource))
    finally:
        # A header without rows stands for "asked, and nothing was shown", also when the server refused.
        write(printer.flush())


def _one(omni: Omni, kind: str, ident: str, namespace: str) -> Resource[Any]:
    """Return a resource by its id; those of machines by a name as well, which costs nothing as long as it is an id."""
    try:
        return omni.get(kind, ident, namespace=namespace)
    except NotFound:
        from omniherd.cli.names import other_id

        other = other_id(omni, kind, ident)
        if other is None:
            raise
        return omni.get(kind, other, namespace=namespace)


def _beside(omni: Omni, definition: Definition) -> Beside | None:
    """Return what stands beside the ids of machines."""
    from omniherd.cli.names import MACHINE_TYPES, TITLES, machine_cells, machine_names

    if definition.type not in MACHINE_TYPES:
        return None
    known = machine_names(omni)
    return TITLES, lambda ident: machine_cells(known, ident)


def _watch(omni: Omni, definition: Definition, printer: Printer, query: _Query) -> None:
    namespace = query.namespace or definition.namespace
    ident = query.ident
    if ident is not None:
        from omniherd.cli.names import resource_id

        ident = resource_id(omni, definition.type, ident, namespace)
    watch = omni.watch(
        definition.type,
        ident,
        namespace=namespace,
        labels=query.terms,
        id_regexp=query.regexp,
        on_expired="restart",
    )
    write = sys.stdout.write
    caught_up = False
    try:
        with closing(watch):
            for event in watch:
                if event.kind == "bootstrapped":
                    caught_up = True
                elif event.kind != "noop":
                    write(printer.add(event.resource, str(event.kind)))
                if caught_up:
                    write(printer.flush())
                    sys.stdout.flush()
    except KeyboardInterrupt:
        # How a watch ends.
        pass
    finally:
        write(printer.flush())
        sys.stdout.flush()

"""`omniherd wait`: until resources are what a script needs them to be."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from omniherd.cli.connection import Settings, connected
from omniherd.cli.flags import Seconds, command, option
from omniherd.errors import InputError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from omniherd import Omni
    from omniherd.cli.types import Definition
    from omniherd.conditions import Condition

__all__ = ["TIMED_OUT", "wait"]

TIMED_OUT = 124
"""The exit code when the time is over, as of timeout(1): a script can tell it from a mistake."""

_TITLES = ("TYPE", "ID", "CONDITION", "MET", "MISSING")


@command(minimum=1, maximum=None)
@click.argument("words", nargs=-1, metavar="TYPE [ID...]")
@option("--for", "wanted", default="ready", metavar="CONDITION", help="ready, running, deleted, jsonpath={.spec.x}=y…")
@option("-n", "--namespace", metavar="NAME", help="namespace, by default the one of the type")
@option("-o", "--output", metavar="FORMAT", help="table, json or yaml; one line for each by default")
@option("-l", "--selector", metavar="TERMS", help="label selector: those that match now")
@option("-t", "--timeout", "limit", type=Seconds(), default=300.0, metavar="DURATION", help="5m by default; 0: no end")
def wait(**values: Any) -> None:
    """Wait until resources of a TYPE fulfil a condition, all at once.

    Exit code 0: they do; 124: not in time, and what is missing is said; 1: something else went wrong. The conditions of
    a type are listed when it has not the one that was asked for.
    """
    from omniherd.cli.output.records import check_format

    settings = Settings(values)
    form = check_format(values["output"]) if values["output"] else ""
    word, *ids = values["words"]
    if not ids and not values["selector"]:
        raise InputError("either resource ID or --selector must be specified")
    if ids and values["selector"]:
        raise InputError("cannot specify both resource ID and selector")
    with connected(settings) as omni:
        from omniherd import conditions
        from omniherd.cli.progress import Progress
        from omniherd.cli.types import resolve_type

        definition = resolve_type(omni, word)
        wanted = conditions.condition(definition.type, values["wanted"])
        ids = _ids(omni, definition, ids, values)
        missing: Mapping[str, list[str]] = {}
        with Progress(f"waiting for {definition.display} to be {wanted.name}") as progress:
            try:
                omni.wait_until(
                    definition.type,
                    ids,
                    wanted,
                    values["limit"] or None,
                    namespace=values["namespace"] or definition.namespace,
                    report=lambda news: progress.tell("; ".join(_line(*one) for one in news.items())),
                )
            except WaitTimeout as error:
                missing = error.details["missing"]
    _tell(form, definition, wanted, ids, missing)
    if missing:
        sys.stdout.flush()
        for ident, reasons in missing.items():
            sys.stderr.write(f"{definition.display} {ident} {_said(wanted, met=False)}: {', '.join(reasons)}\n")
        sys.stderr.write(f"Error: timed out after {values['limit']:g}s\n")
        raise click.exceptions.Exit(TIMED_OUT)


def _ids(omni: Omni, definition: Definition, ids: Sequence[str], values: dict[str, Any]) -> list[str]:
    from omniherd.cli.names import resource_id
    from omniherd.selectors import parse

    namespace = values["namespace"] or definition.namespace
    if ids:
        return list(dict.fromkeys(resource_id(omni, definition.type, ident, namespace) for ident in ids))
    terms = parse(values["selector"])
    if not terms.terms:
        raise InputError("the selector is empty, it would match everything")
    found = [one.id for one in omni.list(definition.type, namespace=namespace, labels=terms)]
    if not found:
        raise InputError(f"no {definition.display} matches {values['selector']!r}")
    return found


def _said(wanted: Condition, *, met: bool) -> str:
    if wanted.name == "exists":
        return "exists" if met else "does not exist"
    if wanted.name.startswith("jsonpath="):
        return f"{'fulfils' if met else 'does not fulfil'} {wanted.name}"
    return f"is {'' if met else 'not '}{wanted.name}"


def _line(ident: str, reasons: Sequence[str]) -> str:
    return f"{ident}: {', '.join(reasons)}"


def _tell(
    form: str, definition: Definition, wanted: Condition, ids: Sequence[str], missing: Mapping[str, list[str]]
) -> None:
    if not form:
        for ident in ids:
            if ident not in missing:
                sys.stdout.write(f"{definition.display} {ident} {_said(wanted, met=True)}\n")
        return
    from omniherd.cli.output.records import write_records

    records = [
        {
            "type": definition.type,
            "id": ident,
            "condition": wanted.name,
            "met": ident not in missing,
            "missing": list(missing.get(ident, ())),
        }
        for ident in ids
    ]
    rows = [
        (
            definition.display,
            ident,
            wanted.name,
            "false" if ident in missing else "true",
            ", ".join(missing.get(ident, ())),
        )
        for ident in ids
    ]
    write_records(form, records, _TITLES, rows)

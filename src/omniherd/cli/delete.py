"""`omniherd delete`: tear resources down and wait until they are gone."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from omniherd.cli.connection import Settings, connected, refuse_read_only
from omniherd.cli.failures import describe
from omniherd.cli.flags import Seconds, command, flag, option
from omniherd.errors import DeleteTimeout, InputError, NotFound, OmniError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from omniherd import Omni

__all__ = ["Outcome", "delete", "delete_each", "delete_one"]

_CONCURRENCY = 8
# After so many seconds a person wants to know what the wait is for.
_PATIENCE = 10.0


class Outcome(NamedTuple):
    """What became of a resource.

    Attributes:
        line: What is said of it.
        error: Why it is still there, or None.
    """

    line: str = ""
    error: OmniError | None = None


@command(minimum=1, maximum=None, exclusive=(("all", "selector"),))
@click.argument("words", nargs=-1, metavar="TYPE [ID...]")
@flag("--all", help="every resource of the type")
@flag("-d", "--dry-run", help="delete nothing; show what would be deleted")
@option("-o", "--output", metavar="FORMAT", help="table, json or yaml: what became of each resource")
@option("-l", "--selector", metavar="TERMS", help="label selector; not looked at when ids are given")
@option("-n", "--namespace", metavar="NAME", help="namespace, by default the one of the type")
@option("--wait-timeout", type=Seconds(), default=0.0, metavar="DURATION", help="give up after so long; 0 waits on")
def delete(**values: Any) -> None:
    """Delete resources of a TYPE and wait until they are gone; say what holds them while it takes long."""
    from omniherd.cli.output.records import check_format
    from omniherd.selectors import parse

    settings = Settings(values)
    form = check_format(values["output"]) if values["output"] else ""
    word, *ids = values["words"]
    selector, everything = values["selector"], values["all"]
    if not ids and not everything and not selector:
        raise InputError("either resource ID or one of --all or --selector flags must be specified")
    if not values["dry_run"]:
        refuse_read_only(settings, "`delete`")
    terms = parse("" if ids else selector)
    if not ids and not everything and not terms.terms:
        raise InputError("the selector is empty, it would match everything", hint="--all deletes everything")
    with connected(settings) as omni:
        from omniherd.cli.types import resolve_type

        definition = resolve_type(omni, word)
        namespace = values["namespace"] or definition.namespace
        if not ids:
            ids = [found.id for found in omni.list(definition.type, namespace=namespace, labels=terms)]
        else:
            from omniherd.cli.names import resource_id

            ids = [resource_id(omni, definition.type, ident, namespace) for ident in ids]
        if values["dry_run"]:
            _show(omni, definition.type, namespace, ids)
            return
        limit = values["wait_timeout"] or None

        def one(ident: str) -> Outcome:
            return delete_one(omni, (definition.type, namespace, ident), limit, _say)

        outcomes = delete_each(ids, one, _say)
        failed = [outcome.error for outcome in outcomes if outcome.error is not None]
    if form:
        _tell(form, definition.type, namespace, dict(zip(dict.fromkeys(ids), outcomes, strict=True)))
    for error in failed[1:]:
        _say(f"Error: {describe(error)}")
    if failed:
        raise failed[0]


def _tell(form: str, kind: str, namespace: str, outcomes: dict[str, Outcome]) -> None:
    from omniherd.cli.output.records import write_records

    records: list[dict[str, Any]] = []
    for ident, outcome in outcomes.items():
        word = "destroyed" if outcome.line.startswith("destroyed") else "not found"
        told = {"outcome": word if outcome.error is None else "failed", "error": None}
        if outcome.error is not None:
            told["error"] = describe(outcome.error)
        records.append({"type": kind, "namespace": namespace, "id": ident, **told})
    rows = [(one["type"], one["id"], one["outcome"]) for one in records]
    write_records(form, records, ("TYPE", "ID", "OUTCOME"), rows)


def _show(omni: Omni, kind: str, namespace: str, ids: Iterable[str]) -> None:
    from omniherd.cli.output.changes import removed

    for ident in dict.fromkeys(ids):
        try:
            sys.stdout.write(removed(omni.get(kind, ident, namespace=namespace), colour=sys.stdout.isatty()))
        except NotFound:
            _say(f"not found: {kind} {ident}")


def delete_each(ids: Iterable[str], one: Callable[[str], Outcome], say: Callable[[str], None]) -> list[Outcome]:
    """Delete several at a time; say each one's line as soon as it is known.

    Args:
        ids: Their ids.
        one: Deletes one.
        say: Prints a line.
    """

    def told(ident: str) -> Outcome:
        outcome = one(ident)
        if outcome.line:
            say(outcome.line)
        return outcome

    unique = list(dict.fromkeys(ids))
    if len(unique) <= 1:
        return [told(ident) for ident in unique]
    workers = ThreadPoolExecutor(_CONCURRENCY)
    try:
        outcomes = list(workers.map(told, unique))
    except BaseException:
        # Ctrl-C does not wait for those that wait for finalizers: closing the client ends their calls.
        workers.shutdown(wait=False, cancel_futures=True)
        raise
    workers.shutdown()
    return outcomes


def delete_one(omni: Omni, key: tuple[str, str, str], limit: float | None, say: Callable[[str], None]) -> Outcome:
    """Delete one resource; while it takes long, say what it waits for.

    Args:
        omni: The client.
        key: Its type, namespace and id.
        limit: Seconds after which to give up; None for never.
        say: Prints a line.
    """
    kind, namespace, ident = key
    began = time.monotonic()
    seen = False
    last = ""
    while True:
        left = _PATIENCE if limit is None else min(_PATIENCE, max(0.0, limit - (time.monotonic() - began)))
        try:
            omni.delete(kind, ident, namespace=namespace, timeout=left)
        except NotFound:
            return Outcome(f"{'destroyed' if seen else 'not found:'} {kind} {ident}")
        except DeleteTimeout as error:
            seen = True
            if limit is not None and time.monotonic() - began >= limit:
                return Outcome(error=error)
            held = str(error).partition(": ")[2]
            if held != last:
                say(f"waiting for {kind} {ident}: {held}")
                last = held
        except OmniError as error:
            return Outcome(error=error)
        else:
            return Outcome(f"destroyed {kind} {ident}")


_LOCK = threading.Lock()


def _say(line: str) -> None:
    with _LOCK:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

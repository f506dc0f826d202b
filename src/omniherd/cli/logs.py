"""`omniherd audit-log` and `omniherd machine-logs`: lines as the server wrote them."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

import click

from omniherd.cli.connection import Settings, connected
from omniherd.cli.failures import wrapped
from omniherd.cli.flags import Choice, Number, command, flag, option
from omniherd.errors import InputError, NotFound, OmniError

__all__ = ["audit_log", "log_line", "machine_logs"]

_EVENTS = ("create", "destroy", "k8s_access", "talos_access", "teardown", "update", "update_with_conflicts")
_ORDERS = ("actor", "cluster_id", "event_ts_ms", "event_type", "resource_id", "resource_type")
_FORMATS = ("raw", "omni", "dmesg")


@command(maximum=2)
@click.argument("words", nargs=-1, metavar="[START] [END]")
@option("--actor", metavar="E-MAIL", help="who did it")
@option("--cluster-id", metavar="NAME", help="in which cluster")
@option("--event-type", type=Choice(_EVENTS), metavar="NAME", help=", ".join(_EVENTS))
@option("--order-by-dir", type=Choice(("asc", "desc")), metavar="DIRECTION", help="asc or desc")
@option("--order-by-field", type=Choice(_ORDERS), metavar="NAME", help=", ".join(_ORDERS))
@option("--resource-id", metavar="ID", help="to which resource")
@option("--resource-type", metavar="TYPE", help="to which type, by its full name")
@option("--search", metavar="TEXT", help="a text that occurs")
def audit_log(**values: Any) -> None:
    """Print the audit log as JSON lines, from the day START to before the day END, written YYYY-MM-DD."""
    from omniherd.wire import management

    settings = Settings(values)
    days = [*values["words"], "", ""][:2]
    # The days are not looked at here: the server says best what is wrong with one.
    request = management.ReadAuditLogRequest(start_time=days[0], end_time=days[1])
    for name in ("actor", "cluster_id", "resource_id", "resource_type", "search"):
        if values[name]:
            setattr(request, name, values[name])
    for name in ("event_type", "order_by_field", "order_by_dir"):
        if values[name]:
            setattr(request, name, _number(request, name, values[name]))
    with (
        connected(settings) as omni,
        omni.stream("/management.ManagementService/ReadAuditLog", request) as answers,
    ):
        for answer in answers:
            log: bytes = answer.audit_log
            sys.stdout.buffer.write(_harmless(log) if sys.stdout.isatty() else log)
            sys.stdout.buffer.flush()


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="MACHINE")
@flag("-f", "--follow", help="go on with new lines until Ctrl-C")
@option("--log-format", default="raw", metavar="FORMAT", help="raw, omni or dmesg")
@option("--tail", type=Number(), default=-1, metavar="COUNT", help="the last lines to begin with, all by default")
def machine_logs(**values: Any) -> None:
    """Print the log of a machine. A name, hostname or address will do in place of the machine's id."""
    settings = Settings(values)
    form = values["log_format"]
    if form not in _FORMATS:
        sys.stderr.write(f'warning: there is no log format "{form}", lines are printed as they are\n')
        form = "raw"
    machine: str = values["words"][0]
    with connected(settings) as omni:
        from omniherd._core.nodes import is_machine_id

        ident = machine
        try:
            if machine and not is_machine_id(machine):
                # A log outlives its machine: what no machine is called may still have one.
                with contextlib.suppress(NotFound):
                    ident = omni.machines.find(machine).id
            with omni.management.machine_logs(ident, follow=values["follow"], tail_lines=values["tail"]) as lines:
                for line in lines:
                    text = log_line(line, form)
                    sys.stdout.buffer.write(_harmless(text) if sys.stdout.isatty() else text)
                    sys.stdout.buffer.flush()
        except KeyboardInterrupt:
            if not values["follow"]:
                raise
        except InputError:
            raise
        except OmniError as error:
            raise wrapped(error, f"failed to print logs for '{machine}'") from error


def log_line(line: bytes, form: str) -> bytes:
    """Return a line of a machine's log for people.

    Args:
        line: A JSON object, as the server sent it.
        form: `raw` for the line as it is; `dmesg` for the kernel's way, `[seconds] facility: text`, with what is not
            in the line left empty; `omni` for time, level and text.
    """
    if form == "raw":
        return line + b"\n"
    try:
        held: Any = json.loads(line)
        text = str(held["msg"]).removesuffix("\n")
    except (ValueError, KeyError, TypeError):
        # Whatever a machine sent is shown rather than lost.
        return line + b"\n"
    if form == "dmesg":
        clock = held.get("clock")
        seconds, micros = divmod(int(clock) if isinstance(clock, (int, float)) else 0, 1_000_000)
        first, *more = text.split("\n")
        shown = [f"{held.get('facility', '')}: {first}", *more]
        return "".join(f"[{seconds:5d}.{micros:06d}] {part}\n" for part in shown).encode()
    fields = {key: value for key, value in held.items() if key not in {"msg", "talos-level", "talos-time"}}
    rest = " ".join(f"{key}={json.dumps(value)}" for key, value in sorted(fields.items()))
    head = f"{held.get('talos-time', '-')} {str(held.get('talos-level', '-')).upper():5} {text}"
    return f"{head} {rest}".rstrip().encode() + b"\n"


def _harmless(line: bytes) -> bytes:
    """Return a line that a terminal shows and does not obey: logs hold what strangers sent to a machine."""
    from omniherd.cli.output.terminal import harmless

    return harmless(line.decode(errors="backslashreplace").replace("\r\n", "\n")).encode()


def _number(request: Any, field: str, word: str) -> int:
    """Return the number of an enum's value by its word: `desc` of `AUDIT_LOG_ORDER_BY_DIR_DESC`."""
    ending = f"_{'date' if word == 'event_ts_ms' else word}".upper()
    values = request.DESCRIPTOR.fields_by_name[field].enum_type.values
    found: int = next(value.number for value in values if value.name.endswith(ending))
    return found

"""`omniherd cluster`: status, deletion and locks of clusters and their machines, and their Kubernetes."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from omniherd.cli.connection import Settings, connected, refuse_read_only
from omniherd.cli.flags import BOOL, Duration, command, flag, option
from omniherd.cli.names import machine_id, shown
from omniherd.cli.template import carry_out
from omniherd.errors import InputError, NotFound, OmniError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd import Omni
    from omniherd.template import ClusterState

__all__ = [
    "delete",
    "follow_status",
    "lock",
    "machine_delete",
    "machine_lock",
    "machine_unlock",
    "manifest_sync",
    "status",
    "unlock",
    "upgrade_pre_checks",
]

_CLUSTER = "omni.sidero.dev/cluster"
# How often a status is looked at, and for how long one that never came is waited for with `--wait 0`.
_INTERVAL, _PATIENCE = 1.0, 10.0

_WARNINGS = (
    ("force", "the machine will not be wiped, and leaves the account"),
    ("force_etcd_leave", "etcd may lose its data if too few members stay"),
)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


# --- status -----------------------------------------------------------------------------------------------------------


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
@option("-o", "--output", metavar="FORMAT", help="table, json or yaml; documents are printed once, at the end")
@flag("-q", "--quiet", help="print nothing, only wait")
@option("-w", "--wait", type=Duration(), default=300.0, metavar="DURATION", help="limit, 5m by default; 0 looks once")
def status(**values: Any) -> None:
    """Print the status of a cluster, again whenever it changes, until it is healthy."""
    from omniherd.cli.output.records import check_format

    settings = Settings(values)
    form = check_format(values["output"])
    with connected(settings) as omni:
        follow_status(omni, values["words"][0], quiet=values["quiet"], limit=values["wait"], form=form)


def follow_status(omni: Omni, name: str, *, quiet: bool, limit: float, form: str = "table") -> None:
    """Print a cluster's status, again whenever it changes, until it is healthy.

    Args:
        omni: The client.
        name: The cluster.
        quiet: Whether to print nothing and only wait.
        limit: Seconds to wait; 0 looks once.
        form: `table` for the tree; `json` or `yaml` for one document of the last state.

    Raises:
        OmniError: It is not healthy, with a limit of 0.
        WaitTimeout: It did not become healthy in time.
        NotFound: There is no such cluster, with a limit of 0.
    """
    began = time.monotonic()
    shown = ""
    while True:
        parts = _state(omni, name)
        left = (limit or _PATIENCE) - (time.monotonic() - began)
        if parts is not None:
            text = parts.tree()
            if text != shown and not quiet and form == "table":
                _draw(text, shown)
            shown = text
            well = parts.healthy
            if form != "table" and not quiet and (well or not limit or left <= 0):
                _write_status(form, parts, well=well)
            if well:
                return
            if not limit:
                raise OmniError("cluster is not healthy")
        elif not limit:
            from omniherd.resources import Cluster

            # Nothing will come of a name with a typing error.
            omni.get(Cluster, name)
        if left <= 0:
            raise WaitTimeout("context deadline exceeded")
        time.sleep(min(_INTERVAL, left))


def _write_status(form: str, parts: ClusterState, *, well: bool) -> None:
    from omniherd.cli.output.records import write_record
    from omniherd.cli.output.status_record import status_record

    write_record(form, status_record(parts, healthy=well))
    sys.stdout.flush()


def _state(omni: Omni, name: str) -> ClusterState | None:
    try:
        return omni.templates.status(name)
    except NotFound:
        return None


def _draw(text: str, before: str) -> None:
    if before and sys.stdout.isatty():
        sys.stdout.write(f"\x1b[{before.count(chr(10))}A\x1b[J")
    sys.stdout.write(text)
    sys.stdout.flush()


# --- deletion ---------------------------------------------------------------------------------------------------------


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
@flag("--destroy-disconnected-machines", help="remove machines that are away from Omni as well")
@flag("-d", "--dry-run", help="only say what would happen")
@flag("-v", "--verbose", help="print each resource")
def delete(**values: Any) -> None:
    """Delete a cluster and wait until it is gone. Its machines are wiped, and free afterwards."""
    settings = Settings(values)
    dry_run = values["dry_run"]
    if not dry_run:
        refuse_read_only(settings, "`cluster delete`")
    with connected(settings) as omni:
        plan = omni.templates.plan_delete(values["words"][0], disconnected=values["destroy_disconnected_machines"])
        carry_out(omni, plan, values)


# --- locks ------------------------------------------------------------------------------------------------------------


def _locking(values: dict[str, Any], what: str, change: Callable[[Omni, str], None], *, locked: bool) -> None:
    settings = Settings(values)
    refuse_read_only(settings, "a lock" if locked else "to unlock")
    name = values["words"][0]
    with connected(settings) as omni:
        ident = machine_id(omni, name) if what == "machine" else name
        change(omni, ident)
    _say(f"{what} {shown(name, ident)} lock status: {'true' if locked else 'false'}")


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
def lock(**values: Any) -> None:
    """Keep changes away from a cluster until it is unlocked."""
    _locking(values, "cluster", lambda omni, name: omni.machines.lock_cluster(name), locked=True)


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
def unlock(**values: Any) -> None:
    """Let changes through to a cluster again."""
    _locking(values, "cluster", lambda omni, name: omni.machines.unlock_cluster(name), locked=False)


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="MACHINE")
def machine_lock(**values: Any) -> None:
    """Keep changes away from one machine of a cluster."""
    _locking(values, "machine", lambda omni, name: omni.machines.lock(name), locked=True)


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="MACHINE")
def machine_unlock(**values: Any) -> None:
    """Let changes through to one machine of a cluster again."""
    _locking(values, "machine", lambda omni, name: omni.machines.unlock(name), locked=False)


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="MACHINE")
@flag("-f", "--force", help="do not wait for the machine to be wiped: it leaves the account as well")
@flag("--force-etcd-leave", help="do not wait for etcd to let go of it: too few members lose its data")
@option("-t", "--timeout", "limit", type=Duration(), default=300.0, metavar="DURATION", help="limit, 5m by default")
@flag("-y", "--yes-i-am-really-sure", help="ask nothing")
def machine_delete(**values: Any) -> None:
    """Take a machine out of its cluster and wait until it is out. It is wiped, and free afterwards."""
    settings = Settings(values)
    refuse_read_only(settings, "`cluster machine delete`")
    machine = values["words"][0]
    with connected(settings) as omni:
        from omniherd.resources import ClusterMachine

        ident = machine_id(omni, machine)
        # Nobody is asked about a machine that is in no cluster.
        omni.get(ClusterMachine, ident)
        for name, warning in _WARNINGS:
            if values[name] and not values["yes_i_am_really_sure"] and not _sure(warning):
                _say("aborting machine deletion")
                return
        omni.machines.remove_from_cluster(
            ident, force=values["force"], force_etcd_leave=values["force_etcd_leave"], timeout=values["limit"]
        )
    _say(f"ClusterMachines.omni.sidero.dev {machine if machine == ident else shown(machine, ident)} is destroyed")


def _sure(warning: str) -> bool:
    sys.stderr.write(f"WARNING: {warning}\nDo you want to continue? (y/N): ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer:
        raise InputError("failed to read user input: EOF", hint="--yes-i-am-really-sure asks nothing")
    return answer.strip().lower() == "y"


# --- Kubernetes -------------------------------------------------------------------------------------------------------


@command(minimum=1, maximum=1, required=("to",))
@click.argument("words", nargs=-1, metavar="NAME")
@option("-o", "--output", metavar="FORMAT", help="table, json or yaml")
@option("--to", metavar="VERSION", help="the version to go to")
def upgrade_pre_checks(**values: Any) -> None:
    """Find out whether a cluster's Kubernetes can be upgraded; the exit code tells."""
    from omniherd.cli.output.records import check_format, write_record

    settings = Settings(values)
    form = check_format(values["output"])
    name, version = values["words"][0], values["to"]
    with connected(settings) as omni:
        found = omni.management.kubernetes_upgrade_pre_checks(name, version)
    if form != "table":
        write_record(form, {"cluster": name, "to": version, "ok": found.ok, "reason": found.reason})
        sys.stdout.flush()
    if not found.ok:
        raise OmniError(found.reason)


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
@option("--dry-run", type=BOOL, default=True, metavar="", help="only say what would change; true by default")
def manifest_sync(**values: Any) -> None:
    """Bring a cluster's bootstrap manifests up to date."""
    settings = Settings(values)
    dry_run = values["dry_run"]
    if not dry_run:
        refuse_read_only(settings, "`cluster kubernetes manifest-sync --dry-run=false`")
    with connected(settings) as omni, omni.management.sync_manifests(values["words"][0], dry_run=dry_run) as steps:
        for step in steps:
            if step.kind == "rollout":
                sys.stdout.write(f" > waiting for {step.path}\n")
                continue
            sys.stdout.write(f" > processing manifest {step.path}\n")
            if step.skipped:
                sys.stdout.write(" < no changes\n")
            else:
                sys.stdout.write(f"{step.diff}\n" if step.diff else "")
                sys.stdout.write(" < dry run, change skipped\n" if dry_run else " < applied successfully\n")
            sys.stdout.flush()

"""`omniherd cluster import`: take a Talos cluster into Omni, and undo an import that did not come to its end."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from omniherd.cli.connection import Settings, connected, refuse_read_only
from omniherd.cli.failures import os_text, told
from omniherd.cli.flags import Duration, command, flag, listed, option
from omniherd.errors import FailedPrecondition, InputError, OmniError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["abort", "import_cluster"]


@command(maximum=None, required=("nodes",))
@click.argument("words", nargs=-1, metavar="")
@option(
    "-O", "--backup-output", metavar="FILE", help="zip file for the configurations, CLUSTER-backup-TIME.zip by default"
)
@flag("-d", "--dry-run", help="only say what would be done")
@flag("--force", help="go on where the cluster is not fit for it")
@option("--initial-kubernetes-version", metavar="VERSION", help="Kubernetes when the cluster was made")
@option("--initial-talos-version", metavar="VERSION", help="Talos when the cluster was made")
@option("--kubernetes-version", metavar="VERSION", help="Kubernetes, as a check")
@option("-n", "--nodes", multiple=True, default=(), metavar="ADDRESS", help="all machines of the cluster")
@option("-o", "--output", metavar="FORMAT", help="what is to be told on standard output: json or yaml")
@flag("--skip-health-check", help="do not look whether the cluster is healthy")
@option("--talos-context", metavar="NAME", help="context of the talosconfig")
@option("--talos-endpoints", multiple=True, default=(), metavar="ADDRESS", help="where the Talos API is")
@option("--talos-version", metavar="VERSION", help="Talos, as a check")
@option("--talosconfig", metavar="FILE", help="the talosconfig, by default that of TALOSCONFIG, or ~/.talos/config")
@option("--wait-timeout", type=Duration(), default=300.0, metavar="DURATION", help="limit, 5m by default")
def import_cluster(**values: Any) -> None:
    """Take a Talos cluster into Omni. It stays locked until you unlock it; `cluster import abort` undoes it."""
    from omniherd.cli.output.records import check_format

    settings = Settings(values)
    nodes = listed(values["nodes"])
    form = check_format(values["output"])
    if not values["dry_run"]:
        refuse_read_only(settings, "`cluster import`")
    if not nodes:
        raise InputError("at least one node is required to import a cluster")
    from omniherd import TalosClient

    end = time.monotonic() + values["wait_timeout"]
    with (
        connected(settings) as omni,
        TalosClient.connect(
            values["talosconfig"] or None,
            context=values["talos_context"] or None,
            endpoints=listed(values["talos_endpoints"]),
        ) as talos,
    ):
        with told():
            plan = omni.clusters.plan_import(
                talos,
                nodes,
                talos_version=values["talos_version"],
                kubernetes_version=values["kubernetes_version"],
                initial_talos_version=values["initial_talos_version"],
                initial_kubernetes_version=values["initial_kubernetes_version"],
                progress=_say,
                timeout=values["wait_timeout"],
            )
        backup = values["backup_output"] or f"{plan.cluster}-backup-{time.strftime('%Y%m%d-%H%M%S')}.zip"
        how: dict[str, Any] = {
            "force": values["force"],
            "health_check": not values["skip_health_check"],
            "progress": _say,
            "timeout": max(0.0, end - time.monotonic()),
        }
        with _failures(plan.cluster):
            if values["dry_run"]:
                omni.clusters.check_import(talos, plan, **how)
            else:
                omni.clusters.run_import(talos, plan, backup=backup, overwrite=_overwrite, **how)
    if values["dry_run"]:
        _say(f'a dry run: "{backup}" would be written, the nodes connected, and in Omni created:')
        for resource in plan.resources:
            _say(f" > {resource.type_name} {resource.id}")
    else:
        locked = "is imported successfully but marked as 'locked' to prevent changes done by Omni"
        _say(f'cluster "{plan.cluster}" {locked}')
    if form != "table":
        from omniherd.cli.output.records import write_record

        made = not values["dry_run"]
        write_record(form, {**plan.to_dict(), "dry_run": not made, "backup": backup if made else None})


@contextlib.contextmanager
def _failures(cluster: str) -> Generator[None]:
    """Say in errors which import failed, and which flag lets an unfit cluster through."""
    try:
        with told(f'failed to import cluster "{cluster}"'):
            yield
    except OmniError as error:
        found = error.__cause__
        if isinstance(found, FailedPrecondition) and "problems" in found.details:
            raise OmniError(
                f'failed to validate cluster status "{cluster}", can be overridden with --force:  {found}',
                details=found.details,
            ) from error
        raise
    except OSError as error:
        raise OmniError(
            f'failed to import cluster "{cluster}": failed to save backup of machine config(s): {os_text(error)}',
            hint="nothing was changed",
        ) from None


def _say(line: str) -> None:
    from omniherd.cli.output.terminal import harmless

    # Nodes have their word in it: names, and what their health check says.
    sys.stderr.write(f"{harmless(line)}\n")
    sys.stderr.flush()


def _overwrite(path: str) -> bool:
    sys.stdout.write(f"{path} already exists, overwrite? [y/N]: ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() == "y"


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
def abort(**values: Any) -> None:
    """Undo an unfinished import: the cluster leaves Omni as it was."""
    settings = Settings(values)
    refuse_read_only(settings, "`cluster import abort`")
    cluster = values["words"][0]
    if not cluster:
        raise InputError("cluster name is required")

    def progress(machine: str) -> None:
        sys.stderr.write(f'removing link for machine "{machine}" from Omni\n')

    with connected(settings) as omni, told(f'failed to abort import operation for cluster "{cluster}"'):
        omni.clusters.abort_import(cluster, progress=progress, timeout=None)
    sys.stderr.write(f'import operation was aborted successfully for cluster "{cluster}"\n')

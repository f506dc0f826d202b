"""`omniherd cluster import`: not built, apart from `abort`, which undoes an import that did not come to its end."""

from __future__ import annotations

import sys
from typing import Any

import click

from omniherd.cli.connection import Settings, connected, refuse_read_only
from omniherd.cli.failures import told
from omniherd.cli.flags import Duration, command, flag, listed, option
from omniherd.errors import InputError, OmniError

__all__ = ["abort", "import_cluster"]


@command(maximum=None, required=("nodes",))
@click.argument("words", nargs=-1, metavar="")
@option("-O", "--backup-output", metavar="FILE", help="a zip file for the machines' configurations")
@flag("-d", "--dry-run", help="only say what would be done")
@flag("--force", help="go on where the cluster is not fit for it")
@option("--initial-kubernetes-version", metavar="VERSION", help="Kubernetes when the cluster was made")
@option("--initial-talos-version", metavar="VERSION", help="Talos when the cluster was made")
@option("--kubernetes-version", metavar="VERSION", help="Kubernetes, as a check")
@option("-n", "--nodes", multiple=True, default=(), metavar="ADDRESS", help="all machines of the cluster")
@flag("--skip-health-check", help="do not look whether the cluster is healthy")
@option("--talos-context", metavar="NAME", help="context of the talosconfig")
@option("--talos-endpoints", multiple=True, default=(), metavar="ADDRESS", help="where the Talos API is")
@option("--talos-version", metavar="VERSION", help="Talos, as a check")
@option("--talosconfig", metavar="FILE", help="the talosconfig")
@option("--wait-timeout", type=Duration(), default=300.0, metavar="DURATION", help="limit, 5m by default")
def import_cluster(**values: Any) -> None:
    """Take a Talos cluster into Omni: not built. `cluster import abort` undoes what omnictl began."""
    Settings(values)
    if not listed(values["nodes"]):
        raise InputError("at least one node is required to import a cluster")
    raise OmniError("`cluster import` is not built", hint="`omnictl cluster import` makes imports; nothing was changed")


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

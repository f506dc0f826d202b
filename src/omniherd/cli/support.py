"""`omniherd support`: a bundle of what a support engineer needs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omniherd.cli.connection import Settings, connected
from omniherd.cli.flags import command, flag, option
from omniherd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omniherd.services import SupportProgress

__all__ = ["error_table", "support"]


@command(dry_run=False, required=("cluster",))
@option("-c", "--cluster", metavar="NAME", help="the cluster")
@option("-O", "--output", default="support.zip", metavar="FILE", help="the file, support.zip by default")
@flag("-v", "--verbose", help="say what is being gathered")
def support(**values: Any) -> None:
    """Gather what Omni and a cluster's machines know, in a zip file that its owner alone may read."""
    settings = Settings(values)
    path = Path(values["output"])
    # Asked before the server gathers for minutes.
    if path.exists() and not _overwrite(path):
        raise InputError("operation was aborted")
    from omniherd.cli.progress import Progress

    with connected(settings) as omni, Progress("gathering") as bar:
        done: dict[str, tuple[int, int]] = {}

        def progress(step: SupportProgress) -> None:
            if values["verbose"]:
                _progress(step)
            # Two gather at the same time, and each counts for itself.
            value, total = done.get(step.source, (0, 0))
            done[step.source] = (max(value, step.value), max(total, step.total))
            bar.at(sum(one for one, _ in done.values()), sum(one for _, one in done.values()) or None)

        bundle = omni.management.support_bundle(values["cluster"], path=path, progress=progress)
    if bundle.errors:
        sys.stderr.write(f"Processed with errors:\n{error_table(bundle.errors)}")


def _overwrite(path: Path) -> bool:
    sys.stdout.write(f"{path} already exists, overwrite? [y/N]: ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() == "y"


def _progress(step: SupportProgress) -> None:
    if step.total:
        sys.stderr.write(f"{step.source}: {step.state}\n")
        sys.stderr.flush()


def error_table(errors: Sequence[SupportProgress]) -> str:
    """Return what could not be gathered as a table.

    Args:
        errors: The steps that failed.
    """
    from omniherd.cli.output.tables import cell, layout

    rows: list[tuple[str, ...]] = [("", "SOURCE", "ERROR")]
    for step in errors:
        for number, line in enumerate(step.error.split("\n")):
            rows.append(("", "" if number else cell([step.source]), cell([line.strip()])))
    return layout(rows)

"""`omniherd drift`: where a server differs from the files of a fleet, as lines of JSON, once or as it happens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from omniherd.cli.connection import Settings, connected
from omniherd.cli.flags import command, flag, listed, option
from omniherd.cli.plan import IGNORE, PRUNE, read_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from omniherd import AsyncOmni
    from omniherd.template import Fleet, FleetPlan

__all__ = ["Reporter", "drift", "follow"]

_CLUSTER = "omni.sidero.dev/cluster"
_CLUSTERS = "Clusters.omni.sidero.dev"
_DIFFERENCES = {"create": "missing", "update": "changed", "destroy": "extra"}
# Changes that come together, as those of a sync do, are looked at together.
_GATHER = 0.2


@command(minimum=1, maximum=None)
@click.argument("words", nargs=-1, metavar="PATH...")
@option("--allowed-dir", metavar="DIR", help="folder that files named in templates must lie in")
@IGNORE
@PRUNE
@flag("-w", "--watch", help="go on, and tell differences as they come and go")
def drift(**values: Any) -> None:
    """Tell where the server differs from what files say, a line of JSON for each resource.

    Exits with 0 when it differs nowhere and with 2 when it does; with --watch it goes on until Ctrl-C.
    """
    settings = Settings(values)
    fleet = read_files(values["words"], values)
    rules: dict[str, Any] = {"ignore": listed(values["ignore"]), "prune": values["prune"]}
    report = Reporter()
    if not values["watch"]:
        with connected(settings) as omni:
            found = omni.templates.plan_fleet(fleet, **rules)
        _print(report.update(found))
        if not found.empty:
            raise click.exceptions.Exit(2)
        return
    with connected(settings) as omni:
        connection = omni.connection

    async def run() -> None:
        from omniherd import AsyncOmni

        client = AsyncOmni.connect(
            connection=connection,
            ca=settings.ca,
            server_name=settings.server_name,
            insecure_skip_tls_verify=settings.insecure,
            timeout=settings.timeout or None,
        )
        async with client as omni:
            await follow(omni, fleet, rules, lambda found: _print(report.update(found)))

    # Ctrl-C is how a watch ends.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())


class Reporter:
    """Turns the plans that are made one after another into what came and what went."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], dict[str, Any]] = {}

    def update(self, plan: FleetPlan, now: datetime | None = None) -> Iterator[dict[str, Any]]:
        """Yield a record for each difference that is new or another, and for each that is gone.

        Args:
            plan: The plan as it is now.
            now: The time, by default the machine's.
        """
        from omniherd.cli.output.plans import step_record, warnings_of

        moment = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
        found: dict[tuple[str, str, str], dict[str, Any]] = {}
        for part in plan.parts:
            warnings = warnings_of(part)
            for step in part.plan.steps():
                key = step.resource.key
                record = step_record(part, step, warnings.get(key, []), now=None)
                action = record.pop("action")
                found[key] = {
                    "cluster": part.cluster or None,
                    "file": part.file or None,
                    "difference": _DIFFERENCES[action],
                    **record,
                }
        for key, record in found.items():
            if self._known.get(key) != record:
                yield {"time": moment, "event": "drift", **record}
        for key, record in self._known.items():
            if key not in found:
                yield {"time": moment, "event": "resolved", **record, "dangers": [], "diff": ""}
        self._known = found


async def follow(omni: AsyncOmni, fleet: Fleet, rules: dict[str, Any], tell: Callable[[FleetPlan], None]) -> None:
    """Plan a fleet now and again after each change on the server that may matter; until cancelled.

    Args:
        omni: The client.
        fleet: The fleet.
        rules: What to ignore and whether to prune, see `omni.templates.plan_fleet`.
        tell: Takes each plan.

    Raises:
        OmniError: The server cannot be watched or read.
    """
    from omniherd.errors import OmniError

    changed = asyncio.Event()
    subjects = _subjects(fleet, every_cluster=bool(rules.get("prune")))
    standing = [asyncio.Event() for _ in subjects]

    async def watch(subject: dict[str, Any], stands: asyncio.Event) -> None:
        async with omni.watch(bootstrap=False, on_expired="restart", **subject) as events:
            async for _ in events:
                if stands.is_set():
                    changed.set()
                stands.set()

    async def plan() -> None:
        for stands in standing:
            await stands.wait()
        while True:
            changed.clear()
            tell(await omni.templates.plan_fleet(fleet, **rules))
            await changed.wait()
            await asyncio.sleep(_GATHER)

    try:
        async with asyncio.TaskGroup() as group:
            for subject, stands in zip(subjects, standing, strict=True):
                group.create_task(watch(subject, stands))
            group.create_task(plan())
    except* OmniError as failed:
        raise failed.exceptions[0] from None


def _subjects(fleet: Fleet, *, every_cluster: bool) -> list[dict[str, Any]]:
    """Return what is to be watched: kinds, as far as they are of the clusters, and the resources by their ids."""
    import re

    from omniherd.template import labelled_types

    ids: dict[tuple[str, str], set[str]] = {}
    clusters = [template.cluster.name for template in fleet.templates]
    for template in fleet.templates:
        for one in template.resources():
            if _CLUSTER not in one.labels:
                ids.setdefault((one.namespace, one.type), set()).add(one.id)
    for file in fleet.resources:
        ids.setdefault(file.resource.key[:2], set()).add(file.resource.id)
    subjects: list[dict[str, Any]] = []
    if clusters:
        named = f"{_CLUSTER} in ({', '.join(clusters)})"
        subjects += [{"kind": type_name, "labels": named} for type_name in labelled_types()]
    for (namespace, type_name), some in ids.items():
        if every_cluster and type_name == _CLUSTERS:
            continue
        pattern = "|".join(re.escape(ident) for ident in sorted(some))
        subjects.append({"kind": type_name, "namespace": namespace, "id_regexp": f"^(?:{pattern})$"})
    if every_cluster:
        subjects.append({"kind": _CLUSTERS})
    return subjects


def _print(records: Iterator[dict[str, Any]]) -> None:
    for record in records:
        sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
    sys.stdout.flush()

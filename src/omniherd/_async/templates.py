"""`omni.templates`: cluster templates compared with a server and brought to it, cluster by cluster."""
# ruff: noqa: ASYNC109 - a timeout here is for everything, made of many calls

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from typing import TYPE_CHECKING, Any, TypeAlias

from omniherd._async.reading import WAIT_TIMEOUT
from omniherd._backend import aio as backend
from omniherd.errors import DeleteTimeout, NotFound, PermissionDenied
from omniherd.resource import Resource, class_for_type, resource_class
from omniherd.template import ids
from omniherd.template.fleet import RESOURCE_ORDER, Fleet
from omniherd.template.fleet_export import CLUSTER_TYPES, SECRET_TYPES, FleetExport, export_fleet
from omniherd.template.ignoring import Ignore
from omniherd.template.plan_files import FleetPlan, PlanPart, check_moved
from omniherd.template.planning import Plan, Step, labelled_types, plan_delete, plan_resources, wanted_ids
from omniherd.template.status import ClusterState
from omniherd.template.template import Template, export

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from omniherd._async.client import AsyncOmni

__all__ = ["AsyncTemplates"]

AnyResource: TypeAlias = Resource[Any]
Key: TypeAlias = tuple[str, str, str]

_DISCONNECTED = f"{ids.PREFIX}disconnected"
_MACHINE = f"{ids.PREFIX}machine"
_CONCURRENCY = 8
# From so many on, resources of a type are read by one list instead of one by one; and how many ids one list names.
_FEW, _MANY = 4, 200
# Whoever waits for a resource to go is told what holds it after so many seconds.
_PATIENCE = 10.0
# Phases of a Talos upgrade that is none: unknown, and done.
_AT_REST = (0, 2)


class AsyncTemplates:
    """Work with cluster templates; `omni.templates`.

    What needs no server (`validate`, `render`) the templates do themselves, see `omniherd.template`.

    Example:
        >>> lab = template.load("lab.yaml")
        >>> print(await omni.templates.diff(lab))
        >>> await omni.templates.sync(lab, on_step=lambda step, done: print(step.line()))
    """

    def __init__(self, omni: AsyncOmni) -> None:
        self._omni = omni

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._omni!r}>"

    # --- looking ------------------------------------------------------------------------------------------------

    async def world(
        self, cluster: str, expected: Sequence[AnyResource] = (), *, dialect: str = "1.9"
    ) -> list[AnyResource]:
        """Read what plans for a cluster are made of.

        Args:
            cluster: The cluster's id; it need not exist.
            expected: The resources that its template stands for, whose ids may be taken.
            dialect: The version of Omni; the newer one has disks of machines.

        Returns:
            The cluster, what bears its label, what its machines have by their ids, and what has an id that the
            template uses.

        Raises:
            APIError: It cannot be read.
        """

        async def labelled(type_name: str) -> list[AnyResource]:
            return await self._omni.list(type_name, labels={ids.CLUSTER: cluster})

        lists = await backend.each(labelled_types(), labelled, _CONCURRENCY)
        found = [one for listed in lists for one in listed]
        return found + await self._all_named(wanted_ids(cluster, expected, found, dialect=dialect))

    async def _named(self, namespace: str, type_name: str, idents: list[str]) -> list[AnyResource]:
        """Return those of the named resources that exist."""
        found: list[AnyResource] = []
        if len(idents) > _FEW:
            with contextlib.suppress(PermissionDenied):
                for start in range(0, len(idents), _MANY):
                    some = "|".join(re.escape(ident) for ident in idents[start : start + _MANY])
                    found += await self._omni.list(type_name, namespace=namespace, id_regexp=f"^(?:{some})$")
                return found
            # Who may read some resources of a type may not be allowed to list it.
            found = []
        for ident in idents:
            with contextlib.suppress(NotFound):
                found.append(await self._omni.get(type_name, ident, namespace=namespace))
        return found

    async def plan(self, template: Template) -> Plan:
        """Find out what would make the server what a template says. Nothing is written.

        Args:
            template: The template. It is checked first.

        Raises:
            TemplateError: It is not valid, or its resources belong to another cluster or a controller.
            APIError: The server's resources cannot be read.
        """
        template.validate()
        world = await self.world(template.cluster.name, template.resources(), dialect=template.dialect)
        return template.plan(world)

    async def plan_fleet(self, fleet: Fleet, *, ignore: Iterable[str] = (), prune: bool = False) -> FleetPlan:
        """Find out what would make the server what the files of a fleet say. Nothing is written.

        Resources of no cluster are created and changed, never removed.

        Args:
            fleet: What `omniherd.template.read_fleet` returned. It is checked first.
            ignore: Rules on what is left as it is, see `omniherd.template.Ignore`.
            prune: Whether clusters that a template made, and that none of these has, are deleted.

        Raises:
            InputError: There is no such rule.
            TemplateError: Something is not valid, or belongs to another cluster or a controller.
            APIError: The server's resources cannot be read.
        """
        from omniherd.resources import Cluster

        rules = Ignore(ignore)
        fleet.validate()
        resources = [one.resource for one in fleet.resources]
        parts: list[PlanPart] = []
        after: list[PlanPart] = []
        for of_cluster in (False, True):
            some = [one for one in resources if (ids.CLUSTER in one.labels) is of_cluster]
            if some:
                plan = plan_resources(some, await self._all_named([one.key for one in some]))
                (after if of_cluster else parts).append(PlanPart("", "", rules.apply(plan)))
        for template in fleet.templates:
            plan = rules.apply(await self.plan(template))
            parts.append(PlanPart(template.cluster.name, template.name, plan))
        if prune:
            names = {part.cluster for part in parts}
            for cluster in await self._omni.list(Cluster, sort="id"):
                if ids.MANAGED in cluster.annotations and not cluster.owner and cluster.id not in names:
                    plan = rules.apply(await self.plan_delete(cluster.id))
                    after.append(PlanPart(cluster.id, "", plan))
        return FleetPlan((*parts, *after), self._omni.connection.endpoint.url)

    async def check_plan(self, plan: FleetPlan) -> None:
        """See to it that the server is what it was when a plan was made.

        Args:
            plan: The plan.

        Raises:
            PlanOutdated: Resources changed, came or went, or it is for another server.
            APIError: The server's resources cannot be read.
        """
        here = self._omni.connection.endpoint.url
        if plan.endpoint != here:
            check_moved([f"it was made for {plan.endpoint}, this is {here}"])
        moved: list[str] = []
        for part in plan.parts:
            stubs = [class_for_type(key[1])(key[2], namespace=key[0]) for key in part.concerned()]
            if part.cluster:
                world = await self.world(part.cluster, stubs, dialect=part.plan.dialect)
            else:
                world = await self._all_named(part.concerned())
            moved += part.moved(world)
        check_moved(moved)

    async def _all_named(self, keys: Iterable[Key]) -> list[AnyResource]:
        """Return those of the named resources that exist, of any types."""
        wanted: dict[tuple[str, str], list[str]] = {}
        for namespace, type_name, ident in keys:
            wanted.setdefault((namespace, type_name), []).append(ident)

        async def named(item: tuple[tuple[str, str], list[str]]) -> list[AnyResource]:
            (namespace, type_name), idents = item
            return await self._named(namespace, type_name, idents)

        return [one for some in await backend.each(wanted.items(), named, _CONCURRENCY) for one in some]

    async def plan_delete(self, cluster: str | Template, *, disconnected: bool = False) -> Plan:
        """Find out what would remove a cluster and all that belongs to it. Nothing is written.

        Args:
            cluster: The cluster's id, or its template.
            disconnected: Whether the cluster's machines that are away are to leave Omni as well.

        Raises:
            TemplateError: The template is not valid, or resources belong to another cluster.
            APIError: The server's resources cannot be read.
        """
        dialect = "1.9"
        if isinstance(cluster, Template):
            cluster.validate()
            dialect = cluster.dialect
        name = cluster.cluster.name if isinstance(cluster, Template) else cluster
        plan = plan_delete(name, await self.world(name, dialect=dialect), dialect=dialect)
        if disconnected:
            before = [phase for phase in await self._disconnected(name) if phase]
            plan = dataclasses.replace(plan, destroys=(*before, *plan.destroys))
        return plan

    async def _disconnected(self, cluster: str) -> list[tuple[AnyResource, ...]]:
        """Return the phases in which machines that are away leave Omni."""
        from omniherd.resources import ConfigPatch, ExtensionsConfiguration, Link, MachineStatus

        away = await self._omni.list(MachineStatus, labels=f"{_DISCONNECTED},{ids.CLUSTER}={cluster}")
        patches: list[AnyResource] = []
        for machine in away:
            patches += await self._omni.list(ConfigPatch, labels={_MACHINE: machine.id})
        extensions = await self._omni.list(ExtensionsConfiguration, labels={ids.CLUSTER: cluster})
        return [tuple(extensions), tuple(Link(machine.id) for machine in away), tuple(patches)]

    async def diff(self, template: Template) -> str:
        """Return what `sync` would change as unified diffs; empty when that is nothing.

        Args:
            template: The template. It is checked first.

        Raises:
            TemplateError: It is not valid, or its resources belong to another cluster or a controller.
            APIError: The server's resources cannot be read.
        """
        return (await self.plan(template)).diff(tidy=True)

    async def status(self, cluster: str | Template) -> ClusterState:
        """Read how a cluster is: whether it is healthy, and what is missing.

        An upgrade shows only once Omni has begun it, which is a moment after the sync that asked for it.

        Args:
            cluster: The cluster's id, or its template.

        Raises:
            NotFound: There is no such cluster.
            APIError: The server's resources cannot be read.
        """
        from omniherd import resources

        name = cluster.cluster.name if isinstance(cluster, Template) else cluster
        of_cluster = await self._omni.get(resources.ClusterStatus, name)
        kinds: tuple[type[AnyResource], ...] = (
            resources.MachineSetStatus,
            resources.ControlPlaneStatus,
            resources.LoadBalancerStatus,
            resources.KubernetesUpgradeStatus,
            resources.TalosUpgradeStatus,
            resources.ClusterMachineStatus,
        )

        async def labelled(kind: type[AnyResource]) -> list[AnyResource]:
            return await self._omni.list(kind, labels={ids.CLUSTER: name})

        found = await backend.each(kinds, labelled, _CONCURRENCY)
        talos = kinds.index(resources.TalosUpgradeStatus)
        if not found[talos]:
            # It bears no label on real servers, so that omnictl never shows it; that of a cluster at rest is no news.
            with contextlib.suppress(NotFound):
                upgrade = await self._omni.get(resources.TalosUpgradeStatus, name)
                found[talos] = [] if upgrade.spec.phase in _AT_REST else [upgrade]
        return ClusterState(of_cluster, *found)

    async def export(self, cluster: str, *, include_kernel_args: bool = False, dialect: str = "1.9") -> Template:
        """Make the template of a cluster that exists.

        Args:
            cluster: The cluster's id.
            include_kernel_args: Whether every machine gets its kernel arguments written, none included.
            dialect: The version of the language.

        Raises:
            NotFound: There is no such cluster.
            TemplateError: Its resources make no valid template.
            APIError: The server's resources cannot be read.
        """
        from omniherd.resources import Cluster

        world = await self.world(cluster, dialect=dialect)
        if not any(one.type == Cluster.type_name and one.id == cluster for one in world):
            world.append(await self._omni.get(Cluster, cluster))
        if dialect != "1.9":
            from omniherd.resources import ClusterStatus

            with contextlib.suppress(NotFound):
                world.append(await self._omni.get(ClusterStatus, cluster))
        return export(world, cluster, include_kernel_args=include_kernel_args, dialect=dialect)

    async def export_fleet(self, *, secrets: bool = False) -> FleetExport:
        """Make files of everything that people manage on the server: clusters, machine classes, policies, labels.

        Accounts, join tokens and keys are left out: they are made where they are used.

        Args:
            secrets: Whether to read types that hold credentials of other services, too.

        Raises:
            TemplateError: A cluster's resources make no valid template.
            APIError: The server's resources cannot be read. Types that the caller may not read are left out, and named.
        """
        unreadable: list[str] = []

        async def listed(type_name: str) -> list[AnyResource]:
            try:
                return await self._omni.list(type_name)
            except PermissionDenied:
                info = resource_class(type_name).info
                # A server that is older than a type refuses it in the same way.
                if info is None or info.since is None:
                    unreadable.append(type_name)
                return []

        types = [name for name in (*CLUSTER_TYPES, *RESOURCE_ORDER) if secrets or name not in SECRET_TYPES]
        lists = await backend.each(dict.fromkeys(types), listed, _CONCURRENCY)
        found = export_fleet(one for some in lists for one in some)
        found.unreadable = sorted(unreadable)
        return found

    # --- doing --------------------------------------------------------------------------------------------------

    async def sync(
        self,
        template: Template,
        *,
        on_step: Callable[[Step, bool], None] | None = None,
        on_wait: Callable[[DeleteTimeout], None] | None = None,
        timeout: float | None = WAIT_TIMEOUT,
    ) -> Plan:
        """Make the server what a template says; return what was done.

        Everything new is created, then changes are made, then what the template does not have any more is torn down:
        machine sets and machines first, and the rest when those are gone. The first failure ends it, and what was done
        stays; `sync` again goes on from there.

        Args:
            template: The template. It is checked first.
            on_step: Called before each step with False, and for what is destroyed again with True when it is gone;
                from several threads, maybe.
            on_wait: Called now and then with what holds a resource that does not go.
            timeout: Seconds for each phase of what is destroyed; None to wait for ever.

        Raises:
            TemplateError: It is not valid, or its resources belong to another cluster or a controller.
            InvalidArgument: The server's validators refuse a step.
            VersionConflict: Somebody else changed a resource between the plan and its step.
            DeleteTimeout: Something does not go.
            APIError: Otherwise refused, or not got through.
        """
        plan = await self.plan(template)
        await self.carry_out(plan, on_step=on_step, on_wait=on_wait, timeout=timeout)
        return plan

    async def delete(
        self,
        cluster: str | Template,
        *,
        disconnected: bool = False,
        on_step: Callable[[Step, bool], None] | None = None,
        on_wait: Callable[[DeleteTimeout], None] | None = None,
        timeout: float | None = WAIT_TIMEOUT,
    ) -> Plan:
        """Remove a cluster and all that belongs to it, and wait until it is gone; return what was done.

        Args:
            cluster: The cluster's id, or its template.
            disconnected: Whether the cluster's machines that are away are to leave Omni as well.
            on_step: See `sync`.
            on_wait: See `sync`.
            timeout: Seconds for each phase; None to wait for ever.

        Raises:
            TemplateError: The template is not valid, or resources belong to another cluster.
            DeleteTimeout: Something does not go.
            APIError: Otherwise refused, or not got through.
        """
        plan = await self.plan_delete(cluster, disconnected=disconnected)
        await self.carry_out(plan, on_step=on_step, on_wait=on_wait, timeout=timeout)
        return plan

    async def carry_out(
        self,
        plan: Plan,
        *,
        on_step: Callable[[Step, bool], None] | None = None,
        on_wait: Callable[[DeleteTimeout], None] | None = None,
        timeout: float | None = WAIT_TIMEOUT,
    ) -> None:
        """Do what a plan says, in its order. See `sync` for the arguments.

        Args:
            plan: The plan.
            on_step: See `sync`.
            on_wait: See `sync`.
            timeout: Seconds for each phase of what is destroyed; None to wait for ever.

        Raises:
            AlreadyExists: Somebody else created a resource meanwhile.
            VersionConflict: Somebody else changed a resource meanwhile.
            InvalidArgument: The server's validators refuse a step.
            DeleteTimeout: Something does not go.
            APIError: Otherwise refused, or not got through.
        """
        tell = on_step or _nothing
        phases: dict[int, list[Step]] = {}
        for step in plan.steps():
            if step.action == "destroy":
                phases.setdefault(step.phase, []).append(step)
                continue
            tell(step, False)
            if step.action == "create":
                await self._omni.create(step.resource)
            else:
                await self._omni.update(step.resource)
        for steps in phases.values():
            await self._destroy(steps, tell, on_wait, timeout)

    async def _destroy(
        self,
        steps: Iterable[Step],
        tell: Callable[[Step, bool], None],
        on_wait: Callable[[DeleteTimeout], None] | None,
        timeout: float | None,
    ) -> None:
        """Tear all of a phase down, then see to it that each is gone."""
        deadline = None if timeout is None else time.monotonic() + timeout
        torn: list[Step] = []
        for step in steps:
            tell(step, False)
            one = step.resource
            try:
                await self._omni.teardown(one.type, one.id, namespace=one.namespace)
            except NotFound:
                # It went with something else, or by itself.
                tell(step, True)
            else:
                torn.append(step)

        async def finish(step: Step) -> None:
            one = step.resource
            while True:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                patience = _PATIENCE if left is None else min(_PATIENCE, left)
                try:
                    await self._omni.delete(one.type, one.id, namespace=one.namespace, timeout=patience)
                except NotFound:
                    break
                except DeleteTimeout as error:
                    if left is not None and left <= patience:
                        held = str(error).partition(": ")[2]
                        raise DeleteTimeout(
                            f"{error.resource} is still tearing down after {timeout:g} s: {held}",
                            resource=error.resource,
                            details=dict(error.details),
                            hint="wait longer, or look at those who hold it; doing the same again goes on waiting",
                        ) from error
                    if on_wait is not None:
                        on_wait(error)
                else:
                    break
            tell(step, True)

        await backend.each(torn, finish, _CONCURRENCY)


def _nothing(_step: Step, _done: bool) -> None:
    pass

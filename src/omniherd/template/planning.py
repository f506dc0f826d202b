"""What must be created, updated and destroyed to make a cluster what its template says; nothing is read or written.

Whoever plans brings the resources that are there: `labelled_types` and `wanted_ids` say which those are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from omniherd.resource import Resource
from omniherd.template import ids
from omniherd.template.diff import resource_diff
from omniherd.template.language import OLDEST
from omniherd.template.problems import TemplateError, go_quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

__all__ = [
    "Plan",
    "Step",
    "Update",
    "actual_resources",
    "labelled_types",
    "plan_delete",
    "plan_resources",
    "plan_sync",
    "wanted_ids",
]

AnyResource: TypeAlias = Resource[Any]
Key: TypeAlias = tuple[str, str, str]
Action: TypeAlias = Literal["create", "update", "destroy"]

_CLUSTERS = "Clusters.omni.sidero.dev"
_SETS = "MachineSets.omni.sidero.dev"
_NODES = "MachineSetNodes.omni.sidero.dev"
_KERNEL_ARGS = "KernelArgs.omni.sidero.dev"
_DISKS = "MachineInstallDiskConfigs.omni.sidero.dev"

_ORDER = {
    name: index
    for index, name in enumerate(
        (
            _CLUSTERS,
            "ExtensionsConfigurations.omni.sidero.dev",
            "ConfigPatches.omni.sidero.dev",
            _DISKS,
            "KubernetesManifestGroups.omni.sidero.dev",
            "KubernetesHealthChecks.omni.sidero.dev",
            _SETS,
            _NODES,
            _KERNEL_ARGS,
        )
    )
}
_PER_MACHINE = (_KERNEL_ARGS, _DISKS)
"""Types without a cluster: they are called like the machine and outlive its membership."""


def labelled_types() -> tuple[str, ...]:
    """Return the types to list by the label of the cluster, in the order of the plan's reading."""
    return (
        _SETS,
        _NODES,
        "ConfigPatches.omni.sidero.dev",
        "ExtensionsConfigurations.omni.sidero.dev",
        "KubernetesManifestGroups.omni.sidero.dev",
        "KubernetesHealthChecks.omni.sidero.dev",
    )


def wanted_ids(
    cluster: str, expected: Sequence[AnyResource], listed: Iterable[AnyResource], *, dialect: str = OLDEST
) -> list[Key]:
    """Return what is to be got one by one: the cluster, what machines have by their ids, and what was not listed.

    Args:
        cluster: The cluster's id.
        expected: The template's resources; empty for a delete.
        listed: What the lists by label gave.
        dialect: The version of Omni; the newer one has disks of machines.
    """
    known: set[Key] = set()
    wanted: dict[Key, None] = {("default", _CLUSTERS, cluster): None}
    for one in listed:
        known.add(one.key)
        if one.type == _NODES and _is_ours(one):
            for type_name in _PER_MACHINE[: 1 if dialect == OLDEST else 2]:
                wanted["default", type_name, one.id] = None
    wanted.update(dict.fromkeys(one.key for one in expected if one.key not in known))
    return list(wanted)


def _is_ours(resource: AnyResource) -> bool:
    return not resource.owner and ids.MANAGED_BY_NODE_CONTROLLER not in resource.labels


@dataclass(frozen=True)
class Update:
    """A resource that changes.

    Attributes:
        old: As it is stored.
        new: As it shall be, with the version of the stored one.
    """

    old: AnyResource
    new: AnyResource


@dataclass(frozen=True)
class Step:
    """One step of a plan.

    Attributes:
        action: What is done.
        old: The resource as it is, None for a create.
        new: The resource as it shall be, None for a destroy.
        phase: 1 or more for a destroy: all of one phase are gone before the next begins. 0 otherwise.
    """

    action: Action
    old: AnyResource | None
    new: AnyResource | None
    phase: int = 0

    @property
    def resource(self) -> AnyResource:
        """The resource that the step is about, as it shall be where it stays."""
        resource = self.new or self.old
        if resource is None:
            raise ValueError("a step has a resource")
        return resource

    @property
    def name(self) -> str:
        """The resource's name in lines of progress, `Clusters.omni.sidero.dev(lab)`."""
        return f"{self.resource.type}({self.resource.id})"

    def line(self, *, dry_run: bool = False) -> str:
        """Return the line that is printed when the step begins, `* creating Clusters.omni.sidero.dev(lab)`."""
        verb = {"create": "creating", "update": "updating", "destroy": "tearing down"}[self.action]
        return f"* {verb}{' (dry run)' if dry_run else ''} {self.name}"

    def diff(self, *, now: datetime | None = None, dialect: str = OLDEST, tidy: bool = False) -> str:
        """Return the step as a unified diff. See `omniherd.template.resource_diff`."""
        return resource_diff(self.old, self.new, now=now, dialect=dialect, tidy=tidy)


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        creates: Resources to create, in order.
        updates: Resources to update, in order.
        destroys: Resources to tear down and destroy, phase after phase.
        dialect: The version of Omni whose fields diffs show.
        basis: The versions of the resources that were there and that the template is answerable for, by their keys.
    """

    creates: tuple[AnyResource, ...] = ()
    updates: tuple[Update, ...] = ()
    destroys: tuple[tuple[AnyResource, ...], ...] = ()
    dialect: str = field(default=OLDEST, compare=False)
    basis: Mapping[Key, int | None] = field(default_factory=dict[Key, "int | None"], compare=False, repr=False)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.creates or self.updates or any(self.destroys))

    def steps(self) -> Iterator[Step]:
        """Yield the steps in the order in which they are done."""
        yield from self._creates()
        yield from self._updates()
        yield from self._destroys()

    def diff(self, *, now: datetime | None = None, tidy: bool = False) -> str:
        """Return the whole plan as unified diffs: updates, creates, then the phases of destroys.

        Args:
            now: What to show as the times of new resources; the zero time unless given.
            tidy: Whether what is removed stands before what comes in its place; omnictl mixes them now and then.
        """
        order = [*self._updates(), *self._creates(), *self._destroys()]
        return "".join(step.diff(now=now, dialect=self.dialect, tidy=tidy) for step in order)

    def _creates(self) -> Iterator[Step]:
        return (Step("create", None, one) for one in self.creates)

    def _updates(self) -> Iterator[Step]:
        return (Step("update", one.old, one.new) for one in self.updates)

    def _destroys(self) -> Iterator[Step]:
        for phase, resources in enumerate(self.destroys, 1):
            for one in resources:
                yield Step("destroy", one, None, phase)


def actual_resources(
    cluster: str, expected: Sequence[AnyResource], world: Iterable[AnyResource], *, dialect: str = OLDEST
) -> list[AnyResource]:
    """Return what of the world the template is answerable for, in the order in which it is looked at.

    Args:
        cluster: The cluster's id.
        expected: The template's resources; empty for a delete.
        world: Resources that are there; others may be among them.
        dialect: The version of Omni.
    """
    by_key = {one.key: one for one in world}
    found: dict[Key, AnyResource] = {}

    def take(key: Key) -> None:
        if key in by_key:
            found.setdefault(key, by_key[key])

    take(("default", _CLUSTERS, cluster))
    for type_name in labelled_types():
        kept = [
            one
            for one in by_key.values()
            if one.type == type_name and one.labels.get(ids.CLUSTER) == cluster and _is_ours(one)
        ]
        for one in kept:
            take(one.key)
        if type_name == _NODES:
            for one in kept:
                for per_machine in _PER_MACHINE[: 1 if dialect == OLDEST else 2]:
                    take(("default", per_machine, one.id))
    for one in expected:
        stored = by_key.get(one.key)
        if stored is not None and not stored.owner:
            take(one.key)
    return list(found.values())


def plan_sync(
    cluster: str, expected: Sequence[AnyResource], world: Iterable[AnyResource], *, dialect: str = OLDEST
) -> Plan:
    """Plan what makes the world what a template says.

    Args:
        cluster: The cluster's id.
        expected: The template's resources.
        world: Resources that are there: what `labelled_types` and `wanted_ids` name; others may be among them.
        dialect: The version of Omni.

    Raises:
        TemplateError: A resource belongs to another cluster, or to a controller.
    """
    there = list(world)
    actual = actual_resources(cluster, expected, there, dialect=dialect)
    pending = {one.key: one for one in expected}
    machines = {one.id for one in expected if one.type == _NODES}
    updates: list[Update] = []
    gone: list[AnyResource] = []
    for old in actual:
        new = pending.pop(old.key, None)
        if new is None:
            _let_go(old, cluster, machines, updates, gone)
            continue
        if old.labels.get(ids.CLUSTER, cluster) != cluster:
            # omnictl takes it away from the other cluster without a word.
            raise _taken(old)
        new = _with_history(new, old)
        if not same_content(old, new):
            updates.append(Update(old, new))
    owned = {one.key: one for one in there}
    for one in pending.values():
        conflict = owned.get(one.key) if one.type not in _PER_MACHINE else None
        if conflict is not None:
            raise _taken(conflict)
    return Plan(
        tuple(sorted(pending.values(), key=_order)),
        tuple(sorted(updates, key=lambda one: _order(one.new))),
        _phases(gone),
        dialect,
        _versions(actual),
    )


def plan_delete(cluster: str, world: Iterable[AnyResource], *, dialect: str = OLDEST) -> Plan:
    """Plan what removes a cluster that templates manage.

    Args:
        cluster: The cluster's id.
        world: Resources that are there; others may be among them.
        dialect: The version of Omni.

    Raises:
        TemplateError: A resource belongs to another cluster.
    """
    updates: list[Update] = []
    gone: list[AnyResource] = []
    actual = actual_resources(cluster, (), world, dialect=dialect)
    for old in actual:
        _let_go(old, cluster, set(), updates, gone)
    # omnictl leaves these in the order in which they were found.
    return Plan((), tuple(updates), _phases(gone), dialect, _versions(actual))


def plan_resources(expected: Sequence[AnyResource], world: Iterable[AnyResource], *, dialect: str = OLDEST) -> Plan:
    """Plan what creates or changes resources that belong to no template. Nothing else is touched.

    Args:
        expected: The resources, in the order in which they are to be created.
        world: Resources that are there; others may be among them.
        dialect: The version of Omni.

    Raises:
        TemplateError: A resource belongs to a controller.
    """
    by_key = {one.key: one for one in world}
    creates: list[AnyResource] = []
    updates: list[Update] = []
    there = [by_key[one.key] for one in expected if one.key in by_key]
    for one in expected:
        old = by_key.get(one.key)
        if old is None:
            creates.append(one)
            continue
        if old.owner:
            raise _conflict(f"resource {_shown(old)} belongs to controller {go_quote(old.owner)}", old)
        new = _with_history(one, old)
        if not same_content(old, new):
            updates.append(Update(old, new))
    return Plan(tuple(creates), tuple(updates), (), dialect, _versions(there))


def _versions(resources: Iterable[AnyResource]) -> dict[Key, int | None]:
    return {one.key: one.version for one in resources}


def _shown(resource: AnyResource) -> str:
    return f"{resource.type}({resource.namespace}/{resource.id})"


def _conflict(text: str, resource: AnyResource) -> TemplateError:
    return TemplateError(text, stage="planning", resource=_shown(resource))


def _taken(resource: AnyResource) -> TemplateError:
    other = go_quote(resource.labels.get(ids.CLUSTER, ""))
    text = f"resource {_shown(resource)} already exists for cluster {other},"
    return _conflict(f"{text} cannot create a conflicting resource for a different cluster", resource)


def _order(resource: AnyResource) -> int:
    return _ORDER.get(resource.type, len(_ORDER))


def _let_go(old: AnyResource, cluster: str, machines: set[str], updates: list[Update], gone: list[AnyResource]) -> None:
    """Decide what becomes of a resource that the template does not have."""
    if old.type in _PER_MACHINE and not (old.type == _DISKS and old.id in machines):
        # What a machine was given stays with it; templates only stop to be answerable for it.
        if ids.MANAGED in old.annotations:
            new = old.copy()
            del new.annotations[ids.MANAGED]
            updates.append(Update(old, new))
        return
    if old.type in _PER_MACHINE and ids.MANAGED not in old.annotations:
        return
    owner = old.labels.get(ids.CLUSTER, "")
    if old.type != _CLUSTERS and old.type not in _PER_MACHINE and owner != cluster:
        text = f"resource {_shown(old)} belongs to cluster {go_quote(owner)}, but template is for cluster"
        raise _conflict(f"{text} {go_quote(cluster)}", old)
    gone.append(old)


def _with_history(new: AnyResource, old: AnyResource) -> AnyResource:
    """Return the new resource with what the server keeps of the old one."""
    fresh = new.copy()
    target, source = fresh.metadata.proto, old.metadata.proto
    target.version = source.version
    target.created.CopyFrom(source.created)
    target.updated.CopyFrom(source.updated)
    fresh.finalizers = old.finalizers
    return fresh


def same_content(old: AnyResource, new: AnyResource) -> bool:
    """Tell whether two states of a resource differ in nothing that a person could change."""
    return (
        old.owner == new.owner
        and old.phase == new.phase
        and dict(old.labels) == dict(new.labels)
        and dict(old.annotations) == dict(new.annotations)
        and old.spec == new.spec
    )


def _phases(gone: Sequence[AnyResource]) -> tuple[tuple[AnyResource, ...], tuple[AnyResource, ...]]:
    """Leave out what goes with something else, and put sets and their machines first."""
    keys = {one.key for one in gone}
    first: list[AnyResource] = []
    second: list[AnyResource] = []
    for one in sorted(gone, key=_order):
        if one.type == _NODES:
            with_it = ("default", _SETS, one.labels.get(ids.MACHINE_SET, ""))
        else:
            with_it = ("default", _CLUSTERS, one.labels.get(ids.CLUSTER, ""))
        if one.type != _CLUSTERS and with_it in keys:
            continue
        (first if one.type in {_SETS, _NODES} else second).append(one)
    return tuple(first), tuple(second)

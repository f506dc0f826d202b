"""Steps of a plan that deserve a second look: what they lose does not come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from omniherd.template import ids
from omniherd.template.versions import VersionRefused, parse_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from omniherd.template.planning import Plan, Step

__all__ = ["Danger", "dangers"]


class Danger(NamedTuple):
    """A step and what is dangerous about it.

    Attributes:
        step: The step.
        text: What it does, for people.
    """

    step: Step
    text: str


def dangers(plan: Plan) -> list[Danger]:
    """Return the dangerous steps of a plan: clusters deleted, control planes made smaller, versions lowered.

    Args:
        plan: The plan.
    """
    leaving = sum(_is_member(step) for step in plan.steps())
    return [Danger(step, text) for step in plan.steps() for text in _of_step(step, leaving)]


def _kind(step: Step) -> str:
    return step.resource.type.partition(".")[0]


def _is_member(step: Step) -> bool:
    return (
        step.action == "destroy" and _kind(step) == "MachineSetNodes" and ids.ROLE_CONTROL_PLANE in step.resource.labels
    )


def _of_step(step: Step, leaving: int) -> Iterator[str]:
    kind, one = _kind(step), step.resource
    if step.action == "destroy":
        if kind == "Clusters":
            yield f"deletes cluster {one.id}: its machines are wiped"
        elif kind == "MachineSets" and ids.ROLE_CONTROL_PLANE in one.labels:
            yield f"deletes the control plane {one.id}"
        elif _is_member(step):
            many = f", one of {leaving} at once: etcd may lose its majority" if leaving > 1 else ""
            yield f"takes machine {one.id} out of the control plane{many}"
    elif step.action == "update" and step.old is not None:
        old, new = step.old.spec, one.spec
        if kind == "Clusters":
            yield from _lowered("Talos", old.talos_version, new.talos_version)
            yield from _lowered("Kubernetes", old.kubernetes_version, new.kubernetes_version)
        elif kind == "MachineSets" and ids.ROLE_CONTROL_PLANE in one.labels:
            before, after = old.machine_allocation.machine_count, new.machine_allocation.machine_count
            if after < before and new.HasField("machine_allocation"):
                yield f"makes the control plane {one.id} smaller, from {before} machines to {after}"


def _lowered(what: str, before: str, after: str) -> Iterator[str]:
    try:
        old, new = parse_version(before), parse_version(after)
    except VersionRefused:
        return
    # A pre-release comes before its release.
    if (*new[:3], not new.prerelease, new.prerelease) < (*old[:3], not old.prerelease, old.prerelease):
        yield f"lowers {what} from {before} to {after}"

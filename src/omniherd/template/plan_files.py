"""Plans of whole fleets, and files that keep them: made in one place, read by people, carried out in another."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from omniherd.errors import InputError, PlanOutdated
from omniherd.resource import Resource, class_for_type
from omniherd.template.dangers import Danger, dangers
from omniherd.template.planning import Plan, Step, Update, actual_resources

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

__all__ = ["FleetPlan", "PlanPart", "check_moved", "load_plan", "save_plan"]

AnyResource: TypeAlias = Resource[Any]
Key: TypeAlias = tuple[str, str, str]

_FORMAT = "omniherd plan"
_VERSION = 1


@dataclass(frozen=True)
class PlanPart:
    """What is planned for one cluster, or for the resources that belong to none.

    Attributes:
        cluster: The cluster, empty for the others.
        file: The template's file, empty when it came from elsewhere.
        plan: What is to be done.
    """

    cluster: str
    file: str
    plan: Plan

    def moved(self, world: Iterable[AnyResource]) -> list[str]:
        """Return what is not as it was when the plan was made, a text each.

        Args:
            world: The resources that are there now; others may be among them.
        """
        stubs = [class_for_type(key[1])(key[2], namespace=key[0]) for key in self.plan.basis]
        there = list(world)
        if self.cluster:
            stubs += self.plan.creates
            now = {one.key: one for one in actual_resources(self.cluster, stubs, there, dialect=self.plan.dialect)}
        else:
            wanted = {*self.plan.basis, *(one.key for one in self.plan.creates)}
            now = {one.key: one for one in there if one.key in wanted}
        texts: list[str] = []
        for key in sorted({*now, *self.plan.basis}):
            name = f"{key[1]}({key[0]}/{key[2]})"
            if key not in now:
                texts.append(f"{name} is gone")
            elif key not in self.plan.basis:
                texts.append(f"{name} is new")
            elif now[key].version != self.plan.basis[key]:
                texts.append(f"{name} is at version {now[key].version}, the plan is for version {self.plan.basis[key]}")
        return texts

    def concerned(self) -> list[Key]:
        """Return the keys of everything that the plan is about."""
        return list(dict.fromkeys([*self.plan.basis, *(one.key for one in self.plan.creates)]))


@dataclass(frozen=True)
class FleetPlan:
    """What makes a server what the files of a fleet say.

    Attributes:
        parts: What is planned for each cluster, in the order in which it is done.
        endpoint: The server that it was made for.
    """

    parts: tuple[PlanPart, ...] = ()
    endpoint: str = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return all(part.plan.empty for part in self.parts)

    def steps(self) -> Iterator[tuple[PlanPart, Step]]:
        """Yield all steps in their order."""
        for part in self.parts:
            for step in part.plan.steps():
                yield part, step

    def dangers(self) -> list[Danger]:
        """Return what deserves a second look."""
        return [danger for part in self.parts for danger in dangers(part.plan)]

    def counts(self) -> dict[str, int]:
        """Return how many resources are created, updated and destroyed."""
        found = {"create": 0, "update": 0, "destroy": 0}
        for _, step in self.steps():
            found[step.action] += 1
        return found


def save_plan(plan: FleetPlan, path: str | os.PathLike[str]) -> None:
    """Write a plan to a file. Only its owner may read it: patches may hold secrets.

    Args:
        plan: The plan.
        path: The file, which is replaced when it is there.

    Raises:
        OSError: It cannot be written.
    """
    from omniherd._core.files import write_atomic

    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "endpoint": plan.endpoint,
        "parts": [
            {
                "cluster": part.cluster,
                "file": part.file,
                "dialect": part.plan.dialect,
                "basis": [[*key, version] for key, version in part.plan.basis.items()],
                "creates": [_packed(one) for one in part.plan.creates],
                "updates": [[_packed(one.old), _packed(one.new)] for one in part.plan.updates],
                "destroys": [[_packed(one) for one in phase] for phase in part.plan.destroys],
            }
            for part in plan.parts
        ],
    }
    write_atomic(path, json.dumps(content, indent=1) + "\n")


def load_plan(path: str | os.PathLike[str]) -> FleetPlan:
    """Read a plan that `save_plan` wrote.

    Args:
        path: The file.

    Raises:
        InputError: It is no plan, or one of another version of omniherd.
        OSError: It cannot be read.
    """
    no_plan = InputError(f"{path} is no plan", hint="`omniherd plan --out FILE` makes one")
    try:
        content = json.loads(Path(path).read_bytes())
        known, version = content["format"] == _FORMAT, content["version"]
        if known and version == _VERSION:
            return FleetPlan(tuple(_part(part) for part in content["parts"]), str(content["endpoint"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise no_plan from None
    if not known:
        raise no_plan
    raise InputError(f"{path} is a plan of another version of omniherd", hint="plan again")


def check_moved(texts: list[str]) -> None:
    """Refuse a plan whose world is another by now.

    Args:
        texts: What moved, see `PlanPart.moved`.

    Raises:
        PlanOutdated: Something did.
    """
    if texts:
        raise PlanOutdated(
            "the plan is outdated: " + "; ".join(texts[:5]) + (f"; and {len(texts) - 5} more" if texts[5:] else ""),
            details={"moved": texts},
            hint="plan again, and look at what changed",
        )


def _packed(resource: AnyResource) -> str:
    return base64.b64encode(resource.to_proto().SerializeToString()).decode()


def _unpacked(text: str) -> AnyResource:
    from omniherd._core.pool import message

    parse: Any = message("cosi.resource.Resource").FromString
    try:
        proto = parse(base64.b64decode(text, validate=True))
    except Exception as error:
        # protobuf's error class depends on its backend.
        raise ValueError from error
    return class_for_type(proto.metadata.type).from_proto(proto)


def _part(content: dict[str, Any]) -> PlanPart:
    basis = {(str(one[0]), str(one[1]), str(one[2])): one[3] for one in content["basis"]}
    plan = Plan(
        tuple(_unpacked(one) for one in content["creates"]),
        tuple(Update(_unpacked(old), _unpacked(new)) for old, new in content["updates"]),
        tuple(tuple(_unpacked(one) for one in phase) for phase in content["destroys"]),
        str(content["dialect"]),
        basis,
    )
    return PlanPart(str(content["cluster"]), str(content["file"]), plan)

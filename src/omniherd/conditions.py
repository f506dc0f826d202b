"""Named conditions that resources can be waited for: which resource tells, and what is missing until it holds. Pure.

What a cluster is like stands in its ClusterStatus, what a machine in a cluster is like in its ClusterMachineStatus: a
condition knows the type of the resource, of the same id, that it is judged by.

Example:
    >>> from omniherd.conditions import condition, names
    >>> names("Clusters.omni.sidero.dev")[:2]
    ('ready', 'running')
    >>> condition("Clusters.omni.sidero.dev", "ready").kind
    'ClusterStatuses.omni.sidero.dev'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from omniherd.errors import InputError, JSONPathError

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.resource import Resource

__all__ = ["Condition", "condition", "names"]

_CONNECTED = "omni.sidero.dev/connected"
_USABLE = "omni.sidero.dev/ready-to-use"
_JSONPATH = "jsonpath="


class Condition(NamedTuple):
    """Something that a resource can come to fulfil.

    Attributes:
        name: What it is called.
        kind: The full name of the type that tells: the resource of the same id is looked at.
        missing: Says what is missing, in a few words each; nothing when the condition holds. It is given the resource,
            or None when there is none.
    """

    name: str
    kind: str
    missing: Callable[[Resource[Any] | None], list[str]]


def condition(kind: str, name: str) -> Condition:
    """Return a condition of a type.

    Args:
        kind: The type's full name.
        name: One of `names(kind)`, in capitals or not; or `jsonpath={.spec.x}`, which holds when the expression finds
            something other than nothing, `false` and `0`; or `jsonpath={.spec.x}=value`, when it finds that value.

    Raises:
        InputError: The type has no such condition.
        JSONPathError: The expression does not parse.
    """
    if name.startswith(_JSONPATH):
        return _by_path(kind, name)
    told = name.lower().replace("_", "-")
    if told == "deleted":
        return Condition("deleted", kind, _still_there)
    if told == "exists":
        return Condition("exists", kind, _present)
    found = _CONDITIONS.get(kind, {}).get(told)
    if found is None:
        raise InputError(
            f"{kind} has no condition {name!r}",
            hint=f"it has {', '.join(names(kind))} and jsonpath={{.spec.field}}=value",
        )
    return Condition(told, *found)


def names(kind: str) -> tuple[str, ...]:
    """Return the names of a type's conditions.

    Args:
        kind: The type's full name.
    """
    return (*_CONDITIONS.get(kind, {}), "exists", "deleted")


# --- what every type has --------------------------------------------------------------------------------------------


def _still_there(resource: Resource[Any] | None) -> list[str]:
    if resource is None:
        return []
    held = f", held by {', '.join(resource.finalizers)}" if resource.finalizers else ""
    return [f"it exists, {resource.phase}{held}"]


def _present(resource: Resource[Any] | None) -> list[str]:
    return [] if resource is not None else ["it does not exist"]


def _by_path(kind: str, name: str) -> Condition:
    from omniherd.jsonpath import compile as compile_template
    from omniherd.jsonpath import text_of

    template, closed, value = name.removeprefix(_JSONPATH).rpartition("}")
    compiled = compile_template(template + closed)
    if not closed or (value and not value.startswith("=")):
        raise InputError(f"{name!r} is no condition", hint="write it as jsonpath={.spec.field}=value")
    wanted = value[1:] if value else None

    def missing(resource: Resource[Any] | None) -> list[str]:
        from omniherd.yamlform import typed_object

        if resource is None:
            return ["it does not exist"]
        try:
            found = [one for results in compiled.results(typed_object(resource.to_yaml())) for one in results]
        except JSONPathError as error:
            return [str(error)]
        texts = ["" if one is None else text_of(one) for one in found]
        if wanted is None:
            return [] if any(text not in {"", "false", "0", "0s"} for text in texts) else [_found(texts)]
        return [] if texts and all(text == wanted for text in texts) else [_found(texts)]

    return Condition(name, kind, missing)


def _found(texts: list[str]) -> str:
    return f"it is {' '.join(texts)}" if any(texts) else "it is empty"


# --- clusters and their parts ---------------------------------------------------------------------------------------


def _judged(judge: Callable[[Any], list[str]]) -> Callable[[Resource[Any] | None], list[str]]:
    """Return a judgement of resources from one of specs."""

    def missing(resource: Resource[Any] | None) -> list[str]:
        return ["it has no status yet"] if resource is None else judge(resource.spec)

    return missing


def _word(spec: Any, field: str) -> str:
    number = getattr(spec, field)
    known = spec.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(number)
    return str(number) if known is None else str(known.name)


def _phase(spec: Any, wanted: str, field: str = "phase") -> list[str]:
    word = _word(spec, field)
    return [] if word == wanted else [f"{field} is {word}"]


def _counted(spec: Any) -> list[str]:
    if spec.ready:
        return []
    healthy, wanted = spec.machines.healthy, max(spec.machines.total, spec.machines.requested)
    return ["it is not ready"] if healthy == wanted else [f"{healthy} of {wanted} machines are healthy"]


def _error(spec: Any) -> list[str]:
    return [spec.error] if spec.error else []


def _cluster(spec: Any) -> list[str]:
    told = _phase(spec, "RUNNING") + _counted(spec)
    if told:
        # What it most often waits for, and what nobody sees in the phase.
        told += [] if spec.controlplaneReady else ["the control plane is not ready"]
        told += [] if spec.kubernetesAPIReady else ["the Kubernetes API is not ready"]
    return told


def _member(spec: Any) -> list[str]:
    told = _phase(spec, "RUNNING", "stage")
    told += [] if spec.ready else ["it is not ready"]
    return told + ([f"its configuration was refused: {spec.last_config_error}"] if spec.last_config_error else [])


def _current(spec: Any) -> list[str]:
    told = [] if spec.config_up_to_date else ["its configuration is not up to date"]
    return told + ([f"its configuration was refused: {spec.last_config_error}"] if spec.last_config_error else [])


def _checks(spec: Any) -> list[str]:
    if not spec.conditions:
        return ["nothing was checked yet"]
    return [
        f"{_word(one, 'type')} is {_word(one, 'status')}" + (f": {one.reason}" if one.reason else "")
        for one in spec.conditions
        if _word(one, "status") != "Ready"
    ]


def _nodes(spec: Any) -> list[str]:
    if not spec.nodes:
        return ["no node is known yet"]
    return [f"node {node.nodename} is not ready" for node in spec.nodes if not node.ready]


def _upgrade(spec: Any) -> list[str]:
    told = _phase(spec, "Done")
    told += [f"step: {spec.step}"] if told and spec.step else []
    return told + (_error(spec) if told else [])


def _machine_connected(resource: Resource[Any] | None) -> list[str]:
    if resource is None:
        return ["no such machine has come yet"]
    return [] if resource.spec.connected else ["it is not connected"]


def _machine_usable(resource: Resource[Any] | None) -> list[str]:
    if resource is None:
        return ["no such machine has come yet"]
    if _USABLE in resource.labels:
        return []
    told = [] if _CONNECTED in resource.labels or resource.spec.connected else ["it is not connected"]
    told += [resource.spec.last_error] if resource.spec.last_error else []
    return told or ["it is not ready to be used"]


Judged = dict[str, tuple[str, "Callable[[Resource[Any] | None], list[str]]"]]

_CLUSTERS, _SETS = "ClusterStatuses.omni.sidero.dev", "MachineSetStatuses.omni.sidero.dev"
_MEMBERS, _MACHINES = "ClusterMachineStatuses.omni.sidero.dev", "MachineStatuses.omni.sidero.dev"
_CONTROL, _BALANCERS = "ControlPlaneStatuses.omni.sidero.dev", "LoadBalancerStatuses.omni.sidero.dev"
_KUBERNETES = "KubernetesStatuses.omni.sidero.dev"
_TO_KUBERNETES, _TO_TALOS = "KubernetesUpgradeStatuses.omni.sidero.dev", "TalosUpgradeStatuses.omni.sidero.dev"

_OF_CLUSTERS: Judged = {
    "ready": (_CLUSTERS, _judged(_cluster)),
    "running": (_CLUSTERS, _judged(lambda spec: _phase(spec, "RUNNING"))),
    "available": (_CLUSTERS, _judged(lambda spec: [] if spec.available else ["it is not available"])),
    "control-plane-ready": (
        _CLUSTERS,
        _judged(lambda spec: [] if spec.controlplaneReady else ["the control plane is not ready"]),
    ),
    "kubernetes-api-ready": (
        _CLUSTERS,
        _judged(lambda spec: [] if spec.kubernetesAPIReady else ["the Kubernetes API is not ready"]),
    ),
    "nodes-ready": (_KUBERNETES, _judged(_nodes)),
    "load-balancer-ready": (
        _BALANCERS,
        _judged(lambda spec: [] if spec.healthy else ["the load balancer is not healthy"]),
    ),
}
_OF_SETS: Judged = {
    "ready": (_SETS, _judged(lambda spec: _phase(spec, "Running") + _counted(spec) + _error(spec))),
    "running": (_SETS, _judged(lambda spec: _phase(spec, "Running") + _error(spec))),
    # The status of a control plane bears the id of its machine set.
    "control-plane-ready": (_CONTROL, _judged(_checks)),
}
_OF_MEMBERS: Judged = {
    "ready": (_MEMBERS, _judged(_member)),
    "running": (_MEMBERS, _judged(lambda spec: _phase(spec, "RUNNING", "stage"))),
    "up-to-date": (_MEMBERS, _judged(_current)),
}
_OF_MACHINES: Judged = {
    "ready": (_MACHINES, _machine_usable),
    "running": _OF_MEMBERS["running"],
    "connected": (_MACHINES, _machine_connected),
    "up-to-date": _OF_MEMBERS["up-to-date"],
}

_CONDITIONS: dict[str, Judged] = {
    "Clusters.omni.sidero.dev": _OF_CLUSTERS,
    _CLUSTERS: _OF_CLUSTERS,
    "MachineSets.omni.sidero.dev": _OF_SETS,
    _SETS: _OF_SETS,
    "Machines.omni.sidero.dev": _OF_MACHINES,
    _MACHINES: _OF_MACHINES,
    "ClusterMachines.omni.sidero.dev": _OF_MEMBERS,
    _MEMBERS: _OF_MEMBERS,
    "MachineSetNodes.omni.sidero.dev": _OF_MEMBERS,
    _CONTROL: {"ready": (_CONTROL, _judged(_checks))},
    _BALANCERS: {"ready": _OF_CLUSTERS["load-balancer-ready"]},
    _KUBERNETES: {"ready": (_KUBERNETES, _judged(_nodes))},
    _TO_KUBERNETES: {"done": (_TO_KUBERNETES, _judged(_upgrade))},
    _TO_TALOS: {"done": (_TO_TALOS, _judged(_upgrade))},
}

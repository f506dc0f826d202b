"""Clusters that are taken in from outside: what marks them, and the machines that join with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from omniherd.emulator.records import CREATED, DESTROYED, RUNNING
from omniherd.emulator.seed import ClusterPlan, MachinePlan, add_cluster_machine, add_machine, plan_of

if TYPE_CHECKING:
    from omniherd.emulator.records import Event, Stored
    from omniherd.emulator.simulation import Fleet
    from omniherd.emulator.store import Store

__all__ = ["Arrival", "Imports", "join_token"]

_O = ".omni.sidero.dev"
_L = "omni.sidero.dev/"
_TAINTED = _L + "tainted-by-importing"
_LOCKED = _L + "cluster-locked"
_CLUSTER = _L + "cluster"
_ACTIVE = 1  # JoinTokenStatusSpec.ACTIVE


@dataclass(frozen=True, slots=True)
class Arrival:
    """A machine that comes with a cluster of its own.

    Attributes:
        plan: What it is made of.
        talos: The Talos version that it runs.
        schematic: Id of the schematic that it was installed from.
    """

    plan: MachinePlan
    talos: str
    schematic: str


def join_token(documents: list[dict[str, Any]]) -> str:
    """Return the token with which a configuration lets a machine join; empty for none.

    Args:
        documents: The configuration.
    """
    for document in documents:
        if document.get("kind") == "SideroLinkConfig":
            _, _, query = str(document.get("apiUrl", "")).partition("?")
            return parse_qs(query).get("jointoken", [""])[0]
    return ""


class Imports:
    """The controllers of what is taken in.

    Args:
        store: What they watch and change.
        fleet: What looks after machines that live; None when none does.
    """

    def __init__(self, store: Store, fleet: Fleet | None = None) -> None:
        self._store = store
        self._fleet = fleet

    def join(self, arrival: Arrival, documents: list[dict[str, Any]]) -> bool:
        """Let a machine join that was given a configuration; tell whether it did.

        Args:
            arrival: The machine.
            documents: Its configuration.
        """
        store, plan = self._store, arrival.plan
        with store.lock:
            token = store.find("default", "JoinTokenStatuses" + _O, join_token(documents))
            if token is None or token.decode().state != _ACTIVE:
                return False
            if store.find("default", "Links" + _O, plan.id) is not None:
                return True
            if self._fleet is not None:
                self._fleet.receive(plan, arrival.talos, arrival.schematic)
                return True
            add_machine(store, plan, foreign=arrival.talos)
            status = store.get("default", "MachineStatuses" + _O, plan.id)
            spec = status.decode()
            spec.schematic.full_id = spec.schematic.initial_schematic = arrival.schematic
            store.modify("default", status.type, plan.id, spec=spec.SerializeToString(deterministic=True))
            return True

    def handle(self, event: Event) -> None:
        """Do what a change calls for."""
        resource = event.resource
        if resource is None or event.kind == DESTROYED:
            return
        if resource.type == "Clusters" + _O:
            if event.kind == CREATED:
                self._take_secrets(resource.id)
            self._show_lock(resource)
        elif resource.type == "MachineSetNodes" + _O and event.kind == CREATED and self._fleet is None:
            self._settle(resource)

    def _take_secrets(self, cluster: str) -> None:
        """Mark a new cluster whose secrets came from outside, and consume them."""
        if self._store.remove("default", "ImportedClusterSecrets" + _O, cluster):
            self._label(cluster, {_TAINTED: ""})

    def _show_lock(self, cluster: Stored) -> None:
        """Show on a cluster's status whether it is locked."""
        found = self._store.find("default", "ClusterStatuses" + _O, cluster.id)
        if (
            found is None
            or cluster.phase != RUNNING
            or (_LOCKED in cluster.annotations) == (_LOCKED in found.annotations)
        ):
            return
        annotations = {key: value for key, value in found.annotations.items() if key != _LOCKED}
        if _LOCKED in cluster.annotations:
            annotations[_LOCKED] = cluster.annotations[_LOCKED]
        self._store.modify("default", found.type, found.id, annotations=annotations)

    def _label(self, cluster: str, labels: dict[str, str]) -> None:
        found = self._store.find("default", "ClusterStatuses" + _O, cluster)
        if found is not None:
            self._store.modify("default", found.type, cluster, labels={**found.labels, **labels})

    def _settle(self, node: Stored) -> None:
        """Make the node of a machine that came with its cluster a member, where no machine lives: at once."""
        store, name = self._store, node.labels.get(_CLUSTER, "")
        cluster = store.find("default", "Clusters" + _O, name)
        status = store.find("default", "MachineStatuses" + _O, node.id)
        machine = None if status is None else plan_of(status)
        if status is None or machine is None or cluster is None:
            return
        spec = cluster.decode()
        plan = ClusterPlan(name, spec.kubernetes_version, spec.talos_version, {}, (), ())
        known = status.decode()
        known.cluster = name
        known.role = 1 if _L + "role-controlplane" in node.labels else 2
        data = known.SerializeToString(deterministic=True)
        store.modify("default", status.type, node.id, spec=data, labels={**status.labels, **node.labels})
        add_cluster_machine(store, plan, machine, dict(node.labels))
        if _L + "role-controlplane" in node.labels:
            self._answer(name, machine)

    def _answer(self, cluster: str, plane: MachinePlan) -> None:
        """Let a cluster answer that has a control plane now."""
        store = self._store
        store.put(
            "ClusterBootstrapStatuses" + _O, cluster, {"bootstrapped": True}, owner="ClusterBootstrapStatusController"
        )
        store.put(
            "LoadBalancerStatuses" + _O,
            cluster,
            {"healthy": True},
            owner="LoadBalancerController",
            labels={_CLUSTER: cluster},
        )
        endpoints = store.find("default", "ClusterEndpoints" + _O, cluster)
        addresses = [] if endpoints is None else list(endpoints.decode().management_addresses)
        store.put(
            "ClusterEndpoints" + _O,
            cluster,
            {"management_addresses": [*addresses, plane.address]},
            owner="ClusterEndpointController",
        )
        status = store.find("default", "ClusterStatuses" + _O, cluster)
        if status is not None:
            spec = status.decode()
            spec.available = spec.kubernetesAPIReady = spec.controlplaneReady = True
            spec.has_connected_control_planes = True
            store.modify("default", status.type, cluster, spec=spec.SerializeToString(deterministic=True))

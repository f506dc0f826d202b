"""A living fleet: machines become nodes in the recorded steps, in stepped time."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from omniherd.emulator.catalog import add_catalog
from omniherd.emulator.controllers import Controllers
from omniherd.emulator.forms import default_namespace
from omniherd.emulator.records import TEARING_DOWN, Event
from omniherd.emulator.simulation import Fleet, Pace, Schedule
from omniherd.emulator.store import Store
from omniherd.errors import InputError

O = ".omni.sidero.dev"  # noqa: E741
L = "omni.sidero.dev/"


def living(machines: int = 3, seed: int = 0) -> tuple[Store, Fleet]:
    store = Store(clock=lambda: 1_700_000_000_000_000_000)
    add_catalog(store, "test")
    fleet = Fleet(store, machines, seed)
    Controllers(store, fleet)
    fleet.step(0)
    return store, fleet


def make_cluster(store: Store, name: str, control_planes: list[str], workers: list[str]) -> None:
    store.put("Clusters" + O, name, {"talos_version": "1.13.5", "kubernetes_version": "1.35.5"})
    for suffix, role, ids in (
        ("control-planes", "role-controlplane", control_planes),
        ("workers", "role-worker", workers),
    ):
        labels = {L + "cluster": name, L + role: ""}
        store.put("MachineSets" + O, f"{name}-{suffix}", {"update_strategy": "Rolling"}, labels=labels)
        for id_ in ids:
            store.put("MachineSetNodes" + O, id_, labels={**labels, L + "machine-set": f"{name}-{suffix}"})


def spec(store: Store, kind: str, id_: str) -> Any:
    return store.get("default", kind + O, id_).decode()


def test_due_actions_run_in_order_and_later_ones_wait() -> None:
    schedule, seen = Schedule(), list[str]()
    schedule.after(2, lambda: seen.append("b"))
    schedule.after(1, lambda: schedule.after(0.5, lambda: seen.append("a")))
    schedule.after(2, lambda: seen.append("c"))
    schedule.after(3, lambda: seen.append("late"))
    schedule.step(2)
    assert seen == ["a", "b", "c"]
    assert schedule.now == 2
    assert not schedule.run_until(lambda: False)
    assert seen[-1] == "late"


def test_machines_join_free() -> None:
    store, fleet = living()
    for id_ in fleet.machines:
        assert L + "available" in store.get("default", "MachineStatuses" + O, id_).labels
        assert store.find(default_namespace("Links" + O), "Links" + O, id_) is not None


def test_a_cluster_comes_up_in_the_recorded_stages() -> None:
    store, fleet = living()
    cp, *workers = fleet.machines
    seen: dict[str, list[tuple[int, bool]]] = {cp: [], workers[0]: [], workers[1]: []}

    def note(event: Event) -> None:
        found = event.resource
        if found is not None and found.type == "ClusterMachineStatuses" + O:
            step = found.decode()
            if (step.stage, step.ready) not in seen[found.id]:
                seen[found.id].append((step.stage, step.ready))

    store.observe(note)
    make_cluster(store, "lab", [cp], workers)
    assert not spec(store, "ClusterStatuses", "lab").ready
    fleet.step(40)
    status = spec(store, "ClusterStatuses", "lab")
    assert (status.ready, status.phase, status.machines.healthy) == (True, 3, 3)
    assert spec(store, "MachineSetStatuses", "lab-workers").ready
    assert L + "available" not in store.get("default", "MachineStatuses" + O, cp).labels
    assert seen[workers[0]] == [(3, True), (2, False), (4, True), (7, True), (7, False), (4, False)]
    assert seen[cp] == [(3, True), (2, False), (4, False), (7, True), (7, False), (4, True)]


def test_a_lost_machine_is_noticed_late_and_comes_back() -> None:
    store, fleet = living()
    cp, worker, _ = fleet.machines
    make_cluster(store, "lab", [cp], [worker])
    fleet.step(60)
    fleet.disconnect(worker)
    fleet.step(180)
    assert spec(store, "ClusterStatuses", "lab").ready
    fleet.step(50)
    status = spec(store, "ClusterStatuses", "lab")
    assert (status.ready, status.machines.connected, status.machines.total) == (False, 1, 2)
    assert L + "disconnected" in store.get("default", "MachineStatuses" + O, worker).labels
    fleet.reconnect(worker)
    fleet.step(31)
    assert spec(store, "ClusterStatuses", "lab").ready


def test_a_node_taken_away_goes_no_further_and_frees_its_machine() -> None:
    store, fleet = living()
    cp, worker, _ = fleet.machines
    make_cluster(store, "lab", [cp], [worker])
    fleet.step(1)
    store.modify("default", "MachineSetNodes" + O, worker, phase=TEARING_DOWN)
    fleet.step(60)
    assert store.find("default", "ClusterMachineStatuses" + O, worker) is None
    assert L + "available" in store.get("default", "MachineStatuses" + O, worker).labels


def test_unknown_machine() -> None:
    with pytest.raises(InputError, match="no machine 'nobody'"):
        living()[1].disconnect("nobody")


def test_five_hundred_machines_in_ten_clusters_come_up() -> None:
    store, fleet = living(500)
    for number in range(10):
        ids = fleet.machines[number * 50 : (number + 1) * 50]
        make_cluster(store, f"c{number}", ids[:3], ids[3:])
    fleet.step(150)
    for number in range(10):
        status = spec(store, "ClusterStatuses", f"c{number}")
        assert (status.ready, status.machines.healthy) == (True, 50)


def test_time_that_passes_by_itself_counts_from_now() -> None:
    schedule = Schedule()
    pace, seen = Pace(schedule, speed=100), threading.Event()
    pace.start()
    try:
        schedule.after(1, seen.set)
        assert seen.wait(20)
        began = pace.now()
        seen.clear()
        schedule.after(50, seen.set)
        assert seen.wait(20)
        assert schedule.now >= began + 50
    finally:
        pace.stop()
    stopped = schedule.now
    schedule.after(1, seen.set)
    assert schedule.now == stopped

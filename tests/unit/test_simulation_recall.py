"""Living machines go on from a state that was kept, wherever it was cut off."""

from __future__ import annotations

import pytest

from omniherd.emulator import Emulator
from omniherd.resources import Cluster, ClusterStatus, MachineSet, MachineSetNode, MachineStatus

L = "omni.sidero.dev/"


def make_cluster(omni, machines):
    omni.create(Cluster("lab", spec={"talos_version": "1.13.4", "kubernetes_version": "1.35.5"}))
    for suffix, role, ids in (
        ("control-planes", "role-controlplane", machines[:1]),
        ("workers", "role-worker", machines[1:]),
    ):
        labels = {L + "cluster": "lab", L + role: ""}
        omni.create(MachineSet(f"lab-{suffix}", labels=labels))
        for id_ in ids:
            omni.create(MachineSetNode(id_, labels={**labels, L + "machine-set": f"lab-{suffix}"}))


def is_up(omni):
    status = omni.get(ClusterStatus, "lab").spec
    return (status.ready, status.kubernetesAPIReady, status.machines.healthy) == (True, True, 3)


@pytest.mark.parametrize("second", [0, 0.3, 0.7, 1.0, 2, 3.5, 5, 6, 9, 15, 30, 60])
def test_a_cluster_comes_up_after_a_restart_at_any_moment(tmp_path, second):
    with Emulator(machines=3, speed=0, data=tmp_path / "omni.db") as emulator, emulator.connect() as omni:
        make_cluster(omni, emulator.fleet.machines)
        emulator.fleet.step(second)
        joined = omni.get(MachineStatus, emulator.fleet.machines[0]).metadata.created
    with Emulator(machines=3, speed=0, data=tmp_path / "omni.db") as emulator, emulator.connect() as omni:
        emulator.fleet.step(90)
        assert is_up(omni)
        assert omni.get(MachineStatus, emulator.fleet.machines[0]).metadata.created == joined
        emulator.store.modify("default", "Clusters.omni.sidero.dev", "lab", phase="tearingDown")
        emulator.fleet.step(30)
        assert list(omni.list(Cluster)) == []
        assert len(omni.list(MachineStatus, labels=L + "available")) == 3


@pytest.mark.parametrize("second", [0.1, 0.5, 1.5, 3, 5, 8])
@pytest.mark.parametrize("what", ["talos", "kubernetes", "gone"])
def test_what_was_under_way_goes_on(tmp_path, second, what):
    with Emulator(machines=3, speed=0) as emulator, emulator.connect() as omni:
        make_cluster(omni, emulator.fleet.machines)
        emulator.fleet.step(90)
        if what == "gone":
            emulator.store.modify("default", "Clusters.omni.sidero.dev", "lab", phase="tearingDown")
        else:
            with omni.edit(Cluster, "lab") as cluster:
                if what == "talos":
                    cluster.spec.talos_version = "1.13.5"
                else:
                    cluster.spec.kubernetes_version = "1.36.0"
        emulator.fleet.step(second)
        before = emulator.snapshot()
        emulator.fleet.step(60)
        emulator.restore(before)
        emulator.fleet.step(120)
        if what == "gone":
            assert list(omni.list(Cluster)) == []
            return
        assert is_up(omni)
        kind = {"talos": "TalosUpgradeStatuses", "kubernetes": "KubernetesUpgradeStatuses"}[what]
        status = omni.get(f"{kind}.omni.sidero.dev", "lab").spec
        assert (status.phase, status.last_upgrade_version) == (2, {"talos": "1.13.5", "kubernetes": "1.36.0"}[what])

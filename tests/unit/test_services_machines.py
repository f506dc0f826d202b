"""Labels, locks and links of machines, and how a machine leaves its cluster, on the emulator."""

from __future__ import annotations

import pytest

from omniherd.errors import AlreadyExists, NotFound
from omniherd.resources import MachineLabel


def test_machine_labels(omni):
    machine = omni.list("machinestatuses")[0]
    name = machine.spec.network.hostname
    before = omni.machines.labels(name)
    after = omni.machines.set_labels(name, {"svc-rack": "7", "svc-old": ""})
    assert after == {**before, "svc-rack": "7", "svc-old": ""}
    assert omni.machines.set_labels(machine.id, {"svc-rack": None, "svc-old": None, "svc-none": None}) == before
    assert omni.machines.labels(machine.id) == before


def test_labels_of_a_machine_without_any(omni):
    bare = "77777777-c798-4da7-a410-f09abb48c8d8"
    assert omni.machines.labels(bare) == {}
    assert omni.machines.set_labels(bare, {"a": None}) == {}
    with pytest.raises(NotFound):
        omni.get(MachineLabel, bare)
    assert omni.machines.set_labels(bare, {"a": "1"}) == {"a": "1"}


def test_somebody_elses_first_label_stays(omni, monkeypatch):
    bare = "88888888-c798-4da7-a410-f09abb48c8d8"
    create = type(omni).create

    def overtaken(self, resource, **options):
        monkeypatch.undo()
        create(self, MachineLabel(bare, labels={"theirs": "1"}))
        return create(self, resource, **options)

    monkeypatch.setattr(type(omni), "create", overtaken)
    assert omni.machines.set_labels(bare, {"mine": "2"}) == {"theirs": "1", "mine": "2"}


def test_locks(omni):
    worker = next(node for node in omni.list("machinesetnodes") if "omni.sidero.dev/role-worker" in node.labels)
    omni.machines.lock(worker.id)
    omni.machines.lock(worker.id)
    assert omni.get("machinesetnodes", worker.id).annotations["omni.sidero.dev/locked"] == ""
    omni.machines.unlock(worker.id)
    omni.machines.unlock(worker.id)
    assert "omni.sidero.dev/locked" not in omni.get("machinesetnodes", worker.id).annotations
    cluster = worker.labels["omni.sidero.dev/cluster"]
    omni.machines.lock_cluster(cluster)
    assert omni.get("clusters", cluster).annotations["omni.sidero.dev/cluster-locked"] == ""
    omni.machines.unlock_cluster(cluster)
    assert "omni.sidero.dev/cluster-locked" not in omni.get("clusters", cluster).annotations
    with pytest.raises(NotFound):
        omni.machines.lock("77777777-c798-4da7-a410-f09abb48c8d8")


def test_a_machine_leaves_its_cluster(omni):
    worker = next(node for node in omni.list("machinesetnodes") if "omni.sidero.dev/role-worker" in node.labels)
    name = next(one.name for one in omni.machines.known() if one.id == worker.id)
    machine_set = worker.labels["omni.sidero.dev/machine-set"]
    holders = list(omni.get("machinesets", machine_set).finalizers)
    omni.machines.remove_from_cluster(name, timeout=30)
    status = omni.get("machinestatuses", worker.id)
    assert (status.spec.cluster, status.spec.role, status.spec.maintenance) == ("", 0, True)
    assert "omni.sidero.dev/available" in status.labels
    # Its set goes on.
    left = omni.get("machinesets", machine_set)
    assert (left.phase, list(left.finalizers)) == ("running", holders)
    assert holders
    assert omni.get("machinesetstatuses", machine_set).phase == "running"
    for kind in ("machinesetnodes", "clustermachines"):
        with pytest.raises(NotFound):
            omni.get(kind, worker.id)
    with pytest.raises(NotFound):
        omni.machines.remove_from_cluster(worker.id, timeout=30)


def test_the_order_in_which_a_machine_is_forced_out(omni, monkeypatch):
    """As recorded: the request to etcd, the link, the node, and then the wait."""
    node = next(node for node in omni.list("machinesetnodes") if "omni.sidero.dev/role-worker" in node.labels)
    done, limits = [], []
    for verb in ("create", "teardown", "delete", "wait_gone"):

        def note(self, what, *rest, verb=verb, **options):
            limits.append(options.get("timeout"))
            named = type(what).__name__ if verb == "create" else what.__name__
            done.append((verb, named, dict(what.labels) if verb == "create" else None))
            if verb == "create":
                raise AlreadyExists("there is one")

        monkeypatch.setattr(type(omni), verb, note)
    omni.machines.remove_from_cluster(node.id, force=True, force_etcd_leave=True, timeout=30)
    assert limits[:2] == [None, None]
    assert 0 < limits[3] <= limits[2] <= 30
    label = {"omni.sidero.dev/cluster": node.labels["omni.sidero.dev/cluster"]}
    assert done == [
        ("create", "NodeForceDestroyRequest", label),
        ("teardown", "Link", None),
        ("delete", "MachineSetNode", None),
        ("wait_gone", "ClusterMachine", None),
    ]


def test_how_a_machine_connects(omni):
    machine = omni.list("machines")[0].id
    for enabled in (True, False):
        omni.machines.set_grpc_tunnel(machine, enabled)
        assert omni.get("grpctunnelconfigs", machine).spec.enabled is enabled
    omni.machines.set_grpc_tunnel(machine, None)
    omni.machines.set_grpc_tunnel(machine, None)
    with pytest.raises(NotFound):
        omni.get("grpctunnelconfigs", machine)


async def test_machines_by_tasks(emulator):
    async with emulator.connect_async() as omni:
        machines = omni.machines
        node = next(one for one in await machines.known(cluster="staging") if "worker" in one.name)
        assert await machines.find(node.name, cluster="staging") == node
        labels = await machines.labels(node.name)
        assert await machines.set_labels(node.name, {"svc-task": "1"}) == {**labels, "svc-task": "1"}
        assert await machines.set_labels(node.name, {"svc-task": None}) == labels
        await machines.lock(node.name)
        await machines.unlock(node.name)
        await machines.lock_cluster("staging")
        await machines.unlock_cluster("staging")
        await machines.set_grpc_tunnel(node.id, enabled=True)
        await machines.set_grpc_tunnel(node.id, None)
        await machines.remove_from_cluster(node.id, timeout=30)
        with pytest.raises(NotFound):
            await omni.get("clustermachines", node.id)

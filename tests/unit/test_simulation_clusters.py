"""Clusters on living machines: upgrades, patches, locks, scale and deletion, with several control planes too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from omniherd.emulator.catalog import add_catalog
from omniherd.emulator.controllers import Controllers
from omniherd.emulator.records import TEARING_DOWN, Event
from omniherd.emulator.simulation import Fleet
from omniherd.emulator.store import Store

O = ".omni.sidero.dev"  # noqa: E741
L = "omni.sidero.dev/"
NTP = "machine:\n  time:\n    servers: [ntp.example.org]\n"


class Lab:
    """A cluster of living machines."""

    def __init__(self, planes: int = 1, workers: int = 2, seed: int = 0, spare: int = 1, **workers_spec: Any) -> None:
        self.store = Store(clock=lambda: 1_700_000_000_000_000_000)
        add_catalog(self.store, "test")
        self.fleet = Fleet(self.store, planes + workers + spare, seed)
        Controllers(self.store, self.fleet)
        self.fleet.step(0)
        ids = self.fleet.machines
        self.planes, self.workers = ids[:planes], ids[planes : planes + workers]
        self.store.put("Clusters" + O, "lab", {"talos_version": "1.13.4", "kubernetes_version": "1.35.5"})
        for suffix, role, machines, spec in (
            ("control-planes", "role-controlplane", self.planes, {}),
            ("workers", "role-worker", self.workers, workers_spec),
        ):
            labels = {L + "cluster": "lab", L + role: ""}
            self.store.put("MachineSets" + O, f"lab-{suffix}", {"update_strategy": "Rolling", **spec}, labels=labels)
            for id_ in machines:
                self.add_node(id_, suffix, role)

    def add_node(self, id_: str, suffix: str, role: str) -> None:
        labels = {L + "cluster": "lab", L + role: "", L + "machine-set": f"lab-{suffix}"}
        self.store.put("MachineSetNodes" + O, id_, labels=labels)

    def up(self) -> Lab:
        self.fleet.step(60)
        assert self.spec("ClusterStatuses").ready
        return self

    def spec(self, kind: str, id_: str = "lab") -> Any:
        namespace = "ephemeral" if kind == "UpgradeRollouts" else "default"
        return self.store.get(namespace, kind + O, id_).decode()

    def there(self, kind: str, id_: str = "lab") -> bool:
        return self.store.find("default", kind + O, id_) is not None

    def want(self, **versions: str) -> None:
        spec = self.spec("Clusters")
        for name, version in versions.items():
            setattr(spec, name, version)
        self.store.modify("default", "Clusters" + O, "lab", spec=spec.SerializeToString())

    def patch(self, data: str, id_: str = "500-x", **labels: str) -> None:
        named = {L + key.replace("_", "-"): value for key, value in labels.items()}
        self.store.put("ConfigPatches" + O, id_, {"data": data}, labels={L + "cluster": "lab", **named})

    def lock(self, id_: str, *, locked: bool = True) -> None:
        self.store.modify("default", "MachineSetNodes" + O, id_, annotations={L + "locked": ""} if locked else {})

    def tear_down(self, kind: str, id_: str = "lab") -> None:
        self.store.modify("default", kind + O, id_, phase=TEARING_DOWN)

    def history(self, kind: str, *fields: str, id_: str = "lab") -> list[tuple[Any, ...]]:
        """Collect what fields of a resource are from now on, without repetition."""
        seen: list[tuple[Any, ...]] = []

        def note(event: Event) -> None:
            found = event.resource
            if found is not None and (found.type, found.id) == (kind + O, id_):
                spec = found.decode()
                values = tuple(getattr(spec, name) for name in fields)
                if not seen or seen[-1] != values:
                    seen.append(values)

        self.store.observe(note)
        return seen


def test_talos_is_upgraded_machine_by_machine_control_planes_first():
    lab = Lab(planes=3, workers=2).up()
    order: list[str] = []

    def note(event: Event) -> None:
        found = event.resource
        if found is not None and found.type == "ClusterMachineStatuses" + O and found.decode().stage == 7:
            order.extend([found.id] if found.id not in order else [])

    lab.store.observe(note)
    phases = lab.history("TalosUpgradeStatuses", "phase")
    lab.want(talos_version="1.13.5")
    lab.fleet.step(1)
    assert lab.spec("ClusterStatuses").talos_version == "1.13.5"
    assert not lab.spec("ClusterStatuses").ready
    lab.fleet.step(60)
    assert order == sorted(lab.planes) + sorted(lab.workers)
    assert phases == [(1,), (2,)]
    status = lab.spec("TalosUpgradeStatuses")
    assert (status.last_upgrade_version, status.step, status.status) == ("1.13.5", "", "")
    assert {lab.spec("MachineStatuses", id_).talos_version for id_ in order} == {"v1.13.5"}
    assert lab.spec("ClusterStatuses").ready


def test_a_stalled_talos_upgrade_waits_and_can_be_taken_back():
    lab = Lab().up()
    lab.fleet.stall_upgrade(lab.planes[0])
    lab.want(talos_version="1.13.5")
    lab.fleet.step(300)
    assert lab.spec("TalosUpgradeStatuses").step == "waiting for the cluster to be ready"
    assert lab.spec("ClusterMachineStatuses", lab.planes[0]).stage == 7
    assert {lab.spec("MachineStatuses", id_).talos_version for id_ in lab.workers} == {"v1.13.4"}
    assert dict(lab.spec("UpgradeRollouts").machine_sets_upgrade_quota) == {}
    lab.fleet.resume_upgrade(lab.planes[0])
    lab.fleet.step(60)
    assert lab.spec("TalosUpgradeStatuses").phase == 2
    assert lab.spec("ClusterStatuses").ready


def test_kubernetes_is_upgraded_one_component_after_the_other():
    lab = Lab(planes=2, workers=1).up()
    steps = lab.history("KubernetesUpgradeStatuses", "step")
    lab.want(kubernetes_version="1.36.0")
    lab.fleet.step(60)
    status = lab.spec("KubernetesUpgradeStatuses")
    assert (status.phase, status.last_upgrade_version, list(status.upgrade_versions)) == (2, "1.36.0", ["1.36.1"])
    told = [step for (step,) in steps if "updating" in step]
    components = [step.split("updating ")[1] for step in told]
    assert components == [
        *["kube-apiserver to 1.36.0"] * 2,
        *["kube-controller-manager to 1.36.0"] * 2,
        *["kube-scheduler to 1.36.0"] * 2,
        *["kubelet to 1.36.0"] * 3,
    ]
    kubelets = [step.partition(":")[0] for step in told[-3:]]
    assert kubelets == sorted(kubelets)
    assert {node.kubelet_version for node in lab.spec("KubernetesStatuses").nodes} == {"1.36.0"}
    assert lab.spec("ImagePullStatuses").processed_count == lab.spec("ImagePullStatuses").total_count == 11
    assert lab.spec("ClusterMachines", lab.workers[0]).kubernetes_version == "1.35.5"


def test_a_locked_machine_holds_up_a_kubernetes_upgrade():
    lab = Lab().up()
    locked = lab.workers[0]
    lab.lock(locked)
    name = lab.spec("ClusterMachineIdentities", locked).nodename
    lab.want(kubernetes_version="1.36.0")
    lab.fleet.step(300)
    status = lab.spec("KubernetesUpgradeStatuses")
    assert (status.phase, status.step) == (1, "updating kubelet to 1.36.0")
    assert status.status == f'waiting for a machine from ["{name}"] to be unlocked'
    lab.lock(locked, locked=False)
    lab.fleet.step(5)
    assert lab.spec("KubernetesUpgradeStatuses").phase == 2


def test_a_patch_waits_at_a_lock_and_its_withdrawal_forgets_it():
    lab = Lab().up()
    locked, free = lab.workers
    lab.lock(locked)
    lab.patch(NTP)
    lab.fleet.step(5)
    assert "ntp.example.org" in lab.spec("RedactedClusterMachineConfigs", free).data
    status = lab.store.get("default", "ClusterMachineStatuses" + O, locked)
    assert L + "locked-update" in status.labels
    assert not status.decode().config_up_to_date
    assert lab.spec("MachineSetStatuses", "lab-workers").locked_updates == 1
    assert lab.spec("ClusterStatuses").ready
    assert "+            - ntp.example.org" in lab.spec("MachinePendingUpdates", locked).config_diff
    lab.tear_down("ConfigPatches", "500-x")
    lab.fleet.step(5)
    assert not lab.there("MachinePendingUpdates", locked)
    assert lab.spec("ClusterMachineStatuses", locked).config_up_to_date
    assert "ntp.example.org" not in lab.spec("RedactedClusterMachineConfigs", free).data


def test_workers_of_a_set_change_one_by_one_unless_more_may():
    for parallelism, most in ((1, 1), (2, 2)):
        config = {"rolling": {"max_parallelism": parallelism}}
        lab = Lab(workers=4, update_strategy_config=config).up()
        busy = []

        def note(event: Event, lab=lab, busy=busy) -> None:
            found = event.resource
            if found is not None and found.type == "ClusterMachines" + O:
                members = [lab.store.get("default", "ClusterMachines" + O, id_) for id_ in lab.workers]
                busy.append(sum("ConfigUpdatePendingFinalizer" in member.finalizers for member in members))

        lab.store.observe(note)
        lab.patch(NTP)
        lab.fleet.step(5)
        assert max(busy) == most
        assert lab.spec("ClusterStatuses").ready


@pytest.mark.parametrize(
    ("labels", "changed"),
    [({}, "pww"), ({"machine_set": "lab-workers"}, "ww"), ({"cluster_machine": "WORKER"}, "w")],
    ids=["cluster", "set", "machine"],
)
def test_a_patch_is_for_its_level(labels, changed):
    lab = Lab().up()
    lab.patch(NTP, **{key: lab.workers[1] if value == "WORKER" else value for key, value in labels.items()})
    lab.fleet.step(5)
    ids = dict.fromkeys(lab.planes, "p") | dict.fromkeys(lab.workers, "w")
    found = [ids[id_] for id_ in ids if "ntp.example.org" in lab.spec("RedactedClusterMachineConfigs", id_).data]
    assert "".join(found) == changed
    diffs = lab.store.list("default", "MachineConfigDiffs" + O)
    assert len(diffs) == len(changed)
    assert "+            - ntp.example.org" in diffs[0].decode().diff


def test_a_machine_that_refuses_its_configuration_says_so():
    lab = Lab().up()
    lab.fleet.reject_config(lab.workers[0], "invalid NTP server")
    lab.patch(NTP)
    lab.fleet.step(30)
    status = lab.spec("ClusterMachineStatuses", lab.workers[0])
    assert (status.config_apply_status, status.last_config_error) == (3, "invalid NTP server")
    assert not lab.spec("ClusterStatuses").ready
    assert lab.there("MachinePendingUpdates", lab.workers[0])
    lab.fleet.accept_config(lab.workers[0])
    lab.fleet.step(5)
    assert lab.spec("ClusterMachineStatuses", lab.workers[0]).config_apply_status == 2
    assert lab.spec("ClusterStatuses").ready


def test_a_refusal_ends_when_the_patch_is_withdrawn():
    lab = Lab().up()
    lab.fleet.reject_config(lab.workers[0], "no")
    lab.patch(NTP)
    lab.fleet.step(5)
    lab.tear_down("ConfigPatches", "500-x")
    lab.fleet.step(5)
    status = lab.spec("ClusterMachineStatuses", lab.workers[0])
    assert (status.config_apply_status, status.last_config_error, status.config_up_to_date) == (2, "", True)
    assert lab.spec("ClusterStatuses").ready


def test_a_set_grows_and_shrinks():
    lab = Lab().up()
    spare = lab.fleet.machines[-1]
    lab.add_node(spare, "workers", "role-worker")
    lab.fleet.step(0)
    assert lab.spec("ClusterStatuses").phase == 1
    lab.fleet.step(60)
    assert lab.spec("ClusterStatuses").machines.healthy == 4
    nodes = {node.nodename for node in lab.spec("KubernetesStatuses").nodes}
    assert lab.spec("ClusterMachineIdentities", spare).nodename in nodes
    lab.tear_down("MachineSetNodes", spare)
    lab.fleet.step(1)
    assert lab.spec("MachineSetStatuses", "lab-workers").phase == 2
    lab.fleet.step(20)
    assert lab.spec("ClusterStatuses").ready
    machine = lab.store.get("default", "MachineStatuses" + O, spare)
    assert L + "available" in machine.labels
    assert machine.decode().maintenance
    assert machine.decode().network.hostname == spare
    assert not lab.there("ClusterMachines", spare)
    assert len(lab.spec("KubernetesStatuses").nodes) == 3


def test_a_cluster_goes_with_all_that_belonged_to_it():
    lab = Lab(planes=3, workers=2)
    before = {
        (resource.type, resource.id)
        for namespace, kind in lab.store.kinds()
        for resource in lab.store.list(namespace, kind)
        if resource.id in {*lab.fleet.machines} or "lab" not in resource.id
    }
    lab.up()
    lab.patch(NTP)
    lab.want(kubernetes_version="1.36.0")
    lab.fleet.step(60)
    lab.tear_down("Clusters")
    lab.fleet.step(60)
    left = {
        (resource.type, resource.id)
        for namespace, kind in lab.store.kinds()
        for resource in lab.store.list(namespace, kind)
    }
    nodes = {("MachineSetNodes" + O, id_) for id_ in (*lab.planes, *lab.workers)}
    assert left == before - nodes
    for id_ in lab.fleet.machines:
        assert L + "available" in lab.store.get("default", "MachineStatuses" + O, id_).labels


def test_a_cluster_cannot_go_while_its_machines_are_away():
    lab = Lab().up()
    lab.fleet.disconnect(lab.workers[0])
    lab.fleet.step(300)
    lab.tear_down("Clusters")
    lab.fleet.step(3600)
    assert lab.spec("ClusterStatuses").phase == 4
    assert lab.spec("ClusterDestroyStatuses").phase == "Destroying: 2 machine sets, 2 machines"
    member = lab.store.get("default", "ClusterMachines" + O, lab.workers[0])
    assert set(member.finalizers) == {
        "ClusterMachineStatusController",
        "ClusterMachineConfigController",
        "ClusterMachineTeardownController",
        "ClusterMachineEncryptionKeyController",
    }
    assert lab.there("MachineSets", "lab-control-planes")
    lab.fleet.reconnect(lab.workers[0])
    lab.fleet.step(60)
    assert not lab.there("Clusters")


def test_a_control_plane_that_is_lost():
    lab = Lab().up()
    lab.fleet.disconnect(lab.planes[0])
    lab.fleet.step(65)
    status = lab.spec("ClusterStatuses")
    assert (status.ready, status.kubernetesAPIReady) == (True, False)
    lab.fleet.step(165)
    status = lab.spec("ClusterStatuses")
    assert (status.ready, status.has_connected_control_planes, status.controlplaneReady) == (False, False, False)
    assert lab.spec("LoadBalancerStatuses").stopped
    assert dict(lab.spec("UpgradeRollouts").machine_sets_upgrade_quota) == {}
    assert "are not ready" in lab.spec("KubernetesUpgradeStatuses").status
    assert not lab.spec("Machines", lab.planes[0]).connected
    assert lab.spec("MachineStatuses", lab.planes[0]).power_state == 1
    lab.fleet.reconnect(lab.planes[0])
    lab.fleet.step(32)
    status = lab.spec("ClusterStatuses")
    assert (status.ready, status.kubernetesAPIReady, status.controlplaneReady) == (True, True, True)


def test_the_same_seed_leads_to_the_same_events():
    def run(seed: int) -> list[str]:
        lab = Lab(seed=seed)
        events: list[str] = []

        def note(event: Event) -> None:
            found = event.resource
            if found is not None:
                events.append(f"{event.kind} {found} {dict(found.labels)} {found.finalizers} {found.spec!r}")

        lab.store.observe(note)
        lab.up()
        lab.patch(NTP)
        lab.want(talos_version="1.13.5")
        lab.fleet.step(60)
        lab.tear_down("Clusters")
        lab.fleet.step(60)
        return events

    first = run(3)
    assert first == run(3)
    assert first != run(4)
    assert len(first) > 500


def test_a_machine_that_is_removed_leaves_its_cluster():
    lab = Lab().up()
    lab.tear_down("Links", lab.workers[0])
    lab.fleet.step(60)
    assert lab.workers[0] not in lab.fleet.machines
    assert not lab.there("ClusterMachines", lab.workers[0])
    assert lab.spec("ClusterStatuses").machines.total == 2


def test_machine_classes_take_all_that_match():
    lab = Lab(planes=1, workers=0, spare=3).up()
    for number, id_ in enumerate(lab.fleet.machines[1:]):
        lab.store.put("MachineLabels" + O, id_, labels={"rank": str(number)})
    lab.store.put("MachineClasses" + O, "high", {"match_labels": ["rank > 0"]})
    allocation = {"name": "high", "allocation_type": "Unlimited"}
    labels = {L + "cluster": "lab", L + "role-worker": ""}
    lab.store.put("MachineSets" + O, "lab-high", {"machine_allocation": allocation}, labels=labels)
    lab.fleet.step(60)
    assert lab.spec("ClusterStatuses").machines.healthy == 3
    found = {node.id for node in lab.store.list("default", "MachineSetNodes" + O)}
    assert found == {lab.planes[0], *lab.fleet.machines[2:]}
    status = lab.spec("MachineSetStatuses", "lab-high")
    assert (status.machines.requested, status.machines.total, status.ready) == (2, 2, True)


def test_a_change_waits_for_a_machine_that_reboots():
    lab = Lab(workers=4)
    lab.fleet.run_until(lambda: lab.there("ClusterMachineConfigStatuses", lab.workers[3]))
    for second in range(20):
        lab.patch(f"machine:\n  sysctls:\n    kernel.panic: '{second}'\n")
        lab.fleet.step(0.5)
    lab.fleet.step(60)
    assert lab.spec("ClusterStatuses").ready
    for id_ in lab.workers:
        assert 'kernel.panic: "19"' in lab.spec("RedactedClusterMachineConfigs", id_).data


def test_machines_and_clusters_are_counted():
    lab = Lab().up()

    def counts() -> tuple[Any, ...]:
        machines = lab.store.get("ephemeral", "MachineStatusMetrics" + O, "metrics").decode()
        clusters = lab.store.get("ephemeral", "ClusterStatusMetrics" + O, "metrics").decode()
        return (
            machines.registered_machines_count,
            machines.connected_machines_count,
            machines.allocated_machines_count,
            clusters.not_ready_count,
            dict(clusters.phases),
        )

    assert counts() == (4, 4, 3, 0, {3: 1})
    lab.fleet.disconnect(lab.workers[0])
    lab.fleet.step(240)
    assert counts() == (4, 3, 3, 1, {3: 1})
    lab.fleet.reconnect(lab.workers[0])
    lab.tear_down("Clusters")
    lab.fleet.step(60)
    assert counts() == (4, 4, 0, 0, {})


def tell_everything() -> None:
    """Print what happens to a cluster from its beginning to its end."""
    lab = Lab(planes=3, workers=4)
    lab.store.observe(
        lambda event: print(
            event.kind, event.resource and (event.resource.type, event.resource.id, event.resource.version)
        )
    )
    lab.up()
    for number in range(8):
        where = "lab-workers" if number % 2 else "lab-control-planes"
        lab.patch(f"machine:\n  sysctls:\n    kernel.panic: '{number}'\n", f"500-{number}", machine_set=where)
    lab.fleet.step(60)
    lab.want(talos_version="1.13.5", kubernetes_version="1.36.0")
    lab.fleet.step(300)
    lab.tear_down("Clusters")
    lab.fleet.step(120)


def test_everything_happens_in_the_same_order_in_each_process():
    code = "import sys; sys.path.insert(0, sys.argv[1]); import test_simulation_clusters as it; it.tell_everything()"
    told = [
        subprocess.run(
            [sys.executable, "-c", code, str(Path(__file__).parent)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
            timeout=120,
            check=True,
        ).stdout.splitlines()
        for seed in ("1", "2")
    ]
    assert len(told[0]) > 500
    assert told[0] == told[1]

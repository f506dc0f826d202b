"""Whatever happens to a living fleet in whatever order: once nothing is wrong any more, all is as it was asked for."""

from __future__ import annotations

import random

import pytest
from test_simulation_clusters import NTP, L, Lab, O


class Chaos:
    """Does one thing after the other to a cluster, by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.lab = Lab(planes=3, workers=3, spare=2, seed=seed)
        self.patches: set[str] = set()
        self.told: list[str] = []

    def act(self) -> None:
        actions = [self.upgrade, self.patch, self.unpatch, self.lock, self.lose, self.stall, self.refuse]
        action = self.chance.choice([*actions, self.add, self.remove, self.restart])
        action()
        seconds = self.chance.choice([0, 0.01, 0.05, 0.3, 2, 10, 40, 250])
        self.told.append(f"{action.__name__}, {seconds} s")
        self.lab.fleet.step(seconds)

    def machine(self) -> str:
        return self.chance.choice(self.lab.fleet.machines)

    def upgrade(self) -> None:
        self.lab.want(talos_version=self.chance.choice(["1.13.4", "1.13.5"]))
        if self.chance.random() < 0.5:
            self.lab.want(kubernetes_version="1.36.0")

    def patch(self) -> None:
        id_ = f"500-{self.chance.randrange(3)}"
        level = self.chance.choice([{}, {"machine_set": "lab-workers"}, {"cluster_machine": self.machine()}])
        self.lab.patch(NTP.replace("ntp", f"ntp-{self.chance.randrange(100)}"), id_, **level)

    def unpatch(self) -> None:
        for patch in self.lab.store.list("default", "ConfigPatches" + O):
            if not patch.owner:
                self.lab.tear_down("ConfigPatches", patch.id)
                return

    def lock(self) -> None:
        id_ = self.chance.choice(self.lab.workers)
        if self.lab.there("MachineSetNodes", id_):
            self.lab.lock(id_, locked=self.chance.random() < 0.5)

    def lose(self) -> None:
        if self.chance.random() < 0.5:
            self.lab.fleet.disconnect(self.machine())
        else:
            self.lab.fleet.reconnect(self.machine())

    def stall(self) -> None:
        if self.chance.random() < 0.5:
            self.lab.fleet.stall_upgrade(self.machine())
        else:
            self.lab.fleet.resume_upgrade(self.machine())

    def refuse(self) -> None:
        if self.chance.random() < 0.5:
            self.lab.fleet.reject_config(self.machine(), "no")
        else:
            self.lab.fleet.accept_config(self.machine())

    def add(self) -> None:
        id_ = self.machine()
        if not self.lab.there("MachineSetNodes", id_) and not self.lab.there("ClusterMachines", id_):
            self.lab.add_node(id_, "workers", "role-worker")

    def remove(self) -> None:
        nodes = self.lab.store.list("default", "MachineSetNodes" + O)
        workers = [node.id for node in nodes if L + "role-worker" in node.labels and node.phase == "running"]
        if workers:
            self.lab.tear_down("MachineSetNodes", self.chance.choice(workers))

    def restart(self) -> None:
        self.lab.fleet.recall()
        self.lab.fleet.step(0)

    def heal(self) -> None:
        for id_ in self.lab.fleet.machines:
            self.lab.fleet.reconnect(id_)
            self.lab.fleet.resume_upgrade(id_)
            self.lab.fleet.accept_config(id_)
            if self.lab.there("MachineSetNodes", id_) and id_ not in self.lab.planes:
                self.lab.lock(id_, locked=False)


def what_is_wrong(lab: Lab) -> list[str]:
    wrong: list[str] = []
    cluster, status = lab.spec("Clusters"), lab.spec("ClusterStatuses")
    if not (status.ready and status.kubernetesAPIReady and status.controlplaneReady and status.phase == 3):
        wrong.append(f"cluster {status}")
    nodes = [node.id for node in lab.store.list("default", "MachineSetNodes" + O)]
    members = lab.store.list("default", "ClusterMachines" + O)
    if [member.id for member in members] != nodes:
        wrong.append(f"nodes {nodes}, members {members}")
    wrong += [f"{member} {member.finalizers}" for member in members if len(member.finalizers) != 6]
    wrong += [str(pending) for pending in lab.store.list("default", "MachinePendingUpdates" + O)]
    for kind, version in (
        ("TalosUpgradeStatuses", cluster.talos_version),
        ("KubernetesUpgradeStatuses", cluster.kubernetes_version),
    ):
        upgrade = lab.spec(kind)
        if (upgrade.phase, upgrade.last_upgrade_version, upgrade.step, upgrade.status) != (2, version, "", ""):
            wrong.append(f"{kind} {upgrade}")
    for id_ in nodes:
        member, machine = lab.spec("ClusterMachineStatuses", id_), lab.spec("MachineStatuses", id_)
        if not (member.ready and member.config_up_to_date and member.stage == 4 and not member.last_config_error):
            wrong.append(f"{id_} {member}")
        if (machine.talos_version, machine.connected, machine.last_error) != (f"v{cluster.talos_version}", True, ""):
            wrong.append(f"{id_} {machine.talos_version} {machine.connected} {machine.last_error}")
    kubelets = {node.nodename: node.kubelet_version for node in lab.spec("KubernetesStatuses").nodes}
    names = {lab.spec("ClusterMachineIdentities", id_).nodename for id_ in nodes}
    if kubelets != dict.fromkeys(names, cluster.kubernetes_version):
        wrong.append(f"{kubelets}, not {names}")
    return wrong


@pytest.mark.parametrize("seed", range(12))
def test_all_is_well_in_the_end(seed):
    chaos = Chaos(seed)
    chaos.lab.fleet.step(chaos.chance.choice([0, 1, 4, 60]))
    for _ in range(25):
        chaos.act()
    chaos.heal()
    chaos.lab.fleet.step(400)
    assert what_is_wrong(chaos.lab) == [], "\n".join(chaos.told)
    chaos.lab.tear_down("Clusters")
    chaos.lab.fleet.step(60)
    left = [kind for namespace, kind in chaos.lab.store.kinds() if chaos.lab.store.list(namespace, kind)]
    of_clusters = [kind for kind in left if kind.startswith(("Cluster", "MachineSet", "RedactedCluster"))]
    assert of_clusters == ["ClusterStatusMetrics" + O]
    for id_ in chaos.lab.fleet.machines:
        assert L + "available" in chaos.lab.store.get("default", "MachineStatuses" + O, id_).labels

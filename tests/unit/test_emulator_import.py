"""What the emulated Omni does with a cluster that is taken in from outside: marked, locked, given back."""

import contextlib

import pytest
import yaml

from omniherd.emulator import Emulator
from omniherd.errors import InputError
from omniherd.machineconfig import Secrets, read
from omniherd.resources import (
    Cluster,
    ClusterMachineConfigStatus,
    ClusterMachineIdentity,
    ClusterMachineStatus,
    ClusterStatus,
    DefaultJoinToken,
    FeaturesConfig,
    ImportedClusterSecret,
    KubernetesUpgradeStatus,
    Link,
    MachineSet,
    MachineSetNode,
    MachineStatus,
)
from unit.direct_talos import APPLY, call

L = "omni.sidero.dev/"
LOCKED, IMPORTING, TAINTED = L + "cluster-locked", L + "cluster-import-is-in-progress", L + "tainted-by-importing"
SECRETS_TYPE = "ImportedClusterSecrets.omni.sidero.dev"


@pytest.fixture(params=[False, True], ids=["still", "living"])
def living(request):
    return request.param


@pytest.fixture
def emulator(living):
    with Emulator(seed_fleet=False, machines=int(living), speed=0) as emulator:
        yield emulator


@pytest.fixture
def omni(emulator):
    with emulator.connect() as omni:
        yield omni


@pytest.fixture
def foreign(emulator):
    return emulator.foreign_cluster("outside", control_planes=1, workers=1)


def settle(emulator):
    """Let time pass where machines live."""
    with contextlib.suppress(InputError):
        emulator.fleet.step(60)


def lead_in(foreign, token):
    """Give all machines a configuration that leads to an Omni, as an import does."""
    join = {"apiVersion": "v1alpha1", "kind": "SideroLinkConfig", "apiUrl": f"grpc://127.0.0.1:8090?jointoken={token}"}
    for node in foreign.nodes:
        others = [one for one in read(foreign.configuration(node)) if one.get("kind") != "SideroLinkConfig"]
        call(foreign, APPLY, {"data": yaml.safe_dump_all([*others, join]).encode(), "mode": 1}, node=node)


def take_in(emulator, omni, foreign):
    """Import a cluster, as far as Omni sees it."""
    lead_in(foreign, omni.get(DefaultJoinToken, "default").spec.token_id)
    secrets = Secrets.of(read(foreign.configuration(foreign.nodes[0]))).to_yaml()
    omni.create(ImportedClusterSecret("outside", spec={"data": secrets}))
    spec = {"talos_version": "1.13.5", "kubernetes_version": "1.35.5"}
    omni.create(Cluster("outside", spec=spec, annotations={LOCKED: "", IMPORTING: ""}))
    machines = iter(foreign.machines)
    for suffix, role in (("control-planes", "role-controlplane"), ("workers", "role-worker")):
        labels = {L + "cluster": "outside", L + role: ""}
        omni.create(MachineSet(f"outside-{suffix}", labels=labels))
        labels[L + "machine-set"] = f"outside-{suffix}"
        omni.create(MachineSetNode(next(machines), labels=labels))
    settle(emulator)


def abort(emulator, omni, foreign):
    omni.teardown(Cluster, "outside")
    settle(emulator)
    for machine in foreign.machines:
        omni.teardown(Link, machine)
    settle(emulator)


def test_machines_join_as_they_are(omni, foreign):
    lead_in(foreign, omni.get(DefaultJoinToken, "default").spec.token_id)
    for machine, name in zip(foreign.machines, ["outside-cp-1", "outside-worker-1"], strict=True):
        status = omni.get(MachineStatus, machine)
        assert not status.spec.maintenance
        assert status.spec.network.hostname == name
        assert L + "available" not in status.labels
        assert omni.get(Link, machine).spec.connected


def test_machines_do_not_join_with_a_token_of_others(omni, foreign):
    lead_in(foreign, "of-another-omni")
    assert not [link for link in omni.list(Link) if link.id in foreign.machines]


def test_an_imported_cluster_is_tainted_and_runs(emulator, omni, foreign):
    take_in(emulator, omni, foreign)
    status = omni.get(ClusterStatus, "outside")
    assert TAINTED in status.labels
    assert LOCKED in status.annotations
    assert (status.spec.ready, status.spec.phase, status.spec.machines.healthy) == (True, 3, 2)
    assert emulator.store.find("default", SECRETS_TYPE, "outside") is None
    names = [omni.get(ClusterMachineIdentity, machine).spec.nodename for machine in foreign.machines]
    assert names == ["outside-cp-1", "outside-worker-1"]


def test_nothing_is_configured_before_it_is_unlocked(emulator, omni, foreign, living):
    take_in(emulator, omni, foreign)
    assert omni.list(ClusterMachineConfigStatus) == []
    omni.edit(Cluster, "outside", unlock)
    settle(emulator)
    assert TAINTED in omni.get(ClusterStatus, "outside").labels
    assert LOCKED not in omni.get(ClusterStatus, "outside").annotations
    if living:
        assert sorted(one.id for one in omni.list(ClusterMachineConfigStatus)) == sorted(foreign.machines)
        names = [omni.get(ClusterMachineIdentity, machine).spec.nodename for machine in foreign.machines]
        assert names == ["outside-cp-1", "outside-worker-1"]


@pytest.mark.parametrize("unlocked", [False, True])
def test_an_aborted_import_gives_the_machines_back(emulator, omni, foreign, unlocked):
    take_in(emulator, omni, foreign)
    if unlocked:
        omni.edit(Cluster, "outside", unlock)
        settle(emulator)
        omni.edit(Cluster, "outside", lock)
    abort(emulator, omni, foreign)
    assert omni.list(Cluster) == []
    for cls in (Link, MachineStatus, ClusterMachineStatus):
        assert not [one for one in omni.list(cls) if one.id in foreign.machines], cls
    (version,) = call(foreign, "/machine.MachineService/Version", nodes=",".join(foreign.nodes))
    assert [one.version.tag for one in version.messages] == ["v1.13.5", "v1.13.5"]


def test_it_can_be_imported_again(emulator, omni, foreign):
    take_in(emulator, omni, foreign)
    abort(emulator, omni, foreign)
    take_in(emulator, omni, foreign)
    assert omni.get(ClusterStatus, "outside").spec.ready


def test_an_ordinary_cluster_is_not_tainted(emulator, omni):
    omni.create(Cluster("other", spec={"talos_version": "1.13.5", "kubernetes_version": "1.35.5"}))
    settle(emulator)
    assert TAINTED not in omni.get(ClusterStatus, "other").labels


def unlock(cluster):
    del cluster.annotations[LOCKED], cluster.annotations[IMPORTING]


def lock(cluster):
    cluster.annotations[LOCKED] = ""


@pytest.mark.parametrize("living", [True], indirect=True)
def test_an_unlocked_cluster_lives_like_any_other(emulator, omni, foreign):
    def upgrade(cluster):
        cluster.spec.kubernetes_version = "1.36.0"

    take_in(emulator, omni, foreign)
    omni.edit(Cluster, "outside", upgrade)
    emulator.fleet.step(600)
    assert omni.get(KubernetesUpgradeStatus, "outside").spec.last_upgrade_version == "1.35.5"
    omni.edit(Cluster, "outside", unlock)
    emulator.fleet.step(600)
    assert omni.get(KubernetesUpgradeStatus, "outside").spec.last_upgrade_version == "1.36.0"
    omni.teardown(Cluster, "outside")
    emulator.fleet.step(300)
    assert [omni.get(MachineStatus, machine).spec.maintenance for machine in foreign.machines] == [True, True]


def test_the_factory_is_named_while_it_is_there(tmp_path):
    with Emulator(data=tmp_path / "omni.db") as emulator, emulator.connect() as omni:
        before = omni.get(FeaturesConfig, "features-config").spec.image_factory_base_url
        foreign = emulator.foreign_cluster()
        assert omni.get(FeaturesConfig, "features-config").spec.image_factory_base_url == foreign.factory_url
    with Emulator(data=tmp_path / "omni.db") as emulator, emulator.connect() as omni:
        assert omni.get(FeaturesConfig, "features-config").spec.image_factory_base_url == before


def test_a_state_that_comes_back_knows_what_was_taken_in(emulator, omni, foreign):
    empty = emulator.snapshot()
    take_in(emulator, omni, foreign)
    imported = emulator.snapshot()
    abort(emulator, omni, foreign)
    emulator.restore(imported)
    settle(emulator)
    assert omni.get(ClusterStatus, "outside").spec.ready
    assert omni.list(ClusterMachineConfigStatus) == []
    abort(emulator, omni, foreign)
    assert omni.list(Cluster) == []
    emulator.restore(empty)
    settle(emulator)
    assert not [link for link in omni.list(Link) if link.id in foreign.machines]


def test_a_file_knows_what_was_taken_in(tmp_path, living):
    options = {"seed_fleet": False, "machines": int(living), "speed": 0, "data": tmp_path / "omni.db"}
    with Emulator(**options) as emulator, emulator.connect() as omni:
        foreign = emulator.foreign_cluster()
        take_in(emulator, omni, foreign)
    with Emulator(**options) as emulator, emulator.connect() as omni:
        settle(emulator)
        assert omni.get(ClusterStatus, "outside").spec.ready
        omni.edit(Cluster, "outside", unlock)
        settle(emulator)
        configured = sorted(one.id for one in omni.list(ClusterMachineConfigStatus))
        assert configured == (sorted(foreign.machines) if living else [])

"""Talos of the emulated machines, as this client sees it."""

import base64
import json
import time

import pytest

from omniherd import Omni
from omniherd.emulator import Emulator
from omniherd.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InputError,
    OmniError,
    PermissionDenied,
    Unavailable,
    UnknownError,
)
from omniherd.resources import MachineStatus
from omniherd.wire import machine


class Clock:
    """The machine's clock, moved ahead by hand; signatures bear five minutes."""

    def __init__(self):
        self.ahead = 0

    def __call__(self):
        return time.time_ns() + self.ahead


@pytest.fixture(scope="module")
def omni(emulator):
    with emulator.connect() as client:
        yield client


def as_role(emulator, role):
    name = f"talos-{role.lower()}"
    return Omni.connect(emulator.endpoint, service_account_key=emulator.add_service_account(name, role))


def test_machines_say_what_their_statuses_say(omni):
    """Cores, memory and disks are those that Omni knows of."""
    status = omni.get(MachineStatus, omni.machines.find("fra-worker-1").id).spec
    (memory,) = omni.talos("prod", nodes="fra-worker-1").memory()
    assert memory.message.meminfo.memtotal == sum(one.size_mb for one in status.hardware.memory_modules) * 1024
    (cpus,) = omni.talos("prod", nodes="fra-worker-1").call("CPUInfo")
    assert len(cpus.message.cpu_info) == sum(one.thread_count for one in status.hardware.processors)
    (disks,) = omni.talos("prod", nodes="fra-worker-1").disks()
    assert [one.device_name for one in disks.message.disks] == ["/dev/nvme0n1"]
    mounts = omni.talos("prod", nodes="fra-worker-1").mounts()[0].message.stats
    assert {one.mounted_on for one in mounts} >= {"/", "/var"}


UNARY = [
    "CPUFreqStats",
    "CPUInfo",
    "Containers",
    "DiskStats",
    "EtcdAlarmList",
    "EtcdMemberList",
    "EtcdStatus",
    "Hostname",
    "LoadAvg",
    "LogsContainers",
    "Memory",
    "Mounts",
    "Netstat",
    "NetworkDeviceStats",
    "Processes",
    "ServiceList",
    "Stats",
    "SystemStat",
    "Version",
    "storage.StorageService/Disks",
    "time.TimeService/Time",
]


@pytest.mark.parametrize("method", UNARY)
def test_each_method_answers_for_one_machine_and_for_several(omni, method):
    nodes = ["fra-cp-1", "fra-cp-2"]
    (one,) = omni.talos("prod", nodes=nodes[0]).call(method)
    assert not one.message.HasField("metadata")
    several = omni.talos("prod", nodes=nodes).call(method)
    assert [(reply.node, reply.error) for reply in several] == [(name, None) for name in nodes]


def test_the_etcd_of_a_cluster_has_its_control_planes(omni):
    (reply,) = omni.talos("prod", nodes="fra-cp-2").etcd_members()
    assert [one.hostname for one in reply.message.members] == ["fra-cp-1", "fra-cp-2", "fra-cp-3"]
    leaders = {
        reply.message.member_status.leader for reply in omni.talos("prod", nodes=["fra-cp-1", "fra-cp-2"]).etcd_status()
    }
    assert leaders <= {one.id for one in reply.message.members}
    assert len(leaders) == 1


def test_a_machine_that_is_away_cannot_be_reached(omni):
    with pytest.raises(Unavailable, match="i/o timeout"):
        omni.talos("edge-lab", nodes="lab-worker-1").call("Version")
    here, away = omni.talos("edge-lab", nodes=["lab-cp-1", "lab-worker-1"]).version()
    assert here.error is None
    assert isinstance(away.error, Unavailable)


@pytest.mark.parametrize("method", ["Reset", "Upgrade", "ApplyConfiguration", "Rollback", "Bootstrap"])
def test_what_omni_lets_nobody_do_is_refused_and_does_nothing(omni, method):
    with pytest.raises(PermissionDenied, match="not authorized"):
        omni.talos("prod", nodes="fra-cp-1").call(method)
    assert omni.talos("prod", nodes="fra-cp-1").version()[0].error is None


def test_readers_only_read(emulator):
    with as_role(emulator, "Reader") as reader:
        assert reader.talos("prod", nodes="fra-cp-1").version()[0].message.version.tag == "v1.13.4"
        for refused in ("Reboot", "ServiceRestart"):
            with pytest.raises(PermissionDenied, match="not authorized"):
                reader.talos("prod", nodes="fra-cp-1").call(refused)
        with pytest.raises(PermissionDenied, match="not authorized"):
            reader.talos("prod", nodes="fra-cp-1").read_file("/etc/os-release")
        with pytest.raises(PermissionDenied, match="permission denied"):
            reader.talos(nodes="spare-1").version()


def test_a_policy_opens_one_cluster(emulator, omni):
    from omniherd.resources import AccessPolicy

    key = emulator.add_service_account("policed", "None")
    policy = AccessPolicy("access-policy")
    rule = policy.spec.rules.add(role="Reader")
    rule.users.append("policed@serviceaccount.omni.sidero.dev")
    rule.clusters.append("staging")
    omni.create(policy)
    try:
        with Omni.connect(emulator.endpoint, service_account_key=key) as guest:
            assert guest.talos("staging").version()[0].error is None
            with pytest.raises(PermissionDenied, match="insufficient role"):
                guest.talos("prod").version()
    finally:
        omni.delete(AccessPolicy, "access-policy")


def test_files(omni):
    talos = omni.talos("prod", nodes="fra-cp-1")
    assert b"VERSION_ID=v1.13.4" in talos.read_file("/etc/os-release")
    names = [reply.message.relative_name for reply in talos.list_files("/etc")]
    assert names == [".", "hostname", "hosts", "os-release", "resolv.conf"]
    with pytest.raises(UnknownError, match="no such file"):
        talos.read_file("/nope")


def test_a_reboot_takes_two_seconds():
    clock = Clock()
    with Emulator(clock=clock) as emulator, emulator.connect() as omni:
        talos = omni.talos("prod", nodes="fra-cp-1")
        clock.ahead += 100 * 10**9
        before = talos.system_stat()[0].message.boot_time
        talos.reboot()
        with pytest.raises(Unavailable, match="connection refused"):
            talos.call("Version")  # which does not try again, as `version` does
        # The others answer for the cluster meanwhile.
        assert omni.talos("prod").version()[0].error is None
        clock.ahead += 3 * 10**9
        assert talos.system_stat()[0].message.boot_time > before
        last = list(omni.management.machine_logs(omni.machines.find("fra-cp-1").id, tail_lines=1))[-1]
        assert "reboot" in json.loads(last)["msg"]


def test_a_service_restarts(emulator, omni):
    talos = omni.talos("prod", nodes="fra-worker-1")
    before = {one.id: one.health.last_change.ToNanoseconds() for one in talos.services()[0].message.services}
    talos.service_restart("kubelet")
    after = {one.id: one.health.last_change.ToNanoseconds() for one in talos.services()[0].message.services}
    assert after["kubelet"] > before["kubelet"]
    assert after["apid"] == before["apid"]
    with pytest.raises(UnknownError, match="doesn't support restart"):
        talos.service_restart("apid")
    with pytest.raises(UnknownError, match="not registered"):
        talos.service_restart("nope")


def test_a_followed_log_brings_what_is_written(emulator, omni):
    id_ = omni.machines.find("ams-cp-1").id
    following = omni.talos("staging", nodes="ams-cp-1").stream(
        "Dmesg", machine.DmesgRequest(follow=True, tail=True), timeout=20
    )
    logs = omni.management.machine_logs(id_, follow=True, tail_lines=1, timeout=20)
    assert json.loads(next(logs))["msg"].startswith("setting hostname")
    with following, logs:
        # The stream of the machine tells nothing until there is news; a call after it shows that it is open.
        emulator.log(id_, "first\nsecond")
        assert [json.loads(next(logs))["msg"] for _ in range(2)] == ["first\n", "second\n"]
    with pytest.raises(InputError, match="no machine"):
        emulator.log("nope", "x")


def test_events_tell_of_past_and_new(omni):
    talos = omni.talos("staging", nodes="ams-worker-1")
    with talos.events(tail_events=-1, timeout=20) as events:
        first = next(events).message
        assert first.data.type_url == "talos/runtime/machine.MachineStatusEvent"
        talos.service_restart("kubelet")
        kinds = [next(events).message.data.type_url.rpartition(".")[2] for _ in range(2)]
        assert kinds == ["ServiceStateEvent", "ServiceStateEvent"]


def test_resources_of_talos_follow_those_of_omni(emulator, omni):
    talos = omni.talos("staging", nodes="ams-cp-1")
    members = talos.list("Members.cluster.talos.dev", namespace="cluster")
    assert [(one.id, one.spec["machineType"]) for one in members] == [
        ("ams-cp-1", "controlplane"),
        ("ams-worker-1", "worker"),
    ]
    with talos.watch("Members.cluster.talos.dev", namespace="cluster", timeout=20) as changes:
        kinds = [next(changes).kind for _ in range(3)]
        assert kinds == ["created", "created", "bootstrapped"]
        worker = omni.machines.find("ams-worker-1").id
        status = omni.get(MachineStatus, worker).spec
        status.talos_version = "v1.13.4"
        emulator.store.modify(
            "default", MachineStatus.type_name, worker, spec=status.SerializeToString(deterministic=True)
        )
        change = next(changes)
    assert change.kind == "updated"
    assert change.resource.spec["operatingSystem"] == "Talos (v1.13.4)"
    with pytest.raises(PermissionDenied, match="not authorized"):
        talos.list("MachineConfigs.config.talos.dev", namespace="config")


@pytest.fixture
def spare():
    with Emulator() as emulator, emulator.connect() as omni:
        yield omni, omni.machines.find("spare-1").id


def test_talos_is_installed_and_upgraded_in_maintenance(spare):
    omni, id_ = spare
    with pytest.raises(FailedPrecondition, match="not installed on this machine; use OPERATION_INSTALL"):
        list(omni.management.maintenance_lifecycle(id_, "upgrade", version="1.13.4"))
    lines = list(omni.management.maintenance_lifecycle(id_, "install", disk="/dev/nvme0n1", version="1.13.4"))
    assert lines[0].startswith("[omni] pulling installer image 127.0.0.1:9999/metal-installer/")
    assert lines[0].endswith(":v1.13.4")
    assert "@sha256:" in lines[1]
    assert lines[-1] == "[omni] rebooting machine to boot into installed Talos"
    assert omni.get(MachineStatus, id_).spec.talos_version == "v1.13.4"
    with pytest.raises(FailedPrecondition, match="already installed"):
        list(omni.management.maintenance_lifecycle(id_, "install", disk="/dev/nvme0n1"))


def test_an_upgraded_machine_is_away_for_a_while(spare):
    omni, id_ = spare
    omni.management.maintenance_upgrade(id_, "1.13.4")
    assert omni.get(MachineStatus, id_).labels["omni.sidero.dev/talos-version"] == "v1.13.4"
    with pytest.raises(Unavailable, match="connection refused"):
        omni.talos(nodes=id_).call("Version")
    with pytest.raises(FailedPrecondition, match="not a supported target from the version running in memory"):
        omni.management.maintenance_upgrade(id_, "1.13.4")


def test_a_token_is_forgotten_once(spare):
    omni, id_ = spare
    omni.management.reset_node_unique_token(id_)
    with pytest.raises(UnknownError, match="NodeUniqueTokens"):
        omni.management.reset_node_unique_token(id_)


@pytest.mark.parametrize("by_talos", [False, True])
def test_a_machine_that_is_shut_down_waits_for_its_button(by_talos):
    with Emulator() as emulator, emulator.connect() as omni:
        id_ = omni.machines.find("ams-worker-1").id
        talos = omni.talos("staging", nodes=id_)
        if by_talos:
            talos.call("Shutdown")
        else:
            omni.management.power_off(id_)
        with pytest.raises(Unavailable, match="i/o timeout"):
            talos.call("Version")
        with pytest.raises(Unavailable, match="failed to shutdown machine"):
            omni.management.power_off(id_)
        with pytest.raises(FailedPrecondition, match="power on the machine manually"):
            omni.management.power_on(id_)
        emulator.power_on(id_)
        assert talos.version()[0].error is None
        with pytest.raises(InputError, match="no machine"):
            emulator.power_on("nope")


def test_a_static_provider_is_told_to_switch():
    label = {"omni.sidero.dev/infra-provider-id": "metal"}
    with Emulator() as emulator, emulator.connect() as omni:
        id_, store = omni.machines.find("spare-1").id, emulator.store
        store.modify("default", "Links.omni.sidero.dev", id_, labels=label)
        with pytest.raises(FailedPrecondition, match="failed to get infra provider status"):
            omni.management.power_on(id_)
        static = {"omni.sidero.dev/is-static-infra-provider": ""}
        store.put("InfraProviderStatuses.omni.sidero.dev", "metal", {"name": "metal"}, labels=static)
        with pytest.raises(FailedPrecondition, match="infra machine config not found"):
            omni.management.power_off(id_)
        config = "InfraMachineConfigs.omni.sidero.dev"
        store.put(config, id_, {})
        with pytest.raises(UnknownError, match="not accepted yet, cannot set"):
            omni.management.power_off(id_)
        store.put(config, id_, {"acceptance_status": "ACCEPTED"})
        omni.management.power_off(id_)
        assert store.get("default", config, id_).decode().power_off_request_id
        omni.management.power_on(id_)
        assert not store.get("default", config, id_).decode().power_off_request_id


def test_living_machines_answer_as_their_life_is():
    with Emulator(machines=1, speed=0) as emulator, emulator.connect() as omni:
        emulator.fleet.step(5)
        (id_,) = emulator.fleet.machines
        assert omni.talos(nodes=id_).call("Version")[0].error is None
        emulator.fleet.disconnect(id_)
        with pytest.raises(Unavailable, match="i/o timeout"):
            omni.talos(nodes=id_).call("Version")
        assert omni.get(MachineStatus, id_).spec.connected
        emulator.fleet.reconnect(id_)
        assert omni.talos(nodes=id_).call("Version")[0].error is None
        omni.management.power_off(id_)
        emulator.fleet.step(300)
        assert not omni.get(MachineStatus, id_).spec.connected
        emulator.power_on(id_)
        emulator.fleet.step(60)
        assert omni.talos(nodes=id_).call("Version")[0].error is None


def test_garbage_is_refused_with_a_reason(emulator):
    """No method of Talos, known or not, whatever it is sent, is an accident."""
    import random

    import grpc

    from omniherd._core.talos import PACKAGES
    from omniherd.signing import PGPKey, sign_headers
    from omniherd.wire.calls import CALLS

    chance = random.Random(7)
    signer = PGPKey.from_armored(json.loads(base64.b64decode(emulator.service_account_key))["pgp_key"])
    own = [path for path in CALLS if path[1:].startswith(PACKAGES)]
    paths = [
        *own,
        "/cosi.resource.State/List",
        "/machine.MachineService/Nope",
        "/nope.Nope/Nope",
        "/cosi.resource.State/x",
    ]
    targets = [
        [("node", "ams-cp-1")],
        [("nodes", "ams-cp-1,ams-worker-1")],
        [("cluster", "staging")],
        [("node", "spare-2")],
        [("nodes", "x" * 4000)],
        [("cluster", "staging"), ("node", "fra-cp-1")],
    ]
    accidents, seen = [], set()
    with grpc.insecure_channel(emulator.endpoint.removeprefix("http://")) as channel:
        for number in range(600):
            # A reboot takes a machine away, which would keep the rest from being looked at.
            path = paths[number % len(paths)]
            if path.endswith(("/Reboot", "/Shutdown")):
                continue
            sent = [("runtime", "Talos"), *chance.choice(targets)]
            now = int(emulator.store.clock() / 1e9)
            metadata = sent + [one for one in sign_headers(signer, path, sent, now) if one not in sent]
            stream = channel.unary_stream(path, request_serializer=bytes, response_deserializer=bytes)(
                chance.randbytes(chance.choice((0, 1, 5, 60))), metadata=metadata, timeout=0.1
            )
            try:
                list(stream)
                seen.add("OK")
            except grpc.RpcError as error:
                seen.add(error.code().name)
                if "bug of omniherd" in error.details():
                    accidents.append((path, sent, error.details()))
    assert not accidents
    assert seen >= {"OK", "UNIMPLEMENTED", "PERMISSION_DENIED", "NOT_FOUND", "INTERNAL"}


def test_resource_service_reads_the_same(emulator):
    """As JSON, for one machine or several, for those who may read."""
    from omniherd._core.pool import message

    def items(key, *metadata):
        request = message("omni.resources.ListRequest")(namespace="runtime", type="MachineStatuses.runtime.talos.dev")
        with Omni.connect(emulator.endpoint, service_account_key=key) as client:
            sent = [("runtime", "Talos"), ("cluster", "prod"), *metadata]
            data = client.channel.unary(
                "/omni.resources.ResourceService/List", request.SerializeToString(), metadata=sent
            )
        return [json.loads(one) for one in message("omni.resources.ListResponse").FromString(data).items]

    key = emulator.add_service_account("lister", "Reader")
    (one,) = items(key)
    assert (one["spec"]["stage"], "node" in one["metadata"]) == ("running", False)
    both = items(key, ("nodes", "fra-cp-1"), ("nodes", "fra-worker-1"))
    assert [one["metadata"]["node"] for one in both] == ["fra-cp-1", "fra-worker-1"]
    with pytest.raises(PermissionDenied, match="insufficient role"):
        items(emulator.add_service_account("nobody", "None"))


def test_a_restored_state_is_the_machines_too():
    with Emulator() as emulator, emulator.connect() as omni:
        talos = omni.talos("staging", nodes="ams-cp-1")
        snapshot = emulator.snapshot()

        def names():
            return [one.id for one in talos.list("Members.cluster.talos.dev", namespace="cluster")]

        before = names()
        emulator.store.remove(
            "default", "ClusterMachineIdentities.omni.sidero.dev", omni.machines.find("ams-worker-1").id
        )
        assert names() == ["ams-cp-1"]
        emulator.restore(snapshot)
        assert names() == before == ["ams-cp-1", "ams-worker-1"]


def health(omni, cluster, **request):
    """Return what a check tells, and the error that it ends with."""
    from omniherd.wire import cluster as wire

    told = []
    path = "cluster.ClusterService/HealthCheck"
    try:
        replies = omni.talos(cluster).stream(path, wire.HealthCheckRequest(**request), timeout=20)
        told.extend(reply.message.message for reply in replies)
    except OmniError as error:
        return told, error
    return told, None


def test_a_cluster_is_healthy_when_its_machines_are(omni):
    told, error = health(omni, "staging")
    assert error is None
    assert told[0] == 'discovered nodes: control plane: ["192.0.2.6"], worker: ["192.0.2.7"]'
    assert told[1:3] == ["waiting for etcd to be healthy: ...", "waiting for etcd to be healthy: OK"]
    assert told[-1] == "waiting for all k8s nodes to report schedulable: OK"


def test_a_check_waits_for_a_machine_as_long_as_it_may(omni):
    told, error = health(omni, "edge-lab", wait_timeout={"seconds": 0, "nanos": 1})
    assert isinstance(error, DeadlineExceeded)
    assert told[-1].startswith("waiting for apid to be ready: 192.0.2.9: rpc error: code = Unavailable")


def test_nobody_reaches_machines_before_the_licence_is_accepted():
    metadata = [("runtime", "Talos"), ("cluster", "prod")]
    refused = pytest.raises(FailedPrecondition, match="EULA has not been accepted")
    with Emulator(eula_accepted=False) as emulator, emulator.connect() as omni, refused:
        omni.channel.unary("/machine.MachineService/Version", b"", metadata=metadata)

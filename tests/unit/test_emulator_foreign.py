"""A Talos cluster outside Omni: who may call, who answers, what its machines say of themselves, its image factory."""

import json
import urllib.error
import urllib.request

import grpc
import pytest
import yaml

from omniherd.emulator.certificate import Authority
from omniherd.emulator.foreign import ForeignCluster
from omniherd.emulator.foreign.secrets import make_secrets
from omniherd.emulator.services.schematics import schematic_id
from omniherd.errors import InputError
from unit.direct_talos import APPLY, call, pair_of

EXTENSIONS = (
    "customization:\n    systemExtensions:\n        officialExtensions:\n            - siderolabs/iscsi-tools\n"
)


@pytest.fixture(scope="module")
def cluster():
    with ForeignCluster("outside", control_planes=2, workers=1, schematic=EXTENSIONS) as cluster:
        yield cluster


def resources(cluster, kind, namespace, node):
    """Return the specs of a type by id, as their YAML says."""
    found = call(cluster, "/cosi.resource.State/List", {"namespace": namespace, "type": kind}, node=node)
    return {one.resource.metadata.id: yaml.safe_load(one.resource.spec.yaml_spec) for one in found}


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_call_reaches_the_machine_that_it_names(cluster, number):
    (answer,) = call(cluster, "/machine.MachineService/Hostname", node=cluster.nodes[number])
    names = ["outside-cp-1", "outside-cp-2", "outside-worker-1"]
    assert [one.hostname for one in answer.messages] == [names[number]]


def test_several_machines_tell_which_they_are(cluster):
    (answer,) = call(cluster, "/machine.MachineService/Version", nodes=",".join(cluster.nodes))
    assert {one.metadata.hostname: one.version.tag for one in answer.messages} == dict.fromkeys(
        cluster.nodes, "v1.13.5"
    )


def test_without_a_name_the_first_control_plane_answers(cluster):
    (answer,) = call(cluster, "/machine.MachineService/Hostname")
    assert answer.messages[0].hostname == "outside-cp-1"


def test_a_machine_that_is_elsewhere_is_not_reached(cluster):
    with pytest.raises(grpc.RpcError, match="no route to host"):
        call(cluster, "/machine.MachineService/Hostname", node="192.0.2.200")


def test_certificates_of_others_are_refused(cluster):
    authority, *_ = pair_of(cluster.talosconfig)
    with pytest.raises(grpc.RpcError) as caught:
        call(cluster, "/machine.MachineService/Hostname", pair=(authority, *Authority.make("talos").issue()))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(("role", "may_read"), [("os:reader", True), ("nobody", False)])
def test_the_role_stands_in_the_certificate(cluster, role, may_read):
    pair = pair_of(cluster.talosconfig_of(role))
    if may_read:
        assert call(cluster, "/machine.MachineService/Hostname", pair=pair)
    with pytest.raises(grpc.RpcError) as caught:
        call(cluster, APPLY, {"data": b"version: v1alpha1\n"}, pair=pair, node=cluster.nodes[0])
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_members_are_told_by_every_machine(cluster):
    for node in cluster.nodes:
        members = resources(cluster, "Members.cluster.talos.dev", "cluster", node)
        assert [one["addresses"] for one in members.values()] == [[address] for address in cluster.nodes]


def test_images_follow_from_the_configuration(cluster):
    plane, worker = cluster.control_planes[0], cluster.workers[0]
    kubelet = resources(cluster, "KubeletConfigs.kubernetes.talos.dev", "k8s", worker)["kubelet"]
    server = resources(cluster, "APIServerConfigs.kubernetes.talos.dev", "controlplane", plane)["kube-apiserver"]
    assert kubelet["image"] == "ghcr.io/siderolabs/kubelet:v1.35.5"
    assert server["image"] == "registry.k8s.io/kube-apiserver:v1.35.5"
    assert not resources(cluster, "APIServerConfigs.kubernetes.talos.dev", "controlplane", worker)


def test_a_machine_keeps_the_configuration_that_it_is_given():
    with ForeignCluster(workers=0) as cluster:
        node = cluster.nodes[0]
        changed = cluster.configuration(node).replace("kubelet:v1.35.5", "kubelet:v1.35.4")
        call(cluster, APPLY, {"data": changed.encode(), "mode": 1}, node=node)
        assert cluster.configuration(node) == changed
        shown = resources(cluster, "MachineConfigs.config.talos.dev", "config", node)["v1alpha1"]
        assert shown == changed
        assert resources(cluster, "KubeletConfigs.kubernetes.talos.dev", "k8s", node)["kubelet"]["image"].endswith(".4")


def test_a_dry_run_changes_nothing():
    with ForeignCluster(workers=0) as cluster:
        node, before = cluster.nodes[0], cluster.configuration(cluster.nodes[0])
        call(cluster, APPLY, {"data": b"version: v1alpha1\n", "dry_run": True}, node=node)
        assert cluster.configuration(node) == before


@pytest.mark.parametrize("text", [b"a: [", b"text", b"", b"\xff", b"kind: Nope\n", b"machine: []\n", b"[" * 20_000])
def test_what_is_no_configuration_is_refused(cluster, text):
    with pytest.raises(grpc.RpcError) as caught:
        call(cluster, APPLY, {"data": text}, node=cluster.nodes[0])
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_the_factory_gives_a_schematic_the_id_that_machines_tell(cluster):
    request = urllib.request.Request(cluster.factory_url + "/schematics", data=EXTENSIONS.encode(), method="POST")
    with urllib.request.urlopen(request, timeout=20) as answer:
        told = json.load(answer)
    assert told == {"id": schematic_id(EXTENSIONS), "schematic": EXTENSIONS}
    (extension,) = resources(cluster, "ExtensionStatuses.runtime.talos.dev", "runtime", cluster.nodes[0]).values()
    assert (extension["metadata"]["version"], extension["metadata"]["extraInfo"]) == (told["id"], EXTENSIONS)
    with urllib.request.urlopen(f"{cluster.factory_url}/schematics/{told['id']}", timeout=20) as answer:
        assert answer.read().decode() == EXTENSIONS


@pytest.mark.parametrize(
    ("path", "data", "status"), [("/schematics", b"other: 1\n", 400), ("/schematics/x", None, 404)]
)
def test_the_factory_refuses_what_it_does_not_know(cluster, path, data, status):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(cluster.factory_url + path, data=data), timeout=20)
    assert caught.value.code == status
    caught.value.close()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"control_planes": 0}, "at least one control plane"),
        ({"workers": -1}, "at least one control plane"),
        ({"workers": 200}, "no more than 200 machines"),
        ({"first": 0}, "at least one control plane"),
        ({"schematic": "other: 1\n"}, "this is no schematic"),
        ({"talos": "newest"}, "newest"),
        ({"kubernetes": ""}, "Kubernetes version"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(options, text):
    with pytest.raises(InputError, match=text):
        ForeignCluster(**options)


def test_keys_are_not_shown():
    authority = Authority.make("talos")
    assert "PRIVATE" not in repr(authority)
    assert repr(make_secrets(authority)) == "Secrets(...)"


def test_a_machine_that_is_off_does_not_answer():
    with ForeignCluster(workers=1) as cluster:
        worker = cluster.workers[0]
        cluster.power_off(worker)
        with pytest.raises(grpc.RpcError, match=r"dial tcp 192\.0\.251\.2:50000: i/o timeout"):
            call(cluster, "/machine.MachineService/Hostname", node=worker)
        cluster.power_on(worker)
        assert call(cluster, "/machine.MachineService/Hostname", node=worker)


def test_without_discovery_machines_know_nobody():
    with ForeignCluster(discovery=False) as cluster:
        assert resources(cluster, "Members.cluster.talos.dev", "cluster", cluster.nodes[0]) == {}


def test_talos_from_elsewhere_has_no_schematic():
    with ForeignCluster(schematic="", workers=0) as cluster:
        assert resources(cluster, "ExtensionStatuses.runtime.talos.dev", "runtime", cluster.nodes[0]) == {}


@pytest.mark.parametrize(
    ("talos", "kinds"),
    [("1.11.5", {"WatchdogTimerConfig"}), ("1.13.5", {"HostnameConfig", "WatchdogTimerConfig"})],
)
def test_configurations_have_the_form_of_their_version(talos, kinds):
    cluster = ForeignCluster(talos=talos, kubernetes="1.34.3", workers=0)
    first, *others = yaml.safe_load_all(cluster.configuration(cluster.nodes[0]))
    assert {one["kind"] for one in others} == kinds
    names = [first["machine"].get("network", {}).get("hostname"), *(one.get("hostname") for one in others)]
    assert [name for name in names if name] == ["outside-cp-1"]

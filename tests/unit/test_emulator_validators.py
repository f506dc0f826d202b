"""Rules of the emulator that need a state which no call brings about on a server without machines."""

import json
import time
from base64 import b64decode

import grpc
import pytest

from omniherd import Omni
from omniherd.emulator import Emulator
from omniherd.errors import InputError, InvalidArgument, PermissionDenied, Unauthenticated, Unimplemented
from omniherd.resources import Cluster, ConfigPatchRequest, MachineInstallDiskConfig, MachineSet, RotateTalosCA
from omniherd.signing import PGPKey, sign_headers

SUFFIX = ".omni.sidero.dev"


@pytest.fixture
def emulator():
    with Emulator(seed_fleet=False) as running:
        yield running


@pytest.fixture
def omni(emulator):
    with emulator.connect() as client:
        yield client


@pytest.mark.parametrize(
    ("now", "wanted", "fault"),
    [
        ("1.35.5", "1.34.3", None),
        ("1.35.0", "1.33.0", None),
        ("1.35.5", "1.33.0", 'not supported for upgrade to "1.33.0" from "1.35.5"'),
        ("1.35.5", "1.34", 'not supported for upgrade to "1.34" from "1.35.5"'),
        ("1.35.5", "x", 'Invalid character(s) found in major number "x"'),
    ],
)
def test_an_upgrade_that_is_under_way_may_be_ended(emulator, omni, now, wanted, fault):
    omni.create(Cluster("lab", spec={"talos_version": "1.12.8", "kubernetes_version": now}))
    fields = {"last_upgrade_version": "1.34.3", "current_upgrade_version": "1.35.5"}
    emulator.store.put("KubernetesUpgradeStatuses" + SUFFIX, "lab", fields)
    cluster = omni.get(Cluster, "lab")
    cluster.spec.kubernetes_version = wanted
    if fault is None:
        assert omni.update(cluster).spec.kubernetes_version == wanted
        return
    with pytest.raises(InvalidArgument) as refused:
        omni.update(cluster)
    assert fault in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ({}, {"deprecated": True}, 'talos version "1.13.5" is no longer supported'),
        ({"deprecated": True}, {"deprecated": True}, None),
        ({}, {"unsupported": True}, 'talos version "1.13.5" is not supported by this Omni release'),
    ],
)
def test_old_and_future_talos_versions_are_refused(emulator, omni, old, new, fault):
    omni.create(Cluster("lab", spec={"talos_version": "1.13.4", "kubernetes_version": "1.35.5"}))
    for version, fields in (("1.13.4", old), ("1.13.5", new)):
        spec = emulator.store.find("default", "TalosVersions" + SUFFIX, version).decode()
        for name, value in fields.items():
            setattr(spec, name, value)
        emulator.store.put("TalosVersions" + SUFFIX, version, spec.SerializeToString())
    cluster = omni.get(Cluster, "lab")
    cluster.spec.talos_version = "1.13.5"
    if fault is None:
        assert omni.update(cluster).spec.talos_version == "1.13.5"
        return
    with pytest.raises(InvalidArgument) as refused:
        omni.update(cluster)
    assert fault in str(refused.value)


def test_a_running_rotation_stays_as_it_is(emulator, omni):
    rotation = omni.create(RotateTalosCA("lab"))
    emulator.store.put("ClusterSecretsRotationStatuses" + SUFFIX, "lab", {"phase": "PRE_ROTATE"})
    rotation.metadata.labels["a"] = "b"
    with pytest.raises(InvalidArgument) as refused:
        omni.update(rotation)
    kind = 'RotateTalosCAs.omni.sidero.dev "lab"'
    assert f"cannot modify the {kind} while a secret rotation is in progress" in str(refused.value)
    with pytest.raises(InvalidArgument) as refused:
        omni.destroy(RotateTalosCA, "lab")
    assert f"cannot delete the {kind} while a secret rotation is in progress" in str(refused.value)


def test_a_set_may_turn_to_a_class_that_is_not_there(omni):
    omni.create(Cluster("lab", spec={"talos_version": "1.13.4", "kubernetes_version": "1.35.5"}))
    labels = {"omni.sidero.dev/cluster": "lab", "omni.sidero.dev/role-worker": ""}
    omni.create(MachineSet("lab-workers", labels=labels))
    workers = omni.get(MachineSet, "lab-workers")
    workers.spec.machine_allocation.name = "absent"
    omni.update(workers)
    workers = omni.get(MachineSet, "lab-workers")
    workers.spec.machine_allocation.name = "gone"
    with pytest.raises(InvalidArgument, match='"gone" doesn\'t exist'):
        omni.update(workers)


def test_a_provider_goes_with_its_service_account(emulator, omni):
    key = omni.management.create_infra_provider("metal").encode()
    with Omni.connect(emulator.endpoint, service_account_key=key) as provider:
        provider.list("machinerequests")
        omni.delete("infraproviders", "metal")
        with pytest.raises(Unauthenticated):
            provider.list("machinerequests")


def test_what_came_after_the_emulated_version_is_not_there(omni):
    with pytest.raises(PermissionDenied, match="no access is permitted"):
        omni.create(MachineInstallDiskConfig("m", spec={"disk": "/dev/vda"}))
    with pytest.raises(Unimplemented, match="unknown method GetBootAssetURL for service management"):
        omni.management.boot_asset_url("abc", "1.13.5", kind="iso")


def test_a_newer_server_has_it():
    with Emulator(seed_fleet=False, version="1.10") as emulator, emulator.connect() as omni:
        omni.create(MachineInstallDiskConfig("m", spec={"disk": "/dev/vda"}))
        assert omni.get(MachineInstallDiskConfig, "m").spec.disk == "/dev/vda"
        assert omni.management.boot_asset_url("abc", "1.13.5", kind="iso").url.endswith("-amd64.iso")


def test_there_are_two_versions():
    with pytest.raises(InputError, match="no version"):
        Emulator(version="1.8")


def test_a_patch_of_a_provider_needs_no_packed_data(emulator, omni):
    key = omni.management.create_infra_provider("metal").encode()
    with Omni.connect(emulator.endpoint, service_account_key=key) as provider:
        assert provider.create(ConfigPatchRequest("p", spec={"data": "machine: {}\n"})).spec.data


@pytest.mark.parametrize(
    "method", ["management.ManagementService/MachinePowerOff", "auth.AuthService/RegisterPublicKey"]
)
def test_a_wrong_signature_is_told_before_what_is_wrong_with_the_request(emulator, method):
    key = PGPKey.from_armored(json.loads(b64decode(emulator.service_account_key))["pgp_key"])
    # What was signed is not what is sent.
    metadata = sign_headers(key, f"/{method}", [("runtime", "Omni")], int(time.time()))
    with grpc.insecure_channel(emulator.endpoint.removeprefix("http://")) as channel:
        call = channel.unary_unary(f"/{method}", request_serializer=bytes, response_deserializer=bytes)
        with pytest.raises(grpc.RpcError) as refused:
            call(b"", metadata=metadata, timeout=5)
    assert (refused.value.code().name, refused.value.details()) == ("UNAUTHENTICATED", "invalid signature")

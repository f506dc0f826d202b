"""Requests of management that no recording has: every option arrives where it belongs, what is wrong is never sent."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from recorded_server import steps

from omniherd.errors import FailedPrecondition, InputError, Unavailable, Unimplemented
from omniherd.wire import management as wire

MACHINE = "10011802-c798-4da7-a410-f09abb48c8d8"
FREE = "10051802-c798-4da7-a410-f09abb48c8d8"
AUDIT = steps("management-audit-log")


@pytest.fixture
def server(recorded):
    return recorded


def step(method, request, *responses, code="OK", text="", metadata=()):
    return {
        "name": method,
        "rpc": f"/management.ManagementService/{method}",
        "request": request,
        "responses": list(responses),
        "metadata": [list(pair) for pair in metadata],
        "status": {"code": code, "message": text},
    }


def test_manifests_are_synced_step_by_step(server, omni):
    server.play(
        step(
            "KubernetesSyncManifests",
            {
                "ssa": {
                    "inventory_policy": "ADOPT_ALL",
                    "force_conflicts": True,
                    "no_prune": True,
                    "reconcile_timeout": "90.500s",
                }
            },
            {"response_type": "MANIFEST", "path": "v1/ConfigMap/a", "object": "e30=", "diff": "+a"},
            {"response_type": "ROLLOUT", "path": "apps/v1/Deployment/b", "skipped": True},
            metadata=[("cluster", "lab")],
        )
    )
    done = list(
        omni.management.sync_manifests(
            "lab",
            dry_run=False,
            inventory_policy="adopt-all",
            force_conflicts=True,
            prune=False,
            reconcile_timeout=90.5,
        )
    )
    assert [(one.kind, one.path, one.object, one.diff, one.skipped) for one in done] == [
        ("manifest", "v1/ConfigMap/a", b"{}", "+a", False),
        ("rollout", "apps/v1/Deployment/b", b"", "", True),
    ]


def test_everything_a_schematic_may_hold(server, omni):
    server.play(
        step(
            "CreateSchematic",
            {
                "talos_version": "1.13.5",
                "extensions": ["siderolabs/gvisor"],
                "extra_kernel_args": ["console=ttyS0"],
                "meta_values": {"12": "machineLabels:\n    site: fra\n", "10": "x"},
                "siderolink_grpc_tunnel_mode": "ENABLED",
                "overlay": {"image": "i", "name": "rpi", "options": "a: 1"},
                "bootloader": "BOOT_GRUB",
                "embedded_machine_config": "machine: {}",
                "image_factory_url": "https://factory.example.com",
            },
            {"schematic_id": "ab", "pxe_url": "https://pxe", "grpc_tunnel_enabled": True, "schematic_yml": "y"},
        )
    )
    made = omni.management.create_schematic(
        talos_version="1.13.5",
        extensions="siderolabs/gvisor",
        extra_kernel_args=["console=ttyS0"],
        labels={"site": "fra"},
        meta_values={10: "x"},
        grpc_tunnel="enabled",
        overlay=("i", "rpi", "a: 1"),
        bootloader="grub",
        embedded_machine_config="machine: {}",
        image_factory_url="https://factory.example.com",
    )
    assert made == ("ab", "https://pxe", True, "y")


def test_where_images_are(server, omni):
    server.play(
        step(
            "GetBootAssetURL",
            {
                "schematic_id": "ab",
                "talos_version": "1.13.5",
                "boot_asset_kind": "BOOT_ASSET_KIND_DISK",
                "platform": "metal",
                "architecture": "arm64",
                "format": "qcow2",
                "secure_boot": True,
            },
            {"url": "https://f/a", "headers": {"authorization": "hidden"}, "image_factory_host": "f"},
        )
    )
    asset = omni.management.boot_asset_url(
        "ab", "1.13.5", kind="disk", architecture="arm64", format="qcow2", secure_boot=True
    )
    assert asset == ("https://f/a", {"authorization": "hidden"}, "f", "")
    assert "hidden" not in repr(asset)
    server.play(step("GetBootAssetURL", {**asset_request(), "boot_asset_kind": 2}, code="UNIMPLEMENTED", text="no"))
    with pytest.raises(Unimplemented):
        omni.management.boot_asset_url("ab", "1.13.5", kind="iso")


def asset_request():
    return {"schematic_id": "ab", "talos_version": "1.13.5", "platform": "metal", "architecture": "amd64"}


def test_power_and_tokens_of_machines(server, omni):
    server.play(
        step("MachinePowerOff", {"machine_id": MACHINE}, {}),
        step(
            "MachinePowerOn",
            {"machine_id": MACHINE},
            code="FAILED_PRECONDITION",
            text="machine is not managed by a static infra provider, power on the machine manually",
        ),
        step("ResetNodeUniqueToken", {"id": MACHINE}, {}),
        step(
            "MaintenanceLifecycle",
            {"machine_id": FREE, "operation": "OPERATION_INSTALL", "version": "1.13.5", "disk": "/dev/sda"},
            {"message": "[omni] pulling"},
            {"message": "[talos] done"},
        ),
    )
    omni.management.power_off(MACHINE)
    with pytest.raises(FailedPrecondition, match="manually"):
        omni.management.power_on(MACHINE)
    omni.management.reset_node_unique_token(MACHINE)
    said = list(omni.management.maintenance_lifecycle(FREE, "install", version="1.13.5", disk="/dev/sda"))
    assert said == ["[omni] pulling", "[talos] done"]


def test_what_older_servers_do_not_filter_is_filtered_here(server, omni):
    events = AUDIT["resource filter: ConfigPatches cap-p-1"]["responses"]
    times = [json.loads(wire.ReadAuditLogResponse(audit_log=decoded(one)).audit_log)["event_ts"] for one in events]
    since = datetime.fromtimestamp((max(times) - 1) / 1000, UTC)
    server.play(step("ReadAuditLog", {"start_ts_ms": max(times) - 1, "from_id": 7, "follow": True}, *events))
    newer = list(omni.management.audit_log(since=since, after_id=7, follow=True))
    assert [event["event_ts"] for event in newer] == [one for one in times if one >= max(times) - 1]
    assert 0 < len(newer) < len(times)


def decoded(response):
    return base64.b64decode(response["audit_log"])


def test_order_of_the_audit_log(server, omni):
    server.play(
        step(
            "ReadAuditLog",
            {"order_by_field": "AUDIT_LOG_ORDER_BY_FIELD_RESOURCE_ID", "order_by_dir": "AUDIT_LOG_ORDER_BY_DIR_DESC"},
        )
    )
    assert list(omni.management.audit_log(order_by="resource_id", descending=True)) == []


def test_an_account_needs_a_role(omni):
    with pytest.raises(InputError, match="role"):
        omni.management.create_service_account("ci")


def test_services_tell_whose_they_are(omni):
    assert repr(omni.management).startswith("<Management of <Omni http://")
    assert repr(omni.machines).startswith("<Machines of <Omni http://")


READS = [
    lambda m: m.omniconfig(),
    lambda m: m.kubeconfig("lab"),
    lambda m: m.talosconfig("lab"),
    lambda m: m.kubernetes_upgrade_pre_checks("lab", "1.36.0"),
    lambda m: m.validate_config("machine: {}"),
    lambda m: m.validate_json_schema("a: 1", "{}"),
    lambda m: m.list_users(),
    lambda m: m.list_service_accounts(),
    lambda m: m.machine_join_config(),
    lambda m: m.boot_asset_url("ab", "1.13.5", kind="iso"),
]
WRITES = [
    lambda m: m.create_user("a@example.com", "Reader"),
    lambda m: m.update_user("a@example.com", "Reader"),
    lambda m: m.destroy_user("a@example.com"),
    lambda m: m.destroy_service_account("ci"),
    lambda m: m.create_join_token("a"),
    lambda m: m.create_schematic(talos_version="1.13.5"),
    lambda m: m.power_off(MACHINE),
    lambda m: m.maintenance_upgrade(MACHINE, "1.13.5"),
    lambda m: m.reset_node_unique_token(MACHINE),
]


@pytest.mark.parametrize(("calls", "safe"), [(READS, True), (WRITES, False)], ids=["reads", "writes"])
def test_only_reads_are_repeated(omni, monkeypatch, calls, safe):
    told = []

    def unary(path, request, *, safe=False, **options):
        told.append((path.rpartition("/")[2], safe))
        raise Unavailable("away")

    monkeypatch.setattr(omni.channel, "unary", unary)
    for call in calls:
        with pytest.raises(Unavailable):
            call(omni.management)
    assert len(told) == len(calls)
    assert {name: is_safe for name, is_safe in told if is_safe is not safe} == {}

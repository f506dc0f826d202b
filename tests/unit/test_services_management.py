"""Management and machines: requests as recorded, answers as values; what is decided without a server."""

from __future__ import annotations

import json
import stat
from datetime import UTC, date, datetime, timedelta

import pytest
from recorded_server import recorded_server, steps

from omniherd import AsyncOmni, Omni, RetryPolicy
from omniherd._core.service_requests import account_name, day, duration, enum_value, expiration, image_labels
from omniherd.credentials import ServiceAccount
from omniherd.errors import (
    AlreadyExists,
    FailedPrecondition,
    InputError,
    InternalError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unimplemented,
    UnknownError,
)
from omniherd.resources import DefaultJoinToken, InfraProvider, JoinToken, MachineLabel
from omniherd.services import SchemaError, SupportBundle, UpgradeCheck, moment
from omniherd.signing import PGPKey
from omniherd.wire import management as wire

MACHINE = "10011802-c798-4da7-a410-f09abb48c8d8"
FREE = "10051802-c798-4da7-a410-f09abb48c8d8"
MANAGEMENT = steps("management")
MACHINES = steps("machines")
AUDIT = steps("management-audit-log")


@pytest.fixture(scope="module")
def signer():
    return PGPKey.generate("", "", "test@example.com", 3600)


@pytest.fixture(scope="module")
def running():
    with recorded_server() as server:
        yield server


@pytest.fixture
def server(running):
    running.faults.clear()
    running.expected.clear()
    yield running
    assert running.faults == []
    assert running.expected == []


@pytest.fixture
def omni(server, signer):
    with Omni.connect(server.endpoint, signer=signer, retry=RetryPolicy(attempts=1)) as client:
        yield client


@pytest.fixture
def live(emulator):
    with Omni.connect(emulator.endpoint, service_account_key=emulator.service_account_key) as client:
        yield client


# --- against the record -----------------------------------------------------------------------------------------------

# What is called, the recorded step, and what comes back: a value, an error, or a check.
CALLS = [
    (lambda m, _: m.omniconfig(), MANAGEMENT["Omniconfig: as Admin"], lambda text: "context: default" in text),
    (
        lambda m, _: m.kubeconfig("judge-one"),
        MACHINES["Kubeconfig: running cluster"],
        lambda text: "oidc-login" in text,
    ),
    (
        lambda m, _: m.kubeconfig("cap-m", grant_type="x"),
        MANAGEMENT["Kubeconfig: grant type bad"],
        (InvalidArgument, 'invalid grant type "x"'),
    ),
    (
        lambda m, _: m.kubeconfig("cap-m", oidc_cache_dir="/c", oidc_cache_isolation=True),
        MANAGEMENT["Kubeconfig: cache dir and isolation"],
        lambda text: "--token-cache-dir=/c/" in text,
    ),
    (
        lambda m, _: m.kubeconfig("judge-one", break_glass=True),
        MACHINES["Kubeconfig: break glass"],
        (PermissionDenied, "not allowed"),
    ),
    (
        lambda m, _: m.service_account_kubeconfig("cap-m", user="cap-u", lifetime=3600, groups=["cap-g"]),
        MANAGEMENT["Kubeconfig: service account"],
        lambda text: "token: " in text,
    ),
    (
        lambda m, _: m.service_account_kubeconfig("cap-m", user="", lifetime=timedelta(hours=1), groups="cap-g"),
        MANAGEMENT["Kubeconfig: service account without user"],
        (InvalidArgument, "user name is not set"),
    ),
    (
        lambda m, _: m.service_account_kubeconfig("cap-none", user="cap-u", lifetime=3600, groups=["cap-g"]),
        MANAGEMENT["Kubeconfig: service account missing cluster"],
        (UnknownError, "failed to get cluster UUID"),
    ),
    (
        lambda m, _: m.talosconfig(),
        MANAGEMENT["Talosconfig: no cluster"],
        lambda text: text.startswith("context: acme0\n"),
    ),
    (
        lambda m, _: m.talosconfig("cap-none"),
        MANAGEMENT["Talosconfig: missing cluster"],
        lambda text: "cluster: cap-none" in text,
    ),
    (
        lambda m, _: m.talosconfig("cap-m", raw=True),
        MANAGEMENT["Talosconfig: raw"],
        (PermissionDenied, "not allowed"),
    ),
    (
        lambda m, _: m.kubernetes_upgrade_pre_checks("judge-one", "1.36.0"),
        MACHINES["KubernetesUpgradePreChecks: to '1.36.0'"],
        UpgradeCheck(ok=True, reason=""),
    ),
    (
        lambda m, _: m.kubernetes_upgrade_pre_checks("judge-one", "1.37.0"),
        MACHINES["KubernetesUpgradePreChecks: to '1.37.0'"],
        (InvalidArgument, "unsupported upgrade path: 1.36->1.37"),
    ),
    (
        lambda m, all_of: all_of(m.sync_manifests("judge-one")),
        MACHINES["KubernetesSyncManifests: dry run as Operator"],
        [],
    ),
    (
        lambda m, all_of: all_of(m.sync_manifests("cap-m")),
        MANAGEMENT["KubernetesSyncManifests: cluster without control plane"],
        (UnknownError, "kubeconfig for cluster cap-m is not found"),
    ),
    (
        lambda m, all_of: all_of(m.machine_logs(MACHINE, tail_lines=3)),
        MACHINES["MachineLogs: tail 3"],
        lambda lines: len(lines) == 3 and all(json.loads(line)["msg"].endswith("\n") for line in lines),
    ),
    (
        lambda m, all_of: all_of(m.machine_logs(MACHINE)),
        MACHINES["MachineLogs: tail -1"],
        lambda lines: len(lines) == 3,
    ),
    (
        lambda m, all_of: all_of(m.machine_logs("cap-none", follow=True, tail_lines=10)),
        MANAGEMENT["MachineLogs: missing machine, follow"],
        (NotFound, "log store not found: cap-none"),
    ),
    (
        lambda m, _: m.maintenance_upgrade(MACHINE, "9.9.9"),
        MACHINES["MaintenanceUpgrade: unknown version"],
        (FailedPrecondition, "not in maintenance mode"),
    ),
    (
        lambda m, all_of: all_of(m.maintenance_lifecycle("cap-none", "install")),
        MANAGEMENT["MaintenanceLifecycle: install without disk"],
        (InvalidArgument, "disk is required"),
    ),
    (
        lambda m, all_of: all_of(m.maintenance_lifecycle("cap-none", "upgrade", disk="/dev/sda")),
        MANAGEMENT["MaintenanceLifecycle: upgrade with disk"],
        (InvalidArgument, "disk must not be set"),
    ),
    (
        lambda m, _: m.create_schematic(talos_version="1.13.5"),
        MANAGEMENT["CreateSchematic: talos version only"],
        lambda made: len(made.id) == 64 and made.yaml.startswith("customization:") and "siderolink" not in repr(made),
    ),
    (
        lambda m, _: m.create_schematic(talos_version="1.13.5", media_id="nope"),
        MANAGEMENT["CreateSchematic: unknown media"],
        (UnknownError, "InstallationMedias"),
    ),
    (
        lambda m, _: m.create_schematic(talos_version="1.13.5", join_token="nope"),
        MANAGEMENT["CreateSchematic: unknown join token"],
        lambda made: "jointoken=nope" in made.yaml,
    ),
    (
        lambda m, _: m.create_schematic_from_raw("customization: {}\n"),
        MANAGEMENT["CreateSchematicFromRaw: yaml"],
        lambda made: made.id.startswith("376567988ad3"),
    ),
    (
        lambda m, _: m.create_schematic_from_raw(b"{"),
        MANAGEMENT["CreateSchematicFromRaw: garbage"],
        (UnknownError, "failed to unmarshal"),
    ),
    (
        lambda m, _: m.machine_join_config(grpc_tunnel=True),
        MANAGEMENT["GetMachineJoinConfig: grpc tunnel"],
        lambda told: len(told.kernel_args) == 3 and told.config.count("kind: ") == 3 and "jointoken" not in repr(told),
    ),
    (
        lambda m, _: m.create_join_token("n" * 17),
        MANAGEMENT["CreateJoinToken: long name"],
        (InvalidArgument, "16 symbols"),
    ),
    (
        lambda m, _: m.validate_config("machine:\n  foo: 1\n"),
        MANAGEMENT["ValidateConfig: unknown key"],
        (InvalidArgument, "unknown keys found"),
    ),
    (
        lambda m, _: m.validate_config("machine:\n  network:\n    hostname: a\n"),
        MANAGEMENT["ValidateConfig: ok"],
        None,
    ),
    (
        lambda m, _: m.validate_json_schema("a: x\n", '{"type":"object","properties":{"a":{"type":"integer"}}}'),
        MANAGEMENT["ValidateJSONSchema: YAML data"],
        [
            SchemaError(
                "/a",
                "file:///SERVER-WORKING-DIR/untitled-schema.json#/properties/a",
                "got string, want integer",
            )
        ],
    ),
    (
        lambda m, all_of: all_of(m.audit_log(resource_type="ConfigPatches.omni.sidero.dev", resource_id="cap-p-1")),
        AUDIT["resource filter: ConfigPatches cap-p-1"],
        lambda events: events[0]["event_type"] == "create" and events[0]["resource_id"] == "cap-p-1",
    ),
    (
        lambda m, all_of: all_of(m.audit_log_lines(search="cap-p-2", event_type="destroy")),
        AUDIT["event type destroy"],
        lambda lines: lines[0].endswith(b"}\n") and json.loads(lines[0])["event_type"] == "destroy",
    ),
    (
        lambda m, all_of: all_of(m.audit_log(start=date(2026, 11, 24), end="2026-11-24", search="cap-c-38")),
        AUDIT["date only"],
        [],
    ),
    (lambda m, all_of: all_of(m.audit_log(cluster="cap-v")), AUDIT["cluster"], lambda events: len(events) >= 1),
    (lambda m, all_of: all_of(m.audit_log()), AUDIT["as Reader"], (PermissionDenied, "insufficient role")),
]


@pytest.mark.parametrize(("call", "step", "expected"), CALLS, ids=[step["name"] for _, step, _ in CALLS])
def test_calls_and_answers_are_the_recorded_ones(server, omni, call, step, expected):
    server.play(step)
    if isinstance(expected, tuple) and isinstance(expected[0], type):
        with pytest.raises(expected[0]) as caught:
            call(omni.management, list)
        assert expected[1] in str(caught.value)
        return
    answer = call(omni.management, list)
    if callable(expected):
        assert expected(answer)
    else:
        assert answer == expected


async def all_of(answers):
    return [answer async for answer in answers]


@pytest.mark.parametrize(("call", "step", "expected"), CALLS, ids=[step["name"] for _, step, _ in CALLS])
async def test_tasks_get_the_same(server, signer, call, step, expected):
    async with AsyncOmni.connect(server.endpoint, signer=signer, retry=RetryPolicy(attempts=1)) as omni:
        server.play(step)
        if isinstance(expected, tuple) and isinstance(expected[0], type):
            with pytest.raises(expected[0]) as caught:
                await call(omni.management, all_of)
            assert expected[1] in str(caught.value)
            return
        answer = await call(omni.management, all_of)
        assert expected(answer) if callable(expected) else answer == expected


async def test_progress_reaches_tasks(server, signer):
    async with AsyncOmni.connect(server.endpoint, signer=signer) as omni:
        server.play(MACHINES["GetSupportBundle: running cluster"])
        seen = []
        bundle = await omni.management.support_bundle("judge-one", progress=seen.append)
        assert len(seen) > 20
        assert bundle.data


def test_a_followed_log_can_be_closed(server, omni):
    step = dict(MACHINES["MachineLogs: follow, tail 2, until the deadline (4 s)"], status={"code": "OK", "message": ""})
    server.play(step)
    with omni.management.machine_logs(MACHINE, follow=True, tail_lines=step["request"]["tail_lines"]) as lines:
        assert b"talos-level" in next(lines)
    assert list(lines) == []


# --- support bundles --------------------------------------------------------------------------------------------------


def test_a_support_bundle_is_written_as_a_whole_for_its_owner(server, omni, tmp_path):
    step = MACHINES["GetSupportBundle: running cluster"]
    server.play(step)
    seen = []
    bundle = omni.management.support_bundle("judge-one", progress=seen.append, path=tmp_path / "support.zip")
    assert (tmp_path / "support.zip").read_bytes() == bundle.data
    assert stat.S_IMODE((tmp_path / "support.zip").stat().st_mode) == 0o600
    assert [name.name for name in tmp_path.iterdir()] == ["support.zip"]
    assert {(one.source, one.total) for one in seen if one.total} == {("omni", 52), ("cluster", 408)}
    assert bundle.errors == tuple(one for one in seen if one.error)
    assert "bytes" in repr(bundle)


def test_a_bundle_of_a_missing_cluster_tells_why_it_is_empty(server, omni):
    server.play(MANAGEMENT["GetSupportBundle: missing cluster"])
    bundle = omni.management.support_bundle("cap-none")
    assert "kubeconfig for cluster cap-none" in bundle.errors[0].error


def test_a_stream_without_a_bundle_is_an_error_and_writes_nothing(server, omni, tmp_path):
    step = MACHINES["GetSupportBundle: running cluster"]
    server.play(dict(step, responses=[one for one in step["responses"] if "progress" in one]))
    with pytest.raises(InternalError, match="no support bundle"):
        omni.management.support_bundle("judge-one", path=tmp_path / "support.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_breaks_off_leaves_the_old_file(server, omni, tmp_path):
    target = tmp_path / "support.zip"
    target.write_bytes(b"old")
    step = MACHINES["GetSupportBundle: running cluster"]
    broken = {"code": "INTERNAL", "message": "no more"}
    server.play(dict(step, responses=step["responses"][:3], status=broken))
    with pytest.raises(InternalError, match="no more"):
        omni.management.support_bundle("judge-one", path=target)
    assert target.read_bytes() == b"old"


# --- what no recording has --------------------------------------------------------------------------------------------


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
    import base64

    return base64.b64decode(response["audit_log"])


def test_order_of_the_audit_log(server, omni):
    server.play(
        step(
            "ReadAuditLog",
            {"order_by_field": "AUDIT_LOG_ORDER_BY_FIELD_RESOURCE_ID", "order_by_dir": "AUDIT_LOG_ORDER_BY_DIR_DESC"},
        )
    )
    assert list(omni.management.audit_log(order_by="resource_id", descending=True)) == []


# --- on the emulator --------------------------------------------------------------------------------------------------


def test_a_service_account_is_ready_to_use(live, emulator):
    account = live.management.create_service_account("svc-ready", "Reader", lifetime=timedelta(hours=2))
    again = ServiceAccount.decode(account.encode())
    assert (again.name, again.key.fingerprint) == ("svc-ready", account.key.fingerprint)
    assert account.key.email == "svc-ready@serviceaccount.omni.sidero.dev"
    with Omni.connect(emulator.endpoint, service_account_key=account.encode()) as other:
        assert other.list("clusters")
        with pytest.raises(PermissionDenied):
            other.management.list_users()


def test_a_renewed_account_keeps_its_old_key(live, emulator):
    first = live.management.create_service_account("svc-renew", "Reader")
    second = live.management.renew_service_account("svc-renew@serviceaccount.omni.sidero.dev", lifetime=600)
    assert first.key.fingerprint != second.key.fingerprint
    for account in (first, second):
        with Omni.connect(emulator.endpoint, service_account_key=account.encode()) as other:
            other.list("clusters")
    listed = {one.name: one for one in live.management.list_service_accounts()}["svc-renew"]
    assert {key.id for key in listed.keys} == {first.key.fingerprint, second.key.fingerprint}
    assert second.key.expires in {key.expires for key in listed.keys}
    live.management.destroy_service_account("svc-renew")
    with pytest.raises(NotFound):
        live.management.destroy_service_account("svc-renew")


def test_a_key_of_ones_own(live):
    key = PGPKey.generate("", "", "any@example.com", 600)
    assert live.management.create_service_account("svc-own", "Reader", key=key).key is key
    with pytest.raises(AlreadyExists):
        live.management.create_service_account("svc-own", "Reader")


def test_an_infra_provider_comes_with_its_account(live):
    account = live.management.create_infra_provider("svc-lab")
    assert account.name == "infra-provider:svc-lab"
    assert live.get(InfraProvider, "svc-lab")
    with pytest.raises(AlreadyExists):
        live.management.create_infra_provider("svc-lab")
    # The first one is still there: what failed was not it.
    assert live.get(InfraProvider, "svc-lab")


def test_an_infra_provider_whose_account_is_refused_is_taken_back(live, monkeypatch):
    live.management.create_service_account("infra-provider:svc-taken", "InfraProvider")
    with pytest.raises(AlreadyExists):
        live.management.create_infra_provider("svc-taken")
    with pytest.raises(NotFound):
        live.get(InfraProvider, "svc-taken")


def test_people(live):
    id_ = live.management.create_user("Svc-One@Example.com", "Reader")
    mine = {one.email: one for one in live.management.list_users()}["svc-one@example.com"]
    assert (mine.id, mine.role, mine.labels) == (id_, "Reader", {})
    live.management.update_user("svc-one@example.com", "Operator")
    assert {one.email: one.role for one in live.management.list_users()}["svc-one@example.com"] == "Operator"
    with pytest.raises(UnknownError, match="already exists"):
        live.management.create_user("svc-one@example.com", "Reader")
    live.management.destroy_user("svc-one@example.com")
    with pytest.raises(NotFound):
        live.management.destroy_user("svc-one@example.com")


def test_join_tokens(live):
    token = live.management.create_join_token("svc", expires=timedelta(hours=1))
    stored = live.get(JoinToken, token).spec
    end = moment(stored.expiration_time)
    assert stored.name == "svc"
    assert timedelta(minutes=59) < end - datetime.now(UTC) <= timedelta(hours=1)
    live.management.rename_join_token(token, "svc2")
    live.management.revoke_join_token(token)
    assert (live.get(JoinToken, token).spec.name, live.get(JoinToken, token).spec.revoked) == ("svc2", True)
    live.management.revoke_join_token(token, revoked=False)
    assert not live.get(JoinToken, token).spec.revoked
    before = live.get(DefaultJoinToken, "default").spec.token_id
    live.management.set_default_join_token(token)
    assert live.get(DefaultJoinToken, "default").spec.token_id == token
    assert f"jointoken={token}" in live.management.machine_join_config().kernel_args[0]
    with pytest.raises(NotFound):
        live.management.set_default_join_token("no-such-token")
    live.management.set_default_join_token(before)
    live.management.delete_join_token(token)
    with pytest.raises(NotFound):
        live.get(JoinToken, token)


def test_machine_labels(live):
    machine = live.list("machinestatuses")[0]
    name = machine.spec.network.hostname
    before = live.machines.labels(name)
    after = live.machines.set_labels(name, {"svc-rack": "7", "svc-old": ""})
    assert after == {**before, "svc-rack": "7", "svc-old": ""}
    assert live.machines.set_labels(machine.id, {"svc-rack": None, "svc-old": None, "svc-none": None}) == before
    assert live.machines.labels(machine.id) == before


def test_labels_of_a_machine_without_any(live):
    bare = "77777777-c798-4da7-a410-f09abb48c8d8"
    assert live.machines.labels(bare) == {}
    assert live.machines.set_labels(bare, {"a": None}) == {}
    with pytest.raises(NotFound):
        live.get(MachineLabel, bare)
    assert live.machines.set_labels(bare, {"a": "1"}) == {"a": "1"}


def test_somebody_elses_first_label_stays(live, monkeypatch):
    bare = "88888888-c798-4da7-a410-f09abb48c8d8"
    create = type(live).create

    def overtaken(self, resource, **options):
        monkeypatch.undo()
        create(self, MachineLabel(bare, labels={"theirs": "1"}))
        return create(self, resource, **options)

    monkeypatch.setattr(type(live), "create", overtaken)
    assert live.machines.set_labels(bare, {"mine": "2"}) == {"theirs": "1", "mine": "2"}


def test_locks(live):
    worker = next(node for node in live.list("machinesetnodes") if "omni.sidero.dev/role-worker" in node.labels)
    live.machines.lock(worker.id)
    live.machines.lock(worker.id)
    assert live.get("machinesetnodes", worker.id).annotations["omni.sidero.dev/locked"] == ""
    live.machines.unlock(worker.id)
    live.machines.unlock(worker.id)
    assert "omni.sidero.dev/locked" not in live.get("machinesetnodes", worker.id).annotations
    cluster = worker.labels["omni.sidero.dev/cluster"]
    live.machines.lock_cluster(cluster)
    assert live.get("clusters", cluster).annotations["omni.sidero.dev/cluster-locked"] == ""
    live.machines.unlock_cluster(cluster)
    assert "omni.sidero.dev/cluster-locked" not in live.get("clusters", cluster).annotations
    with pytest.raises(NotFound):
        live.machines.lock("77777777-c798-4da7-a410-f09abb48c8d8")


# --- without a server -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ci", "ci"),
        ("ci@serviceaccount.omni.sidero.dev", "ci"),
        ("infra-provider:lab", "infra-provider:lab"),
        ("lab@infra-provider.serviceaccount.omni.sidero.dev", "infra-provider:lab"),
    ],
)
def test_names_of_accounts(name, expected):
    assert account_name(name) == expected


@pytest.mark.parametrize("name", ["", "Ci", "infra-provider:", "@serviceaccount.omni.sidero.dev"])
def test_names_that_the_server_would_half_accept(name):
    with pytest.raises(InputError):
        account_name(name)


def test_an_account_needs_a_role(omni):
    with pytest.raises(InputError, match="role"):
        omni.management.create_service_account("ci")


@pytest.mark.parametrize(
    ("given", "expected"), [(None, ""), ("", ""), ("2026-11-24", "2026-11-24"), (date(2026, 1, 2), "2026-01-02")]
)
def test_days(given, expected):
    assert day(given) == expected


@pytest.mark.parametrize("given", ["x", "24.11.2026", "2026-1-2", datetime(2026, 1, 2, tzinfo=UTC)])
def test_what_is_no_day(given):
    with pytest.raises(InputError):
        day(given)


def test_durations_and_ends():
    assert (duration(90.25).seconds, duration(timedelta(days=2, microseconds=5)).nanos) == (90, 5000)
    now = datetime(2026, 11, 24, tzinfo=UTC)
    assert expiration(60, now) == expiration(timedelta(minutes=1), now) == now + timedelta(minutes=1)
    assert expiration(now) is now
    assert expiration(None) is None
    for wrong in (0, -1, timedelta(0)):
        with pytest.raises(InputError):
            expiration(wrong)
        with pytest.raises(InputError):
            duration(wrong)
    with pytest.raises(InputError, match="time zone"):
        expiration(datetime(2026, 11, 24))  # noqa: DTZ001 - that it has none is the point


def test_words_for_enums():
    name = "management.MaintenanceLifecycleRequest.Operation"
    assert enum_value(name, "OPERATION_", "Upgrade") == 2
    with pytest.raises(InputError, match="'x' is none of install, upgrade"):
        enum_value(name, "OPERATION_", "x")


def test_labels_of_images_are_yaml():
    import yaml

    labels = {"a": "true", "b": "", "c": "é: #"}
    assert yaml.safe_load(image_labels(labels)[12]) == {"machineLabels": labels}
    assert image_labels({"c": "", "a": "b"}) == {12: 'machineLabels:\n    a: b\n    c: ""\n'}


def test_an_empty_time_is_none():
    assert moment(wire.ListServiceAccountsResponse.ServiceAccount.PgpPublicKey().created) is None


def test_a_bundle_does_not_print_itself():
    assert repr(SupportBundle(b"secret", (), ())) == "SupportBundle(6 bytes, 0 errors)"


def test_services_tell_whose_they_are(omni):
    assert repr(omni.management).startswith("<Management of <Omni http://")
    assert repr(omni.machines).startswith("<Machines of <Omni http://")


# --- taking machines out ----------------------------------------------------------------------------------------------


def test_a_machine_leaves_its_cluster(live):
    worker = next(node for node in live.list("machinesetnodes") if "omni.sidero.dev/role-worker" in node.labels)
    name = next(one.name for one in live.machines.known() if one.id == worker.id)
    live.machines.remove_from_cluster(name, timeout=30)
    for kind in ("machinesetnodes", "clustermachines"):
        with pytest.raises(NotFound):
            live.get(kind, worker.id)
    with pytest.raises(NotFound):
        live.machines.remove_from_cluster(worker.id, timeout=30)


def test_the_order_in_which_a_machine_is_forced_out(live, monkeypatch):
    """As recorded: the request to etcd, the link, the node, and then the wait."""
    node = next(node for node in live.list("machinesetnodes") if "omni.sidero.dev/role-worker" in node.labels)
    done = []
    for verb in ("create", "teardown", "delete", "wait_gone"):

        def note(self, what, *rest, verb=verb, **options):
            named = type(what).__name__ if verb == "create" else what.__name__
            done.append((verb, named, dict(what.labels) if verb == "create" else None))
            if verb == "create":
                raise AlreadyExists("there is one")

        monkeypatch.setattr(type(live), verb, note)
    live.machines.remove_from_cluster(node.id, force=True, force_etcd_leave=True)
    label = {"omni.sidero.dev/cluster": node.labels["omni.sidero.dev/cluster"]}
    assert done == [
        ("create", "NodeForceDestroyRequest", label),
        ("teardown", "Link", None),
        ("delete", "MachineSetNode", None),
        ("wait_gone", "ClusterMachine", None),
    ]


def test_how_a_machine_connects(live):
    machine = live.list("machines")[0].id
    for enabled in (True, False):
        live.machines.set_grpc_tunnel(machine, enabled)
        assert live.get("grpctunnelconfigs", machine).spec.enabled is enabled
    live.machines.set_grpc_tunnel(machine, None)
    live.machines.set_grpc_tunnel(machine, None)
    with pytest.raises(NotFound):
        live.get("grpctunnelconfigs", machine)


async def test_accounts_tokens_and_machines_by_tasks(emulator):
    async with emulator.connect_async() as omni:
        management, machines = omni.management, omni.machines
        account = await management.create_service_account("svc-task", "Reader", lifetime=600)
        renewed = await management.renew_service_account("svc-task", lifetime=600)
        [listed] = [one for one in await management.list_service_accounts() if one.name == "svc-task"]
        assert {key.id for key in listed.keys} == {account.key.fingerprint, renewed.key.fingerprint}
        await management.destroy_service_account("svc-task")
        await management.create_infra_provider("svc-task", lifetime=600)
        await omni.delete(InfraProvider, "svc-task")

        await management.create_user("svc-task@example.com", "Reader")
        await management.update_user("svc-task@example.com", "Operator")
        assert "svc-task@example.com" in [one.email for one in await management.list_users()]
        await management.destroy_user("svc-task@example.com")

        before = (await omni.get(DefaultJoinToken, "default")).spec.token_id
        token = await management.create_join_token("svc-task", expires=600)
        await management.rename_join_token(token, "svc-task2")
        await management.revoke_join_token(token)
        await management.revoke_join_token(token, revoked=False)
        await management.set_default_join_token(token)
        await management.set_default_join_token(before)
        await management.delete_join_token(token)

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

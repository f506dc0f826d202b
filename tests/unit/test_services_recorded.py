"""Management and machines against the record: requests as recorded, answers as values, for threads and for tasks."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest
from recorded_server import steps

from omniherd.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, UnknownError
from omniherd.services import SchemaError, UpgradeCheck

MACHINE = "10011802-c798-4da7-a410-f09abb48c8d8"
MANAGEMENT = steps("management")
MACHINES = steps("machines")
AUDIT = steps("management-audit-log")


@pytest.fixture
def server(recorded):
    return recorded


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
async def test_tasks_get_the_same(server, call, step, expected):
    async with server.connect_async() as omni:
        server.play(step)
        if isinstance(expected, tuple) and isinstance(expected[0], type):
            with pytest.raises(expected[0]) as caught:
                await call(omni.management, all_of)
            assert expected[1] in str(caught.value)
            return
        answer = await call(omni.management, all_of)
        assert expected(answer) if callable(expected) else answer == expected


def test_a_followed_log_can_be_closed(server, omni):
    step = dict(MACHINES["MachineLogs: follow, tail 2, until the deadline (4 s)"], status={"code": "OK", "message": ""})
    server.play(step)
    with omni.management.machine_logs(MACHINE, follow=True, tail_lines=step["request"]["tail_lines"]) as lines:
        assert b"talos-level" in next(lines)
    assert list(lines) == []

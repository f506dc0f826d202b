from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from command_shell import Shell

from omniherd.cli.logs import log_line
from omniherd.resources import (
    Cluster,
    ClusterMachineStatus,
    ClusterStatus,
    ConfigPatch,
    ControlPlaneStatus,
    KubernetesUpgradeStatus,
    LoadBalancerStatus,
    MachineSet,
    MachineSetNode,
    MachineSetStatus,
    TalosUpgradeStatus,
)
from omniherd.services import ManifestSync
from omniherd.template import ClusterState, plan_delete

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inner_shell import InnerShell

    from omniherd.emulator import Emulator

VERSIONS = {"kubernetes_version": "1.34.3", "talos_version": "1.12.7"}
LOCKED = "omni.sidero.dev/locked"
CONNECTED = {"omni.sidero.dev/connected": ""}


def machine_set(ident: str, phase: int, *, ready: bool, labels: dict[str, str] | None = None) -> MachineSetStatus:
    spec = {"phase": phase, "ready": ready, "machines": {"healthy": 1, "total": 2}}
    return MachineSetStatus(ident, spec=spec, labels=labels or {})


def member(
    ident: str, group: str, spec: dict[str, Any], annotations: dict[str, str] | None = None, **labels: str
) -> ClusterMachineStatus:
    named = {f"omni.sidero.dev/{key.replace('_', '-')}": value for key, value in labels.items()}
    return ClusterMachineStatus(
        ident, spec=spec, labels={"omni.sidero.dev/machine-set": group, **named}, annotations=annotations or {}
    )


def parts(phase: int = 3, *, ready: bool = True, sets_ready: bool = True, upgrade: int = 2) -> ClusterState:
    role = {"omni.sidero.dev/role-controlplane": ""}
    conditions = [{"type": 1, "status": 2}, {"type": 2, "status": 1}]
    return ClusterState(
        ClusterStatus("lab", spec={"phase": phase, "ready": ready, "machines": {"healthy": 2, "total": 3}}),
        [
            machine_set("lab-gpu", 3, ready=sets_ready),
            machine_set("lab-workers", 3, ready=True),
            machine_set("lab-control-planes", 3, ready=True, labels=role),
        ],
        [ControlPlaneStatus("lab-control-planes", spec={"conditions": conditions})],
        [LoadBalancerStatus("lab", spec={"healthy": True})],
        [KubernetesUpgradeStatus("lab", spec={"phase": upgrade, "step": "now"})],
        [TalosUpgradeStatus("lab", spec={"phase": 2})],
        [
            member("m2", "lab-workers", {"stage": 2, "config_apply_status": 3}, annotations={LOCKED: ""}),
            member(
                "m1",
                "lab-workers",
                {"stage": 4, "ready": True, "config_up_to_date": True},
                connected="",
                node_name="w1",
            ),
            member(
                "c1",
                "lab-control-planes",
                {"stage": 4, "config_up_to_date": True, "config_apply_status": 3},
                connected="",
                locked_update="",
            ),
        ],
    )


def test_the_tree() -> None:
    assert parts().tree() == (
        'Cluster "lab" RUNNING Ready (2/3) (healthy/total)\n'
        "├── Kubernetes Upgrade Done now\n"
        "├── Talos Upgrade Done \n"
        '├── Control Plane "lab-control-planes" Running Ready (1/2)\n'
        "│   ├── Load Balancer Ready\n"
        "│   ├── Status Checks Failing: [Etcd]\n"
        '│   └── Machine "c1" RUNNING Not Ready Pending Config Update\n'
        '├── Workers "lab-workers" Running Ready (1/2)\n'
        '│   ├── Machine "m1"(w1) RUNNING Ready\n'
        '│   └── Machine "m2" INSTALLING Unreachable Locked Config Outdated Config Apply Failed\n'
        '└── Additional Workers "lab-gpu" Running Ready (1/2)\n'
    )


def test_what_healthy_means() -> None:
    assert parts().healthy
    assert not parts(1).healthy
    assert not parts(ready=False).healthy
    assert not parts(sets_ready=False).healthy
    assert not parts(upgrade=1).healthy


@pytest.mark.parametrize(
    ("line", "form", "shown"),
    [
        (b'{"msg":"up\\n","clock":1500000,"facility":"kern"}', "dmesg", b"[    1.500000] kern: up\n"),
        (b'{"clock":5,"msg":"a\\nb\\n"}', "dmesg", b"[    0.000005] : a\n[    0.000005] b\n"),
        (b'{"msg":"up"}', "raw", b'{"msg":"up"}\n'),
        (b'{"msg":"up","talos-level":"info","talos-time":"T","seq":3}', "omni", b"T INFO  up seq=3\n"),
        (b"no json", "dmesg", b"no json\n"),
        (b'{"other":1}', "omni", b'{"other":1}\n'),
    ],
)
def test_a_line_of_a_machines_log(line: bytes, form: str, shown: bytes) -> None:
    assert log_line(line, form) == shown


def test_what_is_left_of_a_cluster_is_deleted_by_phases() -> None:
    managed = {"omni.sidero.dev/managed-by-machine-set-node-controller": ""}
    of_lab = {"omni.sidero.dev/cluster": "lab"}
    world = [
        MachineSet("s", labels=of_lab),
        MachineSetNode("of-s", labels={**of_lab, "omni.sidero.dev/machine-set": "s"}),
        MachineSetNode("alone", labels={**of_lab, "omni.sidero.dev/machine-set": "gone"}),
        MachineSetNode("automatic", labels={**of_lab, **managed}),
        ConfigPatch("p", labels=of_lab, spec={"data": "{}"}),
    ]
    phases = plan_delete("lab", world).destroys
    assert [[one.id for one in phase] for phase in phases] == [["s", "alone"], ["p"]]
    whole = plan_delete("lab", [Cluster("lab", spec=VERSIONS), *world]).destroys
    assert [[one.id for one in phase] for phase in whole] == [["alone"], ["lab"]]


def test_a_status_without_a_cluster_does_not_hang(shell: Shell) -> None:
    code, out, err = shell("cluster", "status", "no-such", "--wait", "0")
    assert (code, out) == (1, "")
    assert err.startswith("Error: rpc error: code = NotFound desc = resource Clusters.omni.sidero.dev(default/no-such@")


def test_a_quiet_status_notices_health(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from contextlib import contextmanager

    from omniherd.cli import clusters

    states = [parts(1), parts()]

    @contextmanager
    def nobody(_settings: Any) -> Iterator[None]:
        yield None

    monkeypatch.setattr(clusters, "connected", nobody)
    monkeypatch.setattr(clusters, "_state", lambda _omni, _name: states.pop(0))
    monkeypatch.setattr(clusters.time, "sleep", lambda _seconds: None)
    with clusters.status.make_context("status", ["lab", "--quiet"]) as context:
        clusters.status.invoke(context)
    assert states == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("flag", "end"), [("--dry-run", "dry run, change skipped"), ("--dry-run=false", "applied successfully")]
)
def test_manifests_are_told_one_by_one(inner: InnerShell, monkeypatch: pytest.MonkeyPatch, flag: str, end: str) -> None:
    from omniherd._sync.management import Management

    steps = [
        ManifestSync("manifest", "v1/ConfigMap/a", b"", "+a", skipped=False),
        ManifestSync("manifest", "v1/ConfigMap/b", b"", "", skipped=True),
        ManifestSync("manifest", "v1/ConfigMap/c", b"", "", skipped=False),
        ManifestSync("rollout", "apps/v1/Deployment/d", b"", "", skipped=False),
    ]
    asked = []

    def sync(_self: Management, cluster: str, *, dry_run: bool) -> contextlib.AbstractContextManager[Any]:
        asked.append((cluster, dry_run))
        return contextlib.nullcontext(steps)

    monkeypatch.setattr(Management, "sync_manifests", sync)
    assert inner("cluster", "kubernetes", "manifest-sync", "lab", flag) == (
        0,
        f" > processing manifest v1/ConfigMap/a\n+a\n < {end}\n"
        " > processing manifest v1/ConfigMap/b\n < no changes\n"
        f" > processing manifest v1/ConfigMap/c\n < {end}\n"
        " > waiting for apps/v1/Deployment/d\n",
        "",
    )
    assert asked == [("lab", flag == "--dry-run")]


def test_locks_are_refused_when_reading_only(tmp_path: Path) -> None:
    shell = Shell(tmp_path, {"OMNI_ENDPOINT": "grpc://127.0.0.1:9", "OMNIHERD_READ_ONLY": "1"})
    for words in (
        ("cluster", "lock", "a"),
        ("cluster", "unlock", "a"),
        ("cluster", "delete", "a"),
        ("cluster", "machine", "lock", "a"),
        ("cluster", "machine", "delete", "a"),
        ("cluster", "kubernetes", "manifest-sync", "a", "--dry-run=false"),
    ):
        code, out, err = shell(*words)
        assert (code, out) == (1, "")
        assert err.startswith("Error: read-only: "), err


def test_a_log_format_that_does_not_exist_is_told(shell: Shell, server: Emulator) -> None:
    with server.connect() as omni:
        machine = omni.machines.find("fra-worker-1").id
    code, out, err = shell("machine-logs", machine, "--log-format", "fancy")
    assert (code, err) == (0, 'warning: there is no log format "fancy", lines are printed as they are\n')
    assert out == shell("machine-logs", machine)[1]
    assert out

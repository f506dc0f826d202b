"""`omniherd export --all`, `omniherd apply DIR` and `omniherd drift`."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
from command_shell import Shell

from omniherd.cli.drift import Reporter, follow
from omniherd.emulator import Emulator
from omniherd.resources import (
    AccessPolicy,
    Cluster,
    ConfigPatch,
    EtcdBackupS3Config,
    KernelArg,
    MachineClass,
    MachineLabel,
    MachineSetNode,
)
from omniherd.template import FleetPlan, read_fleet, resource_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inner_shell import InnerShell

    from omniherd import Omni

MACHINE = "22222222-2222-4222-8222-222222222222"
LAB = f"""\
kind: Cluster
name: lab
kubernetes: {{version: v1.34.3}}
talos: {{version: v1.12.7}}
---
kind: ControlPlane
machines: [11111111-1111-4111-8111-111111111111]
---
kind: Workers
machines: [{MACHINE}]
---
kind: Machine
name: {MACHINE}
kernelArgs: [quiet]
locked: true
"""


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def shell(inner: InnerShell) -> InnerShell:
    return inner


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def furnish(omni: Omni, shell: InnerShell) -> None:
    """Add what the emulator's fleet has not."""
    shell.write({"lab.yaml": LAB})
    assert shell("sync", "lab.yaml")[0] == 0
    omni.create(AccessPolicy("access-policy", spec={"rules": [{"users": ["a@example.com"], "role": "Reader"}]}))
    omni.create(KernelArg("33333333-3333-4333-8333-333333333333", spec={"args": ["console=ttyS0"]}))
    omni.create(
        ConfigPatch("a/b", labels={"omni.sidero.dev/machine": MACHINE, "n": "10"}, spec={"data": "debug: true\n"})
    )
    omni.create(
        EtcdBackupS3Config(
            "etcd-backup-s3-conf", spec={"bucket": "b", "access_key_id": "a", "secret_access_key": "hidden"}
        )
    )


def test_everything_goes_out_and_comes_back(
    server: Emulator, shell: InnerShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server.connect() as omni:
        furnish(omni, shell)
    assert shell("export", "--all", "first") == (0, "", "")
    first = files(shell.folder / "first")
    assert {
        "clusters/lab.yaml",
        "clusters/prod.yaml",
        "machine-classes/gpu.yaml",
        "access-policies/access-policy.yaml",
        "config-patches/a%2Fb.yaml",
        "kernel-args/33333333-3333-4333-8333-333333333333.yaml",
    } <= first.keys()
    assert not any("clusters/" in name and name.count("/") > 1 for name in first)
    assert b"hidden" not in b"".join(first.values())
    # The same server gives the same files, and nothing is to be done to it but for the note who manages the clusters.
    assert shell("export", "--all", "again") == (0, "", "")
    assert files(shell.folder / "again") == first
    code, out, _ = shell("plan", "first", "--ignore", "annotations=omni.sidero.dev/managed-by-cluster-templates")
    assert (code, out) == (0, "No changes.\n"), out

    with Emulator(seed_fleet=False) as empty:
        for name, value in empty.environment().items():
            monkeypatch.setenv(name, value)
        code, out, err = shell("apply", "first")
        assert (code, err) == (0, "")
        assert out.index("AccessPolicies") < out.index("MachineClasses") < out.index("Clusters")
        assert shell("export", "--all", "second") == (0, "", "")
        second = files(shell.folder / "second")
        assert second == first
        assert shell("plan", "first")[:2] == (0, "No changes.\n")


def test_secrets_are_exported_on_demand(server: Emulator, shell: InnerShell) -> None:
    with server.connect() as omni:
        furnish(omni, shell)
    assert shell("export", "--all", "out", "--secrets")[0] == 0
    path = shell.folder / "out" / "etcd-backup-s3-configs" / "etcd-backup-s3-conf.yaml"
    assert "secretaccesskey: hidden" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_export_into_a_folder_says_what_is_gone(server: Emulator, shell: InnerShell) -> None:
    assert shell("export", "--all", "out")[0] == 0
    kept = shell.folder / "out" / "clusters" / "prod.yaml"
    before = kept.stat()
    with server.connect() as omni:
        omni.create(MachineClass("mine", spec={"match_labels": ["a"]}))
        omni.delete(Cluster, "staging")
    assert shell("export", "--all", "out") == (0, "", "no longer on the server: out/clusters/staging.yaml\n")
    assert (shell.folder / "out" / "machine-classes" / "mine.yaml").exists()
    assert kept.stat().st_ino == before.st_ino
    assert shell("export", "out") == (1, "", 'Error: required flag(s) "all" not set\n')


def test_what_may_not_be_read_is_named(server: Emulator, shell: InnerShell, monkeypatch: pytest.MonkeyPatch) -> None:
    with server.connect() as omni:
        account = omni.management.create_service_account("reader", role="Reader")
    monkeypatch.setenv("OMNI_SERVICE_ACCOUNT_KEY", account.encode())
    code, _, err = shell("export", "--all", "out")
    assert code == 0
    assert "left out: AccessPolicies.omni.sidero.dev, which this identity may not read\n" in err


def test_apply_takes_files_in_one_way(shell: InnerShell) -> None:
    assert shell("apply")[2] == 'Error: required flag(s) "file" not set\n'
    assert shell("apply", "-f", "x", "y")[2].startswith('Error: unknown command "y" for "omniherd apply"')


def test_resources_are_read_back_as_they_were() -> None:
    from omniherd.yamlform import resources_from_yaml

    odd = {"a": "10", "b": "", "c": "true", "d": "a: b", "e": "2026-01-01", "f": "~", "g": "x\ny"}
    for one in (
        MachineLabel("m", labels=odd, annotations=odd),
        ConfigPatch("p", labels=odd, spec={"data": "machine:\n  env: {A: b}  \n\n# c\n"}),
        KernelArg("k", spec={"args": []}),
        MachineClass("c", spec={"match_labels": ["a > 3, !b"], "auto_provision": {"provider_id": "p"}}),
    ):
        (read,) = resources_from_yaml(resource_text(one))
        assert read == one


# --- drift ------------------------------------------------------------------------------------------------------------


def records(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_drift_is_told_once(server: Emulator, shell: InnerShell) -> None:
    shell.write({"lab.yaml": LAB})
    code, out, _ = shell("drift", "lab.yaml")
    assert code == 2
    assert {one["difference"] for one in records(out)} == {"missing"}
    shell("sync", "lab.yaml")
    assert shell("drift", "lab.yaml") == (0, "", "")
    with server.connect() as omni:
        omni.machines.unlock(MACHINE)
        omni.create(ConfigPatch("mine", labels={"omni.sidero.dev/cluster": "lab"}, spec={"data": "debug: true\n"}))
    code, out, _ = shell("drift", "lab.yaml")
    assert code == 2
    changed, extra = records(out)
    assert (changed["event"], changed["cluster"], changed["difference"], changed["id"]) == (
        "drift",
        "lab",
        "changed",
        MACHINE,
    )
    assert "+    omni.sidero.dev/locked:\n" in changed["diff"]
    assert (extra["difference"], extra["type"], extra["id"]) == ("extra", "ConfigPatches.omni.sidero.dev", "mine")
    code, out, _ = shell("drift", "lab.yaml", "--ignore", "locks,configpatch/mine")
    assert (code, out) == (0, "")


async def test_drift_is_told_as_it_happens(server: Emulator, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    (tmp_path / "mine.yaml").write_text(resource_text(MachineClass("mine", spec={"match_labels": ["a"]})))
    fleet = read_fleet([tmp_path])
    report = Reporter()
    told: asyncio.Queue[list[tuple[str, str, str]]] = asyncio.Queue()

    def tell(plan: FleetPlan) -> None:
        told.put_nowait([(one["event"], one["difference"], one["id"]) for one in report.update(plan)])

    async def until(*wanted: tuple[str, str, str]) -> None:
        missing = list(wanted)
        while missing:
            for one in await asyncio.wait_for(told.get(), 30):
                assert one in missing
                missing.remove(one)

    async with server.connect_async() as omni:
        await omni.templates.carry_out((await omni.templates.plan_fleet(fleet)).parts[0].plan)
        await omni.templates.sync(fleet.templates[0])
        following = asyncio.create_task(follow(omni, fleet, {}, tell))
        assert await asyncio.wait_for(told.get(), 30) == []
        async with omni.edit(MachineSetNode, MACHINE) as node:
            node.annotations.clear()
        await until(("drift", "changed", MACHINE))
        async with omni.edit(MachineSetNode, MACHINE) as node:
            node.annotations["omni.sidero.dev/locked"] = ""
        await until(("resolved", "changed", MACHINE))
        await omni.delete(MachineClass, "mine")
        await until(("drift", "missing", "mine"))
        following.cancel()
        await asyncio.wait([following])
        assert following.cancelled()


def test_a_watch_for_drift_ends_by_ctrl_c(server: Emulator, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    with Shell(tmp_path, server.environment()).start("drift", "lab.yaml", "--watch") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["difference"] == "missing"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")

"""Every command that changes something on the server says so first, and does not when only reading is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from omniherd.cli import connection
from omniherd.cli.flags import Command
from omniherd.cli.guard import Guard, changes_something
from omniherd.cli.main import run
from omniherd.cli.table import ROOT, Entry
from omniherd.wire.calls import CALLS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from omniherd.emulator import Emulator

# Commands that change nothing on the server; some write files of this machine.
READING = {
    "audit-log",
    "cluster kubernetes manifest-sync",
    "cluster kubernetes upgrade-pre-checks",
    "cluster secret rotate status",
    "cluster status",
    "cluster template diff",
    "cluster template export",
    "cluster template render",
    "cluster template status",
    "cluster template validate",
    "drift",
    "docs",
    "emulator",
    "export",
    "get",
    "infraprovider list",
    "jointoken kernel-args",
    "jointoken list",
    "jointoken machine-config",
    "jointoken omni-endpoint",
    "kubeconfig",
    "machine-logs",
    "media preset list",
    "plan",
    "serviceaccount list",
    "support",
    "talosconfig",
    "user list",
    "version",
    "wait",
}
MANIFEST = """\
metadata: {namespace: default, type: MachineClasses.omni.sidero.dev, id: never}
spec: {matchlabels: [a]}
"""
TEMPLATE = """\
kind: Cluster
name: never
kubernetes: {version: v1.36.0}
talos: {version: v1.13.5}
---
kind: ControlPlane
machines: []
"""
TOKEN = "w0mT3kV8yQe5ZrB1uHcN7xLpJ2sGfD9aXoRi6EtKq4M"
# How to call the others so that they would change something; by default with the names of things that are not there.
SAMPLES = {
    "annotate": ["cluster", "prod", "a=b"],
    "apply": ["-f", "m.yaml"],
    "cluster delete": ["edge-lab"],
    "cluster kubernetes manifest-sync": ["prod", "--dry-run=false"],
    "cluster lock": ["prod"],
    "cluster machine delete": ["fra-worker-1"],
    "cluster machine lock": ["fra-worker-1"],
    "cluster machine unlock": ["fra-worker-2"],
    "cluster template delete": ["-f", "t.yaml"],
    "cluster template sync": ["-f", "t.yaml"],
    "cluster unlock": ["staging"],
    "configure machine": ["fra-worker-1", "--reset-node-unique-token"],
    "create": ["-f", "m.yaml"],
    "delete": ["mc", "gpu"],
    "download": ["iso"],
    "edit": ["mc", "gpu"],
    "jointoken make-default": [TOKEN],
    "jointoken delete": [TOKEN, "-f"],
    "jointoken renew": [TOKEN, "--ttl", "1h"],
    "jointoken revoke": [TOKEN, "-f"],
    "jointoken unrevoke": [TOKEN],
    "label": ["cluster", "prod", "a=b"],
    "machine install": ["fra-worker-1", "--disk", "/dev/sda"],
    "machine upgrade": ["fra-worker-1", "--version", "1.13.5"],
    "sync": ["m.yaml"],
    "user create": ["new@example.com", "--role", "Reader"],
    "user set-role": ["new@example.com", "--role", "Reader"],
}
# What these ask for is so already.
IDLE = {
    "cluster machine unlock",
    "cluster template delete",
    "cluster unlock",
    "jointoken make-default",
    "jointoken unrevoke",
}
# Commands of this machine's files alone.
LOCAL = ("config ", "completion ")


def commands(node: Entry = ROOT, path: str = "") -> Iterator[tuple[str, Entry]]:
    for child in node.children.values():
        name = f"{path} {child.name}".strip()
        if child.children:
            yield from commands(child, name)
        else:
            yield name, child


WRITING = [
    (name, entry)
    for name, entry in commands()
    if (name not in READING or name in SAMPLES) and not name.startswith(LOCAL)
]


def words_for(name: str, entry: Entry) -> list[str]:
    if name in SAMPLES:
        return SAMPLES[name]
    command = getattr(__import__(f"omniherd.cli.{entry.module}", fromlist=["x"]), entry.attribute)
    assert isinstance(command, Command)
    return ["nobody"] * (command.minimum or 0) + [f"--{flag}=1" for flag in command.required]


@pytest.fixture(autouse=True)
def here(server: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in {**server.environment(), "EDITOR": "sed -i s/gpu.=.true/gpu=false/"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "m.yaml").write_text(MANIFEST)
    (tmp_path / "t.yaml").write_text(TEMPLATE)


def state(server: Emulator) -> set[tuple[str, str, str]]:
    # The server itself notes who was active when.
    return {
        (kind, one.id, one.version)
        for namespace, kind in server.store.kinds()
        if not kind.startswith(("Identity", "PublicKeyLast", "ServiceAccountStatus"))
        for one in server.store.list(namespace, kind)
    }


@pytest.mark.parametrize(("name", "entry"), WRITING, ids=[name for name, _ in WRITING])
@pytest.mark.parametrize("how", ["flag", "environment"])
def test_read_only_refuses(
    name: str,
    entry: Entry,
    how: str,
    server: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = state(server)
    if how == "environment":
        monkeypatch.setenv("OMNIHERD_READ_ONLY", "1")
    words = [*name.split(), *words_for(name, entry), *(["--read-only"] if how == "flag" else [])]
    assert run(words) == 1
    assert "Error: read-only: " in capsys.readouterr().err
    assert state(server) == before


@pytest.mark.parametrize(("name", "entry"), WRITING, ids=[name for name, _ in WRITING])
def test_nothing_gets_past_read_only_when_a_command_forgets_it(
    name: str, entry: Entry, server: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(server)
    words = words_for(name, entry)
    module = __import__(f"omniherd.cli.{entry.module}", fromlist=["x"])
    for place in (module, connection):
        monkeypatch.setattr(place, "refuse_read_only", lambda *_: None, raising=False)
    code = run([*name.split(), *words, "--read-only"])
    err = capsys.readouterr().err
    assert state(server) == before
    if name not in IDLE:
        assert code == 1
        assert "read-only: /" in err or "not found" in err or "NotFound" in err


def test_what_changes_something_is_known_for_every_method() -> None:
    harmless = {path for path in CALLS if not changes_something(path, b"")}
    assert all(path.partition("/")[2].partition(".")[0] in {"cosi", "omni", "management", "auth"} for path in harmless)
    for verb in ("Create", "Update", "Destroy", "Teardown", "TeardownAndDestroy"):
        assert f"/cosi.resource.State/{verb}" not in harmless
    verbs = ("Create", "Destroy", "Update", "Renew", "Reset", "MachinePower", "Maintenance", "Delete", "Confirm")
    guilty = [path for path in harmless if path.rpartition("/")[2].startswith(verbs)]
    assert guilty == []


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["cluster", "lock", "prod"], "+         omni.sidero.dev/cluster-locked:\n"),
        (["cluster", "machine", "lock", "fra-worker-1"], "+         omni.sidero.dev/locked:\n"),
        (["jointoken", "revoke", TOKEN, "-f"], "+     revoked: true\n"),
        (
            ["user", "create", "new@example.com", "--role", "Reader"],
            "Calling ManagementService/CreateUser\n\n    email:",
        ),
        (["machine", "shutdown", "fra-worker-1"], "Calling ManagementService/MachinePowerOff\n\n    machine_id: "),
        (["label", "cluster", "prod", "tier=1"], "+         tier: 1\n"),
        (["annotate", "cluster", "prod", "note=x"], "+         note: x\n"),
        (["delete", "mc", "gpu"], "-         - gpu = true\n"),
        (["delete", "mc", "--all"], "Deleting resource 'gpu'\n"),
        (["apply", "-f", "m.yaml"], "Creating resource 'never'\n"),
        (["create", "-f", "m.yaml"], "Creating resource 'never'\n"),
        (["edit", "mc", "gpu"], "+         - gpu=false\n"),
        (["cluster", "delete", "edge-lab"], "* tearing down (dry run) Clusters.omni.sidero.dev(edge-lab)\n"),
        (["cluster", "machine", "delete", "fra-worker-1"], "Deleting resource '"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_dry_run_shows_what_would_change_and_changes_nothing(
    words: list[str], shown: str, server: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(server)
    assert run([*words, "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert shown in out
    assert "Error" not in err
    assert state(server) == before


def test_a_dry_run_may_be_read_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--read-only", "cluster", "lock", "prod", "--dry-run"]) == 0
    assert "cluster-locked" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["config", "new"],
        ["kubeconfig", "-c", "prod"],
        ["talosconfig"],
        ["docs", "."],
        ["support", "-c", "prod"],
        ["media", "download", "x", "--output", "images"],
    ],
)
def test_what_writes_files_has_no_dry_run(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert run([*words, "--dry-run"]) == 1
    assert "unknown flag: --dry-run" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_guard_is_a_channel_otherwise() -> None:
    class Channel:
        timeout = 5.0

        def unary(self, path: str, request: bytes, **options: object) -> bytes:
            return path.encode() + request

    guard = Guard(Channel(), dry_run=False)
    assert guard.timeout == 5.0
    assert guard.unary("/cosi.resource.State/Get", b"!") == b"/cosi.resource.State/Get!"

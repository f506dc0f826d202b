"""`cluster import` as people type it: flags, what is said and where, prompts, exit codes."""

from __future__ import annotations

import json
import zipfile
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from inner_shell import InnerShell, inner_shell

from omniherd.emulator import Emulator
from omniherd.resources import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from omniherd import Omni, Resource
    from omniherd.emulator import ForeignCluster

DONE = "cluster \"outside\" is imported successfully but marked as 'locked' to prevent changes done by Omni\n"


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator(seed_fleet=False) as emulator:
        yield emulator


@pytest.fixture
def foreign(server: Emulator, inner: InnerShell, monkeypatch: pytest.MonkeyPatch) -> ForeignCluster:
    cluster = server.foreign_cluster("outside")
    inner.write({"talosconfig": cluster.talosconfig})
    monkeypatch.setenv("TALOSCONFIG", "talosconfig")
    return cluster


@pytest.fixture
def words(foreign: ForeignCluster) -> tuple[str, ...]:
    return ("cluster", "import", "-n", ",".join(foreign.nodes))


def test_a_cluster_is_taken_in(words: tuple[str, ...], inner: InnerShell, omni: Omni) -> None:
    code, out, err = inner(*words)
    assert (code, out) == (0, "")
    assert err.startswith("discovering the Talos cluster...\n")
    assert err.endswith(DONE)
    [backup] = inner.folder.glob("outside-backup-*.zip")
    assert zipfile.is_zipfile(backup)
    assert backup.stat().st_mode & 0o777 == 0o600
    assert [one.id for one in omni.list(Cluster)] == ["outside"]
    code, out, err = inner(*words)
    assert (code, out) == (1, "")
    assert err.endswith(
        'Error: cluster "outside" already exists in Omni and is marked as importing '
        "(`omniherd cluster import abort outside` undoes that import; then try again)\n"
    )


@pytest.mark.parametrize(("form", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_a_dry_run(words: tuple[str, ...], inner: InnerShell, omni: Omni, form: str, load) -> None:  # type: ignore[no-untyped-def]
    code, out, err = inner("--read-only", *words, "--dry-run", "-o", form)
    assert code == 0, err
    told = load(out)
    assert (told["cluster"], told["dry_run"], told["backup"], told["problems"]) == ("outside", True, None, [])
    assert [node["role"] for node in told["nodes"]] == ["controlplane", "worker"]
    assert [one["type"].partition(".")[0] for one in told["resources"]][:3] == [
        "ImportedClusterSecrets",
        "Clusters",
        "MachineSets",
    ]
    assert "a dry run" in err
    assert omni.list(Cluster) == []
    assert list(inner.folder.glob("*.zip")) == []


@pytest.mark.parametrize("machines", [0, 1], ids=["still", "living"])
def test_an_import_is_undone(
    machines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator(seed_fleet=False, machines=machines, speed=50) as server, server.connect() as omni:
        foreign = server.foreign_cluster("outside")
        for shell in inner_shell(tmp_path, server.environment(), monkeypatch, capsys):
            shell.write({"talosconfig": foreign.talosconfig})
            words = ("cluster", "import", "--nodes", ",".join(foreign.nodes), "--talosconfig", "talosconfig")
            assert shell(*words)[2].endswith(DONE)
            assert set(foreign.machines) <= {link.id for link in omni.list("links")}
            code, _, err = shell("cluster", "import", "abort", "outside")
            assert code == 0, err
            for kind in ("clusters", "machinesets", "machinesetnodes", "configpatches"):
                assert omni.list(kind) == [], kind
            assert set(foreign.machines).isdisjoint(link.id for link in omni.list("links"))


def test_what_was_done_as_json(words: tuple[str, ...], inner: InnerShell) -> None:
    code, out, _ = inner(*words, "-o", "json", "-O", "mine.zip")
    told = json.loads(out)
    assert (code, told["dry_run"], told["backup"]) == (0, False, "mine.zip")


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("Y", 0), ("n", 1), ("yes", 1), ("", 1)])
def test_a_backup_is_overwritten_only_when_that_is_wanted(
    words: tuple[str, ...], inner: InnerShell, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    inner.write({"mine.zip": "mine"})
    monkeypatch.setattr("sys.stdin", StringIO(f"{answer}\n"))
    ended, out, err = inner(*words, "-O", "mine.zip", "--skip-health-check")
    assert (ended, out) == (code, "mine.zip already exists, overwrite? [y/N]: ")
    if code:
        assert err.endswith('Error: failed to import cluster "outside": operation was aborted\n')
        assert (inner.folder / "mine.zip").read_text() == "mine"
    else:
        assert zipfile.is_zipfile(inner.folder / "mine.zip")


def test_a_backup_that_cannot_be_written(words: tuple[str, ...], inner: InnerShell, omni: Omni) -> None:
    code, _, err = inner(*words, "-O", "no/mine.zip")
    assert code == 1
    assert "failed to save backup of machine config(s): " in err
    assert "no such file or directory (nothing was changed)" in err
    assert omni.list(Cluster) == []


def test_a_cluster_that_is_not_fit(server: Emulator, inner: InnerShell, omni: Omni) -> None:
    plain = server.foreign_cluster("plain", schematic="")
    inner.write({"plain": plain.talosconfig})
    words = ("cluster", "import", "-n", plain.nodes[0], "-n", plain.nodes[1], "--talosconfig", "plain", "-O", "b.zip")
    code, _, err = inner(*words)
    assert code == 1
    assert (
        'Error: failed to validate cluster status "plain", can be overridden with --force:  validation error: \n'
        ' - schematic ID missing for node "plain-cp-1". talos was not installed using an image factory\n'
    ) in err
    assert omni.list(Cluster) == []
    assert inner(*words, "--force")[0] == 0
    assert [one.id for one in omni.list(Cluster)] == ["plain"]


@pytest.mark.parametrize(
    ("more", "error"),
    [
        (
            ("--talos-version", "1.2.3"),
            'requested talos version "1.2.3" does not match detected talos version "1.13.5"',
        ),
        (("--kubernetes-version", "1.2.3"), 'requested kubernetes version "1.2.3" does not match'),
        (("--initial-talos-version", "2.0.0"), 'initial talos version "2.0.0" cannot be greater than'),
        (("--initial-kubernetes-version", "2.0.0"), 'initial kubernetes version "2.0.0" cannot be greater than'),
        (("--talosconfig", "missing"), 'failed to open config file "missing": no such file or directory'),
        (("--talos-context", "other"), 'context "other" is not defined in talosconfig'),
        (("--talos-endpoints", "127.0.0.1:1"), "cannot reach the Talos API: 127.0.0.1:1: connection refused"),
        (("--wait-timeout", "0s"), "the import took longer than it may"),
        (("-n", "192.0.2.99"), "number of members in cluster (2) does not match number of provided nodes (3)"),
        (("-o", "wide"), 'output format "wide" is not supported'),
    ],
)
def test_what_is_refused(words: tuple[str, ...], inner: InnerShell, more: tuple[str, ...], error: str) -> None:
    code, out, err = inner(*words, *more)
    assert (code, out) == (1, "")
    assert error in err


def test_what_nodes_say_does_not_command_the_terminal(
    words: tuple[str, ...], inner: InnerShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    from omniherd._sync.cluster_import import ClusterImport

    def check(self: ClusterImport, *_: object, **__: object) -> None:
        self._note(" > all is well\x1b]0;owned\x07")

    monkeypatch.setattr(ClusterImport, "check", check)
    assert " > all is well\\x1b]0;owned\\x07\n" in inner(*words, "--dry-run")[2]


def test_nodes_are_needed(inner: InnerShell) -> None:
    assert inner("cluster", "import")[2].startswith('Error: required flag(s) "nodes" not set')
    assert inner("cluster", "import", "-n", "")[2] == "Error: at least one node is required to import a cluster\n"


def test_nothing_is_imported_where_only_reading_is_wanted(words: tuple[str, ...], inner: InnerShell) -> None:
    code, _, err = inner("--read-only", *words)
    assert code == 1
    assert err.startswith("Error: read-only: `cluster import` is refused")


def test_a_failure_half_way_says_what_stands(
    words: tuple[str, ...], inner: InnerShell, server: Emulator, omni: Omni, monkeypatch: pytest.MonkeyPatch
) -> None:
    from omniherd import Omni

    original = Omni.create

    def create(self: Omni, resource: Resource[Any], **options: Any) -> Any:
        if isinstance(resource, Cluster):
            server.faults.fail("State/Create", "PERMISSION_DENIED", "not now", times=1)
        return original(self, resource, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Omni, "create", create)
        code, _, err = inner(*words)
    assert code == 1
    assert (
        "the import stopped half way; what stands:\n > ImportedClusterSecrets.omni.sidero.dev outside is in Omni\n"
        ' > node "192.0.251.1" has the configuration that leads to Omni'
    ) in err
    assert err.endswith(
        "there is no cluster in Omni yet: try again, or take the machines' links out of Omni\n"
        'Error: failed to import cluster "outside": failed to import cluster: failed to create '
        'Clusters.omni.sidero.dev "outside": rpc error: code = PermissionDenied desc = not now\n'
    )
    assert omni.list(Cluster) == []
    # What stands is no obstacle: the next one comes to its end.
    assert inner(*words, "-O", "again.zip")[2].endswith(DONE)

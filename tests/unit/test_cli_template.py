"""`omniherd cluster template`, where it goes further than the recorded runs of omnictl."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from inner_shell import InnerShell, inner_shell

from omniherd.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAB = """\
kind: Cluster
name: lab
kubernetes: {version: v1.34.3}
talos: {version: v1.12.7}
---
kind: ControlPlane
machines: [11111111-1111-4111-8111-111111111111]
"""
BROKEN = LAB.replace("lab", "lab 2").replace("[11111111-1111-4111-8111-111111111111]", "[node-1]")


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator(seed_fleet=False) as emulator:
        yield emulator


@pytest.fixture
def shell(inner: InnerShell) -> InnerShell:
    return inner


@pytest.fixture
def offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[InnerShell]:
    yield from inner_shell(tmp_path, {}, monkeypatch, capsys)


def test_every_finding_has_its_place(offline: InnerShell) -> None:
    offline.write({"lab.yaml": LAB, "broken.yaml": BROKEN, "form.yaml": LAB.replace("machines:", "machine:")})
    code, out, err = offline("cluster", "template", "validate", "lab.yaml", "broken.yaml", "-o", "lines")
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        'broken.yaml:2:1: cluster "lab 2": name should only contain letters, digits, dashes and underscores',
        'broken.yaml:7:1: control plane: invalid machine ID "node-1": invalid UUID length: 6',
    ]
    code, out, _ = offline("cluster", "template", "validate", "-f", "form.yaml", "-o", "lines")
    assert (code, out) == (1, "form.yaml:7:1: field machine not found in type models.ControlPlane\n")
    code, out, _ = offline("cluster", "template", "validate", "-f", "broken.yaml", "-o", "json")
    assert code == 1
    assert [(one["file"], one["line"], one["column"]) for one in json.loads(out)] == [
        ("broken.yaml", 2, 1),
        ("broken.yaml", 7, 1),
    ]
    assert offline("cluster", "template", "validate", "lab.yaml", "-o", "json") == (0, "[]\n", "")


def test_a_folder_is_checked_as_a_whole(offline: InnerShell) -> None:
    offline.write({"fleet/a.yaml": BROKEN, "fleet/b.yaml": BROKEN, "fleet/c.yaml": LAB, "fleet/d.yaml": LAB})
    code, out, err = offline("cluster", "template", "validate", "fleet")
    assert (code, out) == (1, "")
    assert err.startswith("Error: 6 errors in the files:\nfleet/a.yaml:2:1: ")
    assert 'fleet/d.yaml:2:1: cluster "lab" stands in fleet/c.yaml too\n' in err
    assert offline("cluster", "template", "validate", "fleet", "-f", "fleet/a.yaml")[2].startswith(
        'Error: unknown command "fleet" for "omniherd cluster template validate"'
    )


def test_a_file_is_needed(offline: InnerShell) -> None:
    assert offline("cluster", "template", "validate") == (1, "", 'Error: required flag(s) "file" not set\n')


def test_strict_finds_what_comes_later(offline: InnerShell) -> None:
    machine = "11111111-1111-4111-8111-111111111111"
    offline.write({"lab.yaml": LAB.replace(machine, f"{machine}, {machine}")})
    assert offline("cluster", "template", "validate", "-f", "lab.yaml")[0] == 0
    assert "duplicate" in offline("cluster", "template", "validate", "-f", "lab.yaml", "--strict")[2]


def test_files_outside_are_refused(offline: InnerShell) -> None:
    offline.write(
        {"t/lab.yaml": LAB.replace("talos", "patches: [{file: ../p.yaml}]\ntalos", 1), "p.yaml": "debug: true\n"}
    )
    code, _, err = offline("c", "t", "validate", "-f", "t/lab.yaml")
    assert code == 1
    assert "path escapes from parent" in err
    assert offline("c", "t", "--allowed-dir", "..", "validate", "-f", "t/lab.yaml")[0] == 0
    assert offline("c", "t", "validate", "-f", "t/lab.yaml", "--allowed-dir=..")[0] == 0


def test_a_diff_tells_by_its_exit_code(shell: InnerShell) -> None:
    shell.write({"lab.yaml": LAB, "broken.yaml": BROKEN})
    code, out, _ = shell("cluster", "template", "diff", "-f", "lab.yaml", "--exit-code")
    assert code == 2
    assert "+++ Clusters.omni.sidero.dev(default/lab)\n" in out
    assert "\x1b" not in out
    assert shell("cluster", "template", "sync", "-f", "lab.yaml")[0] == 0
    assert shell("cluster", "template", "diff", "-f", "lab.yaml", "--exit-code") == (0, "", "")
    assert shell("cluster", "template", "diff", "-f", "broken.yaml", "--exit-code")[0] == 1


def test_an_export_is_for_its_owner_and_overwrites_when_told(shell: InnerShell) -> None:
    shell.write({"lab.yaml": LAB})
    shell("cluster", "template", "sync", "-f", "lab.yaml")
    assert shell("cluster", "template", "export", "-c", "lab", "-o", "copy.yaml") == (0, "", "")
    copy = shell.folder / "copy.yaml"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert shell("cluster", "template", "validate", "-f", "copy.yaml") == (0, "", "")
    assert shell("cluster", "template", "diff", "-f", "copy.yaml") == (0, "", "")
    again = shell("cluster", "template", "export", "-c", "lab", "-o", "copy.yaml")
    assert again == (1, "", "Error: failed to open output file: open copy.yaml: file exists\n")
    copy.write_text("old")
    assert shell("cluster", "template", "export", "-c", "lab", "-o", "copy.yaml", "--force")[0] == 0
    assert copy.read_text().startswith("kind: Cluster\n")
    code, _, err = shell("cluster", "template", "export", "-c", "none")
    assert code == 1
    assert err == (
        'Error: error getting cluster "none": rpc error: code = NotFound desc = '
        "resource Clusters.omni.sidero.dev(default/none@undefined) doesn't exist\n"
    )


def test_reading_only_changes_nothing(shell: InnerShell) -> None:
    shell.write({"lab.yaml": LAB})
    for verb in ("sync", "delete"):
        code, _, err = shell("cluster", "template", verb, "-f", "lab.yaml", "--read-only")
        assert (code, "read-only" in err) == (1, True)
        assert shell("cluster", "template", verb, "-f", "lab.yaml", "--read-only", "--dry-run")[0] == 0


def test_a_template_from_standard_input(offline: InnerShell, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LAB.encode())))
    code, out, _ = offline("cluster", "template", "render", "-f", "-")
    assert (code, out.count("metadata:")) == (0, 3)


def test_a_folder_s_overlays_may_not_leave_it_either(shell: InnerShell) -> None:
    overlay = "kind: Overlay\nbase: ../../base.yaml\nname: lab\n"
    shell.write({"base.yaml": LAB, "sub/dir/over.yaml": overlay, "sub/other.yaml": LAB})
    code, out, err = shell("cluster", "template", "sync", "-f", "sub/dir", "--dry-run")
    assert (code, out) == (1, "")
    assert "failed to read the base: openat ../base.yaml: path escapes from parent" in err
    assert shell("cluster", "template", "sync", "-f", "sub/dir", "--dry-run", "--allowed-dir", "..")[0] == 0

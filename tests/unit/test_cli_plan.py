"""`omniherd plan` and `sync`: whole folders compared with a server, shown, kept and carried out."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from omniherd import template
from omniherd.cli.output import plans
from omniherd.emulator import Emulator
from omniherd.errors import InputError
from omniherd.resources import Cluster, ConfigPatch, MachineSetNode
from omniherd.template import FleetPlan, PlanPart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inner_shell import InnerShell

    from omniherd import Omni

PLANE = [f"{number}1111111-1111-4111-8111-111111111111" for number in range(3)]
WORKER = "22222222-2222-4222-8222-222222222222"
LAB = f"""\
kind: Cluster
name: lab
kubernetes: {{version: v1.34.3}}
talos: {{version: v1.12.7}}
patches:
  - name: time
    inline: {{machine: {{time: {{servers: [time.example.com]}}}}}}
---
kind: ControlPlane
machines: [{", ".join(PLANE)}]
---
kind: Workers
machines: [{WORKER}]
"""
GPU = """\
metadata:
  namespace: default
  type: MachineClasses.omni.sidero.dev
  id: cli-gpu
spec:
  matchlabels: [gpu]
"""


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator(seed_fleet=False) as emulator:
        yield emulator


@pytest.fixture
def shell(inner: InnerShell) -> InnerShell:
    return inner


def test_a_folder_is_planned_synced_and_then_as_it_should_be(shell: InnerShell, omni: Omni) -> None:
    shell.write(
        {
            "fleet/clusters/lab.yaml": LAB.replace("- name: time", "- file: ../patches/p.yaml\n  - name: time"),
            "fleet/patches/p.yaml": "machine:\n  env: {A: b}\n",
            "fleet/classes.yaml": GPU,
            "fleet/notes.yaml": "a: b\n",
            "fleet/.github/ci.yaml": "on: push\n",
            "fleet/README.md": "no YAML",
        }
    )
    code, out, err = shell("plan", "fleet")
    assert code == 2
    assert err == "passed over fleet/notes.yaml: neither a template nor a resource, and no template names it\n"
    assert out.index("+ create MachineClasses cli-gpu") < out.index("cluster lab (fleet/clusters/lab.yaml)")
    assert "+ create ConfigPatches 200-cluster-lab-../patches/p.yaml\n--- /dev/null\n" in out
    assert out.endswith("\nPlan: 10 to create, 0 to change, 0 to destroy.\n")
    assert shell("sync", "fleet", "--dry-run")[0] == 0
    assert omni.list(Cluster) == []
    code, out, _ = shell("sync", "fleet")
    assert (code, out.count("* creating ")) == (0, 10)
    assert shell("plan", "fleet")[:2] == (0, "No changes.\n")
    assert shell("sync", "fleet")[:2] == (0, "")


def test_a_plan_as_json(shell: InnerShell) -> None:
    shell.write({"lab.yaml": LAB})
    shell("sync", "lab.yaml")
    shell.write({"lab.yaml": LAB.replace("v1.12.7", "v1.12.6").replace(f"{PLANE[0]}, {PLANE[1]}, ", "")})
    code, out, _ = shell("plan", "lab.yaml", "-o", "json")
    assert code == 2
    found = json.loads(out)
    assert found["changes"] == {"create": 0, "update": 1, "destroy": 2}
    assert found["dangers"] == [
        "lowers Talos from 1.12.7 to 1.12.6",
        *(
            f"takes machine {one} out of the control plane, one of 2 at once: etcd may lose its majority"
            for one in PLANE[:2]
        ),
    ]
    (part,) = found["parts"]
    assert (part["cluster"], part["file"]) == ("lab", "lab.yaml")
    assert [(one["action"], one["id"]) for one in part["steps"]] == [
        ("update", "lab"),
        ("destroy", PLANE[0]),
        ("destroy", PLANE[1]),
    ]
    assert "-  talosversion: 1.12.7\n+  talosversion: 1.12.6\n" in part["steps"][0]["diff"]


def test_a_plan_for_a_pull_request(shell: InnerShell) -> None:
    shell.write({"lab.yaml": LAB})
    shell("sync", "lab.yaml")
    shell.write({"lab.yaml": LAB.replace("v1.34.3", "v1.33.7").replace("time.example.com", "'```<b>'")})
    code, out, _ = shell("plan", "lab.yaml", "-o", "markdown")
    assert code == 2
    assert out.startswith(
        "### Plan: 0 to create, 2 to change, 0 to destroy; 1 dangerous change.\n\n"
        "> [!CAUTION]\n> - lowers Kubernetes from 1.34.3 to 1.33.7\n\n#### cluster lab (lab.yaml)\n\n"
    )
    assert "<details><summary>update <code>Clusters lab</code> ⚠️</summary>\n\n```diff\n--- Clusters" in out
    # What a diff holds cannot end its block.
    assert re.search(r"^````diff\n(?:.*\n)*?\+.*```<b>.*\n(?:.*\n)*?````$", out, re.MULTILINE)
    _, brief, _ = shell("plan", "lab.yaml", "-o", "markdown", "--brief")
    assert "- update <code>Clusters lab</code> ⚠️\n" in brief
    assert "diff" not in brief


def test_colour_is_for_terminals(shell: InnerShell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.write({"lab.yaml": LAB})
    assert "\x1b" not in shell("plan", "lab.yaml")[1]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    out = shell("plan", "lab.yaml")[1]
    assert "\x1b[32m+ create Clusters lab\x1b[0m\n" in out
    assert "\x1b[32m+  id: lab\x1b[0m\n" in out


def test_what_is_wrong_is_told_for_all_files(shell: InnerShell) -> None:
    shell.write(
        {
            "fleet/a.yaml": LAB.replace("v1.12.7", "latest"),
            "fleet/b.yaml": LAB,
            "fleet/c.yaml": GPU,
            "fleet/d.yaml": GPU.replace("cli-gpu", "x\n  labels: {omni.sidero.dev/cluster: lab}"),
            "fleet/e.yaml": GPU,
        }
    )
    code, out, err = shell("plan", "fleet")
    assert (code, out) == (1, "")
    assert err.startswith("Error: 5 errors in the files:\nfleet/a.yaml:4:")
    assert 'fleet/b.yaml:2:1: cluster "lab" stands in fleet/a.yaml too\n' in err
    assert "fleet/e.yaml: MachineClasses.omni.sidero.dev(default/cli-gpu) stands in fleet/c.yaml too" in err
    assert 'belongs to cluster "lab", whose template would remove it: write it into fleet/a.yaml\n' in err
    shell.write({"fleet/b.yaml": LAB.replace("name: lab", "name: other")})
    err = shell("plan", "fleet")[2]
    assert f'fleet/b.yaml:10:1: machine "{PLANE[0]}" is in cluster "lab" too' in err
    shell.write({"fleet/a.yaml": "kind: Cluster\n  name: x\n", "fleet/b.yaml": LAB.replace("machines", "machine")})
    code, _, err = shell("plan", "fleet")
    assert code == 1
    assert err.count("fleet/b.yaml:") == 2
    assert "fleet/a.yaml:2:" in err
    assert shell("plan", "absent.yaml")[0] == 1


def test_a_saved_plan_is_carried_out_while_it_fits(shell: InnerShell, omni: Omni) -> None:
    shell.write({"fleet/lab.yaml": LAB, "fleet/gpu.yaml": GPU})
    assert shell("plan", "fleet", "--out", "first.plan")[0] == 2
    saved = shell.folder / "first.plan"
    assert saved.stat().st_mode & 0o777 == 0o600
    # The files do not matter any more.
    shell.write({"fleet/lab.yaml": "nonsense"})
    code, out, _ = shell("sync", "first.plan")
    assert (code, out.count("* creating ")) == (0, 9)
    code, _, err = shell("sync", "first.plan")
    assert code == 1
    assert err.startswith("Error: the plan is outdated: MachineClasses.omni.sidero.dev(default/cli-gpu) is new; ")

    shell.write({"fleet/lab.yaml": LAB.replace("time.example.com", "other.example.com")})
    shell("plan", "fleet", "--out", "second.plan")
    with omni.edit(MachineSetNode, WORKER) as node:
        node.annotations["omni.sidero.dev/locked"] = ""
    code, out, err = shell("sync", "second.plan")
    assert (code, out) == (1, "")
    assert re.search(rf"MachineSetNodes.omni.sidero.dev\(default/{WORKER}\) is at version \d+, the plan is for ", err)
    omni.delete("configpatch", "200-cluster-lab-time")
    assert "200-cluster-lab-time) is gone" in shell("sync", "second.plan")[2]


def test_a_saved_plan_is_for_its_server(shell: InnerShell) -> None:
    shell.write({"lab.yaml": LAB})
    shell("plan", "lab.yaml", "--out", "lab.plan")
    saved = shell.folder / "lab.plan"
    text = saved.read_text()
    saved.write_text(re.sub(r'"endpoint": "[^"]*"', '"endpoint": "https://other.example.com"', text))
    assert "it was made for https://other.example.com, this is http://127.0.0.1:" in shell("sync", "lab.plan")[2]
    saved.write_text(text.replace('"version": 1', '"version": 9'))
    assert "is a plan of another version of omniherd" in shell("sync", "lab.plan")[2]
    saved.write_text(text.replace('"creates"', '"x"'))
    assert "lab.plan is no plan" in shell("sync", "lab.plan")[2]
    saved.write_text(text)
    assert "carried out as it is" in shell("sync", "lab.plan", "--ignore", "locks")[2]


def test_locks_can_be_left_alone(shell: InnerShell, omni: Omni) -> None:
    shell.write({"lab.yaml": LAB})
    shell("sync", "lab.yaml")
    omni.machines.lock(WORKER)
    omni.machines.lock_cluster("lab")
    code, out, _ = shell("plan", "lab.yaml")
    assert (code, out.count("~ update ")) == (2, 2)
    assert shell("plan", "lab.yaml", "--ignore", "locks")[:2] == (0, "No changes.\n")
    # What changes for another reason keeps its lock.
    omni.machines.unlock_cluster("lab")
    shell.write({"lab.yaml": f"{LAB}---\nkind: Machine\nname: {WORKER}\nlabels: {{a: b}}\n"})
    assert shell("sync", "lab.yaml", "--ignore", "locks")[::2] == (0, "")
    node = omni.get(MachineSetNode, WORKER)
    assert node.labels["a"] == "b"
    assert "omni.sidero.dev/locked" in node.annotations


def test_clusters_without_a_file_go_when_that_is_wanted(shell: InnerShell, omni: Omni) -> None:
    shell.write({"fleet/lab.yaml": LAB, "fleet/gpu.yaml": GPU})
    shell("sync", "fleet")
    omni.create(Cluster("by-hand", spec={"kubernetes_version": "1.34.3", "talos_version": "1.12.7"}))
    (shell.folder / "fleet" / "lab.yaml").unlink()
    assert shell("plan", "fleet")[:2] == (0, "No changes.\n")
    code, out, _ = shell("plan", "fleet", "--prune", "--brief", "--out", "prune.plan")
    assert (code, out) == (
        2,
        "cluster lab\n- destroy Clusters lab\n! deletes cluster lab: its machines are wiped\n\n"
        "Plan: 0 to create, 0 to change, 1 to destroy; 1 dangerous change.\n",
    )
    code, out, _ = shell("drift", "fleet", "--prune")
    assert (code, json.loads(out)["difference"]) == (2, "extra")
    assert shell("sync", "prune.plan")[0] == 0
    assert [one.id for one in omni.list(Cluster)] == ["by-hand"]
    assert shell("sync", "fleet", "--prune") == (0, "", "")


def test_what_does_not_go_is_told_and_given_up(shell: InnerShell, omni: Omni) -> None:
    shell.write({"lab.yaml": LAB})
    shell("sync", "lab.yaml")
    with omni.edit(ConfigPatch, "200-cluster-lab-time") as patch:
        patch.finalizers = [*patch.finalizers, "somebody"]
    shell.write({"lab.yaml": re.sub(r"patches:\n(?: .*\n)*", "", LAB)})
    code, out, err = shell("sync", "lab.yaml", "--wait-timeout", "0.2")
    assert (code, out.count("* tearing down ")) == (1, 1)
    assert err.startswith('Error: failed to sync "lab.yaml": ')
    assert "is still tearing down after 0.2 s: held by somebody" in err


def test_a_failure_says_in_which_file(shell: InnerShell) -> None:
    shell.write({"lab.yaml": LAB.replace("v1.12.7", "v1.99.0")})
    code, _, err = shell("sync", "lab.yaml")
    assert code == 1
    assert err.startswith('Error: failed to sync "lab.yaml": rpc error: code = InvalidArgument ')


# --- the library ------------------------------------------------------------------------------------------------------


def lab(**changes: Any) -> template.Template:
    plane = template.ControlPlane(machine_class=template.MachineClass("any", changes.pop("size", 3)))
    cluster = template.Cluster("lab", template.Kubernetes("v1.34.3"), template.Talos(changes.pop("talos", "v1.12.7")))
    return template.Template([cluster, plane, *changes.pop("more", ())])


def texts(plan: template.Plan) -> list[str]:
    return [danger.text for danger in template.dangers(plan)]


def test_dangers() -> None:
    first = lab()
    stored = first.resources()
    assert texts(first.plan([])) == []
    assert texts(lab(size=5, talos="v1.12.8").plan(stored)) == []
    assert texts(lab(size=1).plan(stored)) == [
        "makes the control plane lab-control-planes smaller, from 3 machines to 1"
    ]
    assert texts(lab(talos="v1.12.7-beta.1").plan(stored)) == ["lowers Talos from 1.12.7 to 1.12.7-beta.1"]
    assert texts(first.plan_delete(stored)) == ["deletes cluster lab: its machines are wiped"]


def test_rules_that_are_none() -> None:
    for rule in ("", "labels=", "owner=x"):
        with pytest.raises(InputError, match="no such rule"):
            template.Ignore([rule])


def test_whole_resources_and_labels_can_be_left_alone() -> None:
    first = lab(more=[template.Workers(machines=[WORKER])])
    stored = first.resources()
    changed = [one.copy() for one in stored if not one.type.startswith("MachineSetNodes")]
    changed[0].labels["team.example.com/owner"] = "blue"
    plan = first.plan(changed)
    assert len(plan.updates) == len(plan.creates) == 1
    assert template.Ignore(["labels=team.example.com/*", "msn/2222*"]).apply(plan).empty
    assert not template.Ignore(["labels=team", "msn/3*"]).apply(plan).empty


def patched(*names: str) -> template.Template:
    found = lab()
    found.cluster.patches = [template.Patch(one, {"machine": {"env": {"NAME": one}}}) for one in names]
    return found


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        ("abc", "bc", ["-200-cluster-lab-a"]),
        ("bc", "abc", ["+200-cluster-lab-a"]),
        ("abc", "ab", ["-202-cluster-lab-c"]),
        ("abc", "bcd", ["-200-cluster-lab-a", "+202-cluster-lab-d"]),
        # The order would become another.
        (
            "b",
            "xb",
            ["+200-cluster-lab-x", "+201-cluster-lab-b", "-200-cluster-lab-b"],
        ),
        ("ab", "ba", ["+200-cluster-lab-b", "+201-cluster-lab-a", "-200-cluster-lab-a", "-201-cluster-lab-b"]),
    ],
)
def test_numbers_of_patches_can_stay(before: str, after: str, left: list[str]) -> None:
    plan = patched(*after).plan(patched(*before).resources())
    kept = template.Ignore(["numbers"]).apply(plan)
    assert sorted(f"{'+' if one.action == 'create' else '-'}{one.resource.id}" for one in kept.steps()) == sorted(left)
    # What stays in place is no difference the next time either.
    world = patched(*before).resources()
    gone = {one.key for phase in kept.destroys for one in phase}
    world = [one for one in world if one.key not in gone] + list(kept.creates)
    assert template.Ignore(["numbers"]).apply(patched(*after).plan(world)).empty


def test_a_plan_file_keeps_everything(tmp_path: Path) -> None:
    first = lab()
    plan = lab(size=5, talos="v1.12.8", more=[template.Workers()]).plan(first.resources())
    whole = FleetPlan((PlanPart("lab", "lab.yaml", plan),), "https://omni.example.com")
    template.save_plan(whole, tmp_path / "lab.plan")
    read = template.load_plan(tmp_path / "lab.plan")
    assert read == whole
    assert read.parts[0].plan.basis == plan.basis
    assert plans.summary(read) == "Plan: 1 to create, 2 to change, 0 to destroy."
    (tmp_path / "x").write_text("{}")
    with pytest.raises(InputError, match="is no plan"):
        template.load_plan(tmp_path / "x")

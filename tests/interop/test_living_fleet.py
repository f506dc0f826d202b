"""omnictl takes a cluster of living machines from a template up, through both upgrades and down again."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from omniherd.emulator import Emulator

OURS = Path(sys.executable).parent / "omniherd"
PLANES, WORKERS = 1, 2
CLASS = """\
metadata:
  namespace: default
  type: MachineClasses.omni.sidero.dev
  id: workers
spec:
  matchlabels: [pool = workers]
"""
LABELS = """\
---
metadata:
  namespace: default
  type: MachineLabels.omni.sidero.dev
  id: {machine}
  labels: {{pool: workers}}
spec: {{}}
"""
TEMPLATE = """\
kind: Cluster
name: lab
kubernetes:
  version: v{kubernetes}
talos:
  version: v{talos}
patches:
  - name: ntp
    inline:
      machine:
        time:
          servers: [ntp.example.org]
---
kind: ControlPlane
machines: [{planes}]
---
kind: Workers
machineClass:
  name: workers
  size: 2
"""


@pytest.fixture
def emulator():
    with Emulator(machines=PLANES + WORKERS + 1, speed=100) as living:
        yield living


@pytest.fixture
def ctl(omnictl, run):
    """Run omnictl to a good end; return what it says."""

    def call(*arguments):
        code, out, err = run(omnictl, *arguments)
        assert code == 0, err
        return out + err

    return call


def tree(text):
    """Return the last tree that a status prints, without what differs from run to run."""
    text = re.sub(r'"[0-9a-f]{8}-[0-9a-f-]+"\(talos-[a-z0-9-]+\)', "MACHINE", text)
    return [line.rstrip() for line in text[text.rindex('Cluster "lab"') :].splitlines()]


READY = [
    'Cluster "lab" RUNNING Ready (3/3) (healthy/total)',
    "├── Kubernetes Upgrade Done",
    '├── Control Plane "lab-control-planes" Running Ready (1/1)',
    "│   ├── Load Balancer Ready",
    "│   ├── Status Checks OK",
    "│   └── Machine MACHINE RUNNING Ready",
    '└── Workers "lab-workers" Running Ready (2/2)',
    "    ├── Machine MACHINE RUNNING Ready",
    "    └── Machine MACHINE RUNNING Ready",
]


def settled(emulator, talos, kubernetes):
    """Wait until both upgrades are done, as a watch tells it."""
    with emulator.connect(timeout=60) as omni:
        for type_, version in (("TalosUpgradeStatuses", talos), ("KubernetesUpgradeStatuses", kubernetes)):
            for event in omni.watch(f"{type_}.omni.sidero.dev", "lab"):
                spec = event.resource.spec
                if spec.last_upgrade_version == version and spec.phase == 2:
                    break
        # The load balancer is the last to come, and nothing waits for it.
        omni.wait_until("clusters", "lab", "load-balancer-ready", timeout=60)


def test_a_template_comes_up_is_upgraded_and_goes(emulator, ctl, tmp_path):
    planes, workers = emulator.fleet.machines[:PLANES], emulator.fleet.machines[PLANES : PLANES + WORKERS]
    (tmp_path / "class.yaml").write_text(CLASS + "".join(LABELS.format(machine=machine) for machine in workers))
    template = tmp_path / "lab.yaml"
    template.write_text(TEMPLATE.format(talos="1.13.4", kubernetes="1.35.5", planes=", ".join(planes)))
    ctl("apply", "-f", "class.yaml")
    ctl("cluster", "template", "validate", "-f", "lab.yaml")
    assert "creating Clusters.omni.sidero.dev(lab)" in ctl("cluster", "template", "sync", "-f", "lab.yaml")
    settled(emulator, "1.13.4", "1.35.5")
    assert tree(ctl("cluster", "template", "status", "-f", "lab.yaml")) == READY
    assert ctl("cluster", "template", "diff", "-f", "lab.yaml") == ""
    exported = ctl("cluster", "template", "export", "-c", "lab")
    assert "name: workers\n  size: 2" in exported
    assert f"- {planes[0]}" in exported

    template.write_text(TEMPLATE.format(talos="1.13.5", kubernetes="1.36.0", planes=", ".join(planes)))
    assert "updating Clusters.omni.sidero.dev(lab)" in ctl("cluster", "template", "sync", "-f", "lab.yaml")
    settled(emulator, "1.13.5", "1.36.0")
    assert tree(ctl("cluster", "status", "lab")) == READY
    statuses = ctl("get", "machinestatus", "-o", "json").replace("}\n{", "},{")
    versions = {found["metadata"]["id"]: found["spec"]["talosversion"] for found in json.loads(f"[{statuses}]")}
    assert {versions[machine] for machine in (*planes, *workers)} == {"v1.13.5"}

    said = ctl("cluster", "template", "delete", "-f", "lab.yaml")
    assert "destroyed Clusters.omni.sidero.dev(lab)" in said
    assert ctl("get", "clusters").splitlines()[1:] == []


def test_machines_are_locked_and_deleted(emulator, ctl, tmp_path):
    planes, workers = emulator.fleet.machines[:PLANES], emulator.fleet.machines[PLANES : PLANES + WORKERS]
    (tmp_path / "class.yaml").write_text(CLASS + "".join(LABELS.format(machine=machine) for machine in workers))
    template = tmp_path / "lab.yaml"
    template.write_text(TEMPLATE.format(talos="1.13.5", kubernetes="1.35.5", planes=", ".join(planes)))
    ctl("apply", "-f", "class.yaml")
    ctl("cluster", "template", "sync", "-f", "lab.yaml")
    settled(emulator, "1.13.5", "1.35.5")
    assert ctl("cluster", "machine", "lock", workers[0]).strip() == f'machine "{workers[0]}" lock status: true'
    assert sum("Locked" in line for line in tree(ctl("cluster", "status", "lab"))) == 1
    said = ctl("cluster", "machine", "delete", workers[1])
    assert f"ClusterMachines.omni.sidero.dev {workers[1]} is destroyed" in said
    assert tree(ctl("cluster", "status", "lab"))[0] == READY[0]


def test_the_command_lets_machines_live(environment, tmp_path):
    ready = tmp_path / "ready.env"
    command = [OURS, "emulator", "--machines", "2", "--speed", "10", "--seed", "7", "--ready-file", ready]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as served:
        lines = [served.stdout.readline() for _ in range(2)]
        variables = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines)
        try:
            done = subprocess.run(
                [OURS, "get", "machines", "-o", "json"],
                env={**environment, **variables},
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
        finally:
            served.terminate()
            served.wait(30)
    assert done.stdout.count('"Machines.omni.sidero.dev"') == 2

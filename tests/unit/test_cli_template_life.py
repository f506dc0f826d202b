"""A cluster's life by its template, on machines that live: every stage shows in its status."""

from __future__ import annotations

import contextlib
import re
import threading
from typing import TYPE_CHECKING

import pytest

from omniherd.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inner_shell import InnerShell


def template(planes: Sequence[str], workers: Sequence[str], talos: str = "v1.13.5", kubernetes: str = "v1.34.3") -> str:
    return (
        f"kind: Cluster\nname: lab\nkubernetes: {{version: {kubernetes}}}\ntalos: {{version: {talos}}}\n"
        f"---\nkind: ControlPlane\nmachines: [{', '.join(planes)}]\n"
        f"---\nkind: Workers\nmachines: [{', '.join(workers)}]\n"
    )


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator(machines=10, speed=0) as emulator:
        store = emulator.store
        known = store.get("default", "TalosVersions.omni.sidero.dev", "1.13.5").decode()
        newer = {"version": "1.13.6", "compatible_kubernetes_versions": list(known.compatible_kubernetes_versions)}
        store.put("TalosVersions.omni.sidero.dev", "1.13.6", newer)
        yield emulator


@pytest.fixture
def shell(inner: InnerShell) -> InnerShell:
    return inner


@contextlib.contextmanager
def passing(server: Emulator) -> Iterator[None]:
    """Let the machines' time pass beside a command that waits for them."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(0.002):
            server.fleet.step(1)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def status(shell: InnerShell) -> tuple[int, str]:
    code, out, err = shell("cluster", "template", "status", "-f", "lab.yaml", "-w", "0")
    assert err == ("" if code == 0 else "Error: cluster is not healthy\n")
    return code, out


def until_healthy(server: Emulator, shell: InnerShell, stage: str) -> str:
    """Look every few seconds, until the status has shown a stage and then health; return the last one."""
    seen, out = False, ""
    for _ in range(300):
        code, out = status(shell)
        seen = seen or re.search(stage, out) is not None
        if code == 0 and seen:
            return out
        server.fleet.step(2)
    raise AssertionError(f"{stage} and health, but {out}")


def test_three_control_planes_and_five_workers_live(server: Emulator, shell: InnerShell) -> None:
    planes, workers = server.fleet.machines[:3], server.fleet.machines[3:8]
    shell.write({"lab.yaml": template(planes, workers)})
    code, out, _ = shell("cluster", "template", "sync", "-f", "lab.yaml")
    assert (code, out.count("* creating MachineSetNodes")) == (0, 8)
    out = until_healthy(server, shell, r'^Cluster "lab" SCALING_UP Not Ready \(\d/\d\)')
    assert out.startswith('Cluster "lab" RUNNING Ready (8/8) (healthy/total)\n')
    assert out.count(" RUNNING Ready\n") == 8
    assert shell("cluster", "template", "status", "-f", "lab.yaml", "-q") == (0, "", "")

    # Two workers go: sync waits until they are out.
    shell.write({"lab.yaml": template(planes, workers[:3])})
    with passing(server):
        code, out, _ = shell("cluster", "template", "sync", "-f", "lab.yaml")
    assert code == 0
    assert sorted(line for line in out.splitlines() if "destroyed" in line) == sorted(
        f"* destroyed MachineSetNodes.omni.sidero.dev({one})" for one in workers[3:]
    )
    assert "RUNNING Ready (6/6)" in until_healthy(server, shell, "")

    # And others come.
    shell.write({"lab.yaml": template(planes, [*workers[:3], *server.fleet.machines[8:]])})
    assert shell("cluster", "template", "sync", "-f", "lab.yaml")[0] == 0
    assert "RUNNING Ready (8/8)" in until_healthy(server, shell, 'Workers "lab-workers" ScalingUp Not Ready')

    # Talos is upgraded machine by machine, then Kubernetes.
    workers = [*workers[:3], *server.fleet.machines[8:]]
    shell.write({"lab.yaml": template(planes, workers, talos="v1.13.6")})
    assert shell("cluster", "template", "sync", "-f", "lab.yaml")[0] == 0
    until_healthy(server, shell, "Talos Upgrade Upgrading ")
    shell.write({"lab.yaml": template(planes, workers, talos="v1.13.6", kubernetes="v1.35.5")})
    assert shell("cluster", "template", "sync", "-f", "lab.yaml")[0] == 0
    until_healthy(server, shell, "Kubernetes Upgrade Upgrading ")
    assert shell("cluster", "template", "sync", "-f", "lab.yaml") == (0, "", "")

    with passing(server):
        code, out, _ = shell("cluster", "template", "delete", "-f", "lab.yaml")
    assert (code, out) == (
        0,
        "* tearing down Clusters.omni.sidero.dev(lab)\n* destroyed Clusters.omni.sidero.dev(lab)\n",
    )
    code, _, err = shell("cluster", "template", "status", "-f", "lab.yaml", "-w", "0")
    assert (code, "doesn't exist" in err) == (1, True)

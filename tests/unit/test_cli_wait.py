from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from omniherd import AsyncOmni, Omni, conditions
from omniherd.errors import InputError, WaitTimeout
from omniherd.resources import (
    Cluster,
    ClusterMachineStatus,
    ClusterStatus,
    ControlPlaneStatus,
    CurrentUser,
    KubernetesStatus,
    KubernetesUpgradeStatus,
    LoadBalancerStatus,
    MachineClass,
    MachineSetStatus,
    MachineStatus,
)

if TYPE_CHECKING:
    from command_shell import Shell

    from omniherd.emulator import Emulator

STATUS = "ClusterStatuses.omni.sidero.dev"
READY = {"phase": 3, "ready": True, "machines": {"total": 2, "healthy": 2}, "controlplaneReady": True}


def missing(resource: Any, kind: str, name: str) -> list[str]:
    return conditions.condition(kind, name).missing(resource)


CLUSTERS, SETS = "Clusters.omni.sidero.dev", "MachineSets.omni.sidero.dev"
MACHINES, MEMBERS = "Machines.omni.sidero.dev", "ClusterMachines.omni.sidero.dev"


@pytest.mark.parametrize(
    ("kind", "name", "resource", "told"),
    [
        (CLUSTERS, "ready", None, ["it has no status yet"]),
        (CLUSTERS, "ready", ClusterStatus("x", spec={**READY, "kubernetesAPIReady": True}), []),
        # A phase alone is not enough, nor is the flag alone.
        (
            CLUSTERS,
            "ready",
            ClusterStatus("x", spec={"phase": 3, "machines": {"total": 3, "healthy": 1}}),
            ["1 of 3 machines are healthy", "the control plane is not ready", "the Kubernetes API is not ready"],
        ),
        (
            CLUSTERS,
            "ready",
            ClusterStatus("x", spec={**READY, "phase": 1, "kubernetesAPIReady": True}),
            ["phase is SCALING_UP"],
        ),
        (CLUSTERS, "running", ClusterStatus("x", spec={"phase": 3}), []),
        (CLUSTERS, "kubernetes-api-ready", ClusterStatus("x", spec=READY), ["the Kubernetes API is not ready"]),
        (CLUSTERS, "Control_Plane_Ready", ClusterStatus("x", spec=READY), []),
        (CLUSTERS, "available", ClusterStatus("x", spec=READY), ["it is not available"]),
        (CLUSTERS, "load-balancer-ready", LoadBalancerStatus("x", spec={"healthy": True}), []),
        (
            CLUSTERS,
            "nodes-ready",
            KubernetesStatus("x", spec={"nodes": [{"nodename": "a", "ready": True}, {"nodename": "b"}]}),
            ["node b is not ready"],
        ),
        (CLUSTERS, "nodes-ready", KubernetesStatus("x"), ["no node is known yet"]),
        (SETS, "ready", MachineSetStatus("x", spec={"phase": 3, "ready": True}), []),
        (
            SETS,
            "ready",
            MachineSetStatus("x", spec={"phase": 5, "error": "no machine", "ready": True}),
            ["phase is Failed", "no machine"],
        ),
        (
            SETS,
            "control-plane-ready",
            ControlPlaneStatus("x", spec={"conditions": [{"type": 1, "status": 2, "reason": "two of three"}]}),
            ["Etcd is NotReady: two of three"],
        ),
        (SETS, "control-plane-ready", ControlPlaneStatus("x"), ["nothing was checked yet"]),
        (MACHINES, "connected", MachineStatus("x", spec={"connected": True}), []),
        (MACHINES, "connected", MachineStatus("x"), ["it is not connected"]),
        (MACHINES, "ready", MachineStatus("x", labels={"omni.sidero.dev/ready-to-use": ""}), []),
        (MACHINES, "ready", MachineStatus("x", spec={"connected": True}), ["it is not ready to be used"]),
        (MACHINES, "running", ClusterMachineStatus("x", spec={"stage": 3}), ["stage is CONFIGURING"]),
        (MEMBERS, "ready", ClusterMachineStatus("x", spec={"stage": 4, "ready": True}), []),
        (
            MEMBERS,
            "up-to-date",
            ClusterMachineStatus("x", spec={"last_config_error": "bad"}),
            ["its configuration is not up to date", "its configuration was refused: bad"],
        ),
        (
            "KubernetesUpgradeStatuses.omni.sidero.dev",
            "done",
            KubernetesUpgradeStatus("x", spec={"phase": 1, "step": "kube-proxy"}),
            ["phase is Upgrading", "step: kube-proxy"],
        ),
        (CLUSTERS, "exists", None, ["it does not exist"]),
        (CLUSTERS, "deleted", Cluster("x", finalizers=["etcd"]), ["it exists, running, held by etcd"]),
        (CLUSTERS, "deleted", None, []),
        (CLUSTERS, "jsonpath={.spec.kubernetesversion}=1.36.0", Cluster("x"), ["it is empty"]),
        (CLUSTERS, "jsonpath={.metadata.labels.env}", Cluster("x", labels={"env": "prod"}), []),
        (CLUSTERS, "jsonpath={.metadata.labels.env}=test", Cluster("x", labels={"env": "prod"}), ["it is prod"]),
        (CLUSTERS, "jsonpath={.metadata.id}", None, ["it does not exist"]),
    ],
)
def test_what_is_missing(kind: str, name: str, resource: Any, told: list[str]) -> None:
    assert missing(resource, kind, name) == told


def test_a_condition_is_judged_by_the_resource_that_tells() -> None:
    assert conditions.condition(CLUSTERS, "ready").kind == STATUS
    assert conditions.condition(SETS, "control-plane-ready").kind == "ControlPlaneStatuses.omni.sidero.dev"
    assert conditions.condition(CLUSTERS, "deleted").kind == CLUSTERS


@pytest.mark.parametrize("name", ["green", "jsonpath=.spec.x", "jsonpath={.spec.x}yes"])
def test_what_is_no_condition(name: str) -> None:
    with pytest.raises(InputError):
        conditions.condition("MachineClasses.omni.sidero.dev", name)


def test_several_are_waited_for_until_all_hold_together(server: Emulator, omni: Omni) -> None:
    server.store.put(STATUS, "one", READY)
    server.store.put(STATUS, "two", {"phase": 1})
    reports: list[dict[str, list[str]]] = []

    def report(news: Any) -> None:
        reports.append(dict(news))
        # The second becomes ready when the first is not any more.
        if len(reports) == 1:
            server.store.put(STATUS, "one", {"phase": 2})
            server.store.put(STATUS, "two", READY)
        elif list(news) == ["one"]:
            server.store.put(STATUS, "one", READY)

    found = omni.wait_until("clusters", ["one", "two", "one"], "ready", 30, report=report)
    assert {id_: status is not None and status.spec.ready for id_, status in found.items()} == {
        "one": True,
        "two": True,
    }
    assert list(reports[0]) == ["two"]
    assert ["one"] in [list(one) for one in reports]
    assert reports[-1] == {}


def test_a_time_that_is_over_says_what_is_missing(omni: Omni) -> None:
    with pytest.raises(WaitTimeout) as caught:
        omni.wait_until(Cluster, ["prod", "edge-lab"], "ready", 0.2)
    assert str(caught.value) == (
        "Clusters.omni.sidero.dev not ready within 0.2 s: edge-lab: 1 of 2 machines are healthy"
    )
    assert caught.value.details["missing"] == {"edge-lab": ["1 of 2 machines are healthy"]}
    assert omni.wait_until(Cluster, [], "ready", 0.2) == {}


def test_what_cannot_be_watched_is_asked_for_again(omni: Omni) -> None:
    assert omni.wait_until(CurrentUser, "current", "exists", 30)["current"] is not None
    with pytest.raises(WaitTimeout):
        omni.wait_until(CurrentUser, ["current"], "deleted", 0.2)


async def test_the_async_twin(server: Emulator) -> None:
    async with AsyncOmni.connect(server.endpoint, service_account_key=server.service_account_key) as omni:
        found = await omni.wait_until("clusters", "prod", "ready", 30)
        assert found["prod"] is not None


def test_exit_codes_and_words(shell: Shell) -> None:
    assert shell("wait", "cluster", "prod") == (0, "Cluster prod is ready\n", "")
    assert shell("wait", "cluster", "prod", "edge-lab", "--timeout", "200ms") == (
        124,
        "Cluster prod is ready\n",
        "Cluster edge-lab is not ready: 1 of 2 machines are healthy\nError: timed out after 0.2s\n",
    )
    code, out, err = shell("wait", "cluster", "prod", "--for=green")
    assert (code, out) == (1, "")
    assert "it has ready, running, available, control-plane-ready, kubernetes-api-ready" in err
    assert shell("wait", "cluster", "-l", "env in (prod, staging)", "--for=running") == (
        0,
        "Cluster prod is running\nCluster staging is running\n",
        "",
    )


@pytest.mark.parametrize(
    ("condition", "met", "unmet"),
    [
        ("exists", "Cluster prod exists", "Cluster none does not exist: it does not exist"),
        ("deleted", "Cluster none is deleted", "Cluster prod is not deleted: it exists, running, held by "),
        (
            "jsonpath={.metadata.id}=prod",
            "Cluster prod fulfils jsonpath={.metadata.id}=prod",
            "Cluster none does not fulfil jsonpath={.metadata.id}=prod: it does not exist",
        ),
    ],
)
def test_words_for_conditions(condition: str, met: str, unmet: str, shell: Shell) -> None:
    code, out, err = shell("wait", "cluster", "prod", "none", "--for", condition, "--timeout", "0.1")
    assert (code, out) == (124, f"{met}\n")
    assert err.startswith(unmet)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["cluster"], "either resource ID or --selector must be specified"),
        (["cluster", "prod", "-l", "a"], "cannot specify both resource ID and selector"),
        (["cluster", "-l", " "], "the selector is empty"),
        (["cluster", "-l", "env=nowhere"], "no Cluster matches 'env=nowhere'"),
        (["nonsense", "x"], 'resource "nonsense" is not registered'),
    ],
)
def test_mistakes_are_told_apart_from_time(words: list[str], told: str, shell: Shell) -> None:
    code, out, err = shell("wait", *words)
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {told}")


def test_machine_readable(shell: Shell) -> None:
    code, out, _ = shell("wait", "cluster", "prod", "edge-lab", "--timeout", "0.2", "-o", "json")
    assert code == 124
    assert json.loads(out) == [
        {"type": CLUSTERS, "id": "prod", "condition": "ready", "met": True, "missing": []},
        {
            "type": CLUSTERS,
            "id": "edge-lab",
            "condition": "ready",
            "met": False,
            "missing": ["1 of 2 machines are healthy"],
        },
    ]


def test_a_wait_ends_when_it_becomes_true(shell: Shell, server: Emulator, omni: Omni) -> None:
    omni.create(MachineClass("leaving", spec={"match_labels": ["a"]}))
    process = shell.start("wait", "mc", "leaving", "--for", "deleted")
    omni.delete(MachineClass, "leaving")
    assert process.communicate(timeout=60) == ("MachineClass leaving is deleted\n", "")
    assert process.returncode == 0

"""The official clients of Talos and of its resources, let through to the emulated machines."""

import json

import pytest


@pytest.fixture
def talos(build, run):
    """Call Talos with the official client; return what each call told, by its name."""
    program = build("talos")

    def call(*arguments):
        code, stdout, stderr = run(program, *arguments)
        assert code == 0, stderr
        return {line["name"]: line for line in map(json.loads, stdout.splitlines())}

    return call


def test_machines_answer_side_by_side(talos):
    told = talos("prod", "fra-cp-1", "fra-worker-1")
    assert told["version"]["brought"] == {"192.0.2.1": "v1.13.4", "192.0.2.4": "v1.13.4"}
    assert told["services"]["brought"]["192.0.2.1"] == ["apid", "etcd", "kubelet", "machined"]
    assert told["logs"]["brought"] == {"192.0.2.1": True, "192.0.2.4": True}


def test_one_that_is_away_does_not_spoil_the_answer_of_the_others(talos):
    version = talos("edge-lab", "lab-cp-1", "lab-worker-1")["version"]
    assert version["brought"] == {"192.0.2.8": "v1.12.8"}
    assert "192.0.2.9: rpc error: code = Unavailable" in version["failures"][0]


def test_its_resources_decode(talos):
    assert talos("staging", "ams-cp-1")["members"]["brought"] == {
        "ams-cp-1": "controlplane 192.0.2.6",
        "ams-worker-1": "worker 192.0.2.7",
    }

"""Plays the import of a cluster whose machines never come, and tells what a server makes of it at each stage."""

import contextlib
import re

import yaml

from omniherd.emulator.certificate import Authority
from omniherd.emulator.foreign.secrets import make_secrets
from omniherd.errors import APIError
from omniherd.resources import (
    Cluster,
    ConfigPatch,
    ImportedClusterSecret,
    MachineSet,
    MachineSetNode,
    ResourceDefinition,
)

NAME = "omniherd-test-imported"
MACHINES = {
    "control-planes": "6a5ccf1c-6e0f-4d5c-9f0e-0c3a3c6b8a01",
    "workers": "6a5ccf1c-6e0f-4d5c-9f0e-0c3a3c6b8a02",
}
ROLES = {"control-planes": "role-controlplane", "workers": "role-worker"}
PATCH = "machine:\n  sysctls:\n    net.core.somaxconn: '65535'\n"
L = "omni.sidero.dev/"
LOCKED, IMPORTING = L + "cluster-locked", L + "cluster-import-is-in-progress"
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PORT = re.compile(r"(?<![0-9])10[0-9]{3}(?![0-9])")


def play(omni, settle):
    """Play it; return the resources at each stage, by type and id.

    Args:
        omni: A client.
        settle: Called when the server is to be given time.
    """
    stages = {}
    _take_in(omni)
    try:
        for stage, change in (("imported", None), ("unlocked", _unlock), ("locked", _lock)):
            if change is not None:
                omni.edit(Cluster, NAME, change)
            settle()
            stages[stage] = _about(omni)
    finally:
        omni.edit(Cluster, NAME, _lock)
        omni.teardown(Cluster, NAME)
        settle()
    stages["aborted"] = _about(omni)
    return stages


def _take_in(omni):
    secrets = make_secrets(Authority.make("talos"))
    data = "".join(line for line in secrets.to_yaml().splitlines(True) if "aescbc" not in line)
    omni.create(ImportedClusterSecret(NAME, spec={"data": data}))
    spec = {"talos_version": "1.13.5", "kubernetes_version": "1.35.5"}
    omni.create(Cluster(NAME, spec=spec, annotations={LOCKED: "", IMPORTING: ""}))
    for suffix, machine in MACHINES.items():
        labels = {L + "cluster": NAME, L + ROLES[suffix]: ""}
        omni.create(MachineSet(f"{NAME}-{suffix}", labels=labels))
        omni.create(MachineSetNode(machine, labels={**labels, L + "machine-set": f"{NAME}-{suffix}"}))
        labels = {L + "cluster": NAME, L + "cluster-machine": machine}
        omni.create(ConfigPatch(f"10-{machine}", labels=labels, spec={"data": PATCH}))


def _unlock(cluster):
    for name in (LOCKED, IMPORTING):
        cluster.annotations.pop(name, None)


def _lock(cluster):
    cluster.annotations[LOCKED] = ""


def _about(omni):
    """Return what is there because of the cluster; what differs each time is blotted out."""
    found = {}
    for definition in omni.list(ResourceDefinition):
        with contextlib.suppress(APIError):
            for resource in omni.list(definition.id):
                text = resource.to_yaml()
                if NAME in text or any(machine in text for machine in MACHINES.values()):
                    shown = yaml.safe_load(PORT.sub("PORT", text))
                    key = f"{definition.id.partition('.')[0]}/{resource.id}"
                    found[key] = _shown(shown)
    return dict(sorted(found.items()))


def _shown(shown):
    metadata = shown["metadata"]
    kept = {
        "owner": metadata.get("owner") or "",
        "labels": metadata.get("labels", {}),
        "annotations": metadata.get("annotations", {}),
        "finalizers": sorted(metadata.get("finalizers", [])),
        "spec": shown.get("spec"),
    }
    return _without_uuids(kept)


def _without_uuids(value):
    if isinstance(value, dict):
        return {key: _without_uuids(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_uuids(one) for one in value]
    if isinstance(value, str) and value not in MACHINES.values():
        return UUID.sub(lambda match: match[0] if match[0] in MACHINES.values() else "UUID", value)
    return value

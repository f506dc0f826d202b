"""What this program makes of a Talos cluster is what the official one makes of it."""

import pytest

from omniherd import TalosClient
from omniherd._core.cluster_import import joined
from omniherd.emulator import Emulator
from omniherd.machineconfig import read
from omniherd.resources import ConfigPatch, ImportedClusterSecret
from omniherd.talosconfig import parse_talosconfig
from unit.command_shell import PROGRAM

UNLIKE = ("version", "created", "updated", "owner", "finalizers")

SPECIAL = """
apiVersion: v1alpha1
kind: KmsgLogConfig
name: omni-kmsg
url: tcp://192.0.2.7:8092
---
apiVersion: v1alpha1
kind: ExtensionServiceConfig
name: nut-client
configFiles:
  - content: "MONITOR ups@192.0.2.8"
    mountPath: /usr/local/etc/nut/upsmon.conf
"""


@pytest.fixture
def emulator():
    with Emulator(seed_fleet=False) as emulator:
        yield emulator


@pytest.fixture
def secrets(emulator, monkeypatch):
    """The secrets that were imported; nobody may read them, and the server takes them away when it has them."""
    consumed, original = [], emulator.store.remove

    def remove(namespace, type_name, id_):
        if type_name == ImportedClusterSecret.type_name:
            consumed.append(emulator.store.get(namespace, type_name, id_).decode().data)
        return original(namespace, type_name, id_)

    monkeypatch.setattr(emulator.store, "remove", remove)
    return consumed


def shown(resource):
    held = resource.to_dict()
    for key in UNLIKE:
        held["metadata"].pop(key, None)
    if resource.type_name == ConfigPatch.type_name:
        # The official program goes through the documents of a patch as Go goes through maps: as luck has it.
        held["spec"]["data"] = sorted(held["spec"]["data"].removesuffix("\n").split("\n---\n"))
    return held


def by_name(documents):
    return sorted(documents, key=lambda one: (one.get("kind", ""), one.get("name", "")))


@pytest.mark.parametrize(
    "options",
    [
        {"control_planes": 3, "workers": 2},
        {"talos": "1.10.5", "kubernetes": "1.33.2"},
        {"talos": "1.11.5", "kubernetes": "1.34.3", "workers": 0},
        {"talos": "1.12.8", "kubernetes": "1.34.0"},
    ],
    ids=lambda options: options.get("talos", "1.13.5"),
)
@pytest.mark.parametrize("special", [False, True], ids=["plain", "special"])
def test_the_same_resources_and_configurations(emulator, omnictl, run, tmp_path, options, special, secrets):
    versions = {"version": "1.10.5", "compatible_kubernetes_versions": ["1.33.2"]}
    emulator.store.put("TalosVersions.omni.sidero.dev", "1.10.5", versions)
    foreign = emulator.foreign_cluster("outside", **options)
    (tmp_path / "talosconfig").write_text(foreign.talosconfig)
    if special:
        first = foreign.nodes[-1]
        foreign.configure(first, foreign.configuration(first).rstrip() + "\n---" + SPECIAL)
    with emulator.connect() as omni, TalosClient.connect(context=parse_talosconfig(foreign.talosconfig)) as talos:
        plan = omni.clusters.plan_import(talos, foreign.nodes)
        arguments = ("--talosconfig", "talosconfig", "--nodes", ",".join(foreign.nodes))
        code, _, stderr = run(omnictl, "cluster", "import", *arguments)
        assert code == 0, stderr

        for resource in plan.resources[1:]:
            assert shown(resource) == shown(omni.get(type(resource), resource.id))
        kinds = {type(resource) for resource in plan.resources[1:]}
        there = {(kind.type_name, one.id) for kind in kinds for one in omni.list(kind)}
        assert there == {(resource.type_name, resource.id) for resource in plan.resources[1:]}
        assert secrets == [plan.resources[0].spec.data]
        for node in plan.nodes:
            ours = joined(node.config, [dict(document) for document in plan.join])
            assert by_name(read(ours)) == by_name(read(foreign.configuration(node.address)))


@pytest.mark.parametrize(
    ("outside", "arguments"),
    [
        ({}, ("--talos-version", "1.2.3")),
        ({}, ("--talos-version", "x")),
        ({}, ("--kubernetes-version", "v1.2.3")),
        ({"schematic": ""}, ("--dry-run",)),
        ({"talos": "1.8.4", "kubernetes": "1.31.0"}, ()),
        ({"kubernetes": "1.30.0"}, ()),
    ],
)
def test_the_same_is_refused_in_the_same_words(emulator, omnictl, run, tmp_path, outside, arguments):
    foreign = emulator.foreign_cluster("outside", **outside)
    (tmp_path / "talosconfig").write_text(foreign.talosconfig)
    words = ("cluster", "import", "--talosconfig", "talosconfig", "--nodes", ",".join(foreign.nodes), *arguments)
    told = []
    for program in ((omnictl,), PROGRAM):
        code, stdout, stderr = run(*program, *words)
        told.append((code, stdout, sorted(stderr[stderr.index("Error: ") :].splitlines())))
    assert told[0][0] == 1
    assert told[0] == told[1]

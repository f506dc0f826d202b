"""Plans and exports: what is done with what is there."""

import pytest

from omniherd import template
from omniherd.resources import (
    ClusterStatus,
    ConfigPatch,
    KernelArg,
    KubernetesManifestGroup,
    MachineInstallDiskConfig,
    MachineSet,
    MachineSetNode,
)
from omniherd.template import (
    Cluster,
    ControlPlane,
    HealthCheck,
    Install,
    Kubernetes,
    Machine,
    MachineClass,
    Manifest,
    Patch,
    Rolling,
    Strategy,
    Talos,
    Template,
    TemplateError,
    Workers,
)

M1, M2, M3 = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "123")
CLUSTER = "omni.sidero.dev/cluster"
SET = "omni.sidero.dev/machine-set"
MANAGED = "omni.sidero.dev/managed-by-cluster-templates"


def lab(*documents, dialect="1.9", **options):
    cluster = Cluster("lab", Kubernetes("v1.34.3"), Talos("v1.12.7"), **options)
    return Template([cluster, *(documents or (ControlPlane(machines=[M1]),))], dialect=dialect)


def stored(found, version=1):
    kept = []
    for one in found.resources():
        one.metadata.version = version
        one.finalizers = ["SomeController"]
        kept.append(one)
    return kept


def names(resources):
    return [f"{one.type.partition('.')[0]}/{one.id}" for one in resources]


def refusal(action):
    with pytest.raises(TemplateError) as caught:
        action()
    return str(caught.value)


def test_what_is_there_already_needs_nothing():
    found = lab()
    plan = found.plan(stored(found))
    assert plan.empty
    assert plan.diff() == ""
    assert list(plan.steps()) == []


def test_an_update_keeps_what_the_server_keeps():
    plan = lab(labels={"a": "b"}).plan(stored(lab(), version=7))
    (update,) = plan.updates
    assert (update.new.version, list(update.new.finalizers)) == (7, ["SomeController"])
    assert not plan.empty
    (step,) = plan.steps()
    assert step.line() == "* updating Clusters.omni.sidero.dev(lab)"
    assert step.line(dry_run=True) == "* updating (dry run) Clusters.omni.sidero.dev(lab)"
    assert step.diff() == plan.diff()
    assert "+    a: b\n" in plan.diff()
    assert plan.diff().startswith(
        "--- Clusters.omni.sidero.dev(default/lab)\n+++ Clusters.omni.sidero.dev(default/lab)\n"
    )


def test_planning_changes_nothing():
    found = lab(labels={"a": "b"})
    world = stored(lab())
    before = [one.copy() for one in world]
    found.plan(world)
    assert world == before


def test_order_and_phases():
    full = lab(
        ControlPlane(machines=[M1], patches=[Patch("p", "machine: {}")]),
        Workers(machines=[M2], system_extensions=["x"]),
        Workers("gone", machines=[M3], patches=[Patch("q", "machine: {}")]),
        Machine(M1, kernel_args=["a"]),
        system_extensions=["y"],
    )
    full.cluster.kubernetes.manifests = [Manifest("m", "full", "a: b")]
    full.cluster.kubernetes.healthchecks = [HealthCheck("h", "a: b")]
    plan = full.plan([])
    order = [
        "Clusters",
        "ExtensionsConfigurations",
        "ConfigPatches",
        "KubernetesManifestGroups",
        "KubernetesHealthChecks",
        "MachineSets",
        "MachineSetNodes",
        "KernelArgs",
    ]
    types = [one.type.partition(".")[0] for one in plan.creates]
    assert types == sorted(types, key=order.index)
    assert set(types) == set(order)
    plan = lab(ControlPlane(machines=[M1])).plan(stored(full))
    assert [names(phase) for phase in plan.destroys] == [
        # The machine of the set that goes is left to the set.
        ["MachineSets/lab-workers", "MachineSets/lab-gone"],
        [
            "ExtensionsConfigurations/schematic-lab",
            "ExtensionsConfigurations/schematic-lab-workers",
            "ConfigPatches/400-lab-control-planes-p",
            "ConfigPatches/400-lab-gone-q",
            "KubernetesManifestGroups/200-cluster-lab-m",
            "KubernetesHealthChecks/cluster-lab-h",
        ],
    ]
    assert [step.phase for step in plan.steps()] == [0, 1, 1, 2, 2, 2, 2, 2, 2]
    assert names(one.new for one in plan.updates) == [f"KernelArgs/{M1}"]
    plan = full.plan_delete(stored(full))
    # All with the cluster's label goes with it.
    assert [names(phase) for phase in plan.destroys] == [[], ["Clusters/lab"]]


def test_what_controllers_made_is_left_alone():
    found = lab()
    world = stored(found)
    owned = ConfigPatch("c", labels={CLUSTER: "lab"}, spec={"data": "a"})
    owned.metadata.owner = "SomeController"
    node = MachineSetNode(
        M3, labels={CLUSTER: "lab", "omni.sidero.dev/managed-by-machine-set-node-controller": "", SET: "x"}
    )
    assert found.plan([*world, owned, node]).empty
    patched = lab(patches=[Patch("c", "machine: {}", id_override="c")])
    assert refusal(lambda: patched.plan([*world, owned])) == (
        'resource ConfigPatches.omni.sidero.dev(default/c) already exists for cluster "lab", cannot create a'
        " conflicting resource for a different cluster"
    )


def test_a_resource_of_another_cluster_is_not_taken_over():
    other = ConfigPatch("c", labels={CLUSTER: "other"}, spec={"data": "a"})
    patched = lab(patches=[Patch("c", "machine: {}", id_override="c")])
    with pytest.raises(TemplateError, match='already exists for cluster "other"'):
        patched.plan([*stored(lab()), other])


def test_a_hand_set_lock_vanishes_as_it_does_with_omnictl():
    found = lab(ControlPlane(machines=[M1]), Workers(machines=[M2]))
    world = stored(found)
    next(one for one in world if one.id == M2).annotations["omni.sidero.dev/locked"] = ""
    (update,) = found.plan(world).updates
    assert not update.new.annotations


def test_kernel_args_are_released_never_destroyed():
    found = lab()
    managed = KernelArg(M1, annotations={MANAGED: ""}, spec={"args": ["a"]})
    plan = found.plan([*stored(found), managed])
    (update,) = plan.updates
    assert list(update.new.spec.args) == ["a"]
    assert MANAGED not in update.new.annotations
    assert MANAGED in managed.annotations
    assert found.plan([*stored(found), KernelArg(M1, spec={"args": ["a"]})]).empty
    plan = found.plan_delete([*stored(found), managed])
    assert names(one.new for one in plan.updates) == [f"KernelArgs/{M1}"]


def test_disks_of_the_newer_omni():
    with_disk = lab(ControlPlane(machines=[M1]), Machine(M1, install=Install("/dev/vda")), dialect="1.10")
    without = lab(dialect="1.10")
    assert names(with_disk.plan(stored(without)).creates) == [f"MachineInstallDiskConfigs/{M1}"]
    plan = without.plan(stored(with_disk))
    assert [names(phase) for phase in plan.destroys] == [[], [f"MachineInstallDiskConfigs/{M1}"]]
    by_hand = MachineInstallDiskConfig(M1, spec={"disk": "/dev/vda"})
    assert without.plan([*stored(without), by_hand]).empty
    gone = lab(ControlPlane(machine_class=MachineClass("a", 1)), dialect="1.10").plan(stored(with_disk))
    assert names(one.new for one in gone.updates) == [
        f"MachineInstallDiskConfigs/{M1}",
        "MachineSets/lab-control-planes",
    ]


def test_what_to_read():
    found = lab(ControlPlane(machines=[M1]), Machine(M1, kernel_args=["a"]))
    expected = found.resources()
    world = stored(lab(ControlPlane(machines=[M1, M2])))
    listed = [one for one in world if one.type in template.labelled_types()]
    assert template.wanted_ids("lab", expected, listed) == [
        ("default", "Clusters.omni.sidero.dev", "lab"),
        ("default", "KernelArgs.omni.sidero.dev", M1),
        ("default", "KernelArgs.omni.sidero.dev", M2),
    ]
    assert ("default", "MachineInstallDiskConfigs.omni.sidero.dev", M2) in template.wanted_ids(
        "lab", expected, listed, dialect="1.10"
    )
    kept = template.actual_resources("lab", expected, [*world, KernelArg(M3)])
    assert names(kept) == [
        "Clusters/lab",
        "MachineSets/lab-control-planes",
        f"MachineSetNodes/{M1}",
        f"MachineSetNodes/{M2}",
    ]


def test_tidy_diffs_show_removals_first():
    old, new = "a\nb\nc\n", "a\nx\ny\n"
    assert template.text_diff(old, new, tidy=True) == "@@ -1,3 +1,3 @@\n a\n-b\n-c\n+x\n+y\n"
    lines = [f"line{number}" for number in range(30)]
    mixed = "\n".join([*lines[:24], "x", "y", *lines[25:]]) + "\n"
    tidy = template.text_diff("\n".join(lines) + "\n", mixed, tidy=True)
    assert "-line24\n+x\n+y\n" in tidy


def test_diffs_of_huge_texts_are_not_computed():
    old, new = "a\n" * 40000, "b\n" * 40000
    assert template.text_diff(old, new) == "@@ -1,40000 +1,40000 @@ diff too large to display\n"


# --- export -----------------------------------------------------------------------------------------------------------


def test_export_of_a_strategy_without_configuration():
    found = lab(
        ControlPlane(machines=[M1], upgrade_strategy=Strategy("Rolling")),
        Workers(update_strategy=Strategy("Unset"), delete_strategy=Strategy("Rolling"), machines=[M2]),
        Workers("b", update_strategy=Strategy(rolling=Rolling(3)), delete_strategy=Strategy("Rolling", Rolling())),
    )
    again = template.export(found.resources(), "lab")
    assert again.plan(found.resources()).empty
    workers = [one for one in again.documents if isinstance(one, Workers)]
    assert workers[0].update_strategy == Strategy("Unset")
    assert workers[1].update_strategy == Strategy(rolling=Rolling(3))
    assert template.loads(again.to_yaml()).documents == again.documents


def test_export_of_a_cluster_without_a_control_plane():
    world = [one for one in lab().resources() if one.type == "Clusters.omni.sidero.dev"]
    text = template.export(world, "lab").to_yaml()
    assert text.endswith("---\nkind: ControlPlane\n")
    template.loads(text).validate()


def test_export_with_kernel_args():
    found = lab(ControlPlane(machines=[M1, M2]), Machine(M1, kernel_args=["a", "b"]))
    again = template.export(found.resources(), "lab", include_kernel_args=True)
    assert [one.kernel_args for one in again.documents if isinstance(one, Machine)] == [["a", "b"], []]
    without = template.export(found.resources(), "lab")
    assert [one.kernel_args for one in without.documents if isinstance(one, Machine)] == [None, None]


def test_an_install_disk_patch_with_more_in_it_stays_a_patch():
    found = lab(ControlPlane(machines=[M1]), Machine(M1, install=Install("/dev/vda")))
    world = found.resources()
    assert template.export(world, "lab").documents[-1].install.disk == "/dev/vda"
    disk = next(one for one in world if one.id.endswith("install-disk"))
    for data in ("machine: {install: {disk: /dev/vda, wipe: true}}", "machine: {install: {disk: 5}}"):
        disk.spec.data = data
        machine = template.export(world, "lab").documents[-1]
        assert machine.install.disk == ""
        assert [patch.id_override for patch in machine.patches] == [disk.id]
    for data in ("a: [", "[]", "machine: []", "machine: {install: x}"):
        disk.spec.data = data
        assert refusal(lambda: template.export(world, "lab")).startswith("error validating models: ")


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (MachineSet("x", labels={CLUSTER: "lab"}), 'machine set "x" has no role label'),
        (MachineSetNode(M3, labels={CLUSTER: "lab"}), f'machine set node "{M3}" has no machine set label'),
        (MachineSetNode(M3, labels={CLUSTER: "lab", SET: "x"}), 'unexpected machine set label "x"'),
        (KubernetesManifestGroup("x", labels={CLUSTER: "lab"}), 'manifest "x" has no name annotation'),
    ],
)
def test_what_cannot_be_exported(extra, text):
    assert refusal(lambda: template.export([*lab().resources(), extra], "lab")) == text


def test_export_of_a_cluster_that_is_not_there():
    assert refusal(lambda: template.export([], "lab")).startswith('error getting cluster "lab": ')


def test_machines_of_a_class_are_not_exported():
    found = lab(
        ControlPlane(machine_class=MachineClass("mc", 3)), Workers(machine_class=MachineClass("a", "Unlimited"))
    )
    node = MachineSetNode(M1, labels={CLUSTER: "lab", SET: "lab-control-planes"})
    again = template.export([*found.resources(), node], "lab")
    assert not any(isinstance(one, Machine) for one in again.documents)
    assert [one.machine_class.size for one in again.documents[1:]] == [3, "Unlimited"]


def test_a_set_of_an_old_server_names_its_class_elsewhere():
    found = lab(ControlPlane(machine_class=MachineClass("mc", 3)))
    world = found.resources()
    spec = world[1].spec
    spec.machine_class.CopyFrom(spec.machine_allocation)
    spec.ClearField("machine_allocation")
    assert template.export(world, "lab").documents[1].machine_class == MachineClass("mc", 3)


@pytest.mark.parametrize(("version", "shown"), [("1.14.0", True), ("1.13.9", False), ("", False)])
def test_the_discovery_choice_is_exported_where_there_is_one(version, shown):
    world = lab(dialect="1.10").resources()
    status = ClusterStatus("lab", spec={"initial_talos_version": version})
    text = template.export([*world, status], "lab", dialect="1.10").to_yaml()
    assert ("disablePublicDiscoveryService: false" in text) == shown

"""`omni.templates`: plans made of what a server has, and carried out on it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from omniherd import Omni, template
from omniherd.emulator import Emulator
from omniherd.errors import DeleteTimeout, InvalidArgument, PermissionDenied, VersionConflict
from omniherd.resources import Cluster, ConfigPatch, KernelArg, MachineSet, MachineSetNode
from omniherd.template import Template, TemplateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from omniherd.template import Step

PLANE = "11111111-1111-4111-8111-111111111111"
WORKERS = ("22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333")


def lab(name: str = "lab", workers: tuple[str, ...] = WORKERS, patches: tuple[str, ...] = ("time",)) -> Template:
    return Template(
        [
            template.Cluster(
                name,
                template.Kubernetes("v1.34.3"),
                template.Talos("v1.12.7"),
                patches=[template.Patch(one, {"machine": {"env": {"NAME": one}}}) for one in patches],
            ),
            template.ControlPlane(machines=[PLANE]),
            template.Workers(machines=list(workers)),
            *(template.Machine(one, kernel_args=["quiet"]) for one in workers[:1]),
        ]
    )


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(seed_fleet=False) as emulator:
        yield emulator


@pytest.fixture
def omni(emulator: Emulator) -> Iterator[Omni]:
    with emulator.connect() as omni:
        yield omni


@pytest.fixture
def calls(omni: Omni, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods that are called, in order."""
    made: list[str] = []
    for name in ("unary", "open"):
        original = getattr(omni.channel, name)

        def counted(path: str, *arguments: Any, original: Any = original, **options: Any) -> Any:
            made.append(path.rpartition("/")[2])
            return original(path, *arguments, **options)

        monkeypatch.setattr(omni.channel, name, counted)
    return made


def lines(steps: list[tuple[Step, bool]]) -> list[str]:
    return [
        f"{'gone' if done else step.action} {step.resource.type.partition('.')[0]} {step.resource.id}"
        for step, done in steps
    ]


def test_a_template_comes_changes_and_goes(omni: Omni) -> None:
    told: list[tuple[Step, bool]] = []

    def on_step(step: Step, done: bool) -> None:
        told.append((step, done))

    first = lab()
    assert {"lab", f"{PLANE}"} <= {one.id for one in omni.templates.sync(first, on_step=on_step).creates}
    assert lines(told)[0] == "create Clusters lab"
    assert omni.templates.diff(first) == ""

    told.clear()
    omni.templates.sync(lab(workers=WORKERS[1:], patches=()), on_step=on_step)
    assert lines(told) == [
        f"create KernelArgs {WORKERS[1]}",
        f"update KernelArgs {WORKERS[0]}",
        f"destroy MachineSetNodes {WORKERS[0]}",
        f"gone MachineSetNodes {WORKERS[0]}",
        "destroy ConfigPatches 200-cluster-lab-time",
        "gone ConfigPatches 200-cluster-lab-time",
    ]

    told.clear()
    omni.templates.delete(first, on_step=on_step)
    # Machines keep their kernel arguments; the cluster takes all else with it.
    assert lines(told) == [f"update KernelArgs {WORKERS[1]}", "destroy Clusters lab", "gone Clusters lab"]
    assert not omni.list(MachineSet)
    assert not omni.list(MachineSetNode)
    assert dict(omni.get(KernelArg, WORKERS[1]).annotations) == {}
    assert omni.templates.delete("lab").empty


def test_what_templates_do_not_own_stays(omni: Omni) -> None:
    omni.templates.sync(lab())
    other = ConfigPatch("500-other", labels={"omni.sidero.dev/machine": PLANE}, spec={"data": "debug: true\n"})
    omni.create(other)
    hand_made = ConfigPatch("500-mine", labels={"omni.sidero.dev/cluster": "lab"}, spec={"data": "debug: true\n"})
    omni.create(hand_made)
    plan = omni.templates.sync(lab())
    assert [one.id for phase in plan.destroys for one in phase] == ["500-mine"]
    assert omni.get(ConfigPatch, "500-other").id == "500-other"


def test_an_unchanged_sync_writes_nothing_and_reads_little(omni: Omni, calls: list[str]) -> None:
    machines = [str(uuid.UUID(int=(4 << 76) | (2 << 62) | number)) for number in range(100)]
    large = Template(
        [
            template.Cluster("large", template.Kubernetes("v1.34.3"), template.Talos("v1.12.7")),
            template.ControlPlane(machines=machines[:3]),
            template.Workers(machines=machines[3:]),
            *(template.Machine(one, kernel_args=["quiet"], system_extensions=[]) for one in machines[3:]),
        ]
    )
    omni.templates.sync(large)
    calls.clear()
    assert omni.templates.sync(large).empty
    # Six lists by label, the cluster, and one list of the kernel arguments of a hundred machines; a list may be read as
    # the contents of a watch.
    assert len(calls) == 8
    assert set(calls) <= {"Get", "List", "Watch"}


def test_what_may_not_be_listed_is_got(omni: Omni, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    omni.templates.sync(lab(patches=("a", "b", "c", "d", "e", "f")))
    original = omni.list

    def only_by_label(kind: Any, **options: Any) -> Any:
        if options.get("id_regexp"):
            raise PermissionDenied("not this one")
        return original(kind, **options)

    monkeypatch.setattr(omni, "list", only_by_label)
    calls.clear()
    expected = lab(patches=("g", "h", "i", "j", "k", "l")).resources()
    world = omni.templates.world("lab", expected)
    assert calls.count("Get") >= 6
    assert {one.id for one in world} >= {"lab", PLANE, *WORKERS}


def test_a_refusal_ends_it_and_what_was_done_stays(omni: Omni) -> None:
    wrong = lab()
    wrong.documents[1].machine_class = template.MachineClass("absent", 1)  # type: ignore[union-attr]
    wrong.documents[1].machines = []  # type: ignore[union-attr]
    with pytest.raises(InvalidArgument, match="absent"):
        omni.templates.sync(wrong)
    assert omni.get(Cluster, "lab").id == "lab"
    assert not omni.list(MachineSet, labels={"omni.sidero.dev/role-controlplane": ""})
    omni.templates.sync(lab())
    assert omni.templates.plan(lab()).empty


def test_a_change_between_plan_and_step_is_a_conflict(omni: Omni) -> None:
    omni.templates.sync(lab())
    newer = lab()
    newer.cluster.features.enable_workload_proxy = True
    plan = omni.templates.plan(newer)
    with omni.edit(Cluster, "lab") as cluster:
        cluster.labels["touched"] = ""
    with pytest.raises(VersionConflict):
        omni.templates.carry_out(plan)


def test_what_holds_a_deletion_is_told(omni: Omni, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omniherd._sync.templates._PATIENCE", 0.05)
    omni.templates.sync(lab())
    patch = omni.get(ConfigPatch, "200-cluster-lab-time")
    patch.finalizers = [*patch.finalizers, "somebody"]
    omni.update(patch)
    held: list[DeleteTimeout] = []

    def let_go(error: DeleteTimeout) -> None:
        held.append(error)
        current = omni.get(ConfigPatch, patch.id)
        current.finalizers = []
        omni.update(current)

    omni.templates.sync(lab(patches=()), on_wait=let_go)
    assert held
    assert held[0].details["finalizers"] == ["somebody"]
    assert not omni.list(ConfigPatch)


def test_a_deletion_gives_up_after_its_time(omni: Omni) -> None:
    omni.templates.sync(lab())
    with omni.edit(ConfigPatch, "200-cluster-lab-time") as patch:
        patch.finalizers = [*patch.finalizers, "somebody"]
    with pytest.raises(DeleteTimeout, match="held by somebody"):
        omni.templates.sync(lab(patches=()), timeout=0.1)


def test_another_cluster_s_resource_is_not_taken(omni: Omni) -> None:
    mine = lab()
    mine.cluster.patches[0].id_override = "shared"
    omni.templates.sync(mine)
    other = lab("other", workers=())
    other.cluster.patches[0].id_override = "shared"
    other.documents[1].machines = []  # type: ignore[union-attr]
    with pytest.raises(TemplateError, match="shared"):
        omni.templates.plan(other)


def test_machines_that_are_away_leave_with_the_cluster() -> None:
    with Emulator() as emulator, emulator.connect() as omni:
        machine = next(
            one
            for one in omni.list("MachineStatuses.omni.sidero.dev")
            if one.labels.get("omni.sidero.dev/cluster") == "prod"
        )
        emulator.store.modify(
            "default", machine.type, machine.id, labels={**machine.labels, "omni.sidero.dev/disconnected": ""}
        )
        plan = omni.templates.plan_delete("prod", disconnected=True)
        assert [[one.type.partition(".")[0] for one in phase] for phase in plan.destroys if phase][-2:] == [
            ["Links"],
            ["Clusters"],
        ]
        assert [one.id for phase in plan.destroys for one in phase if one.type.startswith("Links")] == [machine.id]
        # Nobody's machine leaves Omni unasked.
        plan = omni.templates.plan_delete("prod")
        assert [one.type for phase in plan.destroys for one in phase] == ["Clusters.omni.sidero.dev"]


async def test_the_same_in_async(emulator: Emulator) -> None:
    async with emulator.connect_async() as omni:
        await omni.templates.sync(lab())
        assert (await omni.templates.plan(lab())).empty
        copy = await omni.templates.export("lab")
        assert copy.plan(await omni.templates.world("lab", copy.resources())).creates == ()
        await omni.templates.delete("lab")
        assert await omni.list(MachineSet) == []

"""A Talos cluster is taken into Omni: looked at, planned, checked, made; and what is said when it goes wrong."""

from __future__ import annotations

import dataclasses
import zipfile
from typing import TYPE_CHECKING, Any, Self

import pytest

from omniherd import TalosClient
from omniherd._core.cluster_import import (
    choose_versions,
    image_tag,
    join_documents,
    joined,
    problems,
    schematic_problem,
)
from omniherd._sync.talos import TalosCalls
from omniherd.emulator import Emulator
from omniherd.emulator.catalog import use_factory
from omniherd.errors import FailedPrecondition, InputError, OmniError, Unavailable, WaitTimeout
from omniherd.machineconfig import read
from omniherd.resources import Cluster, ConfigPatch, ImportedClusterSecret, MachineSetNode
from omniherd.services import ImportNode, NodeReply
from omniherd.talosconfig import parse_talosconfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from omniherd import Omni
    from omniherd.emulator import ForeignCluster

LOCKED = "omni.sidero.dev/cluster-locked"
IMPORTING = "omni.sidero.dev/cluster-import-is-in-progress"
SECRETS = ImportedClusterSecret.type_name


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator(seed_fleet=False) as emulator:
        yield emulator


@pytest.fixture
def foreign(server: Emulator) -> ForeignCluster:
    return server.foreign_cluster("outside", control_planes=1, workers=1)


@pytest.fixture
def talos(foreign: ForeignCluster) -> Iterator[TalosClient]:
    with TalosClient.connect(context=parse_talosconfig(foreign.talosconfig)) as client:
        yield client


def made(server: Emulator) -> set[str]:
    """What of an import is in Omni."""
    found = set()
    for kind in (ImportedClusterSecret, Cluster, MachineSetNode, ConfigPatch):
        found |= {one.id for one in server.store.list(kind.default_namespace, kind.type_name)}
    return found


# --- the whole --------------------------------------------------------------------------------------------------------


def test_a_cluster_is_taken_in(
    server: Emulator, omni: Omni, foreign: ForeignCluster, talos: TalosClient, tmp_path: Path
) -> None:
    before = {node: foreign.configuration(node) for node in foreign.nodes}
    lines: list[str] = []
    plan = omni.clusters.plan_import(talos, foreign.nodes, progress=lines.append)
    assert made(server) == set()
    assert {node: foreign.configuration(node) for node in foreign.nodes} == before
    omni.clusters.run_import(talos, plan, backup=tmp_path / "backup.zip", progress=lines.append)

    cluster = omni.get(Cluster, "outside")
    assert (cluster.annotations[LOCKED], cluster.annotations[IMPORTING]) == ("", "")
    assert (cluster.spec.talos_version, cluster.spec.kubernetes_version) == ("1.13.5", "1.35.5")
    plane, worker = foreign.machines
    nodes = {node.id: node.labels for node in omni.list(MachineSetNode)}
    assert nodes[plane]["omni.sidero.dev/machine-set"] == "outside-control-planes"
    assert nodes[worker]["omni.sidero.dev/machine-set"] == "outside-workers"
    for resource in plan.resources[2:]:
        stored = omni.get(type(resource), resource.id)
        assert (stored.labels, stored.spec) == (resource.labels, resource.spec)
    for node in foreign.nodes:
        documents = read(foreign.configuration(node))
        assert documents[: len(read(before[node]))] == read(before[node])
        assert [one["kind"] for one in documents[-3:]] == ["SideroLinkConfig", "EventSinkConfig", "KmsgLogConfig"]
    assert "checking the cluster's health..." in lines
    assert " > waiting for etcd to be healthy: OK" in lines

    backup = tmp_path / "backup.zip"
    assert backup.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(backup) as archive:
        assert {name: archive.read(name).decode() for name in archive.namelist()} == {
            f"{host}-{node}.yaml": before[node]
            for host, node in zip(("outside-cp-1", "outside-worker-1"), foreign.nodes, strict=True)
        }


async def test_a_cluster_is_taken_in_with_asyncio(server: Emulator, foreign: ForeignCluster) -> None:
    from omniherd import AsyncOmni, AsyncTalosClient

    context = parse_talosconfig(foreign.talosconfig)
    async with (
        AsyncOmni.connect(server.endpoint, service_account_key=server.service_account_key) as omni,
        AsyncTalosClient.connect(context=context) as talos,
    ):
        plan = await omni.clusters.plan_import(talos, foreign.nodes)
        await omni.clusters.run_import(talos, plan)
        assert [cluster.id for cluster in await omni.list(Cluster)] == ["outside"]


def test_patches_say_what_is_special_about_a_machine(omni: Omni, foreign: ForeignCluster, talos: TalosClient) -> None:
    plan = omni.clusters.plan_import(talos, foreign.nodes)
    patches = {one.id: one.spec.data for one in plan.resources if isinstance(one, ConfigPatch)}
    data = patches[f"10-{foreign.machines[0]}"]
    assert "net.core.somaxconn" in data
    # What Omni sets by itself stays out, most of all the secrets.
    secrets = read(foreign.configuration(foreign.nodes[0]))[0]
    assert secrets["machine"]["token"] not in data
    assert secrets["cluster"]["secret"] not in data


def test_no_secret_is_shown(omni: Omni, foreign: ForeignCluster, talos: TalosClient) -> None:
    plan = omni.clusters.plan_import(talos, foreign.nodes)
    main = read(foreign.configuration(foreign.nodes[0]))[0]
    for shown in (repr(plan), str(plan.to_dict())):
        assert main["machine"]["token"] not in shown
        assert "jointoken" not in shown
        assert "BEGIN" not in shown


def test_a_check_changes_nothing(server: Emulator, omni: Omni, foreign: ForeignCluster, talos: TalosClient) -> None:
    before = foreign.configuration(foreign.nodes[0])
    plan = omni.clusters.plan_import(talos, foreign.nodes)
    omni.clusters.check_import(talos, plan)
    assert made(server) == set()
    assert foreign.configuration(foreign.nodes[0]) == before


# --- what is refused --------------------------------------------------------------------------------------------------


def test_all_nodes_must_be_named(omni: Omni, foreign: ForeignCluster, talos: TalosClient) -> None:
    text = r"number of members in cluster \(2\) does not match number of provided nodes \(1\)"
    with pytest.raises(InputError, match=text):
        omni.clusters.plan_import(talos, foreign.nodes[0])
    with pytest.raises(InputError, match="at least one node"):
        omni.clusters.plan_import(talos, [])


def test_a_machine_under_two_names(omni: Omni, foreign: ForeignCluster, talos: TalosClient) -> None:
    with pytest.raises(InputError, match="are the same machine"):
        omni.clusters.plan_import(talos, [foreign.nodes[0], "outside-cp-1"])


@pytest.mark.parametrize(
    ("annotations", "hint"), [({}, None), ({IMPORTING: ""}, "cluster import abort outside` undoes")]
)
def test_a_cluster_that_is_in_omni_already(
    omni: Omni, foreign: ForeignCluster, talos: TalosClient, annotations: dict[str, str], hint: str | None
) -> None:
    spec = {"talos_version": "1.13.5", "kubernetes_version": "1.35.5"}
    omni.create(Cluster("outside", annotations=annotations, spec=spec))
    with pytest.raises(FailedPrecondition, match='cluster "outside" already exists in Omni') as caught:
        omni.clusters.plan_import(talos, foreign.nodes)
    assert (caught.value.hint is None) if hint is None else (hint in str(caught.value.hint))


def test_what_would_be_in_the_way_is_found_before(
    server: Emulator, omni: Omni, foreign: ForeignCluster, talos: TalosClient
) -> None:
    server.store.put(ConfigPatch.type_name, f"10-{foreign.machines[1]}", {"data": "{}"})
    with pytest.raises(FailedPrecondition, match=f"10-{foreign.machines[1]}.*already exists in Omni"):
        omni.clusters.plan_import(talos, foreign.nodes)


def test_a_cluster_that_no_image_factory_made(server: Emulator, omni: Omni, tmp_path: Path) -> None:
    foreign = server.foreign_cluster("plain", schematic="")
    with TalosClient.connect(context=parse_talosconfig(foreign.talosconfig)) as talos:
        plan = omni.clusters.plan_import(talos, foreign.nodes)
        with pytest.raises(FailedPrecondition, match="validation error") as caught:
            omni.clusters.run_import(talos, plan, backup=tmp_path / "none.zip")
        assert len(caught.value.details["problems"]) == 2
        assert "schematic ID missing" in caught.value.details["problems"][0]
        assert made(server) == set()
        assert not (tmp_path / "none.zip").exists()
        lines: list[str] = []
        omni.clusters.run_import(talos, plan, force=True, progress=lines.append)
        assert any("schematic ID missing" in line for line in lines)
        assert "plain" in made(server)


def test_a_factory_that_knows_another_schematic(omni: Omni, foreign: ForeignCluster, talos: TalosClient) -> None:
    plan = omni.clusters.plan_import(talos, foreign.nodes)
    other = dataclasses.replace(plan.nodes[0], schematic="customization: {extraKernelArgs: [a]}\n")
    with pytest.raises(FailedPrecondition) as caught:
        omni.clusters.check_import(talos, dataclasses.replace(plan, nodes=(other, plan.nodes[1])))
    assert caught.value.details["problems"][0].startswith('schematic ID mismatch for node "outside-cp-1"')


@pytest.mark.parametrize(
    ("url", "schematic", "said"),
    [
        ("http://127.0.0.1:1", None, "cannot fetch from 127.0.0.1:1: connection refused"),
        ("ftp://127.0.0.1", None, "it is neither http nor https"),
        ("", None, "image factory base URL is empty"),
        (None, "nonsense: {}", "failed to create schematic, error code: 400, message: "),
    ],
)
def test_a_factory_that_cannot_be_asked(
    server: Emulator,
    omni: Omni,
    foreign: ForeignCluster,
    talos: TalosClient,
    url: str | None,
    schematic: str,
    said: str,
) -> None:
    plan = omni.clusters.plan_import(talos, foreign.nodes)
    if url is not None:
        use_factory(server.store, url)
    if schematic is not None:
        nodes = tuple(dataclasses.replace(one, schematic=schematic) for one in plan.nodes)
        plan = dataclasses.replace(plan, nodes=nodes)
    with pytest.raises(FailedPrecondition) as caught:
        omni.clusters.check_import(talos, plan)
    problem = caught.value.details["problems"][0]
    assert problem.startswith(
        f'failed to ensure schematic "{plan.nodes[0].schematic_id}" for node "outside-cp-1" in image factory: '
    )
    assert said in problem


def test_nodes_that_do_not_discover_each_other(
    omni: Omni, foreign: ForeignCluster, talos: TalosClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = TalosCalls.list

    def alone(self: TalosCalls, type_name: str, **options: Any) -> list[Any]:
        return [] if type_name.startswith("Members.") else original(self, type_name, **options)

    monkeypatch.setattr(TalosCalls, "list", alone)
    lines: list[str] = []
    plan = omni.clusters.plan_import(talos, foreign.nodes[:1], progress=lines.append)
    assert [node.address for node in plan.nodes] == foreign.nodes[:1]
    assert "the nodes do not discover each other; these are taken for all of them" in lines


@pytest.mark.parametrize("name", ["", "../elsewhere", "a\x1b[2J", ".hidden"])
def test_a_cluster_whose_name_leads_elsewhere(
    omni: Omni, foreign: ForeignCluster, talos: TalosClient, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    original = TalosCalls.get

    def named(self: TalosCalls, type_name: str, *arguments: Any, **options: Any) -> Any:
        found = original(self, type_name, *arguments, **options)
        if type_name.startswith("Infos."):
            found.spec["clusterName"] = name
        return found

    monkeypatch.setattr(TalosCalls, "get", named)
    with pytest.raises(InputError, match="tells no name of its cluster that could be used"):
        omni.clusters.plan_import(talos, foreign.nodes)


def test_a_hostname_does_not_lead_elsewhere_in_a_backup(
    omni: Omni, foreign: ForeignCluster, talos: TalosClient, tmp_path: Path
) -> None:
    plan = omni.clusters.plan_import(talos, foreign.nodes)
    plan = dataclasses.replace(plan, nodes=(dataclasses.replace(plan.nodes[0], hostname="../../x"), plan.nodes[1]))
    omni.clusters.run_import(talos, plan, backup=tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert archive.namelist()[0] == ".._.._x-192.0.251.1.yaml"


def test_workers_alone_are_no_cluster(
    omni: Omni, foreign: ForeignCluster, talos: TalosClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TalosCalls, "list", lambda *_, **__: [])
    with pytest.raises(FailedPrecondition, match="no control plane nodes found"):
        omni.clusters.plan_import(talos, foreign.workers)


def test_an_unhealthy_cluster(
    omni: Omni, foreign: ForeignCluster, talos: TalosClient, server: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sick(list[Any]):
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...

    plan = omni.clusters.plan_import(talos, foreign.nodes)
    failed = Sick([NodeReply("", None, OmniError("etcd is ill"))])
    monkeypatch.setattr(TalosCalls, "stream", lambda *_, **__: failed)
    with pytest.raises(OmniError, match="healthcheck error: etcd is ill"):
        omni.clusters.run_import(talos, plan, force=True)
    assert made(server) == set()
    omni.clusters.run_import(talos, plan, health_check=False)
    assert "outside" in made(server)


def test_it_may_take_only_so_long(omni: Omni, foreign: ForeignCluster, talos: TalosClient) -> None:
    with pytest.raises(WaitTimeout, match="longer than it may"):
        omni.clusters.plan_import(talos, foreign.nodes, timeout=0)


# --- the backup -------------------------------------------------------------------------------------------------------


def test_a_backup_that_exists(
    server: Emulator, omni: Omni, foreign: ForeignCluster, talos: TalosClient, tmp_path: Path
) -> None:
    path = tmp_path / "backup.zip"
    path.write_text("mine")
    plan = omni.clusters.plan_import(talos, foreign.nodes)
    with pytest.raises(InputError, match="already exists"):
        omni.clusters.run_import(talos, plan, backup=path)
    with pytest.raises(InputError, match="operation was aborted"):
        omni.clusters.run_import(talos, plan, backup=path, overwrite=lambda _: False)
    assert (path.read_text(), made(server)) == ("mine", set())
    omni.clusters.run_import(talos, plan, backup=path, overwrite=lambda _: True)
    assert zipfile.is_zipfile(path)


def test_a_backup_that_cannot_be_written(
    server: Emulator, omni: Omni, foreign: ForeignCluster, talos: TalosClient, tmp_path: Path
) -> None:
    plan = omni.clusters.plan_import(talos, foreign.nodes)
    with pytest.raises(FileNotFoundError):
        omni.clusters.run_import(talos, plan, backup=tmp_path / "no" / "backup.zip")
    assert made(server) == set()


# --- half way ---------------------------------------------------------------------------------------------------------


def test_secrets_that_an_earlier_import_left_are_replaced(
    server: Emulator, omni: Omni, foreign: ForeignCluster, talos: TalosClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumed: list[Any] = []
    original = server.store.remove

    def remove(namespace: str, type_name: str, id_: str) -> bool:
        if type_name == SECRETS:
            consumed.append(server.store.get(namespace, type_name, id_).decode())
        return original(namespace, type_name, id_)

    plan = omni.clusters.plan_import(talos, foreign.nodes)
    old = plan.resources[0].spec.data + "# left by another import\n"
    omni.create(ImportedClusterSecret("outside", spec={"data": old}))
    monkeypatch.setattr(server.store, "remove", remove)
    lines: list[str] = []
    omni.clusters.run_import(talos, plan, progress=lines.append)
    assert any("left behind" in line for line in lines)
    assert [one.data for one in consumed] == [plan.resources[0].spec.data]


def failing(server: Emulator, omni: Omni, type_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server refuse to create resources of a type."""
    original = omni.create

    def create(resource: Any, **options: Any) -> Any:
        if resource.type_name == type_name:
            server.faults.fail("State/Create", "PERMISSION_DENIED", "not now", times=1)
        return original(resource, **options)

    monkeypatch.setattr(omni, "create", create)


def test_a_server_that_takes_no_imports(
    server: Emulator, omni: Omni, foreign: ForeignCluster, talos: TalosClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [foreign.configuration(node) for node in foreign.nodes]
    plan = omni.clusters.plan_import(talos, foreign.nodes)
    failing(server, omni, SECRETS, monkeypatch)
    with pytest.raises(OmniError, match="not now") as caught:
        omni.clusters.run_import(talos, plan)
    assert "done" not in caught.value.details
    assert [foreign.configuration(node) for node in foreign.nodes] == before


@pytest.mark.parametrize(
    ("kind", "stands", "undo"),
    [
        (Cluster, 1, "there is no cluster in Omni yet"),
        (MachineSetNode, 4, "cluster import abort outside` undoes it"),
    ],
)
def test_a_failure_half_way_says_what_stands(
    server: Emulator,
    omni: Omni,
    foreign: ForeignCluster,
    talos: TalosClient,
    monkeypatch: pytest.MonkeyPatch,
    kind: Any,
    stands: int,
    undo: str,
) -> None:
    plan = omni.clusters.plan_import(talos, foreign.nodes)
    lines: list[str] = []
    failing(server, omni, kind.type_name, monkeypatch)
    with pytest.raises(OmniError, match="not now") as caught:
        omni.clusters.run_import(talos, plan, progress=lines.append)
    done = caught.value.details["done"]
    assert len(done) == len(foreign.nodes) + stands
    assert undo in str(caught.value.hint)
    assert [f" > {line}" for line in done] == lines[-len(done) - 1 : -1]
    assert undo in lines[-1]


def test_ctrl_c_half_way_says_what_stands(
    omni: Omni, foreign: ForeignCluster, talos: TalosClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = omni.clusters.plan_import(talos, foreign.nodes)
    lines: list[str] = []

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("omniherd._sync.cluster_import.joined", interrupted)
    with pytest.raises(KeyboardInterrupt):
        omni.clusters.run_import(talos, plan, progress=lines.append)
    assert "the import stopped half way; what stands:" in lines


def test_a_node_that_refuses_its_configuration(omni: Omni, foreign: ForeignCluster, talos: TalosClient) -> None:
    plan = omni.clusters.plan_import(talos, foreign.nodes)
    gone = dataclasses.replace(plan.nodes[1], address="192.0.2.99")
    with pytest.raises(OmniError) as caught:
        omni.clusters.run_import(talos, dataclasses.replace(plan, nodes=(plan.nodes[0], gone)), health_check=False)
    assert 'failed to apply configuration to node "192.0.2.99"' in caught.value.details["during"]
    assert caught.value.details["done"][1:] == [
        f'node "{foreign.nodes[0]}" has the configuration that leads to Omni (machine {foreign.machines[0]})'
    ]
    assert omni.list(Cluster) == []


def test_a_cluster_that_cannot_be_reached(omni: Omni, foreign: ForeignCluster, talos: TalosClient) -> None:
    foreign.stop()
    with pytest.raises(Unavailable, match="cannot reach the Talos API"):
        omni.clusters.plan_import(talos, foreign.nodes)


# --- parts ------------------------------------------------------------------------------------------------------------


def node(name: str = "cp", *, control_plane: bool = True, talos: str = "v1.13.5", **images: str) -> ImportNode:
    parts = ("apiserver", "controller-manager", "scheduler") if control_plane else ()
    known = {part: f"registry.k8s.io/{part}:v1.35.5" for part in parts}
    known |= {"kubelet": "ghcr.io/siderolabs/kubelet:v1.35.5"}
    known |= {part.replace("_", "-"): image for part, image in images.items()}
    return ImportNode(name, name, name, control_plane, talos, known, "id", "customization: {}\n", "")


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("kubelet:v1", "v1"),
        ("localhost:5000/kubelet:v1.2.3-rc.0", "v1.2.3-rc.0"),
        ("ghcr.io/siderolabs/kubelet:v1@sha256:abc", "v1"),
    ],
)
def test_tags_of_images(image: str, tag: str) -> None:
    assert image_tag(image) == tag


@pytest.mark.parametrize("image", ["", "kubelet", "localhost:5000/kubelet", "kubelet@sha256:abc"])
def test_images_without_a_tag(image: str) -> None:
    with pytest.raises(InputError, match="doesn't have a tag"):
        image_tag(image)


def chosen(node_: ImportNode, **given: str) -> tuple[tuple[str, ...], list[str]]:
    notes: list[str] = []
    wanted: dict[str, Any] = dict.fromkeys(("talos", "kubernetes", "initial_talos", "initial_kubernetes")) | given
    return tuple(choose_versions(node_, note=notes.append, **wanted)), notes


def test_versions_are_what_the_nodes_say() -> None:
    versions, notes = chosen(node())
    assert versions == ("1.13.5", "1.35.5", "1.13.5", "1.35.5")
    assert len(notes) == 4


def test_initial_versions_are_honoured() -> None:
    versions, notes = chosen(node(), talos="v1.13.5", initial_talos="1.10.2", initial_kubernetes="1.33.1")
    assert versions == ("1.13.5", "1.35.5", "1.10.2", "1.33.1")
    assert sum("before you unlock" in line for line in notes) == 2


def test_patches_start_from_the_initial_version(omni: Omni, foreign: ForeignCluster, talos: TalosClient) -> None:
    now = omni.clusters.plan_import(talos, foreign.nodes)
    then = omni.clusters.plan_import(talos, foreign.nodes, initial_talos_version="1.10.0")
    assert then.initial_talos_version == "1.10.0"
    first, second = (next(one for one in plan.resources if isinstance(one, ConfigPatch)) for plan in (now, then))
    # Talos 1.12 gave hostnames a document of their own: there is nothing to take out of what 1.10 began with.
    assert "auto:" in first.spec.data
    assert "auto:" not in second.spec.data


@pytest.mark.parametrize(
    ("node_", "given", "match"),
    [
        (
            node(),
            {"talos": "1.13.4"},
            'requested talos version "1.13.4" does not match detected talos version "1.13.5"',
        ),
        (node(), {"kubernetes": "v1.35.6"}, 'requested kubernetes version "1.35.6" does not match'),
        (node(), {"talos": "x"}, 'failed to parse requested talos version "x"'),
        (node(), {"initial_talos": "1.14.0"}, 'initial talos version "1.14.0" cannot be greater than'),
        (node(), {"initial_kubernetes": "y"}, 'failed to parse initial kubernetes version "y"'),
        (node(talos="v1.8.4"), {}, r"minimum required version of talos is 1\.9\.0"),
        (node(talos="v1.9.0-beta.1"), {}, r"minimum required version of talos is 1\.9\.0"),
        (node(talos="?"), {}, 'failed to parse detected talos version "?"'),
        (node(kubelet="kubelet"), {}, 'failed to get kubelet version from node "cp"'),
    ],
)
def test_versions_that_do_not_fit(node_: ImportNode, given: dict[str, str], match: str) -> None:
    with pytest.raises(InputError, match=match.replace("?", r"\?")):
        chosen(node_, **given)


def test_the_oldest_talos_that_omni_makes_clusters_with_is_taken() -> None:
    assert chosen(node(talos="v1.9.0"))[0][0] == "1.9.0"


def test_a_prerelease_comes_before_its_release() -> None:
    assert chosen(node(), initial_talos="1.13.5-alpha.10")[0][2] == "1.13.5-alpha.10"
    with pytest.raises(InputError, match="cannot be greater"):
        chosen(node(talos="v1.13.5-alpha.9"), initial_talos="1.13.5-alpha.10")


def test_nodes_that_differ_are_problems() -> None:
    other = node("b", talos="v1.13.4", apiserver="a:v1", scheduler="s", kubelet="k:v1")
    assert problems([node(), other, node("c", control_plane=False)]) == [
        'failed to parse scheduler image version "s": image reference "s" doesn\'t have a tag',
        "multiple different Talos versions found: v1.13.4, v1.13.5",
        "multiple different API server images found: v1, v1.35.5",
        "multiple different kubelet images found: v1, v1.35.5",
    ]
    assert problems([node(), node("b"), node("c", control_plane=False)]) == []


def test_schematics_that_cannot_be_asked_for() -> None:
    assert schematic_problem(node()) is None
    assert "not installed using an image factory" in str(
        schematic_problem(dataclasses.replace(node(), schematic_id=""))
    )
    assert "can't be ensured" in str(schematic_problem(dataclasses.replace(node(), schematic="")))


def test_how_machines_join() -> None:
    link, events, logs = join_documents("grpc://omni.example.com:8090?grpc_tunnel=true", "a/b=", 8090, 8092)
    assert link["apiUrl"] == "grpc://omni.example.com:8090?grpc_tunnel=true&jointoken=a%2Fb%3D"
    assert events["endpoint"] == "[fdae:41e4:649b:9303::1]:8090"
    assert (logs["name"], logs["url"]) == ("omni-kmsg", "tcp://[fdae:41e4:649b:9303::1]:8092")


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (("", "t", 1, 2), "no machine API URL"),
        (("grpc://a", "", 1, 2), "no join token"),
        (("grpc://a", "t", 0, 2), "no events server port"),
        (("grpc://a", "t", 1, 0), "no log server port"),
    ],
)
def test_what_is_needed_to_join(given: tuple[str, str, int, int], what: str) -> None:
    with pytest.raises(InputError, match=what):
        join_documents(*given)


def test_a_machine_that_led_to_another_omni_leads_to_this_one() -> None:
    documents = join_documents("grpc://new", "t", 1, 2)
    before = (
        "version: v1alpha1\n---\napiVersion: v1alpha1\nkind: SideroLinkConfig\napiUrl: grpc://old\nuniqueToken: u\n"
        "---\napiVersion: v1alpha1\nkind: KmsgLogConfig\nname: mine\nurl: tcp://192.0.2.1:1\n"
    )
    found = read(joined(before, documents))
    assert [one.get("kind") for one in found] == [
        None,
        "SideroLinkConfig",
        "KmsgLogConfig",
        "EventSinkConfig",
        "KmsgLogConfig",
    ]
    assert found[1] == {**documents[0], "uniqueToken": "u"}
    assert found[2]["name"] == "mine"

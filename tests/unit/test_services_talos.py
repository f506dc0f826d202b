"""Talos through Omni: metadata as recorded, replies told apart, names resolved."""

from __future__ import annotations

import pytest
from recorded_server import steps

from omniherd._core.nodes import Node, known_nodes, node_names, pick, with_address
from omniherd._core.talos import method_path, plans, sorts_by_node
from omniherd.errors import (
    APIError,
    InputError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
    Unimplemented,
)
from omniherd.resources import ClusterMachineIdentity, MachineStatus
from omniherd.services import NodeReply
from omniherd.wire import machine

STEPS = steps("machines")
CONTROL, WORKER, OTHER, FREE = (f"100{n}1802-c798-4da7-a410-f09abb48c8d8" for n in (0, 1, 2, 5))
ADDRESSES = {
    CONTROL: "fdae:41e4:649b:9303:c87:a304:3e04:24b1",
    WORKER: "fdae:41e4:649b:9303:17c4:d6eb:c672:f93a",
    OTHER: "fdae:41e4:649b:9303:6b09:c87a:e415:d972",
    FREE: "fdae:41e4:649b:9303:1:2:3:4",
}
NAMES = {CONTROL: "talos-9zo-01m", WORKER: "talos-ol5-txq", OTHER: "talos-third"}


def status(id_, cluster="judge-one"):
    return MachineStatus(
        id_,
        spec={
            "cluster": cluster,
            "management_address": ADDRESSES[id_],
            "network": {"hostname": f"host-{id_[:4]}", "domainname": "example.com", "addresses": ["10.0.0.1/24"]},
        },
    )


RESOURCES = {
    MachineStatus.type_name: [status(CONTROL), status(WORKER), status(OTHER), status(FREE, cluster="")],
    ClusterMachineIdentity.type_name: [
        ClusterMachineIdentity(id_, spec={"nodename": name, "node_ips": [f"192.0.2.{number}"]})
        for number, (id_, name) in enumerate(NAMES.items())
    ],
}


@pytest.fixture(scope="module")
def recorded_resources():
    return RESOURCES


@pytest.fixture
def server(recorded):
    return recorded


def tags(replies):
    return {reply.node: reply.result().version.tag for reply in replies}


# --- one machine ------------------------------------------------------------------------------------------------------


def test_a_cluster_alone(server, omni):
    server.play(STEPS["Version: cluster only"])
    assert tags(omni.talos("judge-one").version()) == {"": "v1.13.5"}


@pytest.mark.parametrize(
    ("step", "cluster", "node"),
    [
        ("Version: node by uuid", "judge-one", WORKER),
        ("Version: node by uuid without cluster", None, WORKER),
        ("Version: node of no cluster", None, FREE),
    ],
)
def test_an_id_goes_as_it_is_and_is_not_looked_up(server, omni, step, cluster, node):
    server.play(STEPS[step])
    assert tags(omni.talos(cluster, nodes=node).version()) == {node: "v1.13.5"}
    assert [path for path, _ in server.calls] == ["/machine.MachineService/Version"]


@pytest.mark.parametrize(
    "name", ["talos-ol5-txq", "host-1001", "host-1001.example.com", "192.0.2.1", ADDRESSES[WORKER]]
)
@pytest.mark.parametrize("cluster", ["judge-one", None])
def test_a_name_becomes_an_id(server, omni, name, cluster):
    server.play(STEPS["Version: node by uuid"])
    assert tags(omni.talos(cluster, nodes=[name]).version()) == {name: "v1.13.5"}


def test_a_name_that_no_resource_shows_is_left_to_the_server(server, omni):
    server.play(STEPS["Version: unknown node"])
    with pytest.raises(NotFound, match="cannot resolve its management address"):
        omni.talos("judge-one", nodes="mach-none").version()


@pytest.mark.parametrize(
    ("step", "error", "text"),
    [
        ("Version: as None, one node", PermissionDenied, "insufficient role"),
        ("EtcdMemberList: worker", InvalidArgument, "not a control plane"),
    ],
)
def test_one_machines_failure_is_raised(server, omni, step, error, text):
    server.play(STEPS[step])
    with pytest.raises(error, match=text):
        omni.talos("judge-one", nodes=WORKER).call(STEPS[step]["rpc"])


def test_an_unknown_cluster_is_not_a_broken_connection(server, omni):
    server.play(STEPS["Version: unknown cluster"])
    with pytest.raises(NotFound, match='cluster "mach-none" endpoint not found'):
        omni.talos("mach-none").version()


def test_a_rebooting_machine_is_not_a_broken_connection(server, omni):
    server.play(STEPS["Version: 0.7 s after Reboot of the node"])
    with pytest.raises(Unavailable, match=r"^Omni cannot reach the machine: ") as caught:
        omni.talos("judge-one", nodes=OTHER).version()
    assert caught.value.retryable
    assert caught.value.__cause__ is not caught.value


# --- several machines -------------------------------------------------------------------------------------------------


def test_several_machines_in_one_call_in_the_order_they_were_named(server, omni):
    server.play(STEPS["Hostname: two nodes"])
    replies = omni.talos("judge-one", nodes=["talos-9zo-01m", WORKER]).hostname()
    assert [(reply.node, reply.result().hostname) for reply in replies] == [
        ("talos-9zo-01m", "talos-9zo-01m"),
        (WORKER, "talos-ol5-txq"),
    ]


def test_one_of_several_fails(server, omni):
    server.play(STEPS["EtcdMemberList: control plane and worker"])
    control, worker = omni.talos("judge-one", nodes=[CONTROL, OTHER]).etcd_members()
    assert [member.hostname for member in control.result().members] == ["talos-9zo-01m"]
    assert (worker.node, worker.message) == (OTHER, None)
    assert isinstance(worker.error, InvalidArgument)
    assert str(worker.error) == "the machine is not a control plane"
    with pytest.raises(InvalidArgument):
        worker.result()


def test_machines_of_no_cluster_are_asked_one_by_one(server, omni):
    """`nodes` would fail for all of them."""
    free = STEPS["Version: free machine in maintenance, as Admin"]
    both = STEPS["Version: nodes with two uuids"]
    server.play(both, free)
    replies = omni.talos(nodes=[WORKER, FREE, OTHER]).version()
    assert [reply.node for reply in replies] == [WORKER, FREE, OTHER]
    assert {reply.result().version.tag for reply in replies} == {"v1.13.5"}


def test_a_call_of_its_own_that_fails_is_a_reply(server, omni):
    down = dict(STEPS["Version: unknown node without cluster"], metadata=[["runtime", "Talos"], ["node", FREE]])
    server.play(STEPS["Version: node by uuid"], down)
    first, second = omni.talos(nodes=[WORKER, FREE]).version()
    assert first.result().version.tag == "v1.13.5"
    assert isinstance(second.error, NotFound)


def test_machines_by_label(server, omni):
    two = STEPS["Version: nodes with three, comma"]
    apart = [["nodes", id_] for id_ in (CONTROL, WORKER, OTHER)]
    server.play(dict(two, metadata=[["runtime", "Talos"], ["cluster", "judge-one"], *apart]))
    replies = omni.talos("judge-one", labels="site=fra").version()
    assert [reply.node for reply in replies] == [CONTROL, WORKER, OTHER]


def test_a_selector_that_matches_nothing_asks_nobody(server, omni):
    with pytest.raises(NotFound, match="no machine matches"):
        omni.talos("another", labels="site=fra").version()


def test_a_method_without_messages_is_called_for_each_machine(server, omni):
    """ImageService.Remove answers nothing that could say which machine it is from."""
    remove = {
        "name": "Remove",
        "rpc": "/machine.ImageService/Remove",
        "request": {"image_ref": "x"},
        "responses": [{}],
        "status": {"code": "OK", "message": ""},
    }
    head = [["runtime", "Talos"], ["cluster", "judge-one"]]
    server.play(*(dict(remove, metadata=[*head, ["node", id_]]) for id_ in (CONTROL, CONTROL)))
    server.expected[1]["metadata"] = [*head, ["node", CONTROL]]
    talos = omni.talos("judge-one", nodes=[CONTROL])
    request = machine.ImageServiceRemoveRequest(image_ref="x")
    assert [reply.node for reply in talos.call("machine.ImageService/Remove", request)] == [CONTROL]
    assert [reply.node for reply in talos.call("Remove", request)] == [CONTROL]
    assert not sorts_by_node("/machine.ImageService/Remove")


# --- streams ----------------------------------------------------------------------------------------------------------


def test_the_kernels_log(server, omni):
    server.play(STEPS["Dmesg: follow"])
    with omni.talos("judge-one", nodes=CONTROL).dmesg(follow=True, tail=True) as log:
        assert [(reply.node, reply.result()) for reply in log] == [(CONTROL, b"I wish I was a real Talos...")]


def test_logs_of_several_machines_mixed(server, omni):
    server.play(STEPS["Logs: two nodes"])
    said = list(omni.talos("judge-one", nodes=[CONTROL, OTHER]).logs("kubelet", tail_lines=1))
    assert {reply.node for reply in said} == {CONTROL, OTHER}
    assert all(b"kubelet" in reply.result() for reply in said)


def test_a_stream_that_one_machine_does_not_have(server, omni):
    server.play(STEPS["DiskUsage: two nodes"])
    request = machine.DiskUsageRequest(paths=["/"])
    replies = list(omni.talos("judge-one", nodes=[CONTROL, OTHER]).stream("DiskUsage", request))
    assert {reply.node: type(reply.error) for reply in replies} == {CONTROL: Unimplemented, OTHER: Unimplemented}


def test_a_stream_of_one_machine_that_fails(server, omni):
    server.play(STEPS["Read: one node"])
    with pytest.raises(Unimplemented, match="os-release"):
        omni.talos("judge-one", nodes=CONTROL).read_file("/etc/os-release")
    with pytest.raises(InputError, match="one machine"):
        omni.talos("judge-one").read_file("/etc/os-release")


def test_a_file_comes_in_pieces(server, omni):
    server.play(dict(STEPS["Read: one node"], responses=[{"bytes": "YWI="}, {"bytes": "Yw=="}], status=OK))
    assert omni.talos("judge-one", nodes=CONTROL).read_file("/etc/os-release") == b"abc"


OK = {"code": "OK", "message": ""}


def test_a_stream_needs_one_call(server, omni):
    with pytest.raises(InputError, match="one stream"):
        list(omni.talos(nodes=[WORKER, FREE]).dmesg())


def test_a_machine_away_shows_in_a_stream_too(server, omni):
    server.play(dict(STEPS["Dmesg: one node"], responses=[], status=STEPS["Version: unknown cluster"]["status"]))
    with pytest.raises(NotFound, match="endpoint not found"):
        list(omni.talos("judge-one", nodes=CONTROL).dmesg())


# --- by name ----------------------------------------------------------------------------------------------------------

TALKING = [["runtime", "Talos"], ["cluster", "judge-one"]]


CONVENIENCES = [
    (lambda t, _: t.services(), "machine.MachineService/ServiceList", {}, {"messages": [{"services": [{"id": "a"}]}]}),
    (lambda t, _: t.processes(), "machine.MachineService/Processes", {}, {"messages": [{"processes": [{"pid": 1}]}]}),
    (lambda t, _: t.memory(), "machine.MachineService/Memory", {}, {"messages": [{"meminfo": {"memtotal": "5"}}]}),
    (lambda t, _: t.system_stat(), "machine.MachineService/SystemStat", {}, {"messages": [{"boot_time": "5"}]}),
    (lambda t, _: t.mounts(), "machine.MachineService/Mounts", {}, {"messages": [{"stats": [{"size": "5"}]}]}),
    (lambda t, _: t.disks(), "storage.StorageService/Disks", {}, {"messages": [{"disks": [{"size": "5"}]}]}),
    (lambda t, _: t.time(), "time.TimeService/Time", {}, {"messages": [{"server": "ntp"}]}),
    (lambda t, _: t.etcd_status(), "machine.MachineService/EtcdStatus", {}, {"messages": [{"member_status": {}}]}),
    (
        lambda t, _: t.etcd_members(local=True),
        "machine.MachineService/EtcdMemberList",
        {"query_local": True},
        {"messages": [{"members": [{"hostname": "a"}]}]},
    ),
    (
        lambda t, _: t.reboot(mode="powercycle"),
        "machine.MachineService/Reboot",
        {"mode": "POWERCYCLE"},
        {"messages": [{"actor_id": "a"}]},
    ),
    (
        lambda t, _: t.shutdown(force=True),
        "machine.MachineService/Shutdown",
        {"force": True},
        {"messages": [{"actor_id": "a"}]},
    ),
    (
        lambda t, _: t.service_restart("kubelet"),
        "machine.MachineService/ServiceRestart",
        {"id": "kubelet"},
        {"messages": [{"resp": "a"}]},
    ),
    (
        lambda t, _: t.service_start("kubelet"),
        "machine.MachineService/ServiceStart",
        {"id": "kubelet"},
        {"messages": [{"resp": "a"}]},
    ),
    (
        lambda t, _: t.service_stop("kubelet"),
        "machine.MachineService/ServiceStop",
        {"id": "kubelet"},
        {"messages": [{"resp": "a"}]},
    ),
    (
        lambda t, all_of: all_of(t.logs("kube-system/a:b", namespace="k8s.io")),
        "machine.MachineService/Logs",
        {"namespace": "k8s.io", "driver": "CRI", "id": "kube-system/a:b", "tail_lines": -1},
        {"bytes": "YQ=="},
    ),
    (
        lambda t, all_of: all_of(t.events(tail_events=-1)),
        "machine.MachineService/Events",
        {"tail_events": -1},
        {"id": "e"},
    ),
    (
        lambda t, all_of: all_of(t.list_files("/etc", recurse=True, depth=2)),
        "machine.MachineService/List",
        {"root": "/etc", "recurse": True, "recursion_depth": 2},
        {"name": "/etc/a"},
    ),
    (lambda t, all_of: all_of(t.etcd_snapshot()), "machine.MachineService/EtcdSnapshot", {}, {"bytes": "YQ=="}),
]


@pytest.mark.parametrize(("call", "rpc", "request_", "response"), CONVENIENCES)
def test_conveniences(server, omni, call, rpc, request_, response):
    step = {"name": rpc, "rpc": f"/{rpc}", "request": request_, "responses": [response], "status": OK}
    server.play(dict(step, metadata=TALKING))
    [reply] = call(omni.talos("judge-one"), list)
    assert reply.node == ""
    assert reply.result()


@pytest.mark.parametrize(("call", "rpc", "request_", "response"), CONVENIENCES)
async def test_conveniences_for_tasks(server, call, rpc, request_, response):
    step = {"name": rpc, "rpc": f"/{rpc}", "request": request_, "responses": [response], "status": OK}
    async with server.connect_async() as omni:
        server.play(dict(step, metadata=TALKING))
        [reply] = await call(omni.talos("judge-one"), all_of)
        assert reply.result()


async def all_of(answers):
    return [answer async for answer in answers]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("Version", "/machine.MachineService/Version"),
        ("/machine.MachineService/Version", "/machine.MachineService/Version"),
        ("storage.StorageService/Disks", "/storage.StorageService/Disks"),
        ("Disks", "/storage.StorageService/Disks"),
        ("HealthCheck", "/cluster.ClusterService/HealthCheck"),
        ("List", "/machine.MachineService/List"),
        ("ControllerRuntimeDependencies", "/inspect.InspectService/ControllerRuntimeDependencies"),
    ],
)
def test_methods(method, path):
    assert method_path(method) == path


@pytest.mark.parametrize("method", ["Nope", "CreateUser", "management.ManagementService/CreateUser", ""])
def test_what_is_no_method_of_talos(method):
    with pytest.raises(InputError):
        method_path(method)


def test_requests_of_the_wrong_type_and_shape(omni):
    talos = omni.talos("judge-one")
    with pytest.raises(InputError, match=r"takes a machine.DmesgRequest"):
        talos.stream("Dmesg", machine.LogsRequest())
    with pytest.raises(InputError, match="answers with a stream"):
        talos.call("Dmesg")
    with pytest.raises(InputError, match="answers once"):
        talos.stream("Version")
    with pytest.raises(InputError, match="stream of requests"):
        talos.call("EtcdRecover")


# --- Talos's resources ------------------------------------------------------------------------------------------------


def test_resources_of_a_machine(server, omni):
    server.play(STEPS["State List MachineStatuses.runtime.talos.dev: one node"])
    [found] = omni.talos("judge-one", nodes=CONTROL).list("MachineStatuses.runtime.talos.dev", namespace="runtime")
    assert (found.id, found.spec["stage"]) == ("machine", "running")
    server.play(STEPS["State List Nopes.mach.dev: one node"])
    assert omni.talos("judge-one", nodes=CONTROL).list("Nopes.mach.dev", namespace="default") == []


def test_a_resource_that_is_missing(server, omni):
    server.play(STEPS["State Get MachineStatuses.runtime.talos.dev: missing"])
    with pytest.raises(NotFound):
        omni.talos("judge-one", nodes=CONTROL).get("MachineStatuses.runtime.talos.dev", "nope", namespace="runtime")


def test_a_watch_begins_with_what_there_is(server, omni):
    server.play(STEPS["State Watch MachineStatuses.runtime.talos.dev: bootstrap contents, until the deadline (2 s)"])
    changes = omni.talos("judge-one", nodes=CONTROL).watch("MachineStatuses.runtime.talos.dev", namespace="runtime")
    with changes:
        assert [(change.kind, change.resource.id) for _, change in zip(range(2), changes, strict=False)] == [
            ("created", "machine"),
            ("bootstrapped", ""),
        ]


def test_resources_are_read_from_one_machine_at_a_time(server, omni):
    talos = omni.talos("judge-one", nodes=[CONTROL, WORKER])
    with pytest.raises(InputError, match="one machine at a time"):
        talos.list("Members.cluster.talos.dev", namespace="cluster")
    with pytest.raises(InputError, match="full type name"):
        talos.get("members", "a", namespace="cluster")


# --- tasks ------------------------------------------------------------------------------------------------------------


async def test_the_asynchronous_side_does_the_same(server):
    async with server.connect_async() as omni:
        server.play(STEPS["Hostname: two nodes"])
        replies = await omni.talos("judge-one", nodes=[CONTROL, WORKER]).hostname()
        assert [reply.result().hostname for reply in replies] == ["talos-9zo-01m", "talos-ol5-txq"]
        server.play(STEPS["Logs: two nodes"])
        logs = omni.talos("judge-one", nodes=[CONTROL, OTHER]).logs("kubelet", tail_lines=1)
        assert len([reply async for reply in logs]) == 2
        server.play(STEPS["State List MachineStatuses.runtime.talos.dev: one node"])
        talos = omni.talos("judge-one", nodes=CONTROL)
        [found] = await talos.list("MachineStatuses.runtime.talos.dev", namespace="runtime")
        assert found.id == "machine"
        server.play(STEPS["State Get MachineStatuses.runtime.talos.dev: missing"])
        with pytest.raises(NotFound):
            await talos.get("MachineStatuses.runtime.talos.dev", "nope", namespace="runtime")
        server.play(
            STEPS["State Watch MachineStatuses.runtime.talos.dev: bootstrap contents, until the deadline (2 s)"]
        )
        async with talos.watch("MachineStatuses.runtime.talos.dev", namespace="runtime") as changes:
            assert (await anext(changes)).kind == "created"
        server.play(dict(STEPS["Read: one node"], responses=[{"bytes": "YWI="}], status=OK))
        assert await talos.read_file("/etc/os-release") == b"ab"
        node = await omni.machines.find("host-1005")
        assert (node.id, node.cluster) == (FREE, "")


# --- without a server -------------------------------------------------------------------------------------------------


def test_something_must_be_chosen(omni):
    with pytest.raises(InputError, match="name a cluster"):
        omni.talos()
    with pytest.raises(InputError, match="not by both"):
        omni.talos(nodes="a", labels="a")
    with pytest.raises(InputError, match="name a cluster"):
        plans(None, [], together=True)


@pytest.mark.parametrize("nodes", [[""], ["a,b"], ["a", "b\n"], "ä"])
def test_names_that_cannot_be_sent(nodes):
    with pytest.raises(InputError, match=r"names no machine"):
        node_names(nodes)


def test_names_are_asked_once():
    assert node_names(["b", "a", "b"]) == ["b", "a"]
    assert node_names("abc") == ["abc"]


def test_which_machine_is_meant():
    known = known_nodes(RESOURCES[MachineStatus.type_name], RESOURCES[ClusterMachineIdentity.type_name])
    assert pick(CONTROL, known).name == "talos-9zo-01m"
    assert pick("host-1005", known).name == "host-1005"
    with pytest.raises(InputError, match="may be any of 4 machines"):
        pick("10.0.0.1", known)
    with pytest.raises(NotFound, match="in cluster 'other'"):
        pick(CONTROL, known, cluster="other")
    # A node's name in Kubernetes goes before another machine's hostname.
    shadow = Node("x", "host-1000", "judge-one", "", frozenset({"host-1000"}))
    assert pick("host-1000", [*known, shadow]).id == "x"


def test_names_that_two_clusters_have():
    twins = [Node(id_, "cp-1", cluster, "", frozenset({"cp-1"})) for id_, cluster in (("a", "one"), ("b", "two"))]
    assert pick("cp-1", twins, cluster="two").id == "b"
    with pytest.raises(InputError) as caught:
        pick("cp-1", twins)
    assert "cluster" in caught.value.hint


def test_a_reply_from_an_unknown_address():
    assert with_address("10.9.9.9", [("a", None)]) == "10.9.9.9"


def test_an_error_without_a_status(server, omni):
    away = STEPS["Version: 0.7 s after Reboot of the node"]["status"]["message"]
    texts = {
        CONTROL: "rpc error: code = DeadlineExceeded desc = too slow",
        WORKER: f"rpc error: code = Unavailable desc = {away}",
        OTHER: "odd",
    }
    answer = {"messages": [{"metadata": {"hostname": ADDRESSES[id_], "error": text}} for id_, text in texts.items()]}
    metadata = [*TALKING, *(["nodes", id_] for id_ in texts)]
    server.play(dict(STEPS["Version: cluster only"], responses=[answer], metadata=metadata))
    replies = omni.talos("judge-one", nodes=list(texts)).version()
    assert [(type(reply.error).__name__, str(reply.error).partition(":")[0]) for reply in replies] == [
        ("DeadlineExceeded", "too slow"),
        ("Unavailable", "Omni cannot reach the machine"),
        ("UnknownError", "odd"),
    ]
    assert all(isinstance(reply.error, APIError) for reply in replies)


def test_a_reply_without_anything():
    with pytest.raises(LookupError):
        NodeReply("a", None).result()

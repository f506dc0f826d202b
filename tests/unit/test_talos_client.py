"""The Talos API without Omni: certificates that gRPC cannot judge, endpoints, nodes, and the talosconfig."""

import base64
import os
import socket
from pathlib import Path

import grpc
import pytest
from talos_endpoint import authority as authority  # noqa: PLC0414 - a fixture
from talos_endpoint import talos_endpoint, talosconfig

from omniherd import AsyncTalosClient, RetryPolicy, TalosClient
from omniherd._backend.tunnel import _remove
from omniherd._core.talos import api_address, direct_plans
from omniherd.errors import ConfigError, ContextNotFound, CredentialError, Unavailable, Unimplemented
from omniherd.talosconfig import find_talosconfig, parse_talosconfig, read_talosconfig
from omniherd.wire import cosi_resource, machine

ONCE = RetryPolicy(attempts=1)


def version(verb, _request, context, _number):
    """apid as it answers: alone without a name, several with theirs."""
    sent = context.invocation_metadata()
    nodes = [value for key, value in sent if key == "nodes"]
    if verb == "Version":
        answer = machine.VersionResponse()
        for node in nodes or [""]:
            message = answer.messages.add()
            message.version.tag = "v1.13.4"
            if node:
                message.metadata.hostname = node
            if node == "10.0.0.9":
                message.metadata.error = (
                    "rpc error: code = Unavailable desc = error while dialing: dial tcp 10.0.0.9:50000"
                )
        return answer.SerializeToString()
    if verb == "List":
        item = cosi_resource.ListResponse()
        item.resource.metadata.id = "cp-1"
        item.resource.metadata.version = "1"
        item.resource.metadata.phase = "running"
        item.resource.metadata.type = "Members.cluster.talos.dev"
        item.resource.metadata.namespace = "cluster"
        item.resource.spec.yaml_spec = "nodeId: abc\n"
        return iter([item.SerializeToString()])
    context.abort(grpc.StatusCode.UNIMPLEMENTED, "not here")
    return b""


@pytest.fixture
def running(authority):
    with talos_endpoint(authority, version) as (script, address):
        yield script, address


@pytest.fixture
def config(authority, running, tmp_path):
    path = tmp_path / "talosconfig"
    path.write_text(talosconfig(authority, [running[1]]))
    return path


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


# --- calls ------------------------------------------------------------------------------------------------------------


def test_one_node_is_asked_through_the_endpoint(running, config):
    with TalosClient.connect(config) as cluster:
        [reply] = cluster.talos(nodes="10.0.0.2").version()
    assert (reply.node, reply.result().version.tag) == ("10.0.0.2", "v1.13.4")
    [(_, sent)] = running[0].calls
    assert sent["node"] == "10.0.0.2"
    assert "runtime" not in sent
    assert not any(key.startswith("x-sidero") for key in sent)


def test_without_nodes_the_endpoint_itself_answers(running, config):
    with TalosClient.connect(config) as cluster:
        [reply] = cluster.talos().version()
    assert reply.node == ""
    assert {"node", "nodes"}.isdisjoint(running[0].calls[0][1])


def test_the_nodes_of_the_talosconfig_are_meant_where_none_is_named(authority, running, tmp_path):
    path = tmp_path / "talosconfig"
    path.write_text(talosconfig(authority, [running[1]], nodes=["10.0.0.7"]))
    with TalosClient.connect(path) as cluster:
        assert [reply.node for reply in cluster.talos().version()] == ["10.0.0.7"]


def test_several_nodes_in_one_call_with_the_failure_of_one_in_its_reply(running, config):
    with TalosClient.connect(config) as cluster:
        good, bad = cluster.talos(nodes=["10.0.0.2", "10.0.0.9"]).version()
    assert good.result().version.tag == "v1.13.4"
    assert bad.node == "10.0.0.9"
    with pytest.raises(Unavailable, match=r"^the endpoint cannot reach the machine"):
        bad.result()
    assert len(running[0].calls) == 1


async def test_resources_of_a_node_with_asyncio(running, config):
    async with AsyncTalosClient.connect(config) as cluster:
        [member] = await cluster.talos(nodes="10.0.0.2").list("Members.cluster.talos.dev", namespace="cluster")
    assert (member.id, member.spec["nodeId"]) == ("cp-1", "abc")
    assert running[0].calls[0][1]["node"] == "10.0.0.2"


def test_what_the_server_refuses_is_an_error_of_ours(config):
    with TalosClient.connect(config) as cluster, pytest.raises(Unimplemented, match="not here"):
        cluster.talos().hostname()


# --- the way there ----------------------------------------------------------------------------------------------------


def test_the_next_endpoint_is_tried_when_the_first_does_not_answer(running, config):
    with TalosClient.connect(config, endpoints=[f"127.0.0.1:{free_port()}", running[1]], retry=ONCE) as cluster:
        assert cluster.talos().version()[0].result().version.tag == "v1.13.4"


def test_no_endpoint_answers(config):
    address = f"127.0.0.1:{free_port()}"
    with (
        TalosClient.connect(config, endpoints=[address], retry=ONCE) as cluster,
        pytest.raises(Unavailable, match=rf"^cannot reach the Talos API: {address}: .*refused"),
    ):
        cluster.talos().version()


def test_a_server_of_another_authority_is_not_trusted(authority, running, config, tmp_path_factory):
    other = type(authority)(tmp_path_factory.mktemp("other"), "ca")
    text = config.read_text().replace(
        base64.b64encode(authority.read("ca.crt")).decode(), base64.b64encode(other.read("ca.crt")).decode()
    )
    config.write_text(text)
    with TalosClient.connect(config, retry=ONCE) as cluster, pytest.raises(Unavailable, match="is not trusted"):
        cluster.talos().version()
    assert running[0].calls == []


def test_a_certificate_under_another_name_is_not_trusted(running, config):
    address = running[1].replace("127.0.0.1", "localhost")
    with (
        TalosClient.connect(config, endpoints=[address], retry=ONCE) as cluster,
        pytest.raises(Unavailable, match=r"is not trusted: .*[Hh]ostname mismatch"),
    ):
        cluster.talos().version()


def test_the_server_refuses_a_client_of_another_authority(authority, running, tmp_path_factory, tmp_path):
    other = type(authority)(tmp_path_factory.mktemp("stranger"), "ca")
    certificate, key = other.issue("client", "IP:127.0.0.1")
    (authority.folder / "stranger.crt").write_bytes(certificate.read_bytes())
    (authority.folder / "stranger.key").write_bytes(key.read_bytes())
    path = tmp_path / "talosconfig"
    path.write_text(talosconfig(authority, [running[1]], client="stranger"))
    with (
        TalosClient.connect(path, retry=ONCE) as cluster,
        pytest.raises(Unavailable, match="it refuses the talosconfig's certificate"),
    ):
        cluster.talos().version()
    assert running[0].calls == []


def test_nothing_is_left_of_a_closed_client(config, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    with TalosClient.connect(config) as cluster:
        cluster.talos().version()
        [folder] = set(tmp_path.iterdir()) - before
        # Only this user may speak through the socket, and the key is on the disk no more.
        assert folder.stat().st_mode & 0o777 == 0o700
        assert [file.is_socket() for file in folder.iterdir()] == [True]
    assert set(tmp_path.iterdir()) == before


def test_a_temporary_directory_whose_name_is_too_long_for_a_socket(config, tmp_path, monkeypatch):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with TalosClient.connect(config) as cluster:
        assert cluster.talos().version()[0].result().version.tag == "v1.13.4"
    assert list(folder.iterdir()) == []


def test_a_forked_child_does_not_take_its_parents_socket_away(tmp_path):
    _remove(str(tmp_path), os.getpid() + 1)
    assert tmp_path.exists()
    _remove(str(tmp_path), os.getpid())
    assert not tmp_path.exists()


def test_no_secret_is_shown(config):
    context = read_talosconfig(config)
    client = TalosClient.connect(config)
    assert context.key
    shown = f"{context!r} {client!r} {client.talos(nodes='a')!r}"
    assert "PRIVATE" not in shown
    assert "BEGIN" not in shown
    client.close()


# --- the talosconfig --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("10.0.0.2", ("10.0.0.2", 50000)),
        ("10.0.0.2:1234", ("10.0.0.2", 1234)),
        ("fd00::2", ("fd00::2", 50000)),
        ("[fd00::2]:1234", ("fd00::2", 1234)),
        ("cp.example.com", ("cp.example.com", 50000)),
        ("https://cp.example.com", ("cp.example.com", 50000)),
    ],
)
def test_endpoints(endpoint, expected):
    assert api_address(endpoint) == expected


@pytest.mark.parametrize("endpoint", ["", "a:b", "10.0.0.2:99999", "a b"])
def test_what_is_no_endpoint(endpoint):
    with pytest.raises(ConfigError, match="is no endpoint"):
        api_address(endpoint)


def test_methods_that_cannot_be_sorted_by_node_are_asked_one_by_one():
    assert [plan.metadata for plan in direct_plans(["a", "b"], together=False)] == [[("node", "a")], [("node", "b")]]


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("- a", ConfigError, "must be a mapping"),
        ("context: [", ConfigError, "is no YAML"),
        ("contexts: {}", ContextNotFound, "has no current context"),
        ("context: a\ncontexts: {b: {}}", ContextNotFound, 'context "a" is not defined'),
        ("context: a\ncontexts: {a: {endpoints: {}}}", ConfigError, "must be texts"),
        ("context: a\ncontexts: {a: {endpoints: [x], crt: '%', key: '%'}}", CredentialError, "crt of context a"),
        (
            "context: a\ncontexts: {a: {endpoints: [x], auth: {siderov1: {identity: b}}}}",
            ConfigError,
            "leads through Omni",
        ),
    ],
)
def test_what_is_no_talosconfig(text, error, match):
    with pytest.raises(error, match=match):
        parse_talosconfig(text)


def test_a_context_needs_an_endpoint():
    context = parse_talosconfig("context: a\ncontexts: {a: {}}")
    with pytest.raises(ConfigError, match="names no endpoint"):
        TalosClient.connect(context=context)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=f'failed to open config file "{tmp_path}/none"'):
        read_talosconfig(tmp_path / "none")


def test_which_file_is_used(tmp_path):
    home = {"HOME": str(tmp_path)}
    assert find_talosconfig(home) == str(tmp_path / ".talos" / "config")
    assert find_talosconfig({**home, "TALOSCONFIG": "there"}) == "there"
    (tmp_path / ".talos").mkdir()
    Path(tmp_path / ".talos" / "config").touch()
    assert find_talosconfig({**home, "TALOSCONFIG": str(tmp_path / "missing")}) == str(tmp_path / ".talos" / "config")

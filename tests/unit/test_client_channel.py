"""Connections: certificates, compression, many streams, repetition, forks."""
# ruff: noqa: SIM117 - first the client, then what is expected of it

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import socket
import threading
import time
from pathlib import Path

import grpc
import pytest
from scripted_server import QUICK, answered, found, scripted

from omniherd import AsyncOmni, Omni, RetryPolicy
from omniherd._backend import tls
from omniherd._backend.options import MAX_REQUEST, channel_options, gunzip
from omniherd.emulator import Emulator
from omniherd.errors import (
    Canceled,
    ConfigError,
    CredentialError,
    DeadlineExceeded,
    ForkError,
    InputError,
    NotFound,
    OmniError,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from omniherd.resources import Cluster, ConfigPatch, InfraProvider, MachineClass
from omniherd.signing import PGPKey
from omniherd.wire import cosi_resource as cosi

TLS = Path(__file__).parent.parent / "data" / "tls"


@pytest.fixture(scope="module")
def emulator():
    with Emulator(seed_fleet=False) as running:
        yield running


@pytest.fixture(scope="module")
def signer():
    return PGPKey.generate("", "", "test@example.com", 3600)


# --- certificates -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["self-signed", "name-only", "leaf"])
def secure(request):
    with Emulator(seed_fleet=False, tls=(TLS / f"{request.param}.crt", TLS / f"{request.param}.key")) as running:
        yield running


def connect(server, **options):
    return Omni.connect(server.endpoint, service_account_key=server.service_account_key, **options)


def test_any_certificate_can_be_pinned(secure):
    with connect(secure, insecure_skip_tls_verify=True) as omni:
        assert omni.list(Cluster) == []


async def test_any_certificate_can_be_pinned_by_a_task(secure):
    async with AsyncOmni.connect(
        secure.endpoint, service_account_key=secure.service_account_key, insecure_skip_tls_verify=True
    ) as omni:
        assert await omni.list(Cluster) == []


def test_an_unknown_certificate_is_refused_with_a_hint(secure):
    with connect(secure) as omni, pytest.raises(Unavailable, match="is not trusted") as caught:
        omni.list(Cluster)
    assert "ca=" in caught.value.hint
    assert caught.value.retryable is False


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_ca_and_a_name(as_bytes):
    ca = (TLS / "ca.crt").read_bytes() if as_bytes else TLS / "ca.crt"
    with Emulator(seed_fleet=False, tls=(TLS / "leaf.crt", TLS / "leaf.key")) as server:
        with connect(server, ca=ca) as omni:
            assert omni.list(Cluster) == []
        with connect(server, ca=ca, server_name="a.leaf.test") as omni:
            assert omni.list(Cluster) == []
        with connect(server, ca=ca, server_name="other.test") as omni:
            with pytest.raises(Unavailable, match="made out to another name") as caught:
                omni.list(Cluster)
            assert "server_name=" in caught.value.hint


def test_a_certificate_without_a_name_cannot_be_pinned():
    with Emulator(seed_fleet=False, tls=(TLS / "nameless.crt", TLS / "nameless.key")) as server:
        with connect(server, insecure_skip_tls_verify=True) as omni, pytest.raises(Unavailable, match="bears no name"):
            omni.list(Cluster)


@pytest.mark.parametrize("timeout", [7.0, None])
def test_a_certificate_is_fetched_once_for_all_connections(secure, emulator, monkeypatch, timeout):
    from omniherd._sync import channel as module

    asked = []

    def fetched(endpoint, tls, bound):
        asked.append(bound)
        return trust(endpoint, tls, bound)

    trust = module.trust
    monkeypatch.setattr(module, "trust", fetched)
    with connect(secure, insecure_skip_tls_verify=True, timeout=timeout) as omni:
        first, second = (omni.channel._connection(number) for number in (0, 1))
        assert first is not second
        assert omni.channel._connection(0) is first
    assert asked == [timeout or 10.0]
    with connect(emulator) as omni:
        omni.channel._connection(0)
    assert len(asked) == 1


def test_tls_with_a_server_that_has_none(emulator, signer):
    endpoint = emulator.endpoint.replace("http:", "https:")
    with (
        Omni.connect(endpoint, signer=signer) as omni,
        pytest.raises(Unavailable, match="does not speak TLS") as caught,
    ):
        omni.list(Cluster)
    assert "http://" in caught.value.hint
    with Omni.connect(endpoint, signer=signer, insecure_skip_tls_verify=True) as omni:
        with pytest.raises(Unavailable, match="no TLS with") as caught:
            omni.list(Cluster)
    assert "http://" in caught.value.hint


def test_pinning_where_nobody_listens(signer):
    with Omni.connect("https://127.0.0.1:1", signer=signer, insecure_skip_tls_verify=True) as omni:
        with pytest.raises(Unavailable, match="refused"):
            omni.list(Cluster)


def test_a_bad_ca_is_a_matter_of_configuration(tmp_path, signer):
    for ca, text in ((tmp_path / "none", "no such file"), (b"nothing", "holds no PEM certificate")):
        with Omni.connect("https://127.0.0.1:1", signer=signer, ca=ca) as omni:
            with pytest.raises(ConfigError, match=text):
                omni.list(Cluster)


def test_system_roots_follow_the_usual_variables(monkeypatch, tmp_path):
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"roots")
    monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert tls.system_roots() == b"roots"
    monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(bundle))
    assert tls.system_roots() is None
    monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(tls, "_BUNDLES", ())
    monkeypatch.setattr("ssl.get_default_verify_paths", lambda: type("P", (), {"cafile": None}))
    assert tls.system_roots() is None


# --- messages ---------------------------------------------------------------------------------------------------------


def test_an_answer_that_was_left_compressed_is_unpacked(signer):
    message = cosi.ListResponse(resource=found()).SerializeToString()

    def answer(verb, request, context, number):
        return gzip.compress(answered()) if verb == "Get" else iter([message, gzip.compress(message)])

    with scripted(answer) as script, Omni.connect(script.endpoint, signer=signer) as omni:
        assert omni.get(MachineClass, "a").id == "a"
        assert [one.id for one in omni.list(InfraProvider)] == ["a", "a"]
    assert gunzip(b"") == b""
    assert gunzip(answered()) == answered()


def test_gzip_works_both_ways(emulator):
    with connect(emulator, gzip=True) as omni:
        omni.create(ConfigPatch("big", spec={"data": "machine:\n  env:\n    A: " + "x" * 100_000 + "\n"}))
        assert len(omni.get(ConfigPatch, "big").spec.data) > 100_000
        omni.delete(ConfigPatch, "big")


def test_a_message_over_the_servers_limit_is_not_sent(emulator):
    with connect(emulator) as omni, pytest.raises(ResourceExhausted, match=str(MAX_REQUEST)):
        omni.create(ConfigPatch("huge", spec={"data": "x" * MAX_REQUEST}))


def test_who_calls_is_told(signer):
    with scripted(lambda *_: answered()) as script, Omni.connect(script.endpoint, signer=signer) as omni:
        omni.get(MachineClass, "a")
    ((_, metadata),) = script.calls
    assert metadata["user-agent"].startswith("omniherd/")
    assert metadata["x-sidero-signature"].split(" ")[2] == signer.fingerprint


def test_connections_are_not_shared_between_clients():
    first, second = dict(channel_options(None)), dict(channel_options("x"))
    assert first["omniherd.connection"] != second["omniherd.connection"]
    assert second["grpc.ssl_target_name_override"] == "x"
    assert first["grpc.keepalive_time_ms"] == 60_000
    assert first["grpc.http2.ping_timeout_ms"] == first["grpc.keepalive_timeout_ms"] == 20_000


# --- credentials ------------------------------------------------------------------------------------------------------


def test_a_key_that_the_server_does_not_know(emulator, signer):
    with Omni.connect(emulator.endpoint, signer=signer) as omni, pytest.raises(Unauthenticated) as caught:
        omni.list(Cluster)
    assert "clock" in caught.value.hint


def test_secrets_do_not_show(emulator):
    key = emulator.service_account_key
    with connect(emulator) as omni:
        assert key not in repr(omni)
        assert key not in repr(omni.connection)
        assert "automation" in repr(omni)
    with pytest.raises(CredentialError) as caught:
        Omni.connect(emulator.endpoint, service_account_key=key[:-20])
    assert key[:40] not in str(caught.value)


# --- repetition -------------------------------------------------------------------------------------------------------


def unavailable_first(times):
    def answer(verb, request, context, number):
        if number <= times:
            context.abort(grpc.StatusCode.UNAVAILABLE, "try again")
        return answered() if verb != "List" else iter([cosi.ListResponse(resource=found()).SerializeToString()])

    return answer


def test_reads_are_repeated_each_time_with_a_fresh_signature(signer):
    with scripted(unavailable_first(2)) as script, Omni.connect(script.endpoint, signer=signer, retry=QUICK) as omni:
        assert omni.get(MachineClass, "a").id == "a"
        assert len(script.calls) == 3
    assert all("x-sidero-signature" in metadata for _, metadata in script.calls)


def test_a_list_is_repeated_as_a_whole(signer):
    def answer(verb, request, context, number):
        yield cosi.ListResponse(resource=found(f"{number}")).SerializeToString()
        if number == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "broke amid the list")

    with scripted(answer) as script, Omni.connect(script.endpoint, signer=signer, retry=QUICK) as omni:
        assert [one.id for one in omni.list(InfraProvider)] == ["2"]


def test_writes_are_not_repeated_once_they_may_have_arrived(signer):
    with scripted(unavailable_first(1)) as script, Omni.connect(script.endpoint, signer=signer, retry=QUICK) as omni:
        for call in (
            lambda: omni.create(MachineClass("a")),
            lambda: omni.update(MachineClass.from_proto(found())),
            lambda: omni.destroy(MachineClass, "a"),
            lambda: omni.teardown(MachineClass, "a"),
        ):
            script.calls.clear()
            with pytest.raises(Unavailable) as caught:
                call()
            assert len(script.calls) == 1
            assert caught.value.details["sent"]


def test_a_write_that_was_never_sent_is_repeated(signer):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    policy = RetryPolicy(attempts=100, initial=0.05, maximum=0.05)
    with Omni.connect(f"http://127.0.0.1:{port}", signer=signer, retry=policy) as omni, contextlib.ExitStack() as stack:
        later = threading.Timer(0.3, lambda: stack.enter_context(scripted(lambda *_: answered(), port)))
        later.start()
        assert omni.create(MachineClass("a")).id == "a"
        later.join()


def test_an_unreachable_server_is_one_line_and_no_long_wait(signer):
    with Omni.connect("http://127.0.0.1:1", signer=signer, retry=QUICK) as omni:
        with pytest.raises(Unavailable, match=r"^cannot connect to http://127.0.0.1:1: connection refused$"):
            omni.get(Cluster, "a")


def test_deadlines(signer):
    def answer(verb, request, context, number):
        time.sleep(0.5)
        return answered()

    with scripted(answer) as script, Omni.connect(script.endpoint, signer=signer, timeout=0.1) as omni:
        with pytest.raises(DeadlineExceeded, match="no answer from http://"):
            omni.get(Cluster, "a")
        assert omni.get(MachineClass, "a", timeout=5).id == "a"
        assert omni.get(MachineClass, "a", timeout=None).id == "a"


# --- servers that lack a call -----------------------------------------------------------------------------------------


def older_server():
    """A server without the teardown calls and without watches, holding one resource."""
    held = {"a": found("a")}

    def answer(verb, request, context, number):
        if verb in {"Teardown", "TeardownAndDestroy"}:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"unknown method {verb} for service cosi.resource.State")
        if verb == "Update":
            held["a"] = cosi.UpdateRequest.FromString(request).new_resource
            return cosi.UpdateResponse(resource=held["a"]).SerializeToString()
        if verb == "Destroy":
            assert held.pop("a").metadata.phase == "tearingDown"
            return b""
        if "a" not in held:
            context.abort(grpc.StatusCode.NOT_FOUND, "resource MachineClasses(default/a@undefined) doesn't exist")
        return cosi.GetResponse(resource=held["a"]).SerializeToString()

    return held, answer


@pytest.mark.parametrize("verb", ["delete", "teardown_and_destroy"])
def test_a_teardown_is_made_by_an_update_where_the_call_is_missing(signer, verb):
    held, answer = older_server()
    with scripted(answer) as script, Omni.connect(script.endpoint, signer=signer) as omni:
        getattr(omni, verb)(MachineClass, "a", timeout=10)
        assert held == {}
        with pytest.raises(NotFound):
            getattr(omni, verb)(MachineClass, "a", timeout=10)


@pytest.mark.parametrize("verb", ["delete", "teardown_and_destroy"])
async def test_a_teardown_is_made_by_an_update_for_tasks_too(signer, verb):
    held, answer = older_server()
    with scripted(answer) as script:
        async with AsyncOmni.connect(script.endpoint, signer=signer) as omni:
            await getattr(omni, verb)(MachineClass, "a", timeout=10)
            assert held == {}


def test_finalizers_that_come_and_go_between_the_servers_steps(signer):
    """The record has it: the server's own controller puts a finalizer on it for a moment."""

    def answer(verb, request, context, number):
        if verb == "Teardown":
            return cosi.TeardownResponse(destroy_ready=True).SerializeToString()
        if number == 2:
            text = "resource C(default/a@2) has pending finalizers &[ClusterDestroyStatusController]"
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, text)
        if number == 3:
            context.abort(grpc.StatusCode.NOT_FOUND, "resource C(default/a@undefined) doesn't exist")
        raise AssertionError(verb)

    with scripted(answer) as script, Omni.connect(script.endpoint, signer=signer, retry=QUICK) as omni:
        omni.teardown_and_destroy(Cluster, "a")
        assert [verb for verb, _ in script.calls] == ["Teardown", "TeardownAndDestroy", "TeardownAndDestroy"]


# --- watches that break -----------------------------------------------------------------------------------------------


def watch_script(request, context, number):
    """Break after the contents, then cleanly, then with an error of the stream, then report one more event."""
    bookmark = cosi.WatchRequest.FromString(request).options.start_from_bookmark
    yield b""

    def event(kind, version, mark):
        made = cosi.Event(event_type=kind, resource=found("a", version), bookmark=mark)
        return cosi.WatchResponse(event=[made]).SerializeToString()

    if number == 1:
        contents = cosi.Event(event_type=0, resource=found("a", "1"))
        end = cosi.Event(event_type=3, resource=found(""), bookmark=b"m1")
        yield cosi.WatchResponse(event=[contents, end]).SerializeToString()
        context.abort(grpc.StatusCode.UNAVAILABLE, "proxy restarts")
    elif number == 2:
        assert bookmark == b"m1"
        yield event(1, "2", b"m2")
    elif number == 3:
        assert bookmark == b"m2"
        yield cosi.WatchResponse(event=[cosi.Event(event_type=4, error="buffer overrun")]).SerializeToString()
    else:
        assert bookmark == b"m2"
        yield event(1, "3", b"m3")
        while context.is_active():
            time.sleep(0.02)


WATCHED = [("created", 1), ("bootstrapped", 1), ("updated", 2), ("updated", 3)]


def test_a_watch_survives_every_kind_of_break(signer):
    script = scripted(lambda verb, request, context, number: watch_script(request, context, number))
    with script as server, Omni.connect(server.endpoint, signer=signer, retry=QUICK) as omni:
        seen = []
        with omni.watch(MachineClass) as watch:
            for event in watch:
                seen.append((str(event.kind), event.resource.version))
                if event.resource.version == 3:
                    break
            assert watch.reconnects == 3
            assert watch.bookmark == b"m3"
        assert seen == WATCHED
        assert sum(omni.channel.streams) == 0


async def test_a_watch_of_a_task_survives_every_kind_of_break(signer):
    script = scripted(lambda verb, request, context, number: watch_script(request, context, number))
    with script as server:
        async with AsyncOmni.connect(server.endpoint, signer=signer, retry=QUICK) as omni:
            seen = []
            async for event in omni.watch(MachineClass):
                seen.append((str(event.kind), event.resource.version))
                if event.resource.version == 3:
                    break
            assert seen == WATCHED


def test_a_watch_whose_error_was_raised_is_over(signer):
    def answer(verb, request, context, number):
        context.abort(grpc.StatusCode.NOT_FOUND, "no")

    with scripted(answer) as script, Omni.connect(script.endpoint, signer=signer) as omni:
        watch = omni.watch(MachineClass)
        with pytest.raises(NotFound):
            next(watch)
        assert list(watch) == []
        assert len(script.calls) == 1


# --- many streams -----------------------------------------------------------------------------------------------------


async def test_more_watches_than_a_connection_carries(emulator):
    async with AsyncOmni.connect(emulator.endpoint, service_account_key=emulator.service_account_key) as omni:
        watches = [omni.watch(MachineClass) for _ in range(430)]
        events = await asyncio.wait_for(asyncio.gather(*map(anext, watches)), 60)
        assert {str(event.kind) for event in events} == {"bootstrapped"}
        assert omni.channel.streams == (200, 200, 30)
        assert await omni.list(Cluster) == [], "short calls still get through"
        await asyncio.gather(*(watch.close() for watch in watches))
        assert sum(omni.channel.streams) == 0


def test_streams_of_any_method(emulator):
    request = cosi.ListRequest(namespace="default", type=MachineClass.type_name)
    with connect(emulator) as omni:
        assert list(omni.stream("/cosi.resource.State/List", request)) == []
        with omni.stream(
            "/cosi.resource.State/Watch", cosi.WatchRequest(namespace="default", type=Cluster.type_name)
        ) as one:
            assert next(one) == cosi.WatchResponse()
        assert list(one) == []
        assert sum(omni.channel.streams) == 0
        with pytest.raises(NotFound):
            omni.call(
                "/cosi.resource.State/Get",
                cosi.GetRequest(namespace="default", type=Cluster.type_name, id="nope"),
            )
        for path in ("/nope", "/cosi.resource.State/List"):
            with pytest.raises(InputError):
                omni.call(path, request)
        with pytest.raises(InputError):
            omni.stream("/cosi.resource.State/Get", request)


def test_a_stream_that_is_closed_cannot_be_read(emulator):
    with connect(emulator) as omni:
        request = cosi.WatchRequest(namespace="default", type=Cluster.type_name).SerializeToString()
        messages = omni.channel.open("/cosi.resource.State/Watch", request)
        messages.close()
        messages.close()
        with pytest.raises(Canceled):
            messages.read()


def test_a_connection_that_another_thread_just_closed(emulator):
    with connect(emulator) as omni:
        omni.list(Cluster)
        omni.channel._connection(0).close()
        with pytest.raises(Canceled):
            omni.get(Cluster, "a")
        with pytest.raises(Canceled):
            omni.list(Cluster)
        assert sum(omni.channel.streams) == 0


# --- processes and loops ----------------------------------------------------------------------------------------------


def test_a_forked_child_is_told(emulator):
    with connect(emulator) as omni:
        omni.list(Cluster)
        omni.channel._pid = os.getpid() + 1
        with pytest.raises(ForkError, match="fork"):
            omni.list(Cluster)
        with pytest.raises(ForkError, match="fork"):
            omni.get(Cluster, "a")
        omni.channel._pid = os.getpid()


def test_a_client_of_tasks_belongs_to_one_loop(emulator):
    omni = AsyncOmni.connect(emulator.endpoint, service_account_key=emulator.service_account_key)

    async def first():
        await omni.list(Cluster)

    async def second():
        with pytest.raises(OmniError, match="another event loop"):
            await omni.list(Cluster)

    with asyncio.Runner() as runner:
        runner.run(first())
        with asyncio.Runner() as other:
            other.run(second())
        runner.run(omni.close())

"""The emulator as a user starts it: addresses, TLS, life cycle, what it says on unknown paths."""

import asyncio
import base64
import json
import subprocess
import sys
import time

import grpc
import pytest

from omniherd._core.pool import message
from omniherd.emulator import Emulator
from omniherd.emulator.certificate import self_signed
from omniherd.errors import ConfigError, Unimplemented
from omniherd.signing import PGPKey, sign_headers

GET = "/cosi.resource.State/Get"
SYS_VERSION = {"namespace": "ephemeral", "type": "SysVersions.system.sidero.dev", "id": "current"}


def signer(text):
    return PGPKey.from_armored(json.loads(base64.b64decode(text))["pgp_key"])


def get(channel, key, **names):
    method = channel.unary_unary(
        GET, request_serializer=bytes, response_deserializer=message("cosi.resource.GetResponse").FromString
    )
    data = message("cosi.resource.GetRequest")(**names).SerializeToString()
    return method(data, metadata=sign_headers(key, GET, [], int(time.time())), timeout=5).resource


def test_it_serves_between_start_and_stop():
    with Emulator(seed_fleet=False, account="here") as emulator:
        assert emulator.endpoint == f"http://127.0.0.1:{emulator.port}"
        assert set(emulator.environment()) == {"OMNI_ENDPOINT", "OMNI_SERVICE_ACCOUNT_KEY"}
        with grpc.insecure_channel(f"127.0.0.1:{emulator.port}") as channel:
            found = get(channel, signer(emulator.service_account_key), **SYS_VERSION)
            assert "instancename: here" in found.spec.yaml_spec
    emulator.stop()


def test_it_is_an_async_context_manager_too():
    async def serve():
        async with Emulator(seed_fleet=False) as emulator:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{emulator.port}") as channel:
                await asyncio.wait_for(channel.channel_ready(), 5)
            return emulator.port

    assert asyncio.run(serve()) > 0


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", ""])
def test_it_serves_on_loopback_addresses_only(host):
    with pytest.raises(ConfigError, match="loopback"):
        Emulator(seed_fleet=False, host=host)


def test_a_taken_port_is_told():
    with Emulator(seed_fleet=False) as first:
        second = Emulator(seed_fleet=False, port=first.port)
        with pytest.raises(ConfigError, match=f"cannot serve on 127.0.0.1:{first.port}"):
            second.start()


def test_it_serves_tls_with_a_certificate_that_clients_can_trust():
    with Emulator(seed_fleet=False, tls=True) as emulator:
        assert emulator.endpoint.startswith("https://")
        credentials = grpc.ssl_channel_credentials(emulator.certificate)
        for host in ("127.0.0.1", "localhost"):
            with grpc.secure_channel(f"{host}:{emulator.port}", credentials) as channel:
                assert get(channel, signer(emulator.service_account_key), **SYS_VERSION).metadata.id == "current"


def test_its_own_clients_trust_the_certificate_that_it_made():
    with Emulator(seed_fleet=False, tls=True) as emulator, emulator.connect() as omni:
        assert omni.get("SysVersions.system.sidero.dev", "current", namespace="ephemeral").id == "current"


async def test_its_own_async_clients_trust_the_certificate_that_it_made():
    async with Emulator(seed_fleet=False, tls=True) as emulator, emulator.connect_async() as omni:
        assert (await omni.get("SysVersions.system.sidero.dev", "current", namespace="ephemeral")).id == "current"


def test_it_serves_tls_from_files(tmp_path):
    certificate, key = self_signed(("localhost",))
    (tmp_path / "tls.crt").write_bytes(certificate)
    (tmp_path / "tls.key").write_bytes(key)
    with Emulator(seed_fleet=False, tls=(tmp_path / "tls.crt", tmp_path / "tls.key")) as emulator:
        assert emulator.certificate == certificate
        credentials = grpc.ssl_channel_credentials(certificate)
        with grpc.secure_channel(f"localhost:{emulator.port}", credentials) as channel:
            assert get(channel, signer(emulator.service_account_key), **SYS_VERSION).metadata.id == "current"
    with pytest.raises(ConfigError, match="certificate"):
        Emulator(tls=(tmp_path / "none.crt", tmp_path / "tls.key"))


def test_accounts_have_their_roles():
    with Emulator(seed_fleet=False) as emulator, grpc.insecure_channel(f"127.0.0.1:{emulator.port}") as channel:
        reader = signer(emulator.add_service_account("viewer", "Reader"))
        found = get(channel, reader, namespace="virtual", type="CurrentUsers.omni.sidero.dev", id="current")
        spec = message("specs.CurrentUserSpec").FromString(found.spec.proto_spec)
        assert (spec.identity, spec.role) == ("viewer@serviceaccount.omni.sidero.dev", "Reader")


@pytest.mark.parametrize(("any_type", "code"), [(False, "PERMISSION_DENIED"), (True, "NOT_FOUND")])
def test_foreign_types_are_admitted_on_demand(any_type, code):
    with Emulator(seed_fleet=False, any_type=any_type) as emulator:
        key = signer(emulator.service_account_key)
        channel = grpc.insecure_channel(f"127.0.0.1:{emulator.port}")
        with channel, pytest.raises(grpc.RpcError) as caught:
            get(channel, key, namespace="default", type="Things.example.dev", id="one")
    assert caught.value.code().name == code


def test_what_is_not_emulated_says_so():
    with Emulator() as emulator, emulator.connect() as omni:
        with pytest.raises(Unimplemented, match="method MetaWrite not implemented"):
            omni.talos("prod", nodes="fra-cp-1").call("MetaWrite")
        with pytest.raises(Unimplemented, match=r"unknown service inspect\.InspectService"):
            omni.talos("prod", nodes="fra-cp-1").call("inspect.InspectService/ControllerRuntimeDependencies")


def test_the_fleet_is_always_the_same():
    one, other = Emulator(), Emulator()
    about_accounts = ("Identit", "User", "PublicKey", "ServiceAccount")
    kinds = [kind for kind in one.store.kinds() if not kind[1].startswith(about_accounts)]
    assert len(kinds) > 40
    for kind in kinds:
        mine, theirs = one.store.list(*kind), other.store.list(*kind)
        assert [(found.id, found.spec, found.labels) for found in mine] == [
            (found.id, found.spec, found.labels) for found in theirs
        ]


def test_importing_it_loads_nothing_heavy():
    code = (
        "import sys, omniherd.emulator; "
        "print(sorted({'grpc', 'google.protobuf', 'yaml', 'pysequoia'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_stopping_ends_watches_without_a_word(capfd):
    emulator = Emulator(seed_fleet=False).start()
    path = "/cosi.resource.State/Watch"
    request = message("cosi.resource.WatchRequest")(namespace="default", type="Clusters.omni.sidero.dev")
    with grpc.insecure_channel(f"127.0.0.1:{emulator.port}") as channel:
        key = signer(emulator.service_account_key)
        method = channel.unary_stream(path, request_serializer=bytes, response_deserializer=bytes)
        data = request.SerializeToString()
        streams = [method(data, metadata=sign_headers(key, path, [], int(time.time()))) for _ in range(20)]
        for stream in streams:
            assert next(stream) == b""
        emulator.stop()
        for stream in streams:
            with pytest.raises(grpc.RpcError) as caught:
                next(stream)
            assert caught.value.code().name == "UNAVAILABLE"
    assert capfd.readouterr() == ("", "")

"""The emulator's HTTP side: what no recording shows."""

from __future__ import annotations

import http.client
import json
import random
import socket
import ssl
import time
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from omniherd._core.pool import descriptor
from omniherd.credentials import ServiceAccount
from omniherd.emulator import Emulator
from omniherd.emulator.server import SERVICES
from omniherd.errors import ConfigError
from omniherd.resources import MachineLabel
from omniherd.signing import sign_headers
from omniherd.wire.calls import CALLS

LIST = "cosi.resource.State/List"
LABELS = {"namespace": "default", "type": "MachineLabels.omni.sidero.dev"}


@pytest.fixture(scope="module")
def emulator():
    with Emulator(seed_fleet=False) as running:
        yield running


@pytest.fixture
def connection(emulator):
    with closing(connect(emulator)) as opened:
        yield opened


def connect(emulator, **options):
    address = urlsplit(emulator.web_endpoint)
    kind = http.client.HTTPSConnection if options else http.client.HTTPConnection
    return kind(address.hostname, address.port, timeout=10, **options)


def signed(emulator, method):
    key = ServiceAccount.decode(emulator.service_account_key).key
    return {f"Grpc-Metadata-{name}": value for name, value in sign_headers(key, f"/{method}", [], int(time.time()))}


def post(emulator, connection, method, message, **headers):
    connection.request("POST", f"/api/{method}", json.dumps(message), {**signed(emulator, method), **headers})
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_a_connection_serves_several_requests(emulator, connection):
    for _ in range(3):
        assert post(emulator, connection, LIST, LABELS) == (200, "")
    assert connection.sock is not None


def test_pieces_of_a_body(emulator, connection):
    pieces = iter([json.dumps(LABELS)[:5].encode(), json.dumps(LABELS)[5:].encode()])
    connection.request("POST", f"/api/{LIST}", pieces, signed(emulator, LIST), encode_chunked=True)
    assert connection.getresponse().status == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n", 413),
        (b"GET http://[ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"X-Long: y\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nX-Long: " + b"y" * 2_000_000 + b"\r\n\r\n", 431),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
    ],
)
def test_what_is_no_request(emulator, sent, status):
    address = urlsplit(emulator.web_endpoint)
    with socket.create_connection((address.hostname, address.port), timeout=10) as raw:
        raw.sendall(sent)
        assert b"".join(iter(lambda: received(raw), b"")).startswith(b"HTTP/1.1 %d " % status)


def received(raw):
    try:
        return raw.recv(65536)
    except ConnectionResetError:
        return b""


def test_a_watch_ends_with_its_client(emulator, connection):
    listeners = emulator.store._kinds
    connection.request(
        "POST", "/api/cosi.resource.State/Watch", json.dumps(LABELS), signed(emulator, "cosi.resource.State/Watch")
    )
    response = connection.getresponse()
    assert response.readline() == b'{"result":{}}\n'
    kind = listeners["default", LABELS["type"]]
    assert kind.listeners
    with emulator.connect() as omni:
        omni.create(MachineLabel("gw-seen"))
    assert b"gw-seen" in response.readline()
    response.close()
    connection.close()
    deadline = time.monotonic() + 10
    while kind.listeners and time.monotonic() < deadline:
        with closing(connect(emulator)) as other:
            post(emulator, other, LIST, LABELS)
    assert not kind.listeners


def test_a_watch_ends_with_the_server():
    with Emulator(seed_fleet=False) as emulator, closing(connect(emulator)) as connection:
        watch = "cosi.resource.State/Watch"
        connection.request("POST", f"/api/{watch}", json.dumps(LABELS), signed(emulator, watch))
        response = connection.getresponse()
        assert response.readline() == b'{"result":{}}\n'
        emulator.stop()
        with pytest.raises(http.client.IncompleteRead):
            response.read()


def test_faults_meet_calls_of_the_gateway(emulator, connection):
    emulator.faults.fail("State/List", "UNAVAILABLE", "out of order")
    assert post(emulator, connection, LIST, LABELS) == (503, '{"error":{"code":14,"message":"out of order"}}\n')
    assert post(emulator, connection, LIST, LABELS)[0] == 200


def test_the_hosted_service_has_no_resource_service():
    with Emulator(seed_fleet=False, resource_service=False) as emulator, closing(connect(emulator)) as connection:
        assert post(emulator, connection, "omni.resources.ResourceService/Get", {}) == (405, "read-only\n")
        assert post(emulator, connection, LIST, LABELS)[0] == 200


def test_pages_have_their_style(connection):
    connection.request("GET", "/anything")
    response = connection.getresponse()
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert b'href="/style.css"' in response.read()
    connection.request("GET", "/style.css")
    assert connection.getresponse().headers["content-type"].startswith("text/css")


def test_one_port_for_both():
    with Emulator(seed_fleet=False, single_port=True) as emulator:
        assert emulator.web_endpoint == emulator.endpoint
        with emulator.connect() as omni, closing(connect(emulator)) as connection:
            omni.create(MachineLabel("gw-one"))
            status, text = post(emulator, connection, LIST, LABELS)
            assert (status, "gw-one" in text) == (200, True)
            watch = omni.watch(MachineLabel)
            assert next(watch).resource.id == "gw-one"
            watch.close()


def test_one_port_for_both_with_tls():
    with Emulator(seed_fleet=False, single_port=True, tls=True) as emulator, emulator.connect() as omni:
        assert omni.list(MachineLabel) == []
        context = ssl.create_default_context(cadata=emulator.certificate.decode())
        with closing(connect(emulator, context=context)) as connection:
            assert post(emulator, connection, LIST, LABELS) == (200, "")


def test_a_port_that_is_taken(emulator):
    with pytest.raises(ConfigError, match="cannot serve"):
        Emulator(seed_fleet=False, web_port=urlsplit(emulator.web_endpoint).port).start()


def test_it_starts_again_where_it_stopped():
    emulator = Emulator(seed_fleet=False)
    for _ in range(2):
        with emulator.start().connect() as omni, closing(connect(emulator)) as connection:
            assert omni.list(MachineLabel) == []
            assert post(emulator, connection, LIST, LABELS) == (200, "")
        emulator.stop()
    with pytest.raises(OSError, match="refused"), closing(connect(emulator)) as connection:
        connection.request("GET", "/healthz")


def test_no_body_breaks_the_gateway(emulator, caplog):
    """Whatever JSON comes, signed by an Admin or by nobody, is answered with an error of gRPC's."""
    chance = random.Random(7)
    methods = [
        path[1:] for path, call in CALLS.items() if path[1:].partition("/")[0] in SERVICES and not call.server_stream
    ]
    methods = [one for one in methods if not one.endswith(("/AwaitPublicKeyConfirmation", "/TeardownAndDestroy"))]
    values = [None, 0, -1, 1.5, 10**30, "", "x", "\ud800", [], ["a"], {}, {"a": {}}, True, "2026-01-01T00:00:00Z", "9s"]
    with closing(connect(emulator)) as connection:
        for _ in range(400):
            method = chance.choice(methods)
            names = [field.name for field in descriptor(CALLS["/" + method].request).fields] or ["none"]
            content = {chance.choice(names): chance.choice(values) for _ in range(chance.randrange(4))}
            body = json.dumps(content)[: chance.choice((None, None, -1, 5))]
            headers = signed(emulator, method) if chance.random() < 0.7 else {}
            connection.request("POST", f"/api/{method}", body, {**headers, "Grpc-Metadata-runtime": "Omni"})
            response = connection.getresponse()
            answer = json.loads(response.read())
            assert response.status == 200 or answer["code"], (method, body)
            assert "bug of omniherd" not in answer.get("message", ""), (method, body, answer)
    assert not caplog.records

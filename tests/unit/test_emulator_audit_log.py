"""The emulator's audit log, held against the record."""

import base64
import json
import time
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format

from omniherd._core.pool import message, pool
from omniherd.emulator import Emulator
from omniherd.resources import Cluster, ConfigPatch
from omniherd.signing import PGPKey, sign_headers

RPC = "/management.ManagementService/ReadAuditLog"
RECORD = json.loads((Path(__file__).parents[1] / "data" / "recordings" / "management-audit-log.json").read_text())[
    "steps"
]


@pytest.fixture(scope="module")
def emulator():
    with Emulator(seed_fleet=False) as running, running.connect() as omni:
        omni.create(ConfigPatch("cap-p-1", spec={"data": "machine:\n  network:\n    hostname: cap-a\n"}))
        with omni.edit(ConfigPatch, "cap-p-1") as patch:
            patch.spec.data = "machine:\n  network:\n    hostname: cap-b\n"
        omni.create(Cluster("cap-v", spec={"kubernetes_version": "1.35.0", "talos_version": "1.13.0"}))
        omni.delete(Cluster, "cap-v")
        yield running


def read(emulator, request, key=None):
    signer = PGPKey.from_armored(json.loads(base64.b64decode(key or emulator.service_account_key))["pgp_key"])
    proto = message("management.ReadAuditLogRequest")()
    json_format.ParseDict(request, proto, descriptor_pool=pool())
    parse = message("management.ReadAuditLogResponse").FromString
    with grpc.insecure_channel(emulator.endpoint.removeprefix("http://")) as channel:
        method = channel.unary_stream(RPC, request_serializer=bytes, response_deserializer=parse)
        metadata = sign_headers(signer, RPC, [], int(time.time()))
        try:
            found = [one.audit_log.decode() for one in method(proto.SerializeToString(), metadata=metadata, timeout=5)]
        except grpc.RpcError as error:
            return error.code().name, error.details(), []
    return "OK", "", found


def bare(line):
    """What of a line does not depend on the server and the time."""
    entry = json.loads(line)
    session = entry["event_data"].pop("session")
    return entry["event_type"], entry["resource_type"], entry["resource_id"], entry["event_data"], sorted(session)


def test_lines_look_as_recorded(emulator):
    wanted = [json.loads(one) if one.startswith('"') else one for one in RECORD[0]["audit_lines"]]
    code, _, lines = read(emulator, RECORD[0]["request"])
    assert code == "OK"
    assert [bare(one) for one in lines] == [bare(one) for one in wanted[:2]]
    assert all(one.endswith("\n") for one in lines)
    assert list(json.loads(lines[0])) == list(json.loads(wanted[0]))


@pytest.mark.parametrize("number", [5, 9])
def test_refusals_are_the_recorded_ones(emulator, number):
    key = emulator.add_service_account("reader", "Reader") if number == 9 else None
    status = RECORD[number]["status"]
    assert read(emulator, RECORD[number]["request"], key)[:2] == (status["code"], status["message"])


@pytest.mark.parametrize(
    ("request_", "events"),
    [
        ({}, ["create", "update", "create", "teardown"]),
        ({"cluster_id": "cap-v"}, ["create", "teardown"]),
        ({"event_type": "AUDIT_LOG_EVENT_TYPE_UPDATE"}, ["update"]),
        ({"search": "cap-b"}, ["update"]),
        ({"actor": "automation"}, []),
        ({"actor": "automation@serviceaccount.omni.sidero.dev", "resource_id": "cap-p-1"}, ["create", "update"]),
        ({"order_by_dir": "AUDIT_LOG_ORDER_BY_DIR_DESC", "cluster_id": "cap-v"}, ["teardown", "create"]),
        ({"end_time": "2020-01-01"}, []),
        ({"start_time": "2020-01-01", "resource_id": "cap-p-1"}, ["create", "update"]),
    ],
)
def test_filters(emulator, request_, events):
    assert [json.loads(one)["event_type"] for one in read(emulator, request_)[2]][: len(events) or None] == events


def test_following_is_refused_aloud(emulator):
    assert read(emulator, {"follow": True})[:2] == (
        "UNIMPLEMENTED",
        f"{RPC}: the emulator does not read the audit log with follow",
    )

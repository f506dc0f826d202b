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
from omniherd.emulator.services import audit_log
from omniherd.resources import Cluster, ConfigPatch, MachineLabel
from omniherd.signing import PGPKey, sign_headers

RPC = "/management.ManagementService/ReadAuditLog"
RECORD = json.loads((Path(__file__).parents[1] / "data" / "recordings" / "management-audit-log.json").read_text())[
    "steps"
]
ADMIN = "automation@serviceaccount.omni.sidero.dev"


@pytest.fixture(scope="module")
def emulator():
    with Emulator(seed_fleet=False) as running, running.connect() as omni:
        operator = running.add_service_account("operator", "Operator")
        omni.create(ConfigPatch("cap-p-1", spec={"data": "machine:\n  network:\n    hostname: cap-a\n"}))
        with omni.edit(ConfigPatch, "cap-p-1") as patch:
            patch.spec.data = "machine:\n  network:\n    hostname: cap-b\n"
        destroy(running, "ConfigPatches.omni.sidero.dev", "cap-p-1")
        omni.create(ConfigPatch("cap-p-2", spec={"data": "machine: {}\n"}))
        destroy(running, "ConfigPatches.omni.sidero.dev", "cap-p-2")
        omni.create(Cluster("cap-v", spec={"kubernetes_version": "1.35.0", "talos_version": "1.13.0"}))
        omni.delete(Cluster, "cap-v")
        with omni.__class__.connect(running.endpoint, service_account_key=operator) as other:
            other.create(MachineLabel("cap-c-38"))
        destroy(running, "MachineLabels.omni.sidero.dev", "cap-c-38")
        omni.management.create_service_account("cap-hand", "Reader")
        omni.management.destroy_service_account("cap-hand")
        omni.management.create_user("eve@example.org", "Reader")
        omni.management.update_user("eve@example.org", "Operator")
        yield running


def call(emulator, path, request, key=None, *, messages=None):
    """Return code, text and encoded answers of a call; as many as wanted of a stream that goes on."""
    signer = PGPKey.from_armored(json.loads(base64.b64decode(key or emulator.service_account_key))["pgp_key"])
    with grpc.insecure_channel(emulator.endpoint.removeprefix("http://")) as channel:
        method = channel.unary_stream(path, request_serializer=bytes, response_deserializer=bytes)
        metadata = sign_headers(signer, path, [], int(time.time()))
        stream = method(request.SerializeToString(), metadata=metadata, timeout=5)
        answers = []
        try:
            for answer in stream:
                answers.append(answer)
                if messages is not None and len(answers) == messages:
                    break
        except grpc.RpcError as error:
            return error.code().name, error.details(), answers
        finally:
            stream.cancel()
    return "OK", "", answers


def destroy(emulator, type_name, id_):
    request = message("cosi.resource.DestroyRequest")(namespace="default", type=type_name, id=id_)
    assert call(emulator, "/cosi.resource.State/Destroy", request)[0] == "OK"


def asked(request):
    proto = message("management.ReadAuditLogRequest")()
    json_format.ParseDict(request, proto, descriptor_pool=pool())
    return proto


def read(emulator, request, key=None):
    code, text, answers = call(emulator, RPC, asked(request), key)
    parse = message("management.ReadAuditLogResponse").FromString
    return code, text, [parse(one).audit_log.decode() for one in answers]


def bare(line):
    """What of a line does not depend on the server and the time."""
    entry = json.loads(line)
    session = entry["event_data"].pop("session")
    cluster = entry["event_data"].get("cluster", {})
    for version in ("kubernetes_version", "talos_version"):
        cluster.pop(version, None)
    if "new_user" in entry["event_data"]:
        entry["event_data"]["new_user"]["id"] = "<UUID>"
        entry["resource_id"] = entry["event_data"]["new_user"]["email"] = "<WHO>"
    agent = session["user_agent"]
    return entry["event_type"], entry["resource_type"], entry["resource_id"], entry["event_data"], agent, list(session)


def of_identities(event):
    return {"event_type": f"AUDIT_LOG_EVENT_TYPE_{event}", "search": "cap-hand", "resource_type": IDENTITIES}


IDENTITIES = "Identities.omni.sidero.dev"


def today(emulator):
    return time.strftime("%Y-%m-%d", time.gmtime(emulator.store.clock() / 1e9))


def replayed(emulator, step):
    """Return the request of a step, with the names and the day of this emulator."""
    request = dict(step["request"])
    if request.get("search") == "cap-":
        # The record's server had other accounts and patches, too.
        event = request.get("event_type", "").removeprefix("AUDIT_LOG_EVENT_TYPE_")
        if event in {"CREATE", "DESTROY"}:
            return of_identities(event)
        # The caller's own change of a user is the only one of its kind here.
        return {**request, "search": "cap-none"} if event == "UPDATE_WITH_CONFLICTS" else request
    if request.get("start_time") == request.get("end_time") and "start_time" in request:
        request["start_time"] = request["end_time"] = today(emulator)
    return request


def test_the_record_agrees(emulator):
    """Every step: status, number, order and content of lines, apart from names, versions and times."""
    failures = []
    reader = emulator.add_service_account("reader", "Reader")
    for number, step in enumerate(RECORD):
        wanted = step.get("audit_lines", [])
        key = reader if step["as"] == "Reader" else None
        code, text, lines = read(emulator, replayed(emulator, step), key)
        status = (step["status"]["code"], step["status"]["message"])
        same = [bare(one) for one in lines] == [bare(one) for one in wanted]
        keys = [list(json.loads(one)) for one in lines] == [list(json.loads(one)) for one in wanted]
        if (code, text) != status or not same or not keys or not all(one.endswith("\n") for one in lines):
            failures.append(f"step {number} ({step['name']}): {code} {text} {lines}, recorded {status} {wanted}")
    print(f"management-audit-log: {len(RECORD) - len(failures)} of {len(RECORD)} steps agree")
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yesterday", 'parsing time "yesterday" as "2006-01-02": cannot parse "yesterday" as "2006"'),
        ("2024-13-01", 'parsing time "2024-13-01": month out of range'),
        ("2024-02-30", 'parsing time "2024-02-30": day out of range'),
        ("2024-1-01", 'parsing time "2024-1-01" as "2006-01-02": cannot parse "1-01" as "01"'),
        ("2024", 'parsing time "2024" as "2006-01-02": cannot parse "" as "-"'),
        ("2024-01-01T", 'parsing time "2024-01-01T": extra text: "T"'),
    ],
)
def test_dates_are_read_as_go_reads_them(emulator, text, said):
    assert read(emulator, {"end_time": text})[:2] == ("INVALID_ARGUMENT", f"invalid end time: {said}")


@pytest.mark.parametrize(
    ("request_", "events"),
    [
        ({"cluster_id": "cap-v"}, ["create", "teardown", "destroy"]),
        ({"event_type": "AUDIT_LOG_EVENT_TYPE_UPDATE"}, ["update"]),
        ({"event_type": "AUDIT_LOG_EVENT_TYPE_UPDATE_WITH_CONFLICTS"}, ["update_with_conflicts"]),
        ({"search": "CAP-B"}, ["update"]),
        ({"actor": "automation"}, []),
        ({"actor": ADMIN, "resource_id": "cap-p-1"}, ["create", "update", "destroy"]),
        ({"order_by_dir": "AUDIT_LOG_ORDER_BY_DIR_DESC", "cluster_id": "cap-v", "search": "1.35"}, None),
        (
            {"order_by_field": "AUDIT_LOG_ORDER_BY_FIELD_EVENT_TYPE", "cluster_id": "cap-v"},
            ["create", "destroy", "teardown"],
        ),
        (
            {
                "order_by_field": "AUDIT_LOG_ORDER_BY_FIELD_EVENT_TYPE",
                "order_by_dir": "AUDIT_LOG_ORDER_BY_DIR_DESC",
                "cluster_id": "cap-v",
            },
            ["teardown", "destroy", "create"],
        ),
        ({"end_time": "2020-01-01"}, []),
        ({"start_time": "2020-01-01", "resource_id": "cap-p-1"}, ["create", "update", "destroy"]),
        ({"start_time": "2999-01-01"}, []),
    ],
)
def test_filters(emulator, request_, events):
    found = [json.loads(one)["event_type"] for one in read(emulator, request_)[2]]
    assert sorted(found) == ["create", "teardown"] if events is None else found == events


def test_what_an_account_leaves_behind(emulator):
    """The identity is made before the user, and goes before it; each is torn down first."""
    lines = [json.loads(one) for one in read(emulator, {"search": "cap-hand", "actor": ADMIN})[2]]
    assert [(one["event_type"], one["resource_type"].partition(".")[0]) for one in lines] == [
        ("create", "Identities"),
        ("create", "Users"),
        *((event, kind) for kind in ("Identities", "Users") for event in ("teardown", "destroy")),
    ]
    assert lines[1]["event_data"]["new_user"]["role"] == "Reader"
    fingerprint = lines[0]["event_data"]["session"]["fingerprint"]
    keys = [json.loads(one)["event_type"] for one in read(emulator, {"resource_id": fingerprint})[2]]
    assert keys == ["create", "teardown", "destroy"]


def test_following_begins_with_its_position_and_goes_on(emulator):
    parse = message("management.ReadAuditLogResponse").FromString
    code, _, answers = call(emulator, RPC, asked({"follow": True, "from_id": 1}), messages=3)
    first, *rest = [parse(one) for one in answers]
    assert (code, first.id, first.audit_log) == ("OK", 0, b"")
    assert [one.id for one in rest] == [1, 2]
    signer = PGPKey.from_armored(json.loads(base64.b64decode(emulator.service_account_key))["pgp_key"])
    with grpc.insecure_channel(emulator.endpoint.removeprefix("http://")) as channel, emulator.connect() as omni:
        method = channel.unary_stream(RPC, request_serializer=bytes, response_deserializer=parse)
        metadata = sign_headers(signer, RPC, [], int(time.time()))
        stream = method(asked({"follow": True}).SerializeToString(), metadata=metadata, timeout=10)
        position = next(stream).id
        omni.create(MachineLabel("new-one"))
        line = next(stream)
        stream.cancel()
    assert line.id == position + 1
    assert json.loads(line.audit_log)["resource_id"] == "new-one"


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        ({"from_id": 1}, "INVALID_ARGUMENT", "from_id requires follow"),
        ({"from_id": -1}, "INVALID_ARGUMENT", "from_id cannot be negative"),
        ({"follow": True, "search": "x"}, "INVALID_ARGUMENT", "search cannot be combined with follow"),
        ({"follow": True, "from_id": 9999}, "FAILED_PRECONDITION", "the follow position no longer exists"),
    ],
)
def test_refusals_of_following(emulator, request_, code, text):
    assert read(emulator, request_)[:2] == (code, text)


def test_a_restored_state_is_no_change():
    with Emulator() as emulator:
        snapshot = emulator.snapshot()
        with emulator.connect() as omni:
            omni.delete(ConfigPatch, "500-prod-ntp")
        before = len(read(emulator, {})[2])
        emulator.restore(snapshot)
        assert len(read(emulator, {})[2]) == before


def test_a_file_keeps_the_log(tmp_path):
    """Entries of before are there again, and numbers go on."""
    file = tmp_path / "state"
    with Emulator(seed_fleet=False, data=file) as emulator, emulator.connect() as omni:
        omni.create(MachineLabel("one"))
    with Emulator(data=file) as emulator, emulator.connect() as omni:
        omni.delete(MachineLabel, "one")
        lines = [json.loads(one) for one in read(emulator, {"resource_id": "one"})[2]]
        parse = message("management.ReadAuditLogResponse").FromString
        _, _, answers = call(emulator, RPC, asked({"follow": True, "from_id": 1}), messages=len(lines) + 1)
        numbers = [parse(one).id for one in answers]
    assert [one["event_type"] for one in lines] == ["create", "teardown", "destroy"]
    assert numbers == [0, 1, 2, 3]


def test_the_oldest_entries_go_first(monkeypatch, tmp_path):
    monkeypatch.setattr(audit_log, "_KEPT", 3)
    with Emulator(seed_fleet=False, data=tmp_path / "state") as emulator:
        for number in range(5):
            emulator.store.put("MachineLabels.omni.sidero.dev", f"m-{number}")
        assert [json.loads(one)["resource_id"] for one in read(emulator, {})[2]] == ["m-2", "m-3", "m-4"]
    with Emulator(data=tmp_path / "state") as emulator:
        assert [json.loads(one)["resource_id"] for one in read(emulator, {})[2]] == ["m-2", "m-3", "m-4"]

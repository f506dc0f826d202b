"""The recorded calls of the management service, replayed against the emulator."""

import base64
import io
import json
import zipfile

import pytest
from google.protobuf import json_format
from recording_player import Player, judge, load, new_emulator

from omniherd._core.pool import message
from omniherd.wire.calls import CALLS

PREFIX = "/management.ManagementService/"
SERVICE_CALLS = {
    "MachineLogs",
    "KubernetesUpgradePreChecks",
    "KubernetesSyncManifests",
    "CreateSchematic",
    "GetSupportBundle",
    "MaintenanceUpgrade",
    "MaintenanceLifecycle",
    "ResetNodeUniqueToken",
    "MachinePowerOff",
    "MachinePowerOn",
    "CreateSchematicFromRaw",
    "ValidateJSONSchema",
    "CreateJoinToken",
    "GetMachineJoinConfig",
    "ValidateConfig",
    "Omniconfig",
    "Talosconfig",
    "Kubeconfig",
}

# The recorded server's addresses of schemas have the directory in which it ran.
DIRECTORY = "SERVER-WORKING-DIR/"
CLUSTER = "Clusters.omni.sidero.dev"


@pytest.fixture
def player():
    with new_emulator() as emulator:
        emulator.store.put(CLUSTER, "cap-m", {"kubernetes_version": "1.36.0", "talos_version": "1.13.5"})
        player = Player(emulator)
        yield player
        player.close()


def signed(player, step):
    """Return the metadata of a call, what it is about included."""
    sent = [tuple(pair) for pair in step.get("metadata") or ()]
    return sent + [pair for pair in player.metadata(step) if pair not in sent]


def test_refusals_of_the_management_service_agree(player):
    """Status and text of every recorded call; what answers carry is compared by the tests of each call."""
    results = []
    for number, step in enumerate(load("management")["steps"]):
        name = step.get("rpc", "").removeprefix(PREFIX)
        if name not in SERVICE_CALLS:
            continue
        code, text, _ = player.call(
            step["rpc"], player.request_bytes(step["rpc"], step["request"]), signed(player, step)
        )
        wanted = (step["status"]["code"], step["status"]["message"].replace(DIRECTORY, ""))
        faults = [] if (code, text) == wanted else [f"{(code, text)}, recorded {wanted}"]
        results.append((number, step["name"], faults))
    judge("management", results)


def answers_of(player, name, request, *, role="Admin", metadata=()):
    rpc = PREFIX + name
    step = {"rpc": rpc, "as": role, "signed": True, "metadata": [list(pair) for pair in metadata]}
    code, text, answers = player.call(rpc, player.request_bytes(rpc, request), signed(player, step))
    shown = [json_format.MessageToDict(message(CALLS[rpc].response).FromString(data)) for data in answers]
    return code, text, shown


@pytest.mark.parametrize("number", [27, 28, 29, 48])
def test_answers_agree_to_the_letter(player, number):
    step = load("management")["steps"][number]
    code, _, shown = answers_of(player, step["rpc"].removeprefix(PREFIX), step["request"])
    assert code == "OK"
    recorded = []
    for one in step["responses"]:
        text = json.dumps(one).replace(DIRECTORY, "")
        recorded.append(json_format.Parse(text, message(CALLS[step["rpc"]].response)()))
    assert shown == [json_format.MessageToDict(one) for one in recorded]


def test_a_schematic_of_a_token_agrees_to_the_letter(player):
    step = load("management")["steps"][45]
    code, _, (shown,) = answers_of(player, "CreateSchematic", step["request"])
    recorded = step["responses"][0]
    assert code == "OK"
    assert shown == {"schematicId": recorded["schematic_id"], "schematicYml": recorded["schematic_yml"]}


@pytest.mark.parametrize("number", [50, 51])
def test_support_bundles_agree(player, number):
    step = load("management")["steps"][number]
    code, _, shown = answers_of(player, "GetSupportBundle", step["request"])
    assert code == "OK"
    *progress, last = step["responses"]
    assert [one["progress"] for one in shown[:-1]] == [one["progress"] for one in progress]
    names = [
        zipfile.ZipFile(io.BytesIO(base64.b64decode(data))).namelist()
        for data in (shown[-1]["bundleData"], last["bundle_data"])
    ]
    assert names[0] == names[1]


@pytest.fixture
def fleet():
    from omniherd.emulator import Emulator

    with Emulator() as emulator:
        player = Player(emulator)
        yield player
        player.close()


def machine_of(player, *, free):
    store = player.emulator.store
    used = {one.id for one in store.list("default", "ClusterMachines.omni.sidero.dev")}
    every = [one.id for one in store.list("default", "Machines.omni.sidero.dev")]
    return next(one for one in every if (one in used) != free)


@pytest.mark.parametrize(("tail", "count"), [(0, 0), (1, 1), (-1, 5), (99, 5)])
def test_logs_of_a_machine_are_lines_of_json(fleet, tail, count):
    request = {"machine_id": machine_of(fleet, free=False), "tail_lines": tail}
    code, _, shown = answers_of(fleet, "MachineLogs", request, role="Reader")
    assert (code, len(shown)) == ("OK", count)
    for one in shown:
        line = json.loads(base64.b64decode(one["bytes"]))
        assert line.keys() == {"msg", "talos-level", "talos-time"}
        assert line["msg"].endswith("\n")


def test_following_logs_goes_on_until_the_caller_ends_it(fleet):
    rpc = PREFIX + "MachineLogs"
    step = {"rpc": rpc, "as": "Reader", "signed": True}
    request = fleet.request_bytes(rpc, {"machine_id": machine_of(fleet, free=True), "tail_lines": 1, "follow": True})
    code, _, answers = fleet.call(rpc, request, fleet.metadata(step), timeout=0.5)
    assert (code, len(answers)) == ("DEADLINE_EXCEEDED", 1)


@pytest.mark.parametrize(
    ("version", "code", "text"),
    [
        ("1.36.0", "OK", ""),
        ("v1.36.1", "OK", ""),
        ("1.37.0", "INVALID_ARGUMENT", "unsupported upgrade path: 1.36->1.37"),
        ("1.35.5", "INVALID_ARGUMENT", "unsupported upgrade path: 1.36->1.35"),
        (
            "x",
            "INVALID_ARGUMENT",
            'invalid upgrade path: error parsing to version: Invalid character(s) found in major number "x"',
        ),
    ],
)
def test_checks_before_an_upgrade_agree_with_the_record_of_machines(player, version, code, text):
    store = player.emulator.store
    store.put("KubernetesUpgradeStatuses.omni.sidero.dev", "cap-m", {"last_upgrade_version": "1.36.0"})
    metadata = [("cluster", "cap-m")]
    got = answers_of(player, "KubernetesUpgradePreChecks", {"new_version": version}, metadata=metadata)
    assert got[:2] == (code, text)
    assert got[2] == ([{"ok": True}] if code == "OK" else [])


@pytest.mark.parametrize(
    ("name", "free", "request_", "code", "text"),
    [
        (
            "MaintenanceUpgrade",
            False,
            {"version": "v1.13.5"},
            "FAILED_PRECONDITION",
            "machine is not in maintenance mode",
        ),
        (
            "MaintenanceUpgrade",
            True,
            {"version": "9.9.9"},
            "FAILED_PRECONDITION",
            'requested Talos version "9.9.9" is not tracked by this Omni release',
        ),
        (
            "MachinePowerOn",
            True,
            {},
            "FAILED_PRECONDITION",
            "machine is not managed by a static infra provider, power on the machine manually",
        ),
    ],
)
def test_calls_about_a_machine_that_is_there(fleet, name, free, request_, code, text):
    request = {"machine_id": machine_of(fleet, free=free), **request_}
    assert answers_of(fleet, name, request)[:2] == (code, text)

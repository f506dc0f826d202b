"""The recorded calls that need machines, replayed against the emulator: management, Talos' API, Talos' resources."""

import base64
import io
import json
import re
import time
import zipfile
from datetime import UTC, datetime

import pytest
from google.protobuf import json_format
from recording_player import Player, compare_status, judge, load, new_emulator

from omniherd._core.pool import message, pool
from omniherd.emulator import Emulator
from omniherd.emulator.talos.machine_log import Line
from omniherd.signing import sign_headers
from omniherd.wire.calls import CALLS

RECORD = load("machines")["steps"]
CLUSTER, CONTROL_PLANE, WORKER, OTHER, FREE, FREE_TOO = (
    "judge-one",
    *(f"{number}1802-c798-4da7-a410-f09abb48c8d8" for number in (1000, 1001, 1002, 1005, 1003)),
)
# Id, name, address, id as a member; as the record tells them.
NODES = (
    (CONTROL_PLANE, "talos-9zo-01m", "c87:a304:3e04:24b1", "zEhu20pUBM5YUwyELxClSZ1h2EziTimLSTQjSQkl0UI"),
    (WORKER, "talos-ol5-txq", "17c4:d6eb:c672:f93a", "BpxVpvG37XwQ5sP1YOAotZLqVlZtOMLEyYaidkwYcWA"),
    (OTHER, "talos-plu-s88", "6b09:c87a:e415:d972", "v6JcRgJR5GGD7flUwT6Rel2g2LCfSfO5kR344lnbeKjD"),
    (FREE, "", "1111:2222:3333:1005", ""),
    (FREE_TOO, "", "1111:2222:3333:1003", ""),
)
_L = "omni.sidero.dev/"
_O = ".omni.sidero.dev"

MORE = "these machines answer what the recorded ones did not implement"
LOGS = "each emulator's machines write lines of their own"
ROLES = "the recorded machines checked no roles; these refuse what a real Talos refuses"
ELSEWHERE = "the emulator shows nothing of Kubernetes"
KEPT_BACK = "these machines keep no configuration that could be shown"
NUMBERS = "how busy a machine is is each emulator's own"
URLS = "these machines tell the URLs of etcd's members, as a real Talos does"
WORKERS = "these workers run a kubelet and no control plane, as real ones do"
ADDRESSES = "the recorded machines have another address from their discovery service"
PLACES = "the namespaces of the recorded machines are more"
VENDOR = "the recorded machines name their own emulator as the product"
BUNDLE = "compared by a test of its own"
AUDIT = "compared by a test of its own"

BEGINNING = "the record has the first lines of the log and leaves out the others"

EXCEPTIONS = {
    19: BEGINNING,
    **dict.fromkeys((50, 51, 53, 54, 56, 57, 62, 70, 104, 107, 108, 109, 114), MORE),
    **dict.fromkeys((55, 111), URLS),
    **dict.fromkeys((52,), NUMBERS),
    **dict.fromkeys((59, 60), WORKERS),
    64: MORE,
    65: ROLES,
    **dict.fromkeys((66, 67, 68, 69, 115), LOGS),
    **dict.fromkeys((72, 73, 110), ROLES),
    85: ADDRESSES,
    89: VENDOR,
    90: PLACES,
    92: KEPT_BACK,
    **dict.fromkeys((102, 103), ELSEWHERE),
    124: AUDIT,
    125: BUNDLE,
}
# A reboot that the recorded machines let a Reader make, before these steps.
AWAY = (*range(74, 82), 96)
# Steps of Omni's own State about a cluster's resources: those of a living fleet are held against its record.
OWN_STATE = "/cosi.resource.State/"


def put_machines(store):
    """Make what the record's server knew of its machines."""
    store.put("Clusters" + _O, CLUSTER, {"kubernetes_version": "1.36.0", "talos_version": "1.13.5"})
    store.put("KubernetesUpgradeStatuses" + _O, CLUSTER, {"last_upgrade_version": "1.36.0"})
    store.put("ClusterEndpoints" + _O, CLUSTER, {"management_addresses": [address(NODES[0][2])]})
    store.put("ClusterUUIDs" + _O, CLUSTER, {"uuid": "e0117951-5018-4e56-8150-c1e2ff8d51b6"})
    for id_, name, tail, member in NODES:
        labels = {_L + "cluster": CLUSTER} if name else {_L + "installed": ""}
        if name:
            labels[_L + ("role-controlplane" if id_ == CONTROL_PLANE else "role-worker")] = ""
        status = {
            "talos_version": "v1.13.5",
            "management_address": address(tail),
            "connected": True,
            "maintenance": not name,
            "cluster": CLUSTER if name else "",
            "hardware": {"arch": "amd64", "processors": [{"core_count": 2, "thread_count": 2}]},
            "network": {"hostname": name or id_},
            "platform_metadata": {"platform": "metal"},
            "schematic": {"full_id": "f" * 64},
        }
        store.put("Links" + _O, id_, {"connected": True})
        store.put("Machines" + _O, id_, {"management_address": address(tail), "connected": True})
        store.put("MachineStatuses" + _O, id_, status, labels=labels)
        if name:
            store.put("ClusterMachines" + _O, id_, {"kubernetes_version": "1.36.0"}, labels=labels)
            identity = {"nodename": name, "node_identity": member, "node_ips": [address(tail)]}
            store.put("ClusterMachineIdentities" + _O, id_, identity, labels=labels)


def address(tail):
    return f"fdae:41e4:649b:9303:{tail}"


def write_log(emulator):
    """Give the worker the log that the record's server kept of it, as far as the record shows it."""
    shown = [one["bytes"] for number in (19, 18) for one in RECORD[number]["responses"]]
    lines = [json.loads(base64.b64decode(text)) for text in dict.fromkeys(shown)]
    log = emulator._machines.log
    log._lines[WORKER] = [
        Line(
            nanoseconds(line.pop("talos-time")),
            line.pop("msg").removesuffix("\n"),
            line.pop("talos-level"),
            fields=line,
        )
        for line in lines
    ]


def nanoseconds(stamp):
    seconds, _, fraction = stamp.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(seconds).replace(tzinfo=UTC)
    return int(moment.timestamp()) * 10**9 + int(fraction.ljust(9, "0"))


class Clock:
    """The time of the emulator; a test moves it."""

    def __init__(self):
        self.ahead = 0

    def __call__(self):
        return time.time_ns() + self.ahead


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def player(clock):
    with new_emulator(clock=clock) as emulator:
        put_machines(emulator.store)
        write_log(emulator)
        player = Player(emulator)
        yield player
        player.close()


def signed(player, step):
    sent = [tuple(pair) for pair in step.get("metadata") or ()]
    if not step["signed"]:
        return sent
    now = player.emulator.store.clock() // 10**9
    return sent + [pair for pair in sign_headers(player.key(step["as"]), step["rpc"], sent, now) if pair not in sent]


def play(player, step):
    """Return code, text and answers of a step; a stream that goes on ends with the first silence."""
    rpc = step["rpc"]
    request = b"" if rpc not in CALLS else player.request_bytes(rpc, step["request"])
    stream = rpc in CALLS and CALLS[rpc].server_stream
    return player.call(rpc, request, signed(player, step), timeout=0.4 if stream else 5.0, stream=stream)


def plain(response, data):
    return json_format.MessageToDict(
        message(response).FromString(data), preserving_proto_field_name=True, descriptor_pool=pool()
    )


def settled(rpc, answers):
    """Make equal what differs from run to run: times, the order of machines."""
    found = json.loads(json.dumps(answers))
    for answer in found:
        answer.get("messages", []).sort(key=lambda one: one.get("metadata", {}).get("hostname", ""))
        for one in answer.get("messages", []):
            for service in one.get("services", []):
                service["health"].pop("last_change", None)
        for name in ("body", "items"):
            if name in answer:
                answer[name] = re.sub(r'"(created|updated|version)\\*":[^,}]*', r"\1", json.dumps(answer[name]))
        for event in answer.get("event", []):
            event.pop("bookmark", None)
        for holder in (answer, *answer.get("event", [])):
            metadata = holder.get("resource", {}).get("metadata", {})
            for name in ("created", "updated", "version"):
                metadata.pop(name, None)
            metadata.pop("finalizers", None)
    if rpc.endswith(("/DiskUsage", "/Logs", "/Dmesg")):
        found.sort(key=lambda one: one.get("metadata", {}).get("hostname", ""))
    return found


def compare(step, code, text, answers):
    rpc = step["rpc"]
    faults = compare_status(step["status"], code, text)
    if rpc not in CALLS or rpc.endswith(("/Kubeconfig", "/GetMachineJoinConfig")):
        return faults
    response = CALLS[rpc].response
    wanted = []
    for record in step["responses"]:
        proto = message(response)()
        json_format.ParseDict(record, proto, descriptor_pool=pool())
        wanted.append(plain(response, proto.SerializeToString()))
    ours, theirs = settled(rpc, [plain(response, one) for one in answers]), settled(rpc, wanted)
    if ours != theirs:
        faults.append(f"answers {json.dumps(ours)[:400]}, recorded {json.dumps(theirs)[:400]}")
    return faults


def relevant(step):
    own = step["rpc"].startswith(OWN_STATE) and ["runtime", "Talos"] not in (step.get("metadata") or [])
    return not own


def test_calls_that_need_machines_agree(player, clock):
    results = []
    for number, step in enumerate(RECORD):
        if not relevant(step):
            continue
        if number == AWAY[0] or number == 96:
            reboot(player, WORKER)
        if number in {82, 97} or step["name"].startswith("Version: 2.9 s"):
            clock.ahead += 3 * 10**9
        if number == 150:
            clock.ahead += 3 * 10**9
        results.append((number, step["name"], compare(step, *play(player, step))))
    judge("machines", results, {("machines", number): why for number, why in EXCEPTIONS.items()})


def reboot(player, machine):
    step = {
        "rpc": "/machine.MachineService/Reboot",
        "as": "Admin",
        "request": {},
        "signed": True,
        "metadata": [["runtime", "Talos"], ["node", machine]],
    }
    assert play(player, step)[0] == "OK"


def test_calls_to_talos_are_in_the_audit_log(player):
    """A line for each call, with the machine as it was asked for; the newest first."""
    for step in RECORD[118:124]:
        play(player, step)
    step = RECORD[124]
    code, _, answers = play(player, step)
    lines = [json.loads(message("management.ReadAuditLogResponse").FromString(one).audit_log) for one in answers]
    wanted = [json.loads(base64.b64decode(one["audit_log"])) for one in step["responses"]]
    assert code == "OK"
    assert len(lines) == 6
    for ours, theirs in zip(lines, wanted, strict=False):
        assert ours["event_data"]["talos_access"] == theirs["event_data"]["talos_access"]
        assert ours["event_data"]["session"].pop("user_agent").startswith("grpc-python/")
        assert theirs["event_data"]["session"].pop("user_agent").startswith("grpc-python/")
        assert list(ours["event_data"]["session"]) == list(theirs["event_data"]["session"])
        assert list(ours) == list(theirs)


# Of the recorded files, those that the machines here do not have, and what those have instead.
OF_TALOS = r"MACHINE/resources/.*"
NOT_HERE = {
    rf"omni/resources/{name}\.omni.*"
    for name in (
        "ClusterKubernetesManifestsStatuses",
        "ClusterMachineConfigStatuses",
        "KernelArgsStatuses",
        "KubernetesUpgradeManifestStatuses",
        "RedactedClusterMachineConfigs",
        "SchematicConfigurations",
    )
}


def shape(name):
    """Return a file's name without what is a run's own."""
    name = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "MACHINE", name)
    return re.sub(r"-(judge-one|staging)", "-CLUSTER", name)


def test_the_bundle_of_a_running_cluster_has_the_recorded_files():
    step = RECORD[125]
    with Emulator() as emulator:
        player = Player(emulator)
        request = {**step["request"], "cluster": "staging"}
        code, text, answers = play(player, {**step, "request": request})
        player.close()
    assert (code, text) == ("OK", "")
    *progress, last = [plain(CALLS[step["rpc"]].response, one) for one in answers]
    archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(last["bundle_data"])))
    ours, theirs = {shape(name) for name in archive.namelist()}, {shape(name) for name, _ in step["bundle_files"]}
    own = {one for one in theirs if re.fullmatch(OF_TALOS, one)}
    here = {one for one in ours if re.fullmatch(OF_TALOS, one)}
    missing = {one for one in theirs - ours - own if not any(re.fullmatch(rule, one) for rule in NOT_HERE)}
    print(
        f"support bundle: {len(ours & theirs)} of {len(theirs)} kinds of files; {len(here & own)} of Talos' own types"
    )
    assert not missing
    assert ours - theirs - here <= {"MACHINE/mounts", "MACHINE/io"}
    assert len(here & own) >= 8
    check_progress(step, [one["progress"] for one in progress], len(archive.namelist()))


def check_progress(step, progress, files):
    """A message for each file, those that could not be had among them; the forms are the recorded ones."""
    recorded = [one["progress"] for one in step["responses"] if "progress" in one]
    assert [one["source"] for one in progress] == sorted((one["source"] for one in progress), reverse=True)
    failed = [one for one in progress if one.get("error")]
    assert len(progress) == files + len(failed)
    for source in ("omni", "cluster"):
        mine = [one for one in progress if one["source"] == source]
        assert {one["total"] for one in mine} == {len(mine)}
    assert progress[0]["state"] == "collect Clusters.omni.sidero.dev-staging.yaml"
    known = {one["error"] for one in recorded if one["state"] == "collect dependencies.dot"}
    assert {one["error"] for one in failed if one["state"] == "collect dependencies.dot"} == known
    assert {one["state"] for one in failed} == {"collect dependencies.dot", "collect devices"}


def test_a_machine_that_is_away_is_told_in_the_progress_of_the_bundle():
    step = RECORD[125]
    with Emulator() as emulator:
        player = Player(emulator)
        code, _, answers = play(player, {**step, "request": {"cluster": "edge-lab"}})
        player.close()
    assert code == "OK"
    progress = [plain(CALLS[step["rpc"]].response, one).get("progress", {}) for one in answers]
    assert sum("i/o timeout" in one.get("error", "") for one in progress) > 10

"""The shared recordings of a real Omni v1.9.3 server, replayed against the emulator."""

import base64
import re

import pytest
from recording_player import (
    ACCOUNTS,
    MACHINE_LABELS,
    SERVER_TIME,
    STATE,
    Player,
    judge,
    load,
    mutate,
    new_emulator,
    parse_mutation,
    position,
)

from omniherd.emulator.access import Principal
from omniherd.emulator.auth import account_identity
from omniherd.emulator.records import Stored
from omniherd.errors import OmniError
from omniherd.signing import PublicKey

ALTERED = "the record's answer was altered when its recorder built the next request from it"
DICTIONARY = "the YAML form shows what only Omni's own zstd dictionary can unpack"
AT_ONCE = "read within the tenth of a second that the real server takes to take things down"

# (scenario, step) -> why the emulator differs.
EXCEPTIONS = {
    ("cosi-destroy", 24): ALTERED,
    ("cosi-config-patch", 2): ALTERED,
    ("cosi-config-patch", 3): ALTERED,
    ("cosi-config-patch-dictionary", 0): DICTIONARY,
    ("cosi-config-patch-dictionary", 1): DICTIONARY,
    ("cosi-config-patch-dictionary", 2): DICTIONARY,
    ("cosi-config-patch-dictionary", 4): DICTIONARY,
    ("infra-provider", 27): "the join token is signed with a secret of the real server",
    ("service-accounts", 10): "lists the accounts of that server; the account's key is compared by other steps",
    ("cluster-lifecycle", 12): AT_ONCE,
    ("cluster-lifecycle", 15): AT_ONCE,
    ("limits", 2): "the client of this test does not compress; gRPC's core would accept deflate too",
    ("limits", 6): "the record has no content, only its size; tests of the client list large resources",
    ("limits", 22): "gRPC's core passes a path without slashes on, and answers that there is no such service",
    ("limits", 27): "the deadline of the record is the client's own; gRPC for Python answers within it here",
    ("limits", 26): "gRPC's core cannot be told to end the connection; it takes somewhat larger metadata",
    ("limits-2", 6): "needs the 250 watches of the next step on its channel; see test_streams_are_limited",
}
RESOURCES = "/omni.resources."
# Steps that race with a deadline: here they may agree or not.
EITHER = {("limits", 27)}

# The record lists what was there before its own updates.
ORDER = {
    "cosi-config-patch": [0, 1, 5, 6, *range(7, 19), 2, 3, 4],
    # The account that is listed and destroyed there was made in what stands as a later step.
    "service-accounts": [65, *range(65), 66],
}

PLAIN = [
    "cosi-get",
    "cosi-list",
    "cosi-create",
    "cosi-update",
    "cosi-destroy",
    "cosi-label-queries",
    "cosi-config-patch",
    "cosi-config-patch-dictionary",
    "cosi-validation",
    "auth-unsigned",
    "auth-roles",
    "infra-provider",
    "limits",
    "limits-2",
]


@pytest.fixture
def player():
    with new_emulator() as emulator:
        player = Player(emulator)
        yield player
        player.close()


def relevant(step):
    """Whether a step is a call that is judged here: those of ResourceService are in a test of their own."""
    return not step.get("rpc", RESOURCES).startswith(RESOURCES)


@pytest.mark.parametrize("scenario", PLAIN)
def test_steps_agree(player, scenario):
    prepare(player, scenario)
    results = []
    steps = load(scenario)["steps"]
    for number in ORDER.get(scenario, range(len(steps))):
        step = steps[number]
        if not relevant(step) or step["request"] is None or isinstance(step["request"], str):
            continue
        clear_the_way(player, step)
        faults = player.play_watch(step) if step["rpc"] == STATE + "Watch" else player.play(step)
        results.append((number, step["name"], faults))
    judge(scenario, results, EXCEPTIONS, EITHER)


def prepare(player, scenario):
    """Make what the record says was there before."""
    store = player.emulator.store
    if scenario == "cosi-validation":
        store.put("MachineClasses.omni.sidero.dev", "cap-mc", {"match_labels": ["cap-x"]})
    if scenario == "cosi-config-patch":
        put_recorded(store, load(scenario)["steps"][5]["responses"][1])
    if scenario == "cosi-config-patch-dictionary":
        put_recorded(store, load(scenario)["steps"][0]["responses"][0])


def put_recorded(store, answer):
    metadata, spec = answer["resource"]["metadata"], answer["resource"]["spec"]
    key = (metadata["namespace"], metadata["type"], metadata["id"])
    store.create(Stored(*key, spec=base64.b64decode(spec["proto_spec"]), labels=metadata.get("labels", {})))


def clear_the_way(player, step):
    """Remove what an earlier step made under the id that a recorded creation found free."""
    metadata = step["request"].get("resource", {}).get("metadata", {})
    if step["rpc"].endswith("/Create") and step["status"]["code"] == "OK":
        player.emulator.store.remove(metadata["namespace"], metadata["type"], metadata["id"])


def test_signatures_agree():
    record = load("auth-signature")
    clock = [int(record["steps"][0]["client_unix_time"]) * 10**9]
    with new_emulator(clock=lambda: clock[0]) as emulator:
        for account in record["keys"].values():
            identity = account_identity(account["name"])
            emulator._keyring.add_identity(identity, account["role"], service_account=True)
            emulator._keyring.add_key(PublicKey.from_bytes(account["public_key"]), identity, account["role"])
        player = Player(emulator)
        results = []
        for number, step in enumerate(record["steps"]):
            if not relevant(step):
                continue
            clock[0] = int(step["client_unix_time"] * 10**9)
            results.append((number, step["name"], player.play(step)))
        player.close()
    judge("auth-signature", results, EXCEPTIONS, EITHER)


# Methods of other services that answer UNIMPLEMENTED still.
NOT_EMULATED = {
    "CreateSchematic",
    "CreateSchematicFromRaw",
    "GetSupportBundle",
    "KubernetesSyncManifests",
    "KubernetesUpgradePreChecks",
    "MachineLogs",
    "MachinePowerOff",
    "MachinePowerOn",
    "MaintenanceLifecycle",
    "MaintenanceUpgrade",
    "ReadAuditLog",
    "ResetNodeUniqueToken",
    "ValidateJSONSchema",
}


@pytest.mark.parametrize("scenario", ["management", "service-accounts", "auth-public-keys"])
def test_other_services_agree(scenario):
    """Callers are told apart without signatures here: these records hold no private keys, and keys of their time."""
    record = load(scenario)
    clock = [recorded_time(record)]
    with new_emulator(clock=lambda: clock[0] * 10**9) as emulator:
        player = Player(emulator)
        callers = {role: principal(emulator, role) for role in ACCOUNTS}
        current = []
        emulator._keyring.authenticate = lambda path, metadata: current[-1]
        if scenario == "management":
            cluster = {"kubernetes_version": "1.36.1", "talos_version": "1.13.5"}
            emulator.store.put("Clusters.omni.sidero.dev", "cap-m", cluster)
        if scenario == "auth-public-keys":
            for number in (17, 21):
                id_ = record["steps"][number]["request"]["public_key_id"]
                key = {"confirmed": True, "identity": {"email": "another@example.org"}}
                emulator.store.put("PublicKeys.omni.sidero.dev", id_, key)
        results = []
        for number in ORDER.get(scenario, range(len(record["steps"]))):
            step = record["steps"][number]
            method = step["rpc"].rpartition("/")[2]
            if method in NOT_EMULATED or step["rpc"].startswith(STATE) or step["as"] not in {*callers, "nobody"}:
                continue
            current.append(callers.get(step["as"]))
            created = key_created(step)
            if created is not None and 0 <= created - clock[0] < 100:
                clock[0] = created
            if method == "CreateServiceAccount" and step["status"]["code"] == "OK":
                forget_account(emulator.store, account_identity(step["request"].get("name", "")))
            results.append((number, step["name"], player.play({**step, "signed": False})))
        player.close()
    judge(scenario, results, EXCEPTIONS, EITHER)


def principal(emulator, role):
    identity = account_identity(ACCOUNTS[role])
    return Principal(identity, role, emulator._keyring.add_identity(identity, role, service_account=True))


def recorded_time(record):
    """Return when a record was made, from the first key in it."""
    found = [created for step in record["steps"] if (created := key_created(step)) is not None]
    return found[0] if found else SERVER_TIME + 8 * 3600


def key_created(step):
    """Return when the key in a request was made, None when there is no readable one."""
    armored = step["request"].get("armored_pgp_public_key")
    data = step["request"].get("public_key", {}).get("pgp_data")
    try:
        key = PublicKey.from_bytes(armored or base64.b64decode(data or ""))
    except OmniError:
        return None
    return int(key.created.timestamp())


def forget_account(store, identity):
    """Remove an account that the record's server did not have any more."""
    found = store.find("default", "Identities.omni.sidero.dev", identity)
    if found is not None:
        store.remove("default", "Identities.omni.sidero.dev", identity)


def test_watches_agree(player):
    record = load("cosi-watch")
    store = player.emulator.store
    history = history_of(record)
    player.exact_bookmarks = True
    begin_history(store, history)
    results = []
    for number, step in enumerate(record["steps"]):
        mutations = [parse_mutation(text) for text in step["mutations_during_watch"]]
        catch_up(store, history, start_of(step, mutations))
        faults = player.play_watch(step, lambda todo=mutations: [mutate(player, *one) for one in todo])
        results.append((number, step["name"], faults))
    judge("cosi-watch", results, EXCEPTIONS, EITHER)


def history_of(record):
    """Return every event that the record shows, by its position; filtered views of events are left aside."""
    history = {}
    for step in record["steps"]:
        if step["request"].get("options", {}).get("label_query"):
            continue
        for answer in step["responses"]:
            for event in answer.get("event", ()):
                if "bookmark" in event and event.get("event_type") not in {"NOOP", "BOOTSTRAPPED"}:
                    history[position(event["bookmark"])] = event
    return history


def begin_history(store, history):
    """Make the bookmarks those of the record: its first eight bytes, and as many events as came before it."""
    first = min(history)
    store.cookie = base64.b64decode(history[first]["bookmark"])[:8]
    while next_position(store) < first:
        store.put(MACHINE_LABELS, "cap-filler", labels={"turn": str(next_position(store))})
        if next_position(store) == first - 1:
            store.remove("default", MACHINE_LABELS, "cap-filler")
    store.put(MACHINE_LABELS, "cap-x", namespace="cap-ns")
    store.remove("cap-ns", MACHINE_LABELS, "cap-x")


def next_position(store):
    kind = store._kinds.get(("default", MACHINE_LABELS))
    return 0 if kind is None else kind.position


def start_of(step, mutations):
    """Return the position at which a step's own changes begin; None when the record does not tell."""
    marks, events = [], []
    for answer in step["responses"]:
        for event in answer.get("event", ()):
            if "bookmark" in event and event["resource"]["metadata"]["namespace"] == "default":
                mark = event.get("event_type") in {"NOOP", "BOOTSTRAPPED"}
                (marks if mark else events).append(position(event["bookmark"]))
    if marks:
        return marks[0] + 1
    if not events:
        return None
    made = sum(2 if verb == "Teardown" else 1 for verb, _, _ in mutations)
    return max(events) - made + 1


def catch_up(store, history, start):
    """Make the changes that happened between two recorded steps."""
    while start is not None and next_position(store) < start:
        event = history[next_position(store)]
        metadata = event["resource"]["metadata"]
        key = ("default", MACHINE_LABELS, metadata["id"])
        content = {
            "labels": metadata.get("labels", {}),
            "finalizers": tuple(metadata.get("finalizers", ())),
            "phase": metadata["phase"],
        }
        kind = event.get("event_type", "CREATED")
        if kind == "CREATED":
            store.create(Stored(*key, **content))
        elif kind == "UPDATED":
            store.modify(*key, **content)
        else:
            store.remove(*key)


def matrix_calls(type_name, namespace):
    """Return each verb of the matrix with the State method and the request that it stands for."""
    missing = {"namespace": namespace, "type": type_name, "id": "cap-missing"}
    content = {"metadata": {**missing, "version": "1", "phase": "running"}, "spec": {}}
    return {
        "list": ("List", {"namespace": namespace, "type": type_name}),
        "get": ("Get", missing),
        "watch": ("Watch", {"namespace": namespace, "type": type_name}),
        "watch1": ("Watch", missing),
        "create": ("Create", {"resource": content}),
        "update": ("Update", {"new_resource": content, "options": {}}),
        "destroy": ("Destroy", missing),
        "teardown": ("Teardown", missing),
    }


def test_roles_matrix_agrees(player):
    record = load("roles-matrix")
    results = []
    for type_name, row in record["types"].items():
        for role, verbs in row["roles"].items():
            calls = matrix_calls(type_name, row["namespace"])
            for verb, outcome in verbs.items():
                wanted = record["outcomes"][outcome].replace("<TYPE>", type_name)
                seen = player.outcome(role, *calls[verb])
                faults = [] if seen == wanted else [f"{seen!r}, recorded {wanted!r}"]
                results.append(((type_name, role, verb), verb, faults))
    judge("roles-matrix", results, EXCEPTIONS, EITHER)


def test_streams_are_limited(player):
    """The last steps of limits-2: 250 streams on one connection, further calls wait."""
    rpc = STATE + "Watch"
    data = player.request_bytes(rpc, {"namespace": "default", "type": MACHINE_LABELS, "api_version": 1})
    watch = player.channel.unary_stream(rpc, request_serializer=bytes, response_deserializer=bytes)
    step = {"rpc": rpc, "as": "Admin", "signed": True}
    streams = [watch(data, metadata=player.metadata(step)) for _ in range(250)]
    for stream in streams:
        next(stream)
    get = player.request_bytes(STATE + "Get", {"namespace": "default", "type": MACHINE_LABELS, "id": "x"})
    metadata = player.metadata({"rpc": STATE + "Get", "as": "Admin", "signed": True})
    assert player.call(STATE + "Get", get, metadata, timeout=0.5)[0] == "DEADLINE_EXCEEDED"
    streams.pop().cancel()
    assert player.call(STATE + "Get", get, metadata)[0] == "NOT_FOUND"
    for stream in streams:
        stream.cancel()


def test_the_life_of_a_cluster_agrees(player):
    """The calls of cluster-lifecycle, and what stands beside the cluster between them."""
    record = load("cluster-lifecycle")
    store = player.emulator.store
    results = []
    for number, step in enumerate(record["steps"]):
        if "resources" in step:
            faults = compare_resources(store, step["resources"])
        elif "rpc" in step:
            faults = player.play(with_current_version(store, step))
        else:
            continue
        results.append((number, step["name"], faults))
    judge("cluster-lifecycle", results, EXCEPTIONS, EITHER)


def with_current_version(store, step):
    """Let an update name the version that stands here: controllers of the real server wrote in their own time."""
    changed = step["request"].get("new_resource")
    if changed is None:
        return step
    metadata = changed["metadata"]
    current = store.get(metadata["namespace"], metadata["type"], metadata["id"])
    metadata = {**metadata, "version": current.version}
    return {**step, "request": {**step["request"], "new_resource": {**changed, "metadata": metadata}}}


def compare_resources(store, recorded):
    """Compare which resources belong to the record's cluster: ids, owners, finalizers, labels, and their specs."""
    wanted = {}
    for type_name, resources in recorded.items():
        for resource in resources:
            metadata = resource["metadata"]
            wanted[type_name, metadata["id"]] = facts(
                metadata.get("owner", ""),
                metadata.get("finalizers", ()),
                metadata.get("labels", {}),
                resource["spec"].get("yaml_spec", ""),
            )
    seen = {}
    for namespace, type_name in store.kinds():
        for found in store.list(namespace, type_name):
            if "cap-cl" in found.id:
                seen[type_name, found.id] = facts(
                    found.owner, found.finalizers, found.labels, found.to_proto().spec.yaml_spec
                )
    faults = [f"{key}: {seen.get(key)}, recorded {wanted.get(key)}" for key in wanted if seen.get(key) != wanted[key]]
    return faults + [f"{key} is not in the record" for key in seen.keys() - wanted.keys()]


def facts(owner, finalizers, labels, yaml_spec):
    uuid = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    text = re.sub(r"\b100\d\d\b", "PORT", re.sub(uuid, "UUID", yaml_spec))
    shown = {key: re.sub(uuid, "UUID", value) for key, value in labels.items()}
    return owner, sorted(finalizers), shown, text

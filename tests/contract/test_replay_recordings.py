"""The shared recordings of a real Omni v1.9.3 server, replayed against the emulator."""

import base64

import pytest
from recording_player import (
    MACHINE_LABELS,
    STATE,
    Outcome,
    Player,
    load,
    mutate,
    new_emulator,
    parse_mutation,
    position,
)

from omniherd.emulator.auth import account_identity
from omniherd.emulator.records import Stored
from omniherd.signing import PublicKey

# (scenario, step number) -> why the emulator differs.
EXCEPTIONS = {}

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
    return step.get("rpc", "").startswith(STATE)


def judge(scenario, results):
    """Print the agreement, and fail on a difference that is not in the list or on an entry that is out of date."""
    outcome = Outcome(scenario, total=len(results))
    unexpected, stale = [], []
    for number, name, faults in results:
        known = (scenario, number) in EXCEPTIONS
        if faults:
            outcome.failures.append(number)
            if not known:
                unexpected.append(f"step {number} ({name}): " + "; ".join(faults))
        elif known:
            stale.append(number)
    print(outcome)
    assert not unexpected, "\n".join(unexpected)
    assert not stale, f"these agree now, take them off the list: {stale}"


@pytest.mark.parametrize("scenario", PLAIN)
def test_steps_agree(player, scenario):
    prepare(player, scenario)
    results = []
    for number, step in enumerate(load(scenario)["steps"]):
        if not relevant(step) or step["request"] is None or isinstance(step["request"], str):
            continue
        faults = player.play_watch(step) if step["rpc"].endswith("/Watch") else player.play(step)
        results.append((number, step["name"], faults))
    judge(scenario, results)


def prepare(player, scenario):
    """Make what the record's note says was there before."""
    if scenario == "cosi-validation":
        player.emulator.store.put("MachineClasses.omni.sidero.dev", "cap-mc", {"match_labels": ["cap-x"]})


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
    judge("auth-signature", results)


def test_watches_agree(player):
    record = load("cosi-watch")
    store = player.emulator.store
    history = history_of(record)
    begin_history(store, history)
    results = []
    for number, step in enumerate(record["steps"]):
        mutations = [parse_mutation(text) for text in step["mutations_during_watch"]]
        catch_up(store, history, start_of(step, mutations))
        faults = player.play_watch(step, lambda todo=mutations: [mutate(player, *one) for one in todo])
        results.append((number, step["name"], faults))
    judge("cosi-watch", results)


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
    judge("roles-matrix", results)

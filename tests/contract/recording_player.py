"""Plays recorded steps of a real server against the emulator and says where the two differ."""

import ast
import base64
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from google.protobuf import json_format

from omniherd._core.pool import message, pool
from omniherd.emulator import Emulator
from omniherd.signing import PGPKey, sign_headers
from omniherd.wire.calls import CALLS

RECORDINGS = Path(__file__).parent.parent / "data" / "recordings"
STATE = "/cosi.resource.State/"
MACHINE_LABELS = "MachineLabels.omni.sidero.dev"

ACCOUNTS = {
    "Admin": "cap-admin",
    "Reader": "cap-reader",
    "Operator": "cap-operator",
    "None": "cap-none",
    "InfraProvider": "infra-provider:cap-ip",
}

# Controllers of the real server write here in their own time; a version or a list of finalizers is not exact.
CONTROLLED = {
    "Clusters.omni.sidero.dev",
    "MachineSets.omni.sidero.dev",
    "MachineSetNodes.omni.sidero.dev",
    "Identities.omni.sidero.dev",
    "InfraProviders.omni.sidero.dev",
    "MachineRequests.omni.sidero.dev",
    "TalosVersions.omni.sidero.dev",
}

# 2026-11-24T00:00:00Z: what is later was stamped by a server, what is earlier came from the recording's client.
SERVER_TIME = 1795478400


def load(name):
    return json.loads((RECORDINGS / f"{name}.json").read_text())


@dataclass
class Outcome:
    scenario: str
    total: int = 0
    failures: list = field(default_factory=list)

    def __str__(self):
        agreed = self.total - len(self.failures)
        return f"{self.scenario}: {agreed} of {self.total} steps agree"


def judge(scenario, results, exceptions=(), either=()):
    """Print the agreement, and fail on a difference that is no exception or on an exception that is out of date.

    Results are (number, name, faults) of steps; exceptions, and those that may agree or not, are (scenario, number).
    """
    outcome = Outcome(scenario, total=len(results))
    unexpected = []
    for number, name, faults in results:
        if faults:
            outcome.failures.append(number)
            if (scenario, number) not in exceptions:
                unexpected.append(f"step {number} ({name}): " + "; ".join(faults))
    known = {number for one, number in exceptions if one == scenario and (one, number) not in either}
    stale = known.difference(outcome.failures)
    print(outcome)
    assert results
    assert not unexpected, "\n".join(unexpected)
    assert not stale, f"these agree now, take them off the list: {stale}"


class Player:
    """One emulator, its callers by role, and the comparison of what it says with a record."""

    def __init__(self, emulator):
        self.emulator = emulator
        self.channel = grpc.insecure_channel(
            emulator.endpoint.removeprefix("http://"),
            options=[("grpc.max_receive_message_length", -1), ("grpc.max_metadata_size", 4 << 20)],
        )
        self.keys = {}
        self.exact_bookmarks = False

    def close(self):
        self.channel.close()

    def key(self, role):
        if role not in self.keys:
            text = self.emulator.add_service_account(ACCOUNTS[role], role)
            self.keys[role] = PGPKey.from_armored(json.loads(base64.b64decode(text))["pgp_key"])
        return self.keys[role]

    def metadata(self, step):
        sent = [tuple(pair) if isinstance(pair, list) else sized_header(pair) for pair in step.get("metadata") or ()]
        if "metadata_sent" in step:
            return [(key, value) for key, value in step["metadata_sent"]]
        if not step.get("signed"):
            return sent
        return [*sent, *sign_headers(self.key(step["as"]), step["rpc"], sent, int(time.time()))]

    def request_bytes(self, rpc, request):
        if isinstance(request, dict) and "@raw_base64" in request:
            return base64.b64decode(request["@raw_base64"])
        proto = message(CALLS[rpc].request)()
        json_format.ParseDict(request or {}, proto, descriptor_pool=pool())
        return proto.SerializeToString()

    def call(self, rpc, data, metadata, timeout=5.0, *, stream=None):
        """Return (code name, text, answers as bytes)."""
        if stream is None:
            stream = rpc in CALLS and CALLS[rpc].server_stream
        make = self.channel.unary_stream if stream else self.channel.unary_unary
        method = make(rpc, request_serializer=bytes, response_deserializer=bytes)
        answers = []
        try:
            if stream:
                answers.extend(method(data, metadata=metadata, timeout=timeout))
            else:
                answers.append(method(data, metadata=metadata, timeout=timeout))
        except grpc.RpcError as error:
            return error.code().name, error.details(), answers
        return "OK", "", answers

    def do(self, verb, *, role="Admin", **request):
        """Make a State call that the record only mentions; return (code name, text, answers)."""
        rpc = STATE + verb
        data = self.request_bytes(rpc, request)
        return self.call(rpc, data, sign_headers(self.key(role), rpc, [], int(time.time())))

    def outcome(self, role, verb, request):
        """Return how a State call ends, as the matrix writes it; a watch that starts is OK."""
        rpc = STATE + verb
        data = self.request_bytes(rpc, request)
        metadata = sign_headers(self.key(role), rpc, [], int(time.time()))
        if verb != "Watch":
            code, text, _ = self.call(rpc, data, metadata)
            return code if code == "OK" else f"{code}: {text}"
        stream = self.channel.unary_stream(rpc, request_serializer=bytes, response_deserializer=bytes)(
            data, metadata=metadata, timeout=5
        )
        try:
            next(stream)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
        finally:
            stream.cancel()
        return "OK"

    def compare(self, rpc, wanted, answers):
        return compare_answers(CALLS[rpc].response, wanted, answers, exact_bookmarks=self.exact_bookmarks)

    # --- one step -----------------------------------------------------------------------------------------------

    def play(self, step):
        """Return what differs between the emulator and the record, as texts."""
        rpc = step["rpc"]
        timeout = 2.0 if step["status"]["code"] == "DEADLINE_EXCEEDED" else 10.0
        if step["name"] == "deadline 1 microsecond":
            timeout = 1e-6
        code, text, answers = self.call(rpc, self.request_bytes(rpc, step["request"]), self.metadata(step), timeout)
        faults = compare_status(step["status"], code, text)
        if rpc in CALLS and not (step["responses"] and isinstance(step["responses"][0], str)):
            faults += self.compare(rpc, step["responses"], answers)
        return faults

    def play_watch(self, step, mutate=None):
        """Follow a watch as long as the record has messages, making the recorded changes after the first one."""
        rpc = step["rpc"]
        method = self.channel.unary_stream(rpc, request_serializer=bytes, response_deserializer=bytes)
        expected = step["responses"]
        stream = method(self.request_bytes(rpc, step["request"]), metadata=self.metadata(step), timeout=10)
        answers = []
        ended = step["status"]["code"] != "DEADLINE_EXCEEDED"
        try:
            for _ in range(len(expected)):
                answers.append(next(stream))
                if len(answers) == 1 and mutate is not None:
                    mutate()
            if ended:
                next(stream)
            else:
                answers.extend(more_within(stream, 0.05))
        except StopIteration:
            return ["the stream ended"]
        except grpc.RpcError as error:
            faults = self.compare(rpc, expected, answers)
            return faults + compare_status(step["status"], error.code().name, error.details())
        finally:
            stream.cancel()
        return self.compare(rpc, expected, answers)


def sized_header(text):
    """Read the record's short form of a long header, `x-cap: 8 KB`."""
    name, _, size = text.partition(": ")
    return name, "x" * (int(size.split()[0]) * 1000)


def more_within(stream, seconds):
    """Return a message that still comes within a time, to show that there is none."""
    import threading

    found = []
    thread = threading.Thread(target=lambda: found.extend(take_one(stream)), daemon=True)
    thread.start()
    thread.join(seconds)
    return list(found)


def take_one(stream):
    try:
        return [next(stream)]
    except (grpc.RpcError, StopIteration):
        return []


def compare_status(wanted, code, text):
    if wanted["code"] != code:
        return [f"status {code} {text!r}, recorded {wanted['code']} {wanted['message']!r}"]
    if code == "DEADLINE_EXCEEDED":
        return []
    said = wanted["message"].removeprefix("Stream removed (")
    said = said.removesuffix(")") if said != wanted["message"] else said
    return [] if mask(said) == mask(text) else [f"{code} {text!r}, recorded {wanted['message']!r}"]


def mask(text):
    """Make equal the versions that controllers count up, and the order in which they took hold."""
    text = re.sub(r"&\[([^\]]*)\]", lambda found: " ".join(sorted(found[1].split())), text)
    return re.sub(r"(Clusters|MachineSets)(\.omni\.sidero\.dev\([^@]*)@\d+", r"\1\2@N", text)


def compare_answers(response, wanted, answers, *, exact_bookmarks=False):
    if len(wanted) != len(answers):
        seen = [describe(response, answer) for answer in answers[:12]]
        return [f"{len(answers)} answers, recorded {len(wanted)}: {seen}"]
    faults = []
    for number, (record, answer) in enumerate(zip(wanted, answers, strict=True)):
        ours = message(response).FromString(answer)
        theirs = message(response)()
        json_format.ParseDict(record, theirs, descriptor_pool=pool())
        normalise(ours, theirs)
        if not response.startswith("cosi."):
            mask_texts(ours)
            mask_texts(theirs)
        if not exact_bookmarks:
            mask_bookmarks(ours)
            mask_bookmarks(theirs)
        if ours != theirs:
            faults.append(f"answer {number}:\n  ours   {show(ours)}\n  record {show(theirs)}")
    return faults


def describe(response, answer):
    return show(message(response).FromString(answer))[:300]


def show(proto):
    return json.dumps(json_format.MessageToDict(proto, preserving_proto_field_name=True, descriptor_pool=pool()))


def resources_in(proto):
    """Return every cosi Resource inside a message, in order."""
    found = []
    for descriptor, value in proto.ListFields():
        if descriptor.message_type is None:
            continue
        if descriptor.message_type.GetOptions().map_entry:
            continue
        for inner in value if hasattr(value, "__len__") else [value]:
            if inner.DESCRIPTOR.full_name == "cosi.resource.Resource":
                found.append(inner)
            else:
                found.extend(resources_in(inner))
    return found


MASKS = (
    (r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "JWT"),
    (r"https?://(localhost|127\.0\.0\.1):(?!8090)\d+", "URL"),
    (r"(?<![\w])[0-9A-Za-z]{43,44}(?![\w])", "TOKEN"),
)


def mask_texts(proto):
    """Make equal the addresses and tokens in the answers of other services."""
    for descriptor, value in proto.ListFields():
        repeated = hasattr(value, "__len__") and not isinstance(value, str | bytes)
        if descriptor.type == descriptor.TYPE_MESSAGE:
            for inner in value if repeated else [value]:
                mask_texts(inner)
        elif repeated and value and isinstance(value[0], str):
            value[:] = [mask_text(text) for text in value]
        elif isinstance(value, str):
            setattr(proto, descriptor.name, mask_text(value))
        elif isinstance(value, bytes):
            setattr(proto, descriptor.name, mask_text(value.decode()).encode())


def mask_text(text):
    for pattern, name in MASKS:
        text = re.sub(pattern, name, text)
    return text


def mask_bookmarks(proto):
    """Leave of a bookmark that it is there."""
    for event in getattr(proto, "event", ()):
        if event.HasField("bookmark"):
            event.bookmark = b"somewhere"


def normalise(ours, theirs):
    """Make equal what reality/README.md calls not exact: times, uuids, controllers' versions."""
    for mine, other in zip(resources_in(ours), resources_in(theirs), strict=False):
        for resource in (mine, other):
            metadata = resource.metadata
            for name in ("created", "updated"):
                if metadata.HasField(name) and getattr(metadata, name).seconds > SERVER_TIME:
                    getattr(metadata, name).seconds = SERVER_TIME
                    getattr(metadata, name).nanos = 0
            if metadata.type in CONTROLLED:
                metadata.version = "N"
                del metadata.finalizers[:]
            uuid = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
            resource.spec.yaml_spec = re.sub(uuid, "UUID", resource.spec.yaml_spec)
            resource.spec.yaml_spec = re.sub(
                r"https?://localhost:\d+|http://127.0.0.1:\d+", "URL", resource.spec.yaml_spec
            )
            metadata.labels.pop("user-id", None)
            masked = re.sub(uuid.encode(), b"U" * 36, resource.spec.proto_spec)
            masked = re.sub(rb".https?://(localhost|127.0.0.1):\d+/?", b"URL", masked)
            resource.spec.proto_spec = masked


# --- histories of watches -------------------------------------------------------------------------------------------


def parse_mutation(text):
    """Read `Update cap-w-3 {'labels': {'x': '1'}} -> OK` as (verb, id, labels)."""
    head, _, _ = text.partition(" -> ")
    verb, id_, *rest = head.split(" ", 2)
    options = ast.literal_eval(rest[0]) if rest else {}
    return verb, id_, options.get("labels", {})


def mutate(player, verb, id_, labels):
    name = {"namespace": "default", "type": MACHINE_LABELS, "id": id_}
    store = player.emulator.store
    if verb == "Create":
        metadata = {**name, "version": "1", "phase": "running", "labels": labels}
        code, text, _ = player.do("Create", resource={"metadata": metadata, "spec": {}})
    elif verb == "Update":
        version = store.get("default", MACHINE_LABELS, id_).version
        metadata = {**name, "version": version, "phase": "running", "labels": labels}
        code, text, _ = player.do("Update", new_resource={"metadata": metadata, "spec": {}}, options={})
    else:
        code, text, _ = player.do(verb, **name)
    assert code == "OK", (verb, id_, code, text)


def position(bookmark):
    return int.from_bytes(base64.b64decode(bookmark)[8:], "big", signed=True)


def new_emulator(**options):
    return Emulator(seed_fleet=False, account="acme0", **options)

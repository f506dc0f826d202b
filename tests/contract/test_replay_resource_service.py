"""The recordings of ResourceService on a real Omni v1.9.3 server, replayed against the emulator."""

import json
import re

import grpc
import pytest
from google.protobuf import json_format
from recording_player import Player, compare_status, judge, load, new_emulator

from omniherd._core.pool import message, pool
from omniherd.wire.calls import CALLS

PREFIX = "/omni.resources.ResourceService/"
RECORDS = (
    "resource-service-grpc",
    "resource-service-changes",
    "auth-unsigned",
    "cosi-config-patch-dictionary",
    "limits",
)
# (scenario, step) -> why the emulator differs.
EXCEPTIONS = {
    ("resource-service-grpc", 33): "the record hides the finalizer that holds the resource",
    ("resource-service-changes", 13): "which of two elements a sort looks at first is the sort's own business",
    ("auth-unsigned", 15): "somebody else accepted the licence there",
    ("cosi-config-patch-dictionary", 3): "shows what only Omni's own zstd dictionary can unpack",
}


def relevant(step):
    return step.get("rpc", "").startswith(PREFIX)


@pytest.mark.parametrize("scenario", RECORDS)
def test_steps_agree(scenario):
    results = []
    with new_emulator() as emulator:
        player = Player(emulator)
        for number, step in enumerate(load(scenario)["steps"]):
            if relevant(step) or scenario.startswith("resource-service"):
                results.append((number, step["name"], play(player, step)))
        player.close()
    judge(scenario, results, EXCEPTIONS)


def play(player, step):
    """Return what differs between the emulator and the record, as texts."""
    rpc = step["rpc"]
    if not relevant(step):
        return player.play(step)
    if rpc.endswith("/Watch"):
        code, text, answers = follow(player, step)
    else:
        timeout = 2.0 if step["status"]["code"] == "DEADLINE_EXCEEDED" else 10.0
        data = player.request_bytes(rpc, step["request"])
        code, text, answers = player.call(rpc, data, player.metadata(step), timeout)
    faults = compare_status(step["status"], code, text)
    if rpc not in CALLS:
        return faults
    ours = [comparable(message(CALLS[rpc].response).FromString(answer)) for answer in answers]
    theirs = [
        comparable(json_format.ParseDict(one, message(CALLS[rpc].response)(), descriptor_pool=pool()))
        for one in step["responses"]
    ]
    return faults + [f"\n  ours   {one}\n  record {other}" for one, other in pairs(ours, theirs) if one != other]


def pairs(ours, theirs):
    count = max(len(ours), len(theirs))
    return zip(ours + [None] * (count - len(ours)), theirs + [None] * (count - len(theirs)), strict=True)


def follow(player, step):
    """Follow a watch for as many messages as the record has, and make the recorded changes once it is bootstrapped."""
    rpc = step["rpc"]
    method = player.channel.unary_stream(rpc, request_serializer=bytes, response_deserializer=bytes)
    stream = method(player.request_bytes(rpc, step["request"]), metadata=player.metadata(step), timeout=10)
    answers = []
    try:
        while len(answers) < len(step["responses"]):
            answers.append(next(stream))
            event = message(CALLS[rpc].response).FromString(answers[-1]).event
            if event.event_type == 4:
                for change in step.get("mutations_during_watch") or ():
                    done = player.play({**step, **change, "responses": [{}], "status": {"code": "OK", "message": ""}})
                    assert done == [], (change, done)
        if step["status"]["code"] == "DEADLINE_EXCEEDED":
            return "DEADLINE_EXCEEDED", "", answers
        next(stream)
    except grpc.RpcError as error:
        return error.code().name, error.details(), answers
    finally:
        stream.cancel()
    return "OK", "", answers


def comparable(answer):
    """Return an answer as text without what is not exact from run to run: times of servers, addresses, uuids."""
    text = json.dumps(json_format.MessageToDict(answer, preserving_proto_field_name=True, descriptor_pool=pool()))
    text = re.sub(r"2026-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)
    return re.sub(r"https?://(localhost|127\.0\.0\.1):\d+", "URL", text)

"""What access policies open on a real Omni v1.9.3 server, replayed against the emulator."""

import grpc
from recording_player import ACCOUNTS, Player, compare_status, judge, load, mask, new_emulator

from omniherd._core.pool import message
from omniherd.wire.calls import CALLS


def test_steps_agree():
    results = []
    with new_emulator() as emulator:
        player = Player(emulator)
        for role in ("Reader", "Operator", "None"):
            player.key(role)
        for number, step in enumerate(load("access-policies")["steps"]):
            results.append((number, f"{step['as']}, {step['name']}", play(player, step)))
        player.close()
    assert set(ACCOUNTS) >= {"Reader", "Operator", "None", "Admin"}
    judge("access-policies", results)


def play(player, step):
    """Return what differs between the emulator and the record, as texts."""
    rpc, request = step["rpc"], step["request"]
    if "new_resource" in request:
        metadata = request["new_resource"]["metadata"]
        stored = player.emulator.store.find(metadata["namespace"], metadata["type"], metadata["id"])
        version = "1" if stored is None else stored.version
        request = {**request, "new_resource": {**request["new_resource"], "metadata": {**metadata, "version": version}}}
    data = player.request_bytes(rpc, request)
    if rpc.endswith("/Watch"):
        code, text = watch(player, rpc, data, player.metadata(step))
        return compare_status(step["status"], code, text)
    code, text, answers = player.call(rpc, data, player.metadata(step))
    faults = compare_status(step["status"], code, mask(text))
    if "ids" in step and rpc.startswith("/cosi."):
        found = [message(CALLS[rpc].response).FromString(answer).resource.metadata.id for answer in answers]
        if found != step["ids"]:
            faults.append(f"{found}, recorded {step['ids']}")
    return faults


def watch(player, rpc, data, metadata):
    """Return how a watch ends: with a refusal, or by its client once it has started."""
    method = player.channel.unary_stream(rpc, request_serializer=bytes, response_deserializer=bytes)
    stream = method(data, metadata=metadata, timeout=10)
    try:
        next(stream)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    finally:
        stream.cancel()
    return "DEADLINE_EXCEEDED", ""

"""Whatever comes in, the emulator answers with a status of the protocol, and reads nothing for strangers."""

import sys
import time
from pathlib import Path

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omniherd._core.pool import message
from omniherd.emulator import Emulator
from omniherd.emulator.config_patches import judge_config_patch
from omniherd.signing import PGPKey, sign_headers
from omniherd.wire.calls import CALLS

sys.path.append(str(Path(__file__).parents[2] / "tools"))

from fuzz_emulator import fuzz

SERVED = ("/cosi.resource.State/", "/management.ManagementService/", "/auth.AuthService/")
PATHS = sorted(path for path in CALLS if path.startswith(SERVED))
TYPES = ["Clusters.omni.sidero.dev", "MachineSets.omni.sidero.dev", "ConfigPatches.omni.sidero.dev", "Nope", ""]
WORDS = st.sampled_from(["", "default", "ephemeral", "infra-provider", "running", "1", "x" * 300, "9" * 5000, "é/\n"])

SETTINGS = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def served():
    import base64
    import json

    with Emulator() as emulator:
        key = PGPKey.from_armored(json.loads(base64.b64decode(emulator.service_account_key))["pgp_key"])
        with grpc.insecure_channel(f"127.0.0.1:{emulator.port}") as channel:
            yield channel, key


def call(channel, path, data, metadata):
    make = channel.unary_stream if CALLS[path].server_stream else channel.unary_unary
    method = make(path, request_serializer=bytes, response_deserializer=bytes)
    try:
        answer = method(data, metadata=metadata, timeout=0.2)
        if CALLS[path].server_stream:
            next(answer, None)
            answer.cancel()
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", ""


def signed(key, path):
    return sign_headers(key, path, [], int(time.time()))


@SETTINGS
@given(path=st.sampled_from(PATHS), data=st.binary(max_size=200))
def test_any_bytes_get_an_answer(served, path, data):
    channel, key = served
    code, text = call(channel, path, data, signed(key, path))
    assert "bug of omniherd" not in text
    assert "Unexpected" not in text, (code, text)


@SETTINGS
@given(
    verb=st.sampled_from(["Create", "Update"]),
    type_name=st.sampled_from(TYPES),
    words=st.lists(WORDS, min_size=6, max_size=6),
    spec=st.one_of(st.just(b""), st.binary(max_size=60)),
    labels=st.dictionaries(
        st.sampled_from(["omni.sidero.dev/cluster", "omni.sidero.dev/role-worker", "a"]),
        st.sampled_from(["prod", "staging", ""]),
    ),
)
def test_odd_resources_get_an_answer(served, verb, type_name, words, spec, labels):
    channel, key = served
    request = message(f"cosi.resource.{verb}Request")()
    resource = request.resource if verb == "Create" else request.new_resource
    if verb == "Update":
        request.options.SetInParent()
    metadata = resource.metadata
    metadata.namespace, metadata.id, metadata.version, metadata.phase, metadata.owner = words[:5]
    metadata.type = type_name
    metadata.labels.update(labels)
    resource.spec.proto_spec = spec
    path = f"/cosi.resource.State/{verb}"
    code, text = call(channel, path, request.SerializeToString(), signed(key, path))
    assert "bug of omniherd" not in text, (code, text)


@SETTINGS
@given(
    path=st.sampled_from(PATHS),
    headers=st.dictionaries(
        st.sampled_from(["x-sidero-timestamp", "x-sidero-payload", "x-sidero-signature", "nodes", "runtime"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).map(str.strip),
    ),
)
def test_strangers_read_nothing(served, path, headers):
    channel, _ = served
    get = message("cosi.resource.GetRequest")(namespace="default", type="Clusters.omni.sidero.dev", id="prod")
    code, text = call(channel, path, get.SerializeToString(), tuple(headers.items()))
    assert "bug of omniherd" not in text
    if path.startswith("/cosi.resource.State/"):
        assert code != "OK"


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(max_size=80), st.text(alphabet="machine: {}[]\n-&*!|>?'\"2001-99cluster", max_size=80)))
def test_any_text_is_judged_as_a_config_patch(text):
    assert all(isinstance(fault, str) for fault in judge_config_patch(text))


def test_a_storm_of_odd_requests_neither_crashes_nor_opens_the_emulator():
    figures = fuzz(600, seed=7)
    assert figures.faults == []
    assert sum(figures.sent.values()) == 600
    assert min(figures.sent.values()) > 50, "every kind is sent"
    assert figures.codes["UNAUTHENTICATED"] > 50

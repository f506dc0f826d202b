"""What the emulator says about itself is true."""

import importlib.util
import json
import time
from base64 import b64decode
from pathlib import Path

import grpc
import pytest

from omniherd.emulator import Emulator
from omniherd.signing import PGPKey, sign_headers
from omniherd.wire.calls import CALLS

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_tool_writes():
    spec = importlib.util.spec_from_file_location("generate_coverage", ROOT / "tools" / "generate_coverage.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert (ROOT / "docs" / "emulator-coverage.md").read_text() == tool.text(), "run tools/generate_coverage.py"


@pytest.fixture(scope="module")
def emulator():
    with Emulator(seed_fleet=False, version="1.10") as running:
        yield running


OWN = [
    path for path in CALLS if path.startswith(("/management.", "/auth.", "/oidc.", "/omni.", "/cosi.resource.State"))
]


@pytest.mark.parametrize("path", OWN)
def test_what_is_not_answered_names_itself(emulator, path):
    """Every call of Omni's own services, with an empty request: answered or not is what the page says."""
    key = PGPKey.from_armored(json.loads(b64decode(emulator.service_account_key))["pgp_key"])
    with grpc.insecure_channel(emulator.endpoint.removeprefix("http://")) as channel:
        method = channel.unary_stream(path, request_serializer=bytes, response_deserializer=bytes)
        stream = method(b"", metadata=sign_headers(key, path, [], int(time.time())), timeout=5)
        code, text = "OK", ""
        try:
            next(stream, None)
        except grpc.RpcError as error:
            code, text = error.code().name, error.details()
        stream.cancel()
    if path in emulator.answered():
        assert not text.endswith("is not emulated")
    else:
        assert (code, text) == ("UNIMPLEMENTED", f"{path} is not emulated")

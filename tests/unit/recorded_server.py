"""A server that plays recorded steps of a real one, and checks that it is asked exactly what was recorded."""

import contextlib
import json
from concurrent import futures
from pathlib import Path

import grpc
from google.protobuf import json_format

from omniherd import AsyncOmni, Omni, RetryPolicy
from omniherd._core.pool import message, pool
from omniherd.signing import PGPKey
from omniherd.wire.calls import CALLS

RECORDINGS = Path(__file__).parent.parent / "data" / "recordings"
SIGNATURE = ("x-sidero-timestamp", "x-sidero-payload", "x-sidero-signature")


def steps(scenario):
    """The steps of a recording by name; of two with one name the first counts."""
    found = {}
    for step in json.loads((RECORDINGS / f"{scenario}.json").read_text())["steps"]:
        found.setdefault(step["name"], step)
    return found


def parsed(full_name, content):
    return json_format.ParseDict(
        content or {}, message(full_name)(), descriptor_pool=pool(), ignore_unknown_fields=False
    )


def sent_metadata(context):
    own = ("user-agent", "accept-encoding", "grpc-accept-encoding", "grpc-internal-encoding-request")
    return [[key, value] for key, value in context.invocation_metadata() if key not in SIGNATURE and key not in own]


class RecordedServer(grpc.GenericRpcHandler):
    """Answers each call with the next of the steps; whole kinds come from `resources`."""

    def __init__(self, resources):
        self.expected = []
        self.faults = []
        self.calls = []
        self.resources = resources
        self.signer = PGPKey.generate("", "", "test@example.com", 3600)

    def connect(self):
        return Omni.connect(self.endpoint, signer=self.signer, retry=RetryPolicy(attempts=1))

    def connect_async(self):
        return AsyncOmni.connect(self.endpoint, signer=self.signer, retry=RetryPolicy(attempts=1))

    def play(self, *expected):
        """Expect these steps, in this order."""
        assert not self.faults, self.faults
        assert not self.expected, f"not called: {[step['name'] for step in self.expected]}"
        self.calls.clear()
        self.expected = list(expected)

    def number(self, path, metadata):
        """The step that is meant: calls side by side come in any order."""
        for number, step in enumerate(self.expected):
            if step["rpc"] == path and sorted(step.get("metadata") or []) == sorted(metadata):
                return number
        return 0

    def service(self, details):
        call = CALLS.get(details.method)
        if call is None:
            return None
        if call.server_stream:
            return grpc.unary_stream_rpc_method_handler(lambda request, context: self.stream(call, request, context))
        return grpc.unary_unary_rpc_method_handler(lambda request, context: next(self.stream(call, request, context)))

    def stream(self, call, request, context):
        metadata = sent_metadata(context)
        self.calls.append((call.path, metadata))
        if call.path == "/cosi.resource.State/Watch" and ["runtime", "Talos"] not in metadata:
            asked = message(call.request).FromString(request)
            events = [{"resource": resource.to_proto()} for resource in self.resources.get(asked.type, ())]
            yield message(call.response)(event=[*events, {"event_type": "BOOTSTRAPPED"}]).SerializeToString()
            return
        if not self.expected:
            self.faults.append(f"{call.path} was not expected")
            context.abort(grpc.StatusCode.INTERNAL, "not expected")
        step = self.expected.pop(self.number(call.path, metadata))
        wanted = parsed(call.request, step["request"])
        got = message(call.request).FromString(request)
        for what, is_, should in (
            ("path", call.path, step["rpc"]),
            ("request", got, wanted),
            ("metadata", sorted(metadata), sorted(step.get("metadata") or [])),
        ):
            if is_ != should:
                self.faults.append(f"{step['name']}: {what} is {is_}, not {should}")
        for response in step["responses"]:
            yield parsed(call.response, response).SerializeToString()
        if step["status"]["code"] != "OK":
            context.abort(grpc.StatusCode[step["status"]["code"]], step["status"]["message"])


@contextlib.contextmanager
def recorded_server(resources=None):
    handler = RecordedServer(resources or {})
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((handler,))
    handler.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield handler
    finally:
        server.stop(0).wait()

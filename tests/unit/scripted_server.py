"""A server whose answers are scripted, for what no real one does when it is asked to."""

import contextlib
from concurrent import futures

import grpc

from omniherd._core.retry import RetryPolicy
from omniherd.resources import MachineClass
from omniherd.wire import cosi_resource as cosi

QUICK = RetryPolicy(initial=0.01, maximum=0.02)


class Script(grpc.GenericRpcHandler):
    """A server whose answers are scripted: a function from the method's name and the request."""

    def __init__(self, answer):
        self.answer = answer
        self.calls = []

    def service(self, details):
        verb = details.method.rpartition("/")[2]

        def one(request, context):
            self.calls.append((verb, dict(context.invocation_metadata())))
            return self.answer(verb, request, context, len(self.calls))

        def many(request, context):
            self.calls.append((verb, dict(context.invocation_metadata())))
            yield from self.answer(verb, request, context, len(self.calls))

        if verb in {"List", "Watch"}:
            return grpc.unary_stream_rpc_method_handler(many)
        return grpc.unary_unary_rpc_method_handler(one)


@contextlib.contextmanager
def scripted(answer, port=0):
    script = Script(answer)
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((script,))
    script.port = server.add_insecure_port(f"127.0.0.1:{port}")
    script.endpoint = f"http://127.0.0.1:{script.port}"
    server.start()
    try:
        yield script
    finally:
        server.stop(0).wait()


def found(id_="a", version="1"):
    metadata = cosi.Metadata(namespace="default", type=MachineClass.type_name, id=id_, version=version, phase="running")
    return cosi.Resource(metadata=metadata)


def answered():
    return cosi.GetResponse(resource=found()).SerializeToString()

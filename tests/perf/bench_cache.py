"""How many events a second a cache takes, with one handler on it; the server is a process that sends as fast as it can.

Events come one by one, and as a server sends them that has more to say than fits through: many in a message. The best
of the rounds counts. Run it with `python tests/perf/bench_cache.py`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from concurrent import futures

EVENTS = 50_000
RESOURCES = 1_000
LAST = 1 + EVENTS // RESOURCES
ROUNDS = 3


def serve(batch):
    """Send contents, then updates of one resource after the other, then wait."""
    import grpc

    from omniherd.resources import MachineClass
    from omniherd.wire import cosi_resource as cosi

    def resource(number, version):
        made = MachineClass(f"{number:05}", labels={"site": "fra"}, spec={"match_labels": ["a = b"]}).to_proto()
        made.metadata.version = str(version)
        made.spec.yaml_spec = "matchlabels:\n    - a = b\nautoprovision: null\n"
        return made

    def messages():
        yield cosi.WatchResponse()
        contents = [cosi.Event(event_type=0, resource=resource(number, 1)) for number in range(RESOURCES)]
        mark = cosi.Event(event_type=3, resource=resource(0, 1), bookmark=b"0" * 16)
        yield cosi.WatchResponse(event=[*contents, mark])
        events = []
        for number in range(EVENTS):
            which, version = number % RESOURCES, 2 + number // RESOURCES
            event = cosi.Event(event_type=1, resource=resource(which, version), old=resource(which, version - 1))
            event.bookmark = number.to_bytes(16, "big")
            events.append(event)
            if len(events) == batch:
                yield cosi.WatchResponse(event=events)
                events.clear()

    prepared = [message.SerializeToString() for message in messages()]

    def watch(request, context):
        yield from prepared
        futures.Future().result()

    class Router(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_stream_rpc_method_handler(watch)

    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((Router(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


class Told:
    """A handler that counts, and says when it was told of the last version of the last resource."""

    def __init__(self, all_told):
        self.all_told = all_told

    def __call__(self, event):
        if event.resource.version == LAST and event.resource.id == f"{RESOURCES - 1:05}":
            self.all_told.set()


def sync_side(endpoint, signer):
    from omniherd import Omni
    from omniherd.resources import MachineClass

    told = Told(threading.Event())
    with Omni.connect(endpoint, signer=signer) as omni, omni.cache(MachineClass) as cache:
        cache.subscribe(told)
        start, used = time.perf_counter(), time.process_time()
        before = sum(one.version - 1 for one in cache)
        told.all_told.wait(120)
        return EVENTS - before, time.perf_counter() - start, time.process_time() - used


async def async_side(endpoint, signer):
    from omniherd import AsyncOmni
    from omniherd.resources import MachineClass

    told = Told(asyncio.Event())
    async with AsyncOmni.connect(endpoint, signer=signer) as omni, omni.cache(MachineClass) as cache:
        cache.subscribe(told)
        start, used = time.perf_counter(), time.process_time()
        before = sum(one.version - 1 for one in cache)
        await told.all_told.wait()
        return EVENTS - before, time.perf_counter() - start, time.process_time() - used


def raw_side(target):
    """grpcio alone, reading and parsing the same messages and doing nothing with them."""
    import grpc

    from omniherd.wire import cosi_resource as cosi

    with grpc.insecure_channel(target, options=[("grpc.max_receive_message_length", -1)]) as channel:
        method = channel.unary_stream("/cosi.resource.State/Watch", response_deserializer=cosi.WatchResponse.FromString)
        call = method(b"")
        count = -RESOURCES - 1
        start, used = time.perf_counter(), time.process_time()
        for message in call:
            if count < 0:
                start, used = time.perf_counter(), time.process_time()
            count += len(message.event)
            if count >= EVENTS:
                break
        taken, used = time.perf_counter() - start, time.process_time() - used
        call.cancel()
        return EVENTS, taken, used


def measure(batch, signer):
    server = subprocess.Popen([sys.executable, __file__, str(batch)], stdout=subprocess.PIPE, text=True)
    try:
        target = f"127.0.0.1:{server.stdout.readline().strip()}"
        sides = {
            "raw grpcio": lambda: raw_side(target),
            "sync cache": lambda: sync_side(f"http://{target}", signer),
            "async cache": lambda: asyncio.run(async_side(f"http://{target}", signer)),
        }
        runs = {name: [] for name in sides}
        for _ in range(ROUNDS):
            for name, run in sides.items():
                count, taken, used = run()
                runs[name].append((count / taken, 1e6 * used / count))
        for name, figures in runs.items():
            rate, cost = max(figures)[0], min(used for _, used in figures)
            print(
                f"{batch:3} a message  {name:11}  {rate:8.0f} events/s  {cost:6.1f} us of processor an event",
                flush=True,
            )
    finally:
        server.kill()
        server.wait()


def main():
    from omniherd.signing import PGPKey

    signer = PGPKey.generate("", "", "bench@example.com", 3600)
    for batch in (1, 20):
        measure(batch, signer)


if __name__ == "__main__":
    serve(int(sys.argv[1])) if sys.argv[1:] else main()

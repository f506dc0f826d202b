"""Send an emulator what no client would send, and say whether it ever crashed, hung or served a stranger.

Usage: `python tools/fuzz_emulator.py [COUNT] [SEED]`, 100,000 requests by default. Same seed, same requests.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from omniherd._core.pool import message
from omniherd.emulator import Emulator
from omniherd.signing import PGPKey, sign_headers
from omniherd.wire.calls import CALLS

if TYPE_CHECKING:
    from collections.abc import Callable

STATE = "/cosi.resource.State/"
SERVED = (
    STATE,
    "/management.ManagementService/",
    "/auth.AuthService/",
    "/oidc.OIDCService/",
    "/omni.resources.ResourceService/",
)
PATHS = sorted(path for path in CALLS if path.startswith(SERVED))
# What Talos answers; State is the first of its services.
MACHINE_PATHS = sorted(
    path for path, call in CALLS.items() if not call.client_stream and not path.startswith(SERVED[1:])
)
STATE_PATHS = [path for path in PATHS if path.startswith(STATE)]
# What strangers may do: see how to log in, and register a key that somebody must confirm.
OPEN = ("/auth.AuthService/",)
WAITS = (
    *("Watch", "TeardownAndDestroy", "AwaitPublicKeyConfirmation", "MachineLogs", "ReadAuditLog", "GetSupportBundle"),
    *("Dmesg", "Events", "HealthCheck", "Logs"),
)
WORKERS = 24
DEADLINE = 5.0
WAITING = 0.05
ROUND = 10_000
FAULTS = ("bug of omniherd", "Unexpected", "Exception iterating")
TYPES = [
    "AccessPolicies",
    "Clusters",
    "ConfigPatches",
    "EtcdManualBackups",
    "ExtensionsConfigurations",
    "Identities",
    "InfraMachineConfigs",
    "InstallationMediaConfigs",
    "JoinTokens",
    "KernelArgs",
    "KubernetesHealthChecks",
    "KubernetesManifestGroups",
    "MachineClasses",
    "MachineLabels",
    "MachineRequestSets",
    "MachineSetNodes",
    "MachineSets",
    "SAMLLabelRules",
    "EulaAcceptances",
    "Nope",
]
WORDS = ("", "default", "infra-provider", "infra-provider:x", "ephemeral", "running", "tearingDown", "1", "-1", "prod")


@dataclass
class Figures:
    """What came of a run.

    Attributes:
        sent: Requests by kind.
        codes: Answers by code.
        faults: Descriptions of crashes, hangs and reads by strangers.
    """

    sent: Counter[str] = field(default_factory=Counter[str])
    codes: Counter[str] = field(default_factory=Counter[str])
    faults: list[str] = field(default_factory=list[str])


@dataclass
class Request:
    """One request: its kind, path, bytes and metadata, and whether its signature is good."""

    kind: str
    path: str
    data: bytes
    metadata: list[tuple[str, str]]
    signed: bool


class Fuzzer:
    """Makes requests from a seed, for one emulator.

    Args:
        key: The key of its Admin.
        seed: The seed.
        nodes: Ids of its machines.
    """

    def __init__(self, key: Any, seed: int, nodes: list[str]) -> None:
        self._key = key
        self._nodes = nodes
        self._random = random.Random(seed)
        self._signatures: dict[str, tuple[float, list[tuple[str, str]]]] = {}
        self._kinds: tuple[Callable[[], Request], ...] = (
            self._bytes,
            self._mutated,
            self._mutated,
            self._hostile,
            self._hostile,
            self._stranger,
            self._machine,
            self._machine,
        )

    def next(self) -> Request:
        """Return the next request."""
        return self._random.choice(self._kinds)()

    def _signed(self, path: str) -> list[tuple[str, str]]:
        made, headers = self._signatures.get(path, (0.0, []))
        if time.monotonic() - made > 30 or not headers:
            headers = sign_headers(self._key, path, [], int(time.time()))
            self._signatures[path] = (time.monotonic(), headers)
        return list(headers)

    def _bytes(self) -> Request:
        path = self._random.choice(PATHS)
        data = self._random.randbytes(self._random.choice((0, 1, 8, 60, 400, 5000)))
        return Request("random bytes", path, data, self._signed(path), signed=True)

    def _mutated(self) -> Request:
        path = self._random.choice((*STATE_PATHS, self._random.choice(PATHS)))
        data = bytearray(self._resource_request(path).SerializeToString())
        for _ in range(self._random.randint(1, 4)):
            if not data:
                break
            at = self._random.randrange(len(data))
            action = self._random.randrange(4)
            if action == 0:
                data[at] ^= 1 << self._random.randrange(8)
            elif action == 1:
                del data[at:]
            elif action == 2:
                data[at:at] = self._random.randbytes(3)
            else:
                data[at : at + 1] = b"\xff\xff\xff\xff\x0f"
        return Request("broken messages", path, bytes(data), self._signed(path), signed=True)

    def _hostile(self) -> Request:
        path = self._random.choice(STATE_PATHS)
        request = self._resource_request(path)
        return Request("hostile resources", path, request.SerializeToString(), self._signed(path), signed=True)

    def _stranger(self) -> Request:
        path = self._random.choice(PATHS)
        headers = dict(self._signed(path))
        signature = next((name for name in headers if "signature" in name), "x-sidero-signature")
        word = self._random.choice(headers[signature].split(" ")) if signature in headers else ""
        action = self._random.randrange(9)
        if action == 0:
            headers = {}
        elif action == 1:
            del headers[self._random.choice(list(headers))]
        elif action == 2:
            headers[signature] = " ".join(headers[signature].split(" ")[: self._random.randrange(4)])
        elif action == 3:
            headers[signature] = self._random.choice(
                ("", " ", "siderov1", "siderov1 ", "siderov1  ", "x y z w v", word)
            )
        elif action == 4:
            # The end holds the signature's numbers; what stands before is partly free to say anything.
            at = len(headers[signature]) - self._random.randrange(8, 60)
            flipped = "A" if headers[signature][at] != "A" else "B"
            headers[signature] = headers[signature][:at] + flipped + headers[signature][at + 1 :]
        elif action == 5:
            headers["x-sidero-timestamp"] = self._random.choice(
                ("", "0", "-1", "x", "9" * 40, str(int(time.time()) + 9999))
            )
        elif action == 6:
            other = self._random.choice([one for one in PATHS if one != path])
            headers = dict(self._signed(other))
        elif action == 7:
            headers["x-sidero-payload"] = self._random.choice(
                ("", "{", "[]", "null", '{"method":"' + path + '"}', "{}" * 99)
            )
        else:
            headers[signature] = headers[signature][: self._random.randrange(len(headers[signature]) - 8)]
        data = self._resource_request(path).SerializeToString()
        return Request("bad signatures", path, data, list(headers.items()), signed=False)

    def _machine(self) -> Request:
        path = self._random.choice(MACHINE_PATHS)
        metadata = [("runtime", self._random.choice(("Talos", "Talos", "Talos", "talos", "Omni", "Kubernetes", "")))]
        for key in self._random.choices(("cluster", "context", "node", "nodes", "nodes"), k=self._random.randrange(4)):
            value = self._word().encode("ascii", "replace").decode().replace("\0", "").replace("\n", "")
            metadata.append((key, self._random.choice((*self._nodes, "prod", value, f"{self._nodes[0]},{value}"))))
        data = self._random.randbytes(self._random.choice((0, 0, 3, 40)))
        if self._random.random() < 0.4:
            return Request("strangers on machines", path, data, metadata, signed=False)
        signed = sign_headers(self._key, path, metadata, int(time.time()))
        return Request("calls to machines", path, data, [*metadata, *signed], signed=True)

    # --- messages ---------------------------------------------------------------------------------------------------

    def _word(self) -> str:
        if self._random.random() < 0.6:
            return self._random.choice(WORDS)
        character = self._random.choice(("x", "é", "\0", "\n", "\u2028", "\U0001f600", "/", "..", "*", "["))
        return character * self._random.choice((1, 2, 30, 1025, 20_000))

    def _resource_request(self, path: str) -> Any:
        request: Any = message(CALLS[path].request)()
        names = {one.name for one in request.DESCRIPTOR.fields}
        kind = self._random.choice(TYPES) + ".omni.sidero.dev"
        for name, value in (("namespace", self._word()), ("type", kind), ("id", self._word())):
            if name in names and request.DESCRIPTOR.fields_by_name[name].type == 9:
                setattr(request, name, value)
        for name in ("resource", "new_resource"):
            if name in names and path.startswith(STATE):
                self._fill(getattr(request, name), kind)
        if "options" in names and self._random.random() < 0.9:
            request.options.SetInParent()
            self._fill_options(request.options)
        return request

    def _fill(self, proto: Any, kind: str) -> None:
        metadata = proto.metadata
        metadata.type = kind
        metadata.namespace = "default" if self._random.random() < 0.8 else self._word()
        metadata.id = f"fuzz-{self._random.randrange(50)}" if self._random.random() < 0.5 else self._word()
        metadata.version = self._random.choice(("1", "undefined", "2", self._word()))
        metadata.phase = self._random.choice(("running", "running", "tearingDown", self._word()))
        for _ in range(self._random.choice((0, 1, 2, 300))):
            key = self._random.choice(("omni.sidero.dev/cluster", "omni.sidero.dev/role-worker", self._word()))
            metadata.labels[key] = self._word()
        metadata.finalizers.extend(self._word() for _ in range(self._random.choice((0, 0, 3))))
        proto.spec.SetInParent()
        proto.spec.proto_spec = self._spec(kind)

    def _spec(self, kind: str) -> bytes:
        from omniherd.emulator.forms import spec_class

        cls = spec_class(kind)
        if cls is None or self._random.random() < 0.2:
            return self._random.randbytes(self._random.randrange(60))
        spec: Any = cls()
        for one in spec.DESCRIPTOR.fields:
            if self._random.random() < 0.5:
                continue
            if one.message_type is not None and not one.is_repeated:
                getattr(spec, one.name).SetInParent()
            elif one.type == 9 and one.is_repeated:
                getattr(spec, one.name).extend(self._word() for _ in range(self._random.choice((1, 3, 70))))
            elif one.type == 9:
                setattr(spec, one.name, self._word())
            elif one.type == 12 and not one.is_repeated:
                setattr(spec, one.name, self._random.choice((b"", b"\x28\xb5\x2f\xfd", self._random.randbytes(40))))
            elif one.type in {13, 5} and not one.is_repeated:
                setattr(spec, one.name, self._random.choice((0, 1, 2**31 - 1)))
        data = bytes(spec.SerializeToString())
        return data if self._random.random() < 0.9 else data[: self._random.randrange(len(data) + 1)]

    def _fill_options(self, options: Any) -> None:
        for one in options.DESCRIPTOR.fields:
            if one.name == "label_query" and self._random.random() < 0.3:
                term = options.label_query.add().terms.add(key=self._word(), op=self._random.randrange(8))
                term.value.extend(self._word() for _ in range(self._random.randrange(3)))
            elif one.name == "id_query" and self._random.random() < 0.3:
                options.id_query.regexp = self._random.choice(("(", "(a*)*b", "[", "\\", ".*", "x{1000}", self._word()))
            elif one.type == 9 and self._random.random() < 0.2:
                setattr(options, one.name, self._word())


async def send(channel: Any, request: Request, figures: Figures) -> None:
    """Send one request and judge the answer."""
    call = CALLS[request.path]
    waits = request.path.endswith(WAITS)
    timeout = WAITING if waits else DEADLINE
    make = channel.unary_stream if call.server_stream else channel.unary_unary
    method = make(request.path, request_serializer=bytes, response_deserializer=bytes)
    code, text, answers = "OK", "", 0
    try:
        made = method(request.data, metadata=request.metadata, timeout=timeout)
        if call.server_stream:
            async for _ in made:
                answers += 1
        else:
            await made
            answers = 1
    except grpc.aio.AioRpcError as error:
        code, text = error.code().name, error.details() or ""
    except (ValueError, TypeError) as error:
        # gRPC's own client refuses to send some headers.
        code, text = "NOT_SENT", str(error)
    figures.sent[request.kind] += 1
    figures.codes[code] += 1
    where = f"{request.kind} on {request.path}"
    if any(fault in text for fault in FAULTS):
        figures.faults.append(f"crash, {where}: {text[:300]}")
    # Of a machine that is not there the server says that it is unavailable; that it is not there itself it cannot say.
    gone = code == "UNAVAILABLE" and "machines" not in request.kind
    if (code == "DEADLINE_EXCEEDED" and not waits) or gone:
        figures.faults.append(f"hang, {where}: {code} {text[:200]}")
    if not request.signed and answers and not request.path.startswith(OPEN):
        proto = message(call.request).FromString(request.data)
        public = getattr(proto, "type", "") in {"AuthConfigs.omni.sidero.dev", "EulaAcceptances.omni.sidero.dev"}
        if not public:
            figures.faults.append(f"read by a stranger, {where}: {request.metadata}"[:600])


async def fuzz_round(emulator: Emulator, fuzzer: Fuzzer, count: int, figures: Figures) -> None:
    """Send many requests at once, then see whether the emulator still answers."""
    left = iter(range(count))

    async with grpc.aio.insecure_channel(f"127.0.0.1:{emulator.port}") as channel:

        async def work() -> None:
            for _ in left:
                await send(channel, fuzzer.next(), figures)

        await asyncio.gather(*(work() for _ in range(WORKERS)))
    key = emulator.add_service_account("after", "Admin")
    from omniherd import AsyncOmni

    async with AsyncOmni.connect(emulator.endpoint, service_account_key=key) as omni:
        await asyncio.wait_for(omni.list("clusters"), 10)


def fuzz(count: int, seed: int = 1) -> Figures:
    """Run; every 10,000 requests on a fresh emulator.

    Args:
        count: How many requests.
        seed: What to make them from.
    """
    figures = Figures()
    for number, begin in enumerate(range(0, count, ROUND)):
        with Emulator() as emulator:
            key = PGPKey.from_armored(json.loads(base64.b64decode(emulator.service_account_key))["pgp_key"])
            with emulator.connect() as omni:
                nodes = [one.id for one in omni.list("machinestatuses")]
            fuzzer = Fuzzer(key, seed * 1000 + number, nodes)
            asyncio.run(fuzz_round(emulator, fuzzer, min(ROUND, count - begin), figures))
    return figures


def main() -> int:
    """Run and print; return the exit code."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    begun = time.monotonic()
    figures = fuzz(count, seed)
    seconds = time.monotonic() - begun
    print(f"{sum(figures.sent.values())} requests in {seconds:.0f} s, {count / seconds:.0f} a second")
    for kind, number in sorted(figures.sent.items()):
        print(f"  {number:>7} {kind}")
    print("answers: " + ", ".join(f"{code} {number}" for code, number in figures.codes.most_common()))
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB at most, client and emulator")
    for fault, number in Counter(figures.faults).most_common(20):
        print(f"{number} times {fault}")
    print(f"{len(figures.faults)} crashes, hangs or reads by strangers")
    return 1 if figures.faults else 0


if __name__ == "__main__":
    raise SystemExit(main())

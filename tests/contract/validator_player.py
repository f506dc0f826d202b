"""Plays tables of writes and reads against a server, the emulator or a real one, and tells how each ended.

A scenario is a list of steps. A step names a verb, a type, an id and what the resource says; an update takes what is
stored and changes only the parts that the step names. Whatever a scenario made is taken down after it.
"""

import base64
import json
import time
from urllib.parse import urlsplit

import grpc
from google.protobuf import json_format

from omniherd._core.pool import message, pool
from omniherd.signing import PGPKey, sign_headers
from omniherd.wire.calls import CALLS

STATE = "/cosi.resource.State/"
ACCOUNTS = "/management.ManagementService/"
PREFIX = "omniherd-test-"
PATIENCE = 20.0
RPCS = {"watchkind": "Watch", "teardownAndDestroy": "TeardownAndDestroy"}


class Caller:
    """A channel to a server and keys for every role.

    Args:
        endpoint: `http://host:port` or `https://host:port`.
        account: An Admin's service account key, as `OMNI_SERVICE_ACCOUNT_KEY` takes it.
        certificate: The server's certificate in PEM, for https.
    """

    def __init__(self, endpoint, account, certificate=None):
        parts = urlsplit(endpoint)
        if parts.scheme == "https":
            self.channel = grpc.secure_channel(parts.netloc, grpc.ssl_channel_credentials(certificate))
        else:
            self.channel = grpc.insecure_channel(parts.netloc)
        self.keys = {"Admin": PGPKey.from_armored(json.loads(base64.b64decode(account))["pgp_key"])}
        self.accounts = []

    def close(self):
        for name in self.accounts:
            self.call(ACCOUNTS + "DestroyServiceAccount", {"name": name})
        self.channel.close()

    def key(self, role):
        """Return the key of a role's account, which is made when it is first asked for.

        `Role/name` asks for an account of another name: `InfraProvider/infra-provider:x`.
        """
        if role not in self.keys:
            from datetime import timedelta

            plain, _, name = role.partition("/")
            name = name or f"{PREFIX}{plain.lower()}"
            suffix = "serviceaccount.omni.sidero.dev"
            if name.startswith("infra-provider:"):
                identity = f"{name.removeprefix('infra-provider:')}@infra-provider.{suffix}"
            else:
                identity = f"{name}@{suffix}"
            key = PGPKey.generate(name.removeprefix("infra-provider:"), "", identity, timedelta(days=30))
            self.call(ACCOUNTS + "DestroyServiceAccount", {"name": name})
            request = {"name": name, "role": plain, "armored_pgp_public_key": key.public_armored}
            code, text, _ = self.call(ACCOUNTS + "CreateServiceAccount", request)
            assert code == "OK", (code, text)
            self.accounts.append(name)
            self.keys[role] = key
        return self.keys[role]

    def call(self, path, request, role="Admin", timeout=PATIENCE):
        """Return (code name, text, answers as messages)."""
        proto = json_format.ParseDict(request, message(CALLS[path].request)(), descriptor_pool=pool())
        metadata = sign_headers(self.key(role), path, [], int(time.time()))
        make = self.channel.unary_stream if CALLS[path].server_stream else self.channel.unary_unary
        method = make(
            path,
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=message(CALLS[path].response).FromString,
        )
        try:
            answer = method(proto, metadata=metadata, timeout=timeout)
            if path == STATE + "Watch":
                first = next(answer)
                answer.cancel()
                return "OK", "", [first]
            return "OK", "", list(answer) if CALLS[path].server_stream else [answer]
        except grpc.RpcError as error:
            return error.code().name, error.details(), []


def expand(value):
    """Write out the short forms of a table: `{"@repeat": ["x", 3]}` is `xxx`, `{"@many": 3}` three keys."""
    if isinstance(value, dict):
        if "@repeat" in value:
            text, count, *before = value["@repeat"]
            return "".join(before) + text * count
        if "@many" in value:
            return {f"key-{number}": "" for number in range(value["@many"])}
        if "@list" in value:
            return [value["@list"][0]] * value["@list"][1]
        if "@soon" in value:
            return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + value["@soon"]))
        return {expand_key(key): expand(inner) for key, inner in value.items()}
    return [expand(inner) for inner in value] if isinstance(value, list) else value


def expand_key(key):
    return "x" * int(key.removeprefix("@x")) if key.startswith("@x") else key


def full(type_name):
    return type_name if "." in type_name or not type_name else type_name + ".omni.sidero.dev"


def named(step):
    return {"namespace": step.get("namespace", "default"), "type": full(step["type"]), "id": expand(step["id"])}


class Player:
    """Plays scenarios through a caller."""

    def __init__(self, caller):
        self.caller = caller

    def stored(self, step):
        code, _, answers = self.caller.call(STATE + "Get", named(step))
        return answers[0].resource if code == "OK" else None

    def resource(self, step, stored):
        """Return the resource of a step in proto JSON."""
        metadata = {**named(step), "version": "1", "phase": "running"}
        spec = b""
        if stored is not None:
            metadata.update(version=stored.metadata.version, phase=stored.metadata.phase)
            metadata["finalizers"] = list(stored.metadata.finalizers)
            metadata["labels"] = dict(stored.metadata.labels)
            metadata["annotations"] = dict(stored.metadata.annotations)
            spec = stored.spec.proto_spec
        for part in ("version", "owner", "phase", "finalizers", "labels", "annotations"):
            if part in step:
                metadata[part] = expand(step[part])
        if "raw" in step:
            spec = base64.b64decode(step["raw"])
        elif "spec" in step:
            from omniherd._core.resource_table import TABLE

            (name,) = (row.spec for row in TABLE if row.type == full(step["type"]))
            proto = json_format.ParseDict(expand(step["spec"]), message(name)(), descriptor_pool=pool())
            spec = proto.SerializeToString()
        return {"metadata": metadata, "spec": {"proto_spec": base64.b64encode(spec).decode()}}

    def request(self, step):
        verb = step["verb"]
        if verb == "create":
            return {"resource": self.resource(step, None), "options": {}}
        if verb == "update":
            return {"new_resource": self.resource(step, self.stored(step)), "options": {}}
        if verb in {"list", "watchkind"}:
            request = {"namespace": step.get("namespace", "default"), "type": full(step["type"])}
            queries = [
                {"terms": [{"key": key, "op": "EQUAL", "value": [value]} for key, value in query.items()]}
                for query in step.get("queries", [])
            ]
            options = {"label_query": queries} if queries else {}
            return {**request, "options": options, **({"api_version": 1} if verb == "watchkind" else {})}
        if verb in {"get", "watch"}:
            return {**named(step), **({"options": {}, "api_version": 1} if verb == "watch" else {})}
        return {**named(step), "options": {}}

    def play(self, step):
        """Return (code, text) of a step; an update that a controller overtook is made again."""
        rpc = RPCS.get(step["verb"], step["verb"].capitalize())
        for _ in range(50):
            code, text, _ = self.caller.call(STATE + rpc, self.request(step), step.get("as", "Admin"))
            if step["verb"] != "update" or " update conflict: expected version" not in text:
                break
            time.sleep(0.05)
        return code, text

    def clean(self, steps):
        """Take down what a scenario made, the latest first; return what is left."""
        made = {}
        for step in steps:
            if step["verb"] == "create":
                key = json.dumps(named(step))
                made.pop(key, None)
                made[key] = named(step)
        left = []
        for one in reversed(made.values()):
            if not one["id"].startswith(PREFIX) and one["type"] != full("AccessPolicies"):
                continue
            request = {**one, "options": {}}
            self.caller.call(STATE + "Teardown", request)
            deadline = time.monotonic() + PATIENCE
            while True:
                code, _, _ = self.caller.call(STATE + "Destroy", request)
                if code != "FAILED_PRECONDITION" or time.monotonic() > deadline:
                    break
                time.sleep(0.1)
            if code not in {"OK", "NOT_FOUND"} and self.stored(one) is not None:
                left.append(one)
        return left

    def play_all(self, steps):
        """Return (code, text) of each step of a scenario."""
        try:
            return [self.play(step) for step in steps]
        finally:
            self.clean(steps)

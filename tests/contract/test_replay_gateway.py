"""The recordings of the JSON gateway of a real Omni v1.9.3 server, replayed against the emulator's HTTP side."""

import gzip
import http.client
import json
import re
import time
from urllib.parse import urlsplit

import pytest
from recording_player import Player, judge, load, new_emulator

from omniherd.signing import sign_headers

# (scenario, step) -> why the emulator differs.
EXCEPTIONS = {
    ("http-gateway", 27): "debug pages are not emulated",
    ("http-gateway", 28): "the proxy for exposed services is not emulated",
}
SIGNATURE = ("x-sidero-timestamp", "x-sidero-payload", "x-sidero-signature")
COMPARED = (
    "content-type",
    "content-encoding",
    "location",
    "allow",
    "www-authenticate",
    "vary",
    "x-content-type-options",
)


@pytest.mark.parametrize("single_port", [False, True])
@pytest.mark.parametrize("scenario", ["http-gateway", "http-gateway-forms"])
def test_steps_agree(scenario, single_port):
    results = []
    with new_emulator(single_port=single_port) as emulator:
        player = Player(emulator)
        for number, step in enumerate(load(scenario)["steps"]):
            # The client of the first record asked for compressed answers.
            results.append((number, step["name"], play(emulator, player, step, packed=scenario == "http-gateway")))
        player.close()
    judge(scenario, results, EXCEPTIONS)


def resign(player, step):
    """Return a step's headers with signatures of now in the place of those that were recorded."""
    headers = [tuple(header) for header in step["http"]["headers"]]
    signed = step.get("signed_for")
    recorded = {name.lower().removeprefix("grpc-metadata-"): value for name, value in headers}
    if signed is None and "x-sidero-payload" not in recorded:
        # Not signed, or signed in the way of plain HTTP, which is none here.
        return headers
    names = {name.lower(): name for name, _ in headers}
    prefix = "Grpc-Metadata-" if signed or any(name.startswith("grpc-metadata-x-sidero") for name in names) else ""
    kept = [(name, value) for name, value in headers if not name.lower().endswith(SIGNATURE)]
    payload = json.loads(recorded.get("x-sidero-payload", "{}"))
    covered = {name for name, values in payload.get("headers", {}).items() if values}
    metadata = [(name.lower().removeprefix("grpc-metadata-"), value) for name, value in kept]
    if signed is None:
        metadata = [pair for pair in metadata if pair[0] in covered]
    else:
        metadata = [pair for pair in metadata if pair[0] == "runtime"]
    made = sign_headers(player.key("Admin"), signed or payload["method"], metadata, int(time.time()))
    return kept + [(prefix + name, value) for name, value in made]


def play(emulator, player, step, *, packed):
    """Return what differs between the emulator and the record, as texts."""
    wanted = step["response"]
    address = urlsplit(emulator.web_endpoint)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    asked = step["http"]
    body = asked["body"]
    headers = dict(resign(player, step))
    if packed and "accept-encoding" not in {name.lower() for name in headers}:
        headers["Accept-Encoding"] = "gzip, deflate"
    connection.request(asked["method"], asked["path"], None if body is None else body.encode(), headers)
    response = connection.getresponse()
    unfinished = wanted["body"].endswith(" <ReadTimeout>")
    lines = wanted["body"].removesuffix(" <ReadTimeout>")
    data = b"".join(response.readline() for _ in range(lines.count("\n"))) if unfinished else response.read()
    faults = [] if response.status == wanted["status"] else [f"status {response.status}, recorded {wanted['status']}"]
    page = wanted["headers"].get("content-type", "").startswith("text/html")
    for name in COMPARED:
        ours, theirs = response.headers.get(name), wanted["headers"].get(name)
        if ours != theirs and not (page and name == "x-content-type-options") and not (page and name == "vary"):
            faults.append(f"{name}: {ours!r}, recorded {theirs!r}")
    connection.close()
    if response.headers.get("content-encoding") == "gzip" and data:
        data = gzip.decompress(data)
    if not page and comparable(data.decode()) != comparable(lines):
        faults.append(f"\n  ours   {comparable(data.decode())}\n  record {comparable(lines)}")
    return faults


def comparable(text):
    text = re.sub(r"2026-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME", text)
    text = re.sub(r'"bookmark":"[^"]*"', '"bookmark":"SOMEWHERE"', text)
    text = re.sub(r'"omniconfig":"[^"]*"', '"omniconfig":"FILE"', text)
    return re.sub(r"https?://(localhost|127\.0\.0\.1):\d+", "URL", text)

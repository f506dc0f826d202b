"""The official conformance suite of COSI states, over the official client, passes whole against the emulator."""

import json
import os

from go_tool import go

from omniherd.emulator import Emulator

# How many tests the suite of cosi-project/runtime v1.16.2 has; fewer would mean that some did not run.
TESTS = 24


def test_every_test_of_the_suite_passes(modules):
    with Emulator(seed_fleet=False, any_type=True) as emulator:
        done = go(
            "test",
            "-vet=off",
            "-count=1",
            "-json",
            "./conformance",
            timeout=1200,
            env={**os.environ, **emulator.environment()},
        )
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    results = {
        event["Test"].removeprefix("TestState/"): event["Action"]
        for event in events
        if event.get("Test", "").count("/") == 1 and event["Action"] in {"pass", "fail", "skip"}
    }
    output = "".join(event.get("Output", "") for event in events)
    print(f"{sum(result == 'pass' for result in results.values())} of {len(results)} tests of the suite passed")
    assert [name for name, result in results.items() if result != "pass"] == [], output[-5000:]
    assert len(results) == TESTS, done.stderr or output[-2000:]

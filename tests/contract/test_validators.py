"""What a real server said to writes and reads that it refuses or takes, played against the emulator and a live server.

`tools/record_validators.py` made the record.
"""

import json
import os
import sys
from pathlib import Path

import pytest
from validator_player import Caller, Player

from omniherd.emulator import Emulator

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tools"))
RECORD = json.loads((ROOT / "tests" / "data" / "validators.json").read_text())

# (scenario, step) -> why the emulator differs.
EXCEPTIONS = {}


@pytest.fixture(scope="module")
def player():
    with Emulator(seed_fleet=False) as emulator:
        caller = Caller(emulator.endpoint, emulator.service_account_key)
        yield Player(caller)
        caller.close()


def differences(name, answers):
    found = {}
    for number, (step, (code, text)) in enumerate(zip(RECORD[name], answers, strict=True)):
        if (code, text) != (step["code"], step["text"]):
            found[number] = (
                f"{step['verb']} {step['type']} {step['id']}\n  {code} {text!r}\n  {step['code']} {step['text']!r}"
            )
    return found


def test_the_record_is_of_the_scenarios():
    from validator_scenarios import SCENARIOS

    asked = {
        name: [{key: value for key, value in step.items() if key not in {"code", "text"}} for step in steps]
        for name, steps in RECORD.items()
    }
    assert asked == json.loads(json.dumps(SCENARIOS)), "run tools/record_validators.py on a server"


@pytest.mark.parametrize("name", RECORD)
def test_the_emulator_says_what_the_server_said(player, name):
    found = differences(name, player.play_all(RECORD[name]))
    known = {number for scenario, number in EXCEPTIONS if scenario == name}
    print(f"{name}: {len(RECORD[name]) - len(found)} of {len(RECORD[name])} steps agree")
    unexpected = [f"step {number}: {text}" for number, text in found.items() if number not in known]
    assert not unexpected, "\n".join(unexpected)
    assert not known - set(found), "these agree now, take them off the list"


def test_nothing_is_left(player):
    for name, steps in RECORD.items():
        assert player.clean(steps) == [], name


@pytest.mark.live
@pytest.mark.skipif(not os.environ.get("OMNIHERD_TEST_CERTIFICATE"), reason="needs the certificate of a live server")
@pytest.mark.parametrize("name", RECORD)
def test_a_live_server_says_the_same(name):
    certificate = Path(os.environ["OMNIHERD_TEST_CERTIFICATE"]).read_bytes()
    caller = Caller(os.environ["OMNI_ENDPOINT"], os.environ["OMNI_SERVICE_ACCOUNT_KEY"], certificate)
    try:
        found = differences(name, Player(caller).play_all(RECORD[name]))
    finally:
        caller.close()
    assert not found, "\n".join(found.values())

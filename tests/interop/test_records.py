"""The recorded command lines of omnictl once more: played by omnictl itself, against the emulator.

What omnictl printed with a real server, it prints with the emulator; so this judges the emulator and nothing else.
"""

import json
import re
import sys
from pathlib import Path

import pytest

from omniherd.emulator import Emulator

sys.path.insert(0, str(Path(__file__).parents[1] / "golden"))

import scenario as played
import test_golden as golden

# What the emulator says of a call that it does not have, or has in part: it names the method. The step is counted.
ADMITTED = "code = Unimplemented desc = /"
# Steps that come out differently, by record: each with the reason. An entry that is out of date is a failure too.
UNLIKE: dict[str, dict[int, str]] = {}


RETRIED = re.compile(r"^.*\twatch retrying\t.*code = DeadlineExceeded.*\n", re.MULTILINE)
LATE = re.compile(r"^Error: watch failed: .*code = DeadlineExceeded desc = .*$", re.MULTILINE)
# What the record calls by a placeholder of its own: here it is the emulator's.
OF_THE_SERVER = (
    (re.compile(r"\bemulator\b"), "<ACCOUNT>"),
    (re.compile(r"/authenticate\?flow=cli&public-key-id=<FINGERPRINT>"), "/authenticate?flow=cli&public-key-id=<ID>"),
)


def same_stderr(expected, actual, step):
    """Compare standard error to the letter, apart from lines that a server's controller can make unnecessary.

    When a wait of omnictl's ends, either its own clock tells it or the server's, with a real server too (one run in
    ten); it has other words for the second.
    """
    actual = RETRIED.sub("", actual)
    actual = LATE.sub("Error: context deadline exceeded", actual)
    if step.get("compare") == "destroyed-lines-optional":
        expected, actual = (
            [line for line in text.splitlines() if not line.startswith("destroyed ")] for text in (expected, actual)
        )
    return expected == actual


@pytest.fixture(scope="module")
def server():
    with Emulator(tls=True, single_port=True) as emulator:
        yield emulator


@pytest.mark.parametrize("record", golden.RECORDS, ids=lambda path: path.stem)
def test_record(record, server, build, tmp_path, monkeypatch):
    monkeypatch.setattr(played, "PROGRAM", (str(build("omnictl")),))
    monkeypatch.setattr(golden, "DIFFERENCES", {})
    monkeypatch.setattr(golden, "same_stderr", same_stderr)
    monkeypatch.setattr(played, "PLACEHOLDERS", (*played.PLACEHOLDERS, *OF_THE_SERVER))
    # Files of the record name the server that it was made with.
    scenario = json.loads(record.read_text().replace("https://localhost:8099", server.endpoint))
    (tmp_path / "home").mkdir()
    target = played.target(server.endpoint, server.service_account_key, ca=server.certificate)
    player = played.Player(tmp_path, target, json.dumps(scenario["steps"]))
    player.names = {variable: f"{variable.lower()}-{record.stem}" for variable in scenario.get("vars", ())}
    wrong, admitted = {}, 0
    try:
        for number, step in enumerate(scenario["steps"]):
            faults = golden.play(player, scenario["name"], number, step)
            if any(ADMITTED in fault for fault in faults):
                admitted += 1
            elif faults and step.get("compare") != "racy":
                wrong[number] = f"step {number} {step['args']}: " + "\n".join(faults)
    finally:
        for arguments in scenario.get("cleanup", ()):
            player.run({"args": arguments})
    listed = UNLIKE.get(record.stem, {})
    total = len(scenario["steps"])
    print(f"{record.stem}: {total - len(wrong) - admitted} of {total} steps agree, {admitted} are not emulated")
    assert not set(wrong) - set(listed), "\n".join(text for number, text in wrong.items() if number not in listed)
    assert not set(listed) - set(wrong), f"these agree now, take them off the list: {sorted(set(listed) - set(wrong))}"

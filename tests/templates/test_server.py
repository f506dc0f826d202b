"""Whole lives of clusters, recorded from omnictl and a real server, run with our command line on the emulator."""

import json
import re

import pytest
from recorded_text import SCENARIOS, comparable

from omniherd.emulator import Emulator
from unit.inner_shell import inner_shell

# Steps that come out differently on purpose, or for want of something in the emulator, and why.
DIFFERENCES = {
    (
        "t09",
        8,
    ): "a cluster without a control plane is exported with an empty one, instead of with a document of no kind",
}


@pytest.fixture(scope="module")
def server():
    with Emulator(seed_fleet=False) as emulator:
        yield emulator


@pytest.fixture
def run(server, tmp_path, monkeypatch, capsys):
    yield from inner_shell(tmp_path, server.environment(), monkeypatch, capsys)


def agrees(step, outcome):
    """Return what of a step's outcome is not as it was recorded."""
    code, out, errors = outcome
    expect = step["expect"]
    wrong = []
    if code != expect["rc"]:
        wrong.append(f"exit code {code}, recorded {expect['rc']}")
    if comparable(out, step) != comparable(expect.get("stdout", ""), step):
        wrong.append(f"stdout\n{out}\nrecorded\n{expect.get('stdout', '')}")
    recorded = expect.get("stderr", "").strip()
    if step.get("compare") == "destroyed-lines-optional":
        recorded, errors = "", re.sub(r"(?m)^(?:destroyed|not found:) .*\n", "", errors)
    # What to do may stand behind it.
    if not (
        errors.strip() == recorded or (recorded and re.fullmatch(re.escape(recorded) + r" \(.*\)", errors.strip()))
    ):
        wrong.append(f"stderr\n{errors}\nrecorded\n{recorded}")
    return wrong


@pytest.mark.parametrize("path", SCENARIOS, ids=[path.stem for path in SCENARIOS])
def test_life(path, run, tmp_path):
    scenario = json.loads(path.read_text())
    wrong, same = [], 0
    for number, step in enumerate(scenario["steps"]):
        for name, text in step.get("write", {}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        found = agrees(step, run(*step["args"]))
        reason = DIFFERENCES.get((path.stem.partition("-")[0], number))
        if reason is None:
            wrong += [f"step {number} {' '.join(step['args'])}: {text}" for text in found]
            same += not found
        else:
            assert found, f"step {number} agrees by now: {reason}"
    print(f"{same} of {len(scenario['steps'])} steps are as recorded")
    assert not wrong, "\n".join(wrong)

"""The benchmark of the official Go client measures what it says and leaves nothing behind. No figure is judged."""

import json
import subprocess

import pytest

from omniherd.emulator import Emulator
from omniherd.resources import MachineClass

MEASURED = ["connect", "get", "get16", "list", "watch", "watchone", "create", "update", "latency", "destroy"]


@pytest.fixture
def bench(build, environment):
    program = build("gobench")

    def run(*arguments, text=""):
        return subprocess.run(
            [program, *arguments],
            env=environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def emulator():
    with Emulator(seed_fleet=False) as emulator:
        yield emulator


def test_every_measurement_is_a_line(bench, emulator):
    done = bench("-resources", "20", "-gets", "32", "-writes", "5", "-rounds", "2")
    assert (done.returncode, done.stderr) == (0, "")
    *lines, memory = map(json.loads, done.stdout.splitlines())
    assert [(line["name"], line["operations"]) for line in lines] == list(
        zip(MEASURED, (1, 32, 32, 20, 20, 20, 5, 5, 5, 5), strict=True)
    )
    assert all(len(line["seconds"]) == 2 and min(line["seconds"]) > 0 for line in lines)
    assert memory["peak_kib"] > 0
    with emulator.connect() as omni:
        assert omni.list(MachineClass) == []


def test_it_measures_by_turns(bench, emulator):
    with emulator.connect() as omni:
        omni.create(MachineClass("there", spec={"match_labels": ["a = b"]}))
    done = bench("-resources", "0", "-gets", "3", "-turns", text="get\nlist\nget\n")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["name"], line["operations"], len(line["seconds"])) for line in lines] == [
        ("get", 3, 1),
        ("list", 1, 1),
        ("get", 3, 1),
    ]


def test_a_measurement_that_it_does_not_have_is_an_error(bench):
    done = bench("-resources", "1", "-only", "get,fly")
    assert done.returncode == 1
    assert done.stdout == ""
    assert (
        done.stderr
        == 'Error: "fly" is not among connect, get, get16, list, watch, watchone, create, update, latency, destroy\n'
    )


def test_a_server_that_is_not_there_is_one_error(bench, emulator, environment):
    emulator.stop()
    done = bench()
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: rpc error: code = Unavailable")
    assert done.stderr.count("\n") == 1

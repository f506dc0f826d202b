"""The pytest plugin, as a user's own test run loads it."""

import os
import subprocess
import sys
import time

import pytest

TEST = """
import os
import pytest
from omniherd import Omni

seen = []

def test_one(omni_emulator, omni):
    seen.append(omni_emulator.endpoint)
    assert os.environ["OMNI_ENDPOINT"] == omni_emulator.endpoint
    assert not {"OMNI_CONTEXT", "SIDERO_SERVICE_ACCOUNT_KEY"} & set(os.environ)
    assert not os.path.exists(os.environ["OMNICONFIG"])
    assert sorted(cluster.id for cluster in omni.list("clusters")) == ["edge-lab", "prod", "staging"]
    omni.delete("clusters", "edge-lab")
    with Omni.connect() as other:
        assert len(list(other.list("clusters"))) == 2

def test_two(omni):
    assert len(list(omni.list("clusters"))) == CLUSTERS

@pytest.mark.omni_emulator(seed_fleet=False)
def test_mark(omni):
    assert len(list(omni.list("clusters"))) == MARKED
"""


def run(folder, text, *arguments, **environment):
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("OMNI", "PYTEST"))}
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    return subprocess.run(
        command, cwd=folder, env={**variables, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


def test_each_test_has_a_server_of_its_own_and_leads_nowhere_else(tmp_path):
    done = run(
        tmp_path,
        TEST.replace("CLUSTERS", "3").replace("MARKED", "0"),
        OMNI_ENDPOINT="https://real.example",
        OMNI_CONTEXT="real",
        SIDERO_SERVICE_ACCOUNT_KEY="real",
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_a_session_shares_one(tmp_path):
    text = TEST.replace("CLUSTERS", "2").replace("MARKED", "2")
    assert "3 passed" in run(tmp_path, text, "--omni-emulator-scope", "session").stdout


def test_a_wrong_scope_in_the_configuration_is_said(tmp_path):
    done = run(tmp_path, TEST, "-o", "omni_emulator_scope=week")
    assert "omni_emulator_scope is one of" in done.stdout + done.stderr


def test_the_environment_comes_back(tmp_path):
    text = """
import os

def test_one(omni):
    pass

def test_after():
    assert os.environ["OMNI_ENDPOINT"] == "https://real.example"
    assert "OMNI_SERVICE_ACCOUNT_KEY" not in os.environ
"""
    assert "2 passed" in run(tmp_path, text, OMNI_ENDPOINT="https://real.example").stdout


def test_loading_it_imports_nothing_heavy():
    text = (
        "import sys, pytest; before = set(sys.modules); import omniherd.pytest_plugin; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["omniherd"]


def test_print_what_a_server_costs():
    from omniherd.emulator import Emulator

    times = []
    for _ in range(20):
        begin = time.perf_counter()
        with Emulator():
            pass
        times.append(time.perf_counter() - begin)
    times.sort()
    print(f"an emulator with its fleet: best {times[0] * 1000:.1f} ms, median {times[len(times) // 2] * 1000:.1f} ms")
    assert len(times) == 20


@pytest.mark.parametrize("name", ["omni", "omni_emulator"])
def test_the_entry_point_is_declared(name):
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"omniherd": "omniherd.pytest_plugin"}
    import omniherd.pytest_plugin as plugin

    assert name in plugin.__all__

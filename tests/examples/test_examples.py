"""Each example runs as a user would run it, and says what it should."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from omniherd.emulator import Emulator

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
# What a reader should see, whatever else is printed.
EXPECTED = {
    "cluster_discovery": [
        "prod: Kubernetes 1.35.5, Talos 1.13.4, 5 of 5 machines healthy, ready",
        "edge-lab: Kubernetes 1.34.3, Talos 1.12.8, 1 of 2 machines healthy, not ready",
        "12 machines, 11 connected",
        "free: spare-1",
    ],
    "monitoring": [
        "caught up",
        "created with ['site = lab']",
        "updated to version 2 (running): ['site = lab'] -> ['site = lab', 'gpu = true']",
        "destroyed",
    ],
    "resource_management": [
        "gone: resource ConfigPatches.omni.sidero.dev(default/900-example-management-0@undefined) doesn't exist",
        "deleted 3, failed 0",
        "deleted 2, failed 0",
    ],
    "inventory": ["default      Clusters.omni.sidero.dev                                    3"],
    "labels": [
        "env = prod                       -> ['prod']",
        "env in (staging, test), !retired -> ['staging']",
        "env != prod                      -> ['edge-lab', 'staging']",
        "omni.sidero.dev/cores > 8        -> 3 machines",
        "reserved 3 of 3 free machines",
    ],
    "machine_counter": ["edge-lab: 2 machines", "prod: 5 machines", "staging: 2 machines"],
    "version_tracking": [": ['site = lab']", ": ['site = lab', 'gpu = b200']"],
    "create_and_update": [
        "created version 1",
        "refused: resource MachineClasses.omni.sidero.dev(default/example-writing@1) already exists",
        'update conflict: expected version "1", actual version "2"',
        "applied as version 3: ['site = fra']",
        "refused: * name should only contain letters, digits, dashes and underscores",
    ],
    "typed_specs": [
        "prod runs Kubernetes 1.35.5 on Talos 1.13.4",
        "embedded discovery: True",
        "prod-workers: update strategy Rolling",
        "fra-worker-1: 32 cores, 128 GiB, v1.13.4",
        "kubernetesversion: 1.35.5\ntalosversion: 1.13.4\n",
    ],
}


@pytest.fixture(scope="module")
def environment():
    with Emulator() as emulator:
        yield {**os.environ, **emulator.environment()}


@pytest.mark.parametrize("side", ["sync", "async"])
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_example(environment, side, name, tmp_path):
    script = EXAMPLES / side / f"{name}.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        env={**environment, "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for text in EXPECTED[name]:
        assert text in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_every_example_is_tested_on_both_sides():
    for side in ("sync", "async"):
        assert {path.stem for path in (EXAMPLES / side).glob("*.py")} == set(EXPECTED)

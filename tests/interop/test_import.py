"""The official command line takes a foreign Talos cluster of the emulator's into the emulator."""

import re

import pytest

from omniherd.emulator import Emulator


@pytest.fixture
def emulator():
    with Emulator(seed_fleet=False) as emulator:
        yield emulator


@pytest.fixture
def foreign(emulator):
    return emulator.foreign_cluster("outside", control_planes=3, workers=2)


@pytest.fixture
def importing(omnictl, run, foreign, tmp_path):
    """Run `omnictl cluster import` on the foreign cluster."""
    (tmp_path / "talosconfig").write_text(foreign.talosconfig)

    def call(*arguments):
        return run(omnictl, "cluster", "import", "--talosconfig", "talosconfig", *arguments)

    return call


def test_a_dry_run_says_what_it_would_make(importing, foreign):
    code, _, stderr = importing("--dry-run", "--nodes", ",".join(foreign.nodes))
    assert code == 0, stderr
    assert 'importing cluster "outside" with 5 nodes (3 control planes, 2 workers)' in stderr
    assert "waiting for all k8s nodes to report schedulable: OK" in stderr
    planned = re.findall(r'\[dry-run\] creating machine set node "(.*)"', stderr)
    assert sorted(planned) == sorted(foreign.machines)
    patches = re.findall(r'\[dry-run\] creating config patch "10-(.*)"', stderr)
    assert sorted(patches) == sorted(foreign.machines)


def test_all_nodes_must_be_named(importing, foreign):
    code, _, stderr = importing("--dry-run", "--nodes", foreign.nodes[0])
    assert code == 1
    assert "number of members in cluster (5) does not match number of provided nodes (1)" in stderr

"""The official command line takes a foreign Talos cluster of the emulator's into the emulator, and gives it back."""

import re
import zipfile

import pytest
import yaml

from omniherd.emulator import Emulator

L = "omni.sidero.dev/"


@pytest.fixture(params=[0, 1], ids=["still", "living"])
def emulator(request):
    with Emulator(seed_fleet=False, machines=request.param, speed=50) as emulator:
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


@pytest.fixture
def imported(importing, foreign):
    """Take all of it in."""
    code, _, stderr = importing("--backup-output", "backup.zip", "--nodes", ",".join(foreign.nodes))
    assert code == 0, stderr


def shown(emulator, kind):
    """Return the resources of a type as mappings, by id."""
    with emulator.connect() as omni:
        return {one.id: yaml.safe_load(one.to_yaml()) for one in omni.list(kind)}


def test_a_dry_run_says_what_it_would_make(importing, emulator, foreign):
    code, _, stderr = importing("--dry-run", "--nodes", ",".join(foreign.nodes))
    assert code == 0, stderr
    assert 'importing cluster "outside" with 5 nodes (3 control planes, 2 workers)' in stderr
    assert "waiting for all k8s nodes to report schedulable: OK" in stderr
    planned = re.findall(r'\[dry-run\] creating machine set node "(.*)"', stderr)
    assert sorted(planned) == sorted(foreign.machines)
    patches = re.findall(r'\[dry-run\] creating config patch "10-(.*)"', stderr)
    assert sorted(patches) == sorted(foreign.machines)
    assert shown(emulator, "clusters") == {}


def test_all_nodes_must_be_named(importing, foreign):
    code, _, stderr = importing("--dry-run", "--nodes", foreign.nodes[0])
    assert code == 1
    assert "number of members in cluster (5) does not match number of provided nodes (1)" in stderr


@pytest.mark.usefixtures("imported")
def test_an_imported_cluster_is_locked_and_marked(emulator, foreign, tmp_path):
    cluster = shown(emulator, "clusters")["outside"]
    assert cluster["metadata"]["annotations"].keys() == {L + "cluster-locked", L + "cluster-import-is-in-progress"}
    assert L + "tainted-by-importing" in shown(emulator, "clusterstatus")["outside"]["metadata"]["labels"]
    assert shown(emulator, "machinesetnodes").keys() == set(foreign.machines)
    assert set(foreign.machines) <= shown(emulator, "links").keys()
    patches = shown(emulator, "configpatches")
    assert all("hostname: outside-" in patch["spec"]["data"] for patch in patches.values())
    names = {f"outside-{role}-{node}.yaml" for role, node in zip(("cp-1", "cp-2", "cp-3"), foreign.nodes, strict=False)}
    with zipfile.ZipFile(tmp_path / "backup.zip") as backup:
        assert names < set(backup.namelist())
        assert "SideroLinkConfig" not in backup.read(min(names)).decode()
    assert all("kind: SideroLinkConfig" in foreign.configuration(node) for node in foreign.nodes)


@pytest.mark.usefixtures("imported")
def test_it_is_not_imported_twice(importing, foreign):
    code, _, stderr = importing("--nodes", ",".join(foreign.nodes))
    assert code == 1
    assert 'cluster "outside" already exists in Omni and is marked as importing' in stderr


@pytest.mark.usefixtures("imported")
def test_an_import_is_aborted(omnictl, run, emulator, foreign):
    code, _, stderr = run(omnictl, "cluster", "import", "abort", "outside")
    assert code == 0, stderr
    assert sorted(re.findall(r'removing link for machine "(.*)" from Omni', stderr)) == sorted(foreign.machines)
    for kind in ("clusters", "machinesets", "machinesetnodes", "configpatches", "clustermachines"):
        assert shown(emulator, kind) == {}, kind
    assert not set(foreign.machines) & shown(emulator, "links").keys()


@pytest.mark.usefixtures("imported")
def test_an_unlocked_cluster_cannot_be_aborted(omnictl, run):
    code, _, stderr = run(omnictl, "cluster", "unlock", "outside")
    assert code == 0, stderr
    code, _, stderr = run(omnictl, "cluster", "import", "abort", "outside")
    assert code == 1
    assert 'cluster "outside" is not locked' in stderr

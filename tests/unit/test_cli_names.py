from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from command_shell import Shell

from omniherd._core.nodes import is_machine_id
from omniherd._sync.talos_routes import OmniRoute
from omniherd.cli.names import MACHINE_TYPES
from omniherd.emulator import Emulator
from omniherd.errors import PermissionDenied
from omniherd.resources import ALL_TYPES, MachineSetNode, MachineStatus

if TYPE_CHECKING:
    from pathlib import Path

NAME = "fra-worker-1"


@pytest.fixture(scope="module")
def ident(server: Emulator) -> str:
    with server.connect() as omni:
        return omni.machines.find(NAME).id


@pytest.fixture
def serial(server: Emulator, ident: str) -> str:
    """Give a disk of the machine a serial number: the fleet's disks have none."""
    stored = server.store.get("default", "MachineStatuses.omni.sidero.dev", ident)
    with server.connect() as omni:
        spec = omni.get(MachineStatus, ident).spec
    spec.hardware.blockdevices[0].serial = "S4EWNX0R"
    server.store.modify("default", "MachineStatuses.omni.sidero.dev", ident, spec=spec.SerializeToString(), yaml=None)
    assert stored
    return "S4EWNX0R"


def test_types_of_machines_bear_their_ids(server: Emulator) -> None:
    with server.connect() as omni:
        checked = 0
        for info in ALL_TYPES:
            if info.type in MACHINE_TYPES:
                try:
                    ids = [one.id for one in omni.list(info.type, namespace=info.namespace)]
                except PermissionDenied:
                    # Secrets, which nobody may read.
                    continue
                assert all(map(is_machine_id, ids)), info.type
                checked += bool(ids)
        assert checked > 10
    assert {info.type for info in ALL_TYPES} >= MACHINE_TYPES


@pytest.mark.parametrize("kind", ["machine", "machinestatus", "msn", "link", "clustermachine"])
def test_get_takes_a_hostname(kind: str, shell: Shell, ident: str) -> None:
    assert shell("get", kind, NAME) == shell("get", kind, ident)


def test_get_takes_an_address_and_a_serial_number(shell: Shell, ident: str, serial: str) -> None:
    want = shell("get", "machine", ident)
    assert want[0] == 0
    assert shell("get", "machine", "192.0.2.4") == want
    assert shell("get", "machine", serial) == want
    assert shell("get", "machine", "02:00:00:00:00:04") == want


def test_wide_shows_names_beside_ids(shell: Shell, ident: str, serial: str) -> None:
    code, out, _ = shell("get", "machine", ident, "-o", "wide")
    assert code == 0
    head, row = (line.split() for line in out.splitlines())
    assert dict(zip(head, row, strict=True)) | {"HOSTNAME": NAME, "CLUSTER": "prod", "SERIAL": serial} == dict(
        zip(head, row, strict=True)
    )
    assert shell("get", "cluster", "prod", "-o", "wide") == shell("get", "cluster", "prod")


def test_other_types_are_not_looked_up(shell: Shell) -> None:
    code, _, err = shell("get", "cluster", NAME)
    assert code == 1
    assert f"Clusters.omni.sidero.dev(default/{NAME}@undefined) doesn't exist" in err
    code, _, err = shell("get", "machine", "nobody")
    assert code == 1
    assert "Machines.omni.sidero.dev(default/nobody@undefined) doesn't exist" in err


def test_an_id_costs_no_look_up(server: Emulator, ident: str, shell: Shell) -> None:
    for method in ("List", "Watch"):
        server.faults.fail(f"/cosi.resource.State/{method}", "INTERNAL", times=None)
    try:
        assert shell("get", "machine", ident)[0] == 0
        assert shell("get", "machine", NAME)[0] == 1
    finally:
        server.faults.clear()


def test_locks_take_names(shell: Shell, server: Emulator, ident: str) -> None:
    assert shell("cluster", "machine", "lock", NAME) == (0, "", f'machine "{NAME}" ({ident}) lock status: true\n')
    with server.connect() as omni:
        assert "omni.sidero.dev/locked" in omni.get(MachineSetNode, ident).annotations
    assert shell("cluster", "machine", "unlock", ident) == (0, "", f'machine "{ident}" lock status: false\n')
    with server.connect() as omni:
        assert "omni.sidero.dev/locked" not in omni.get(MachineSetNode, ident).annotations


def test_power_and_logs_take_names(shell: Shell, ident: str) -> None:
    code, _, err = shell("machine", "power-on", NAME)
    by_id = shell("machine", "power-on", ident)
    assert (code, err.replace(f'"{NAME}" ({ident})', f'"{ident}"').replace(NAME, ident)) == (by_id[0], by_id[2])
    assert shell("machine-logs", NAME) == shell("machine-logs", ident)


def test_talos_nodes_take_names(server: Emulator, ident: str, serial: str) -> None:
    with server.connect() as omni:
        for name in (NAME, serial, "192.0.2.4"):
            (plan,) = OmniRoute(omni, "prod", [name, "fra-worker-2"]).plans(together=True)
            assert [(given, node and node.name) for given, node in plan.asked] == [
                (name, NAME),
                ("fra-worker-2", "fra-worker-2"),
            ]


def test_a_name_of_two_machines_is_refused_with_both(server: Emulator, shell: Shell, ident: str) -> None:
    with server.connect() as omni:
        other = next(one for one in omni.machines.known() if not one.cluster)
        spec = omni.get(MachineStatus, other.id).spec
    name = spec.network.hostname
    spec.network.hostname = NAME
    encoded = spec.SerializeToString()
    kind = "MachineStatuses.omni.sidero.dev"
    server.store.modify("default", kind, other.id, spec=encoded, yaml=None)
    try:
        for words in (("get", "machine", NAME), ("cluster", "machine", "lock", NAME), ("delete", "link", NAME)):
            code, out, err = shell(*words)
            assert code == 1, words
            assert "Machine" not in out.partition("\n")[2]
            assert f"{ident} ({NAME} in prod)" in err
            assert f"{other.id} ({NAME})" in err
    finally:
        spec.network.hostname = name
        server.store.modify("default", kind, other.id, spec=spec.SerializeToString(), yaml=None)


def test_a_machine_leaves_its_cluster_by_name(server: Emulator, tmp_path: Path) -> None:
    with Emulator() as emulator, emulator.connect() as omni:
        shell = Shell(tmp_path, emulator.environment())
        ident = omni.machines.find(NAME).id
        code, _, err = shell("cluster", "machine", "delete", NAME, "--timeout", "30s")
        assert (code, err) == (0, f'ClusterMachines.omni.sidero.dev "{NAME}" ({ident}) is destroyed\n')
        assert shell("delete", "machinelabel", NAME, "not-there")[0] == 0

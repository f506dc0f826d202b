from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from omniherd.cli.labels import Wish, read_words
from omniherd.emulator import Emulator
from omniherd.errors import InputError
from omniherd.resources import Cluster, MachineClass, MachineLabel, MachineStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command_shell import Shell

    from omniherd import Omni


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


def test_words_are_parted() -> None:
    assert read_words(["a", "k=v", "b", "old-", "empty=", "url=x=y"]) == (
        ["a", "b"],
        Wish({"k": "v", "empty": "", "url": "x=y"}, ("old",)),
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a"], "nothing to change"),
        (["a", "k=1", "k=2"], "'k' is given twice"),
        (["a", "k=1", "k-"], "'k' is given twice"),
        (["a", "=x"], "'=x' names no key"),
        (["a", "-"], "'-' names no key"),
    ],
)
def test_words_that_say_nothing(words: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_words(words)


def test_labels_come_and_go_and_others_stay(shell: Shell, omni: Omni) -> None:
    assert shell("label", "cluster", "prod", "tier=1", "team-") == (
        0,
        "",
        "changed Clusters.omni.sidero.dev prod\n",
    )
    assert dict(omni.get(Cluster, "prod").labels) == {"env": "prod", "tier": "1"}
    version = omni.get(Cluster, "prod").version
    assert shell("label", "cluster", "prod", "tier=1")[2] == "unchanged Clusters.omni.sidero.dev prod\n"
    assert omni.get(Cluster, "prod").version == version


def test_values_are_replaced_on_demand_only_and_for_all_or_none(shell: Shell, omni: Omni) -> None:
    for name, labels in (("a", {}), ("b", {"rank": "2"})):
        omni.create(MachineClass(name, labels=labels, spec={"match_labels": ["x"]}))
    code, out, err = shell("label", "mc", "a", "b", "rank=1")
    assert (code, out) == (1, "")
    assert err == "Error: labels are there already: b has rank=2 (--overwrite replaces them)\n"
    assert dict(omni.get(MachineClass, "a").labels) == {}
    assert shell("label", "mc", "a", "b", "rank=1", "--overwrite")[0] == 0
    assert {one.id: one.labels["rank"] for one in omni.list(MachineClass, labels="rank")} == {"a": "1", "b": "1"}


def test_in_bulk_by_a_selector(shell: Shell, omni: Omni) -> None:
    code, out, _ = shell("label", "cluster", "-l", "env in (prod, staging)", "seen=yes", "-o", "json")
    assert code == 0
    assert json.loads(out) == [
        {"type": "Clusters.omni.sidero.dev", "id": name, "changed": True} for name in ("prod", "staging")
    ]
    assert [one.id for one in omni.list(Cluster, labels="seen=yes")] == ["prod", "staging"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-l", " ", "a=b"], "the selector is empty"),
        (["-l", "env=nowhere", "a=b"], "no Cluster matches 'env=nowhere'"),
        (["prod", "-l", "env", "a=b"], "cannot specify both resource ID and selector"),
        (["a=b", "c=d"], "either resource ID or --selector must be specified"),
    ],
)
def test_what_is_refused(words: list[str], told: str, shell: Shell, omni: Omni) -> None:
    before = [one.version for one in omni.list(Cluster)]
    code, out, err = shell("label", "cluster", *words)
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {told}")
    assert [one.version for one in omni.list(Cluster)] == before


def test_a_machine_is_labelled_where_people_label_it(shell: Shell, omni: Omni) -> None:
    ident = omni.machines.find("fra-worker-1").id
    mine = dict(omni.get(MachineLabel, ident).labels)
    assert shell("label", "machine", "fra-worker-1", "rack=7")[0] == 0
    assert dict(omni.get(MachineLabel, ident).labels) == {**mine, "rack": "7"}
    # A machine that nobody labelled yet gets a resource for them; one that is not there does not.
    omni.delete(MachineLabel, ident)
    assert shell("label", "machinestatus", ident, "rack=8")[0] == 0
    assert dict(omni.get(MachineLabel, ident).labels) == {"rack": "8"}
    code, _, err = shell("label", "machine", "00000000-0000-0000-0000-000000000000", "rack=1")
    assert code == 1
    assert "doesn't exist" in err


def test_machines_are_chosen_by_what_the_server_says_of_them(shell: Shell, omni: Omni) -> None:
    chosen = [one.id for one in omni.list(MachineStatus, labels="site=fra,omni.sidero.dev/connected")]
    assert chosen
    assert shell("label", "machines", "-l", "site=fra,omni.sidero.dev/connected", "row=2")[0] == 0
    assert [one.id for one in omni.list(MachineLabel, labels="row=2")] == chosen


def test_annotations(shell: Shell, omni: Omni) -> None:
    assert shell("annotate", "cluster", "prod", "note=by hand, with = signs")[0] == 0
    assert omni.get(Cluster, "prod").annotations["note"] == "by hand, with = signs"
    assert shell("annotate", "cluster", "prod", "note=other")[0] == 1
    assert shell("annotate", "cluster", "prod", "note-")[0] == 0
    assert "note" not in omni.get(Cluster, "prod").annotations


def test_refusals_of_the_server_are_told_and_others_go_on(shell: Shell, server: Emulator, omni: Omni) -> None:
    for name in ("a", "b"):
        omni.create(MachineClass(name, spec={"match_labels": ["x"]}))
    server.faults.fail("/cosi.resource.State/Update", "PERMISSION_DENIED", "not today")
    code, _, err = shell("label", "mc", "a", "b", "k=v")
    assert code == 1
    assert err.endswith("Error: rpc error: code = PermissionDenied desc = not today\n")
    assert [one.id for one in omni.list(MachineClass, labels="k=v")] == ["b"]


def test_a_selection_is_deleted_in_bulk(shell: Shell, omni: Omni) -> None:
    for name in ("a", "b", "c"):
        omni.create(MachineClass(name, labels={"old": ""} if name != "c" else {}, spec={"match_labels": ["x"]}))
    assert shell("delete", "mc", "--selector", "old", "--dry-run")[1].count("Deleting resource") == 2
    assert len(omni.list(MachineClass, id_regexp="^[abc]$")) == 3
    assert shell("delete", "mc", "--selector", "old")[0] == 0
    assert [one.id for one in omni.list(MachineClass, id_regexp="^[abc]$")] == ["c"]

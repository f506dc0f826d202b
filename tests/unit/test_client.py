"""The client's own behaviour, against an emulator."""

from __future__ import annotations

import pytest

import omniherd
from omniherd import AsyncOmni, Omni
from omniherd._core.sorting import sorted_resources
from omniherd.errors import DeadlineExceeded, DeleteTimeout, InputError, NotFound, OmniError, VersionConflict
from omniherd.resource import resource_class
from omniherd.resources import Cluster, MachineClass


@pytest.fixture
def omni(emulator):
    with Omni.connect(emulator.endpoint, service_account_key=emulator.service_account_key) as client:
        yield client


def test_public_names_are_what_the_module_has():
    assert sorted(omniherd.__all__) == omniherd.__all__ == dir(omniherd)
    assert all(getattr(omniherd, name) is not None for name in omniherd.__all__)


def test_errors_are_ours_and_name_the_resource(omni):
    with pytest.raises(NotFound) as caught:
        omni.get(Cluster, "nope")
    assert caught.value.resource == "Clusters.omni.sidero.dev(default/nope)"
    assert caught.value.code == "NOT_FOUND"
    assert caught.value.__cause__ is not None


def test_a_closed_client_says_so(emulator):
    client = Omni.connect(emulator.endpoint, service_account_key=emulator.service_account_key)
    client.close()
    client.close()
    with pytest.raises(OmniError, match="closed"):
        client.get(Cluster, "prod")


async def test_async_client_reads(emulator):
    async with AsyncOmni.connect(emulator.endpoint, service_account_key=emulator.service_account_key) as client:
        assert (await client.get("clusters", "prod")).id == "prod"
        assert [one.id for one in await client.list(Cluster)] == ["edge-lab", "prod", "staging"]


def test_edit_puts_a_change_on_a_newer_version(omni):
    omni.create(MachineClass("merge", labels={"a": "1"}, spec={"match_labels": ["a = b"]}))
    edit = omni.edit(MachineClass, "merge")
    with edit as mine:
        mine.labels["mine"] = "1"
        omni.edit(MachineClass, "merge", lambda other: other.labels.update(theirs="1"))
    assert dict(edit.result.labels) == {"a": "1", "mine": "1", "theirs": "1"}
    assert edit.result.version == 3
    edit = omni.edit(MachineClass, "merge")
    edit.__enter__().labels["a"] = "2"
    omni.edit(MachineClass, "merge", lambda other: other.labels.update(a="3"))
    with pytest.raises(VersionConflict) as caught:
        edit.__exit__(None, None, None)
    assert caught.value.details["paths"] == ["labels.a"]
    assert omni.edit(MachineClass, "merge", lambda one: None).version == 4
    omni.delete(MachineClass, "merge")


def test_a_delete_that_times_out_names_the_holders(omni):
    omni.create(MachineClass("held", finalizers=["backup"], spec={"match_labels": ["a = b"]}))
    with pytest.raises(DeleteTimeout) as caught:
        omni.delete(MachineClass, "held", timeout=0.2)
    assert caught.value.details["finalizers"] == ["backup"]
    omni.edit(MachineClass, "held", lambda one: one.finalizers.clear())
    omni.wait_gone(MachineClass, "held", timeout=5)


def test_a_deadline_of_the_servers_is_not_the_end_of_the_deletes_time(omni, monkeypatch):
    def states(*_arguments):
        raise DeadlineExceeded("the server's own")
        yield

    omni.create(MachineClass("slow", finalizers=["backup"], spec={"match_labels": ["a = b"]}))
    with monkeypatch.context() as patched:
        patched.setattr(type(omni), "_states", states)
        with pytest.raises(DeadlineExceeded, match="the server's own"):
            omni.delete(MachineClass, "slow", timeout=60)
    omni.edit(MachineClass, "slow", lambda one: one.finalizers.clear())
    omni.wait_gone(MachineClass, "slow", timeout=30)


def test_an_apply_that_somebody_overtakes_begins_again(omni, monkeypatch):
    create = type(omni).create
    made = []

    def overtaken(self, resource, **options):
        made.append(resource.id)
        create(self, MachineClass(resource.id, labels={"theirs": ""}, spec={"match_labels": ["x = y"]}))
        return create(self, resource, **options)

    monkeypatch.setattr(type(omni), "create", overtaken)
    applied = omni.apply(MachineClass("overtaken", labels={"mine": ""}, spec={"match_labels": ["a = b"]}))
    assert (made, applied.version, dict(applied.labels)) == (["overtaken"], 2, {"mine": "", "theirs": ""})
    assert list(applied.spec.match_labels) == ["a = b"]
    omni.delete(MachineClass, "overtaken")


def test_a_wait_sees_what_happens_after_its_first_look(omni, monkeypatch):
    omni.create(MachineClass("leaving", finalizers=["backup"], spec={"match_labels": ["a = b"]}))
    omni.teardown(MachineClass, "leaving")
    states = type(omni)._states
    seen = []

    def let_go_after_the_first(self, *arguments):
        for state in states(self, *arguments):
            if not seen:
                omni.edit(MachineClass, "leaving", lambda one: one.finalizers.clear())
            seen.append(state)
            yield state

    monkeypatch.setattr(type(omni), "_states", let_go_after_the_first)
    omni.wait_gone(MachineClass, "leaving", timeout=30)
    assert (seen[0].phase, seen[-1]) == ("tearingDown", None)


def test_delete_many_refuses_an_empty_selector(omni):
    for empty in ("", "  ", {}, None):
        with pytest.raises(InputError, match="needs a selector"):
            omni.delete_many(MachineClass, labels=empty)


def test_delete_many_takes_one_after_the_other_when_told(omni):
    for number in range(3):
        omni.create(MachineClass(f"many-{number}", labels={"many": ""}, spec={"match_labels": ["a = b"]}))
    with pytest.raises(InputError, match="concurrency is at least 1, not 0"):
        omni.delete_many(MachineClass, labels="many", concurrency=0)
    result = omni.delete_many(MachineClass, labels="many", concurrency=1)
    assert [one.id for one in result.deleted] == ["many-0", "many-1", "many-2"]


def test_ids_are_as_long_as_the_servers_errors_can_bear(omni):
    with pytest.raises(NotFound):
        omni.get(Cluster, "é" * 2048)
    for longer in ("é" * 2048 + "x", "x" * 4097):
        with pytest.raises(InputError, match="longer than 4096 bytes"):
            omni.get(Cluster, longer)


def test_the_server_ends_a_resource_within_the_time_that_is_left(omni, monkeypatch):
    seen = []
    ending = type(omni)._end

    def end(self, method, *arguments, timeout, **options):
        seen.append((method, timeout))
        return ending(self, method, *arguments, timeout=timeout, **options)

    monkeypatch.setattr(type(omni), "_end", end)
    omni.create(MachineClass("ended", spec={"match_labels": ["a = b"]}))
    omni.teardown_and_destroy(MachineClass, "ended", timeout=20)
    assert [method for method, _ in seen] == ["Teardown", "TeardownAndDestroy"]
    assert 0 < seen[1][1] <= seen[0][1] == 20
    assert omni.list(MachineClass, id_regexp="^ended$") == []


def test_sorting_by_attribute_paths_puts_what_has_no_value_last():
    old, new, unset = (MachineClass(name, labels={"rank": name}) for name in ("old", "new", "unset"))
    old.metadata.proto.created.seconds = 100
    new.metadata.proto.created.seconds = 200
    assert [one.id for one in sorted_resources([unset, new, old], "created")] == ["old", "new", "unset"]
    assert [one.id for one in sorted_resources([unset, old, new], "-created")] == ["new", "old", "unset"]
    assert [one.id for one in sorted_resources([old, new], "created.year")] == ["old", "new"]
    assert [one.id for one in sorted_resources([unset, old], "created.year")] == ["old", "unset"]
    things = [resource_class("Things.example.dev")(name, spec={"size": size}) for name, size in (("a", 2), ("b", 1))]
    assert [one.id for one in sorted_resources(things, "spec.size")] == ["b", "a"]
    assert [one.id for one in sorted_resources(things, "spec.nope")] == ["a", "b"]
    with pytest.raises(InputError, match="cannot sort"):
        sorted_resources([old, new], lambda one: one if one.id == "old" else 1)

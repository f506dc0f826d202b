"""What type checkers must accept, and what they must refuse. Read by test_typing.py, never run."""

from __future__ import annotations

from typing import Any, assert_type

from omniherd import AsyncOmni, Event, Omni, Resource, label
from omniherd.resources import Cluster, MachineClass


def accepted(omni: Omni) -> None:
    assert_type(omni.get(Cluster, "x"), Cluster)
    assert_type(omni.get(Cluster, "x").spec.kubernetes_version, str)
    assert_type(omni.get("clusters", "x"), Resource[Any])
    assert_type(omni.list(Cluster, labels=label("a") == "b"), list[Cluster])
    assert_type(omni.list("clusters"), list[Resource[Any]])
    for event in omni.watch(Cluster):
        assert_type(event, Event[Cluster])
        assert_type(event.resource, Cluster)
        assert_type(event.old, Cluster | None)
    with omni.edit(Cluster, "x") as cluster:
        assert_type(cluster, Cluster)
    assert_type(omni.edit(Cluster, "x", lambda c: None), Cluster)
    assert_type(omni.apply(MachineClass("x")), MachineClass)
    assert_type(omni.create(MachineClass("x")), MachineClass)
    assert_type(omni.wait_for(Cluster, "x", lambda c: c.spec.kubernetes_version != ""), Cluster)
    for c in omni.delete_many(Cluster, labels="a").deleted:
        assert_type(c, Cluster)
    with Omni.connect() as o2:
        assert_type(o2, Omni)


async def accepted_with_await(omni: AsyncOmni) -> None:
    assert_type(await omni.get(Cluster, "x"), Cluster)
    assert_type(await omni.list(Cluster), list[Cluster])
    async for event in omni.watch(Cluster):
        assert_type(event, Event[Cluster])
    async with omni.edit(Cluster, "x") as cluster:
        assert_type(cluster, Cluster)
    assert_type(await omni.edit(Cluster, "x", lambda c: None), Cluster)
    assert_type(await omni.wait_for(Cluster, "x", lambda c: True), Cluster)


def refused(omni: Omni, aomni: AsyncOmni) -> None:
    omni.get(Cluster)  # refused
    omni.get(Cluster, 1)  # refused
    print(omni.get(Cluster, "x").spec.no_such_field)  # refused
    omni.create(Cluster)  # refused
    omni.list(Cluster, selector="a")  # refused
    omni.delete_many(Cluster)  # refused
    omni.watch(Cluster, on_expired="ignore")  # refused
    omni.edit(Cluster, "x", lambda: None)  # refused
    print(aomni.get(Cluster, "x").spec)  # refused
    with aomni.watch(Cluster):  # refused
        pass

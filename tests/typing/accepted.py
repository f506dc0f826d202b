"""What a type checker must accept, and what it must know: read by tests/typing/test_typing.py, never run."""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import datetime, timedelta
from typing import Any, assert_type

from omniherd import AsyncCache, AsyncController, AsyncOmni, AsyncRun, Cache, Controller, Omni, Run, controller
from omniherd.errors import NotFound, OmniError
from omniherd.resource import Phase, Resource, resource_class
from omniherd.resources import Cluster, ConfigPatch, MachineSetNode, MachineStatus, MachineStatusLabel
from omniherd.selectors import Selector, label
from omniherd.wire import specs


def reading(omni: Omni) -> None:
    cluster = omni.get(Cluster, "prod")
    assert_type(cluster, Cluster)
    assert_type(cluster.spec, specs.ClusterSpec)
    assert_type(cluster.spec.kubernetes_version, str)
    assert_type(cluster.spec.features.disk_encryption, bool)
    assert_type(cluster.version, int | None)
    assert_type(cluster.phase, Phase)
    assert_type(cluster.created, datetime | None)
    assert_type(cluster.labels, MutableMapping[str, str])
    assert_type(omni.list(MachineStatus), list[MachineStatus])
    assert_type(omni.get("clusters", "prod"), Resource[Any])
    assert_type(omni.list("Things.example.dev"), list[Resource[Any]])
    for status in omni.list(MachineStatus, labels=label("omni.sidero.dev/cores") > 8):
        assert_type(status.spec.hardware.processors[0].core_count, int)
    for event in omni.watch(Cluster):
        assert_type(event.resource.spec.talos_version, str)
        if event.old is not None:
            assert_type(event.old.spec.talos_version, str)


def writing(omni: Omni) -> None:
    patch = ConfigPatch("p", labels={"a": "b"}, spec={"data": ""})
    assert_type(omni.create(patch), ConfigPatch)
    assert_type(omni.apply(patch), ConfigPatch)
    patch.spec = {"data": "x"}
    patch.spec = specs.ConfigPatchSpec(data="x")
    patch.labels = {"c": "d"}
    patch.finalizers = ["a"]
    with omni.edit(Cluster, "prod") as cluster:
        assert_type(cluster, Cluster)
        cluster.spec.kubernetes_version = "1.36.1"
    omni.delete(Cluster, "old", timeout=10)
    omni.delete_many(Cluster, labels={"env": "test"})
    specs.EtcdBackupConf(interval=timedelta(hours=1))
    MachineSetNode("x")
    assert_type(MachineStatusLabel("x").spec, None)


@controller(Cluster, concurrency=2)
def keep(run: Run, cluster_id: str) -> float | None:
    assert_type(run.get(Cluster, cluster_id), Cluster | None)
    assert_type(run.cache("machines").get("x"), Resource[Any] | None)
    return 1.5


@controller("clusters")
async def keep_async(run: AsyncRun, cluster_id: str) -> None:
    assert_type(run.cache(Cluster), AsyncCache[Cluster])


def caches(omni: Omni) -> None:
    with omni.cache(Cluster, indexes={"talos": lambda one: one.spec.talos_version}) as clusters:
        assert_type(clusters, Cache[Cluster])
        assert_type(clusters.by("talos", "1.13.4"), list[Cluster])
        assert_type(clusters.wait_until(lambda held: held.get("prod")), Cluster)
        clusters.subscribe(lambda event: print(event.resource.spec.talos_version))
    assert_type(keep, Controller)
    assert_type(keep_async, AsyncController)
    keep.watch(MachineSetNode, lambda node: node.labels.get("omni.sidero.dev/cluster")).run(omni)


async def asynchronous(omni: AsyncOmni) -> None:
    assert_type(await omni.get(Cluster, "prod"), Cluster)
    assert_type(await omni.list(Cluster), list[Cluster])
    async with omni.edit(Cluster, "prod") as cluster:
        assert_type(cluster.spec.talos_version, str)
    async for event in omni.watch(Cluster):
        assert_type(event.resource, Cluster)


def others() -> None:
    assert_type(resource_class(Cluster), type[Cluster])
    assert_type(resource_class("cluster"), type[Resource[Any]])
    assert_type((label("a") == "b") & ~label("c").exists(), Selector)
    try:
        pass
    except NotFound as error:
        assert_type(error.hint, str | None)
    except OmniError as error:
        assert_type(error.retryable, bool)

"""What a type checker must refuse: each line that ends in `# error`, and no other. Read, never run."""

from __future__ import annotations

from omniherd import AsyncOmni, Omni
from omniherd.resources import Cluster, ConfigPatch
from omniherd.wire import specs


def wrong(omni: Omni) -> None:
    cluster = omni.get(Cluster, "prod")
    cluster.spec.kubernetes_version = 5  # error
    cluster.spec.kubernetesversion  # error
    cluster.phase = "running"  # error
    cluster.id = "other"  # error
    omni.get(Cluster)  # error
    omni.get(5, "prod")  # error
    omni.list(Cluster, label="env=prod")  # error
    omni.create("patch")  # error
    omni.delete(Cluster, ["a"])  # error
    ConfigPatch("p", spec=specs.ClusterSpec())  # error
    ConfigPatch("p", labels={"a": 1})  # error
    ConfigPatch()  # error
    omni.cache(Cluster).get("prod").spec  # error
    specs.ClusterSpec(talos_versoin="")  # error


async def asynchronous(omni: AsyncOmni) -> None:
    omni.get(Cluster, "prod").spec  # error
    for cluster in omni.list(Cluster):  # error
        del cluster

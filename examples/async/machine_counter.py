"""A controller: keep a label with the number of machines on every cluster, whatever happens to either.

It runs until it is interrupted; here it ends when every cluster has its label, and takes the labels off again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from omniherd import AsyncOmni, controller
from omniherd.resources import Cluster, MachineSetNode

if TYPE_CHECKING:
    from omniherd import AsyncRun

CLUSTER = "omni.sidero.dev/cluster"
COUNT = "example-machines"


@controller(Cluster, concurrency=2)
async def count_machines(run: AsyncRun, cluster_id: str) -> None:
    """Bring the label of one cluster in line with its machines."""
    cluster = run.get(Cluster, cluster_id)
    if cluster is None or cluster.phase != "running":
        return
    count = str(len(run.cache(MachineSetNode).list({CLUSTER: cluster_id})))
    if cluster.labels.get(COUNT) != count:
        async with run.omni.edit(Cluster, cluster_id) as one:
            one.labels[COUNT] = count


async def main() -> None:
    """Run the controller until its work is done."""
    count_machines.watch(MachineSetNode, lambda node: node.labels.get(CLUSTER))
    async with AsyncOmni.connect() as omni, omni.cache(Cluster) as clusters:
        working = asyncio.create_task(count_machines.run(omni))
        try:
            await clusters.wait_until(lambda cache: len(cache.list(COUNT)) == len(cache), timeout=60)
        finally:
            count_machines.stop()
            await working
        for cluster in clusters:
            print(f"{cluster.id}: {cluster.labels[COUNT]} machines")
            async with omni.edit(Cluster, cluster.id) as one:
                one.labels.pop(COUNT, None)


if __name__ == "__main__":
    asyncio.run(main())

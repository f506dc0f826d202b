"""A controller: keep a label with the number of machines on every cluster, whatever happens to either.

It runs until it is interrupted; here it ends when every cluster has its label, and takes the labels off again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from omniherd import Omni, controller
from omniherd.resources import Cluster, MachineSetNode

if TYPE_CHECKING:
    from omniherd import Run

CLUSTER = "omni.sidero.dev/cluster"
COUNT = "example-machines"


@controller(Cluster, concurrency=2)
def count_machines(run: Run, cluster_id: str) -> None:
    """Bring the label of one cluster in line with its machines."""
    cluster = run.get(Cluster, cluster_id)
    if cluster is None or cluster.phase != "running":
        return
    count = str(len(run.cache(MachineSetNode).list({CLUSTER: cluster_id})))
    if cluster.labels.get(COUNT) != count:
        run.omni.edit(Cluster, cluster_id, lambda one: one.labels.update({COUNT: count}))


def main() -> None:
    """Run the controller until its work is done."""
    count_machines.watch(MachineSetNode, lambda node: node.labels.get(CLUSTER))
    with Omni.connect() as omni, omni.cache(Cluster) as clusters:
        working = threading.Thread(target=count_machines.run, args=(omni,))
        working.start()
        try:
            clusters.wait_until(lambda cache: len(cache.list(COUNT)) == len(cache), timeout=60)
        finally:
            count_machines.stop()
            working.join()
        for cluster in clusters:
            print(f"{cluster.id}: {cluster.labels[COUNT]} machines")
            with omni.edit(Cluster, cluster.id) as one:
                one.labels.pop(COUNT, None)


if __name__ == "__main__":
    main()

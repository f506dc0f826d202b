"""What clusters are there, in which state, and how many machines do they have?"""

import asyncio

from omniherd import AsyncOmni
from omniherd.resources import Cluster, ClusterStatus, Machine, MachineStatus


async def main() -> None:
    """Print a line for each cluster and a summary of the machines; the four lists are fetched at the same time."""
    async with AsyncOmni.connect() as omni:
        clusters, statuses, machines, free = await asyncio.gather(
            omni.list(Cluster),
            omni.list(ClusterStatus),
            omni.list(Machine),
            omni.list(MachineStatus, labels="omni.sidero.dev/available"),
        )
    states = {status.id: status.spec for status in statuses}
    for cluster in clusters:
        state = states[cluster.id]
        print(
            f"{cluster.id}: Kubernetes {cluster.spec.kubernetes_version}, Talos {cluster.spec.talos_version}, "
            f"{state.machines.healthy} of {state.machines.total} machines healthy, "
            f"{'ready' if state.ready else 'not ready'}"
        )
    connected = sum(machine.spec.connected for machine in machines)
    print(f"{len(machines)} machines, {connected} connected")
    for status in free:
        print(f"free: {status.spec.network.hostname}")


if __name__ == "__main__":
    asyncio.run(main())

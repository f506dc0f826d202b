"""What clusters are there, in which state, and how many machines do they have?"""

from omniherd import Omni
from omniherd.resources import Cluster, ClusterStatus, Machine, MachineStatus


def main() -> None:
    """Print a line for each cluster and a summary of the machines."""
    with Omni.connect() as omni:
        states = {status.id: status.spec for status in omni.list(ClusterStatus)}
        for cluster in omni.list(Cluster):
            state = states[cluster.id]
            print(
                f"{cluster.id}: Kubernetes {cluster.spec.kubernetes_version}, Talos {cluster.spec.talos_version}, "
                f"{state.machines.healthy} of {state.machines.total} machines healthy, "
                f"{'ready' if state.ready else 'not ready'}"
            )

        machines = omni.list(Machine)
        connected = sum(machine.spec.connected for machine in machines)
        print(f"{len(machines)} machines, {connected} connected")
        for status in omni.list(MachineStatus, labels="omni.sidero.dev/available"):
            print(f"free: {status.spec.network.hostname}")


if __name__ == "__main__":
    main()

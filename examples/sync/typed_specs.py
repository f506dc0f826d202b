"""Read specs as what they are: messages with fields, enums, durations and lists."""

from omniherd import Omni
from omniherd.resources import Cluster, MachineSet, MachineStatus
from omniherd.wire import specs

GIB = 1024


def main() -> None:
    """Print typed fields of three kinds of resources, then one spec in Omni's YAML form."""
    with Omni.connect() as omni:
        cluster = omni.get(Cluster, "prod")
        print(f"{cluster.id} runs Kubernetes {cluster.spec.kubernetes_version} on Talos {cluster.spec.talos_version}")
        print(f"embedded discovery: {cluster.spec.features.use_embedded_discovery_service}")

        for machine_set in omni.list(MachineSet, labels="omni.sidero.dev/cluster = prod"):
            strategy = specs.MachineSetSpec.UpdateStrategy.Name(machine_set.spec.update_strategy)
            print(f"{machine_set.id}: update strategy {strategy}")

        for status in omni.list(MachineStatus, labels="omni.sidero.dev/cluster = prod"):
            hardware = status.spec.hardware
            cores = sum(processor.core_count for processor in hardware.processors)
            memory = sum(module.size_mb for module in hardware.memory_modules) // GIB
            print(f"{status.spec.network.hostname}: {cores} cores, {memory} GiB, {status.spec.talos_version}")

        # What `omniherd get cluster prod -o yaml` shows below `spec:`.
        print(cluster.yaml_spec, end="")


if __name__ == "__main__":
    main()

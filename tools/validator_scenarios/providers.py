"""What infra providers may do, and what may be asked of them."""

from __future__ import annotations

from typing import Any

from .steps import CLUSTER, VERSIONS, WORKER, L, Step, T, create, destroy, step

SCENARIOS: dict[str, list[Step]] = {}

PROVIDER = "InfraProvider/infra-provider:omniherd-test-ip"
OTHER_PROVIDER = "InfraProvider/infra-provider:omniherd-test-ip2"


def infra(verb: str, type_name: str, id_: str, as_: str = PROVIDER, **rest: Any) -> Step:
    """Return a step in the namespace of infra providers."""
    return step(verb, type_name, id_, as_=as_, **{"namespace": "infra-provider", **rest})


SCENARIOS["infra-provider"] = [
    infra("create", "InfraProviders", T + "ip", as_="Admin"),
    infra("create", "InfraProviders", T + "ip2", as_="Admin"),
    infra("create", "InfraProviderStatuses", T + "ip", spec={"name": "x", "schema": '{"type": "object"}'}),
    infra("create", "InfraProviderStatuses", T + "other"),
    infra("create", "InfraProviderHealthStatuses", T + "ip", namespace="infra-provider-ephemeral"),
    infra("create", "InfraProviderHealthStatuses", T + "zz", namespace="infra-provider-ephemeral"),
    infra("create", "InfraMachines", T + "m"),
    infra("create", "MachineRequests", T + "m"),
    infra("create", "MachineRequests", T + "r", as_="Operator", spec={"talos_version": "x"}),
    infra("create", "MachineRequests", T + "r", as_="Operator", spec={"talos_version": "1.13.4"}),
    infra("create", "MachineRequests", T + "r", as_="Reader", spec={"talos_version": "1.13.4"}),
    infra("update", "MachineRequests", T + "r", as_="Operator", spec={"talos_version": "1.13.5"}),
    infra("get", "MachineRequests", T + "r"),
    infra("update", "MachineRequests", T + "r", labels={L + "infra-provider-id": T + "ip"}, as_="Operator"),
    infra("get", "MachineRequests", T + "r"),
    infra("get", "MachineRequests", T + "r", as_=OTHER_PROVIDER),
    infra("update", "MachineRequests", T + "r", finalizers=["x"]),
    infra("update", "MachineRequests", T + "r", labels={"x": "y"}),
    infra("update", "MachineRequests", T + "r", finalizers=[]),
    infra("destroy", "MachineRequests", T + "r"),
    infra("list", "MachineRequests", ""),
    infra("list", "MachineRequests", "", as_="None"),
    infra("list", "MachineRequests", "", as_="Reader"),
    infra("get", "InfraProviderStatuses", T + "ip", as_=OTHER_PROVIDER),
    infra("get", "InfraProviders", T + "ip2"),
    infra("create", "Whatever.omniherd-test-ip.infraprovider.sidero.dev", T + "w"),
    infra("get", "Clusters", T + "x", namespace="default"),
    infra("list", "Machines", "", namespace="default"),
    infra("list", "MachineStatuses", "", namespace="default"),
    infra("list", "InfraMachines", "", namespace="infra-provider:omniherd-test-ip2"),
    infra("list", "InfraMachines", "", namespace="infra-provider:omniherd-test-ip2", as_=OTHER_PROVIDER),
    create("MachineClasses", T + "k", spec={"auto_provision": {"provider_id": T + "ip", "provider_data": "{}"}}),
    create("MachineClasses", T + "k2", spec={"auto_provision": {"provider_id": T + "ip2"}}),
    create(
        "MachineClasses",
        T + "k3",
        spec={"auto_provision": {"provider_id": T + "ip", "kernel_args": {"@list": ["a", 65]}}},
    ),
    *(
        create("MachineRequestSets", f"{T}s{number}", spec={"provider_id": T + "ip", **spec})
        for number, spec in enumerate(
            [
                {"talos_version": "x"},
                {"talos_version": "1.0.0"},
                {"talos_version": "1.13.4", "kernel_args": ["\n"]},
                {"talos_version": "1.13.4", "extensions": ["nope"]},
                {"talos_version": "1.13.4"},
                {},
            ]
        )
    ),
    create("Clusters", T + "c", spec=VERSIONS),
    create(
        "MachineSets",
        T + "c-workers",
        labels={CLUSTER: T + "c", **WORKER},
        spec={"machine_allocation": {"name": T + "k", "allocation_type": "Unlimited"}},
    ),
    destroy("MachineClasses", T + "k"),
    infra("destroy", "InfraProviderStatuses", T + "ip"),
    infra("destroy", "InfraProviderHealthStatuses", T + "ip", namespace="infra-provider-ephemeral"),
    infra("destroy", "MachineRequests", T + "r", as_="Operator"),
]

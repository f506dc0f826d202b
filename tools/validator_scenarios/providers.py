"""What infra providers may do, and what may be asked of them."""

from __future__ import annotations

from typing import Any

from .steps import CLUSTER, VERSIONS, WORKER, L, Step, T, create, destroy, step, update

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

THIRD = "InfraProvider/infra-provider:omniherd-test-ip3"
OWN = "infra-provider:omniherd-test-ip3"
OWN_TYPE = "Foo.omniherd-test-ip3.infraprovider.sidero.dev"
MINE = {L + "infra-provider-id": T + "ip3"}
UNNAMED = {"": ""}

SCENARIOS["infra-provider-order"] = [
    infra("create", "InfraProviders", T + "ip3", as_="Admin"),
    infra("create", "InfraProviders", T + "other", as_=THIRD),
    infra("create", "MachineRequests", T + "m", as_="Reader", labels=UNNAMED),
    infra("create", "MachineRequests", T + "m", as_="Operator", labels=UNNAMED, spec={"talos_version": "x"}),
    infra("create", "MachineRequests", T + "m", as_="Operator", spec={"talos_version": "1.0x"}),
    infra("update", "MachineRequests", T + "absent", as_="Reader", labels=UNNAMED),
    infra("update", "MachineRequests", T + "absent", as_="Reader"),
    infra("update", "InfraProviders", T + "absent", as_="None", labels=UNNAMED),
    infra("update", "InfraProviders", T + "absent", as_="Reader", labels=UNNAMED),
    infra("create", "MachineRequests", T + "r", as_="Operator", labels=MINE, spec={"talos_version": "1.13"}),
    infra("update", "MachineRequests", T + "r", labels=UNNAMED, as_=THIRD),
    infra("update", "MachineRequests", T + "r", finalizers=["x"], labels={**MINE, "a": "b"}, as_=THIRD),
    infra("update", "MachineRequests", T + "r", phase="tearingDown", as_=THIRD),
    infra("teardown", "MachineRequests", T + "r", as_=THIRD),
    infra("teardown", "MachineRequests", T + "r", as_="Reader"),
    infra("teardownAndDestroy", "MachineRequests", T + "r", as_=THIRD),
    infra("destroy", "MachineRequests", T + "r", as_=THIRD),
    infra("create", "MachineRequestStatuses", T + "s", as_=THIRD),
    infra("update", "MachineRequestStatuses", T + "s", labels={}, as_=THIRD),
    infra("get", "MachineRequestStatuses", T + "s", as_=THIRD),
    infra("update", "MachineRequestStatuses", T + "s", labels=UNNAMED, as_=THIRD),
    infra("update", "MachineRequestStatuses", T + "s", labels=UNNAMED, as_="Reader"),
    infra("teardown", "MachineRequestStatuses", T + "s", as_="Admin"),
    infra("teardown", "MachineRequestStatuses", T + "s", as_=THIRD),
    infra("destroy", "MachineRequestStatuses", T + "s", as_=THIRD),
    infra("create", OWN_TYPE, T + "f", namespace=OWN, as_=THIRD),
    infra("update", OWN_TYPE, T + "f", namespace=OWN, labels={"a": "b"}, as_=THIRD),
    infra("update", OWN_TYPE, T + "f", namespace=OWN, labels=UNNAMED, as_=THIRD),
    infra("teardown", OWN_TYPE, T + "f", namespace=OWN, as_=THIRD),
    infra("destroy", OWN_TYPE, T + "f", namespace=OWN, as_=THIRD),
    infra("watchkind", "Links", "", namespace=OWN, as_=THIRD),
    infra("create", "MachineLabels", T + "l", namespace=OWN, as_="Reader"),
    infra("create", "MachineLabels", T + "l", namespace=OWN, as_="Admin", labels=UNNAMED),
    infra("get", "MachineLabels", T + "l", namespace=OWN, as_=THIRD),
    *(
        infra(verb, "MachineLabels", "" if verb in {"list", "watchkind"} else T + "l", as_=role)
        for role in ("Admin", "Reader", "None", THIRD)
        for verb in ("create", "get", "update", "destroy", "list", "watchkind")
    ),
    infra("teardown", "InfraProviders", T + "ip3", as_="Reader"),
]

# The server lets everybody do what he wants with providers' types in other namespaces.
SCENARIOS["infra-provider-types-elsewhere"] = [
    create("MachineRequests", T + "r", as_="None", labels=UNNAMED),
    create("MachineRequests", T + "r", as_="None", spec={"talos_version": "x"}),
    update("MachineRequests", T + "r", as_="None", spec={"talos_version": "y"}),
    step("get", "MachineRequests", T + "r", as_="None"),
    step("list", "MachineRequests", "", as_="None"),
    destroy("MachineRequests", T + "r", as_="None"),
    step("get", "InfraProviderStatuses", T + "r", as_="None"),
]

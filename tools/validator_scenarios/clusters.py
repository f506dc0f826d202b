"""Clusters, their machine sets and the nodes in them."""

from __future__ import annotations

from typing import Any

from .steps import (
    CLUSTER,
    CONTROL_PLANE,
    IMPORTING,
    LOCK,
    SET,
    VERSIONS,
    WORKER,
    L,
    Step,
    T,
    create,
    destroy,
    specs,
    step,
    teardown,
    times,
    update,
)

SCENARIOS: dict[str, list[Step]] = {}


def backup(interval: str) -> dict[str, Any]:
    """Return a cluster's content with a backup interval."""
    return {**VERSIONS, "backup_configuration": {"interval": interval, "enabled": True}}


SCENARIOS["clusters"] = [
    create("Clusters", ""),
    create("Clusters", T + "a b", spec=VERSIONS),
    create("Clusters", T + "é", spec={**VERSIONS, "talos_version": "1.0.0"}),
    *specs(
        "Clusters",
        {},
        {"talos_version": "1.13.4"},
        {"kubernetes_version": "1.35.5"},
        {"talos_version": "x", "kubernetes_version": "y"},
        {"talos_version": "1.13", "kubernetes_version": "1.35"},
        {"talos_version": "1.13.4.1", "kubernetes_version": "1.35.5"},
        {"talos_version": "1.13.x", "kubernetes_version": "1.35.05"},
        {"talos_version": "v1.13.4", "kubernetes_version": "v1.35.5"},
        {"talos_version": "1.4.0", "kubernetes_version": "1.35.5", "features": {"disk_encryption": True}},
        {"talos_version": "1.11.0", "kubernetes_version": "1.36.0"},
        {"talos_version": "1.13.3", "kubernetes_version": "1.36.0"},
        {"talos_version": "1.13.4", "kubernetes_version": "1.30.0"},
        {**VERSIONS, "features": {"use_embedded_discovery_service": True}},
        backup("60s"),
        backup("3599.5s"),
        backup("90000s"),
        backup("-1s"),
        {**VERSIONS, "backup_configuration": {}},
        {**VERSIONS, "backup_configuration": {"enabled": True}},
        {"talos_version": "1.2", "features": {"disk_encryption": True, "use_embedded_discovery_service": True}},
    ),
    create("Clusters", T + "c", spec=backup("3600s")),
    update("Clusters", T + "c", spec={**VERSIONS, "talos_version": "1.12.8"}),
    update("Clusters", T + "c", spec={**VERSIONS, "talos_version": "1.14.0"}),
    update("Clusters", T + "c", spec={**VERSIONS, "talos_version": ""}),
    update("Clusters", T + "c", spec={**VERSIONS, "kubernetes_version": "1.33.0"}),
    update("Clusters", T + "c", spec={**VERSIONS, "kubernetes_version": "1.34.3"}),
    update("Clusters", T + "c", spec={**VERSIONS, "kubernetes_version": "1.36.0"}),
    update("Clusters", T + "c", spec={**VERSIONS, "kubernetes_version": "1.37.0"}),
    update("Clusters", T + "c", spec={**VERSIONS, "features": {"disk_encryption": True}}),
    update("Clusters", T + "c", spec={**VERSIONS, "talos_version": "9.9.9", "features": {"disk_encryption": True}}),
    update("Clusters", T + "c", spec=backup("10s")),
    update("Clusters", T + "c", spec={**VERSIONS, "features": {"use_embedded_discovery_service": True}}),
    update("Clusters", T + "c", annotations=LOCK),
    update("Clusters", T + "c", spec=backup("7200s")),
    update("Clusters", T + "c", spec=backup("10s")),
    update("Clusters", T + "c", labels={"a": "b"}),
    update("Clusters", T + "c", phase="tearingDown"),
    teardown("Clusters", T + "c"),
    destroy("Clusters", T + "c"),
    step("teardownAndDestroy", "Clusters", T + "c"),
    create("MachineSets", T + "c-workers", labels={CLUSTER: T + "c", **WORKER}),
    update("Clusters", T + "c", annotations={**LOCK, **IMPORTING}),
    update("Clusters", T + "c", spec=backup("7200s")),
    create("MachineSets", T + "c-workers", labels={CLUSTER: T + "c", **WORKER}),
    update("Clusters", T + "c", annotations=LOCK),
    update("MachineSets", T + "c-workers", spec={}),
    update("MachineSets", T + "c-workers", labels={CLUSTER: T + "c", "x": "y"}),
    teardown("MachineSets", T + "c-workers"),
    destroy("MachineSets", T + "c-workers"),
    update("MachineSets", T + "c-workers", phase="tearingDown"),
    create("MachineSetNodes", T + "m", labels={CLUSTER: T + "c", SET: T + "c-workers"}),
    create("ConfigPatches", T + "p", labels={CLUSTER: T + "c"}, spec={"data": "machine: {}\n"}),
    destroy("ConfigPatches", T + "p"),
    update("Clusters", T + "c", annotations={}),
    teardown("MachineSets", T + "c-workers"),
    teardown("Clusters", T + "absent"),
    destroy("Clusters", T + "absent"),
    update("Clusters", T + "absent"),
]

SCENARIOS["machine-sets"] = [
    create("MachineSets"),
    create("MachineSets", labels={CLUSTER: ""}),
    create("MachineSets", labels={CLUSTER: T + "absent"}),
    create("Clusters", T + "c", spec=VERSIONS),
    create("Clusters", T + "d", spec=VERSIONS),
    create("MachineSets", labels={CLUSTER: T + "c"}),
    create("MachineSets", labels={CLUSTER: T + "c", **WORKER}),
    create("MachineSets", T + "c-x", labels={CLUSTER: T + "c", **CONTROL_PLANE}),
    create("MachineSets", T + "c-control-planes", labels={CLUSTER: T + "c", **WORKER}),
    create("MachineSets", T + "c", labels={CLUSTER: T + "c", **WORKER}),
    create("MachineSets", T + "c-x", labels={CLUSTER: T + "c", **WORKER, **CONTROL_PLANE}),
    *(
        create("MachineSets", T + "c-workers", labels={CLUSTER: T + "c", **WORKER}, spec=spec)
        for spec in (
            {"bootstrap_spec": {"cluster_uuid": "x", "snapshot": "y"}},
            {"machine_class": {}},
            {"machine_allocation": {}},
            {"machine_allocation": {"name": "absent"}},
            {"machine_allocation": {"name": "absent", "allocation_type": "Unlimited", "machine_count": 1}},
            {"machine_class": {"name": "absent", "machine_count": 1}},
        )
    ),
    *(
        create("MachineSets", T + "c-control-planes", labels={CLUSTER: T + "c", **CONTROL_PLANE}, spec=spec)
        for spec in (
            {"bootstrap_spec": {"cluster_uuid": "x", "snapshot": "y"}},
            {"bootstrap_spec": {"cluster_uuid": "x", "snapshot": "/y"}},
            {"bootstrap_spec": {"cluster_uuid": "x", "snapshot": "../y"}},
            {"bootstrap_spec": {"cluster_uuid": "x", "snapshot": "a/../../y"}},
            {"bootstrap_spec": {"cluster_uuid": "x", "snapshot": times("y", 4097)}},
            {"bootstrap_spec": {"cluster_uuid": "x", "snapshot": ""}},
            {"bootstrap_spec": {"cluster_uuid": "2c4a4c8e-0000-4000-8000-000000000000", "snapshot": "y"}},
            {"machine_allocation": {"name": "absent"}},
        )
    ),
    create("MachineClasses", T + "k", spec={"match_labels": ["a = b"]}),
    create(
        "MachineSets",
        T + "c-workers",
        labels={CLUSTER: T + "c", **WORKER},
        spec={"machine_allocation": {"name": T + "k", "machine_count": 1}},
    ),
    destroy("MachineClasses", T + "k"),
    teardown("MachineClasses", T + "k"),
    update("MachineClasses", T + "k", phase="tearingDown"),
    update("MachineClasses", T + "k", phase="tearingDown", spec={}),
    update("MachineSets", T + "c-workers", labels={CLUSTER: T + "d", **WORKER}),
    update("MachineSets", T + "c-workers", labels={CLUSTER: T + "absent", **WORKER}),
    update("MachineSets", T + "c-workers", labels=WORKER),
    update("MachineSets", T + "c-workers", labels={CLUSTER: "", **WORKER}),
    update("MachineSets", T + "c-workers", labels={CLUSTER: T + "c"}),
    update("MachineSets", T + "c-workers", spec={"machine_allocation": {"name": "absent"}}),
    update(
        "MachineSets",
        T + "c-workers",
        spec={"machine_allocation": {"name": T + "k", "machine_count": 2, "allocation_type": "Unlimited"}},
    ),
    update(
        "MachineSets",
        T + "c-workers",
        spec={"machine_allocation": {"name": T + "k"}, "bootstrap_spec": {"cluster_uuid": "x"}},
    ),
    update("MachineSets", T + "c-workers", spec={"machine_allocation": {"name": T + "k", "machine_count": 2}}),
    create("MachineSetNodes", T + "m", labels={CLUSTER: T + "c", SET: T + "c-workers"}),
    update("MachineSets", T + "c-workers", phase="tearingDown", labels={CLUSTER: T + "absent", **WORKER}),
    create("Clusters", T + "e", spec=VERSIONS),
    create("MachineSets", T + "e-workers", labels={CLUSTER: T + "e", **WORKER}),
    update("Clusters", T + "e", finalizers=["keep"]),
    teardown("Clusters", T + "e"),
    create("MachineSets", T + "e-more", labels={CLUSTER: T + "e", **WORKER}),
    create("ConfigPatches", T + "p", labels={CLUSTER: T + "e"}, spec={"data": "machine: {}\n"}),
    update("Clusters", T + "e", finalizers=[]),
]

SCENARIOS["machine-set-nodes"] = [
    create("MachineSetNodes"),
    create("MachineSetNodes", labels={CLUSTER: "", SET: ""}),
    create("MachineSetNodes", labels={CLUSTER: T + "absent"}),
    create("MachineSetNodes", labels={SET: T + "absent"}),
    create("Clusters", T + "c", spec=VERSIONS),
    create("Clusters", T + "d", spec=VERSIONS),
    create("MachineSets", T + "c-control-planes", labels={CLUSTER: T + "c", **CONTROL_PLANE}),
    create("MachineSets", T + "c-workers", labels={CLUSTER: T + "c", **WORKER}),
    create("MachineSetNodes", labels={CLUSTER: T + "absent", SET: T + "c-workers"}),
    create("MachineSetNodes", labels={CLUSTER: T + "d", SET: T + "c-workers"}),
    create(
        "MachineSetNodes",
        T + "l",
        labels={CLUSTER: T + "c", SET: T + "c-control-planes"},
        annotations={L + "locked": ""},
    ),
    create("MachineSetNodes", T + "w", labels={CLUSTER: T + "c", SET: T + "c-workers"}),
    update("MachineSetNodes", T + "w", annotations={L + "locked": ""}),
    destroy("MachineSetNodes", T + "w"),
    teardown("MachineSetNodes", T + "w"),
    update("MachineSetNodes", T + "w", phase="tearingDown"),
    update("MachineSetNodes", T + "w", annotations={}),
    update("MachineSetNodes", T + "w", labels={}),
    update("MachineSetNodes", T + "w", labels={CLUSTER: T + "c"}),
    update("MachineSetNodes", T + "w", labels={CLUSTER: T + "d", SET: T + "c-workers"}),
    update("MachineSetNodes", T + "w", labels={CLUSTER: T + "c", SET: T + "c-control-planes"}),
    update("MachineSetNodes", T + "w", labels={CLUSTER: T + "c", SET: T + "absent"}),
    update("MachineSetNodes", T + "w", labels={CLUSTER: T + "c", SET: T + "c-workers", "x": "y"}),
    create("MachineClasses", T + "k", spec={"match_labels": ["a = b"]}),
    update("MachineSets", T + "c-workers", spec={"machine_allocation": {"name": T + "k"}}),
    update("Clusters", T + "c", annotations=LOCK),
    update("MachineSetNodes", T + "w", labels={CLUSTER: T + "c", SET: T + "c-workers", "x": "z"}),
    create("MachineSetNodes", T + "v", labels={CLUSTER: T + "c", SET: T + "c-workers"}),
    destroy("MachineSetNodes", T + "w"),
    update("MachineSetNodes", T + "w", phase="tearingDown"),
    update("Clusters", T + "c", annotations={**LOCK, **IMPORTING}),
    destroy("MachineSetNodes", T + "w"),
    create("MachineSetNodes", T + "v", labels={CLUSTER: T + "c", SET: T + "c-workers"}),
    update("Clusters", T + "c", annotations={}),
    destroy("MachineSetNodes", T + "absent"),
    create("NodeForceDestroyRequests", T + "n"),
    create("NodeForceDestroyRequests", T + "n", labels={CLUSTER: T + "c"}),
    update("NodeForceDestroyRequests", T + "n"),
]

ODD_VERSIONS = (
    "key",
    "machine: {}\n",
    " v1.013.4 ",
    "1.13.",
    "1.13.4-",
    "1.13.4-01",
    "1.13-rc",
    "1.13.4+é",
    "vv1.13.4",
)
ENCRYPTED = {"disk_encryption": True}

SCENARIOS["cluster-versions"] = [
    *(
        create("Clusters", T + "x", spec=spec)
        for text in ODD_VERSIONS
        for spec in (
            {**VERSIONS, "kubernetes_version": text},
            {**VERSIONS, "talos_version": text, "features": ENCRYPTED},
        )
    ),
    create("Clusters", T + "²", spec=VERSIONS),
    create("Clusters", T + "x", spec={**VERSIONS, "talos_version": "1.5.0-alpha.1", "features": ENCRYPTED}),
    create("Clusters", T + "c", spec=VERSIONS),
    *(update("Clusters", T + "c", spec={**VERSIONS, "kubernetes_version": text}) for text in ODD_VERSIONS),
    *(
        update("Clusters", T + "c", spec={**VERSIONS, "talos_version": text, "features": ENCRYPTED})
        for text in ODD_VERSIONS
    ),
    update("Clusters", T + "c", spec={"talos_version": "x", "kubernetes_version": "y"}),
    update("Clusters", T + "c", spec={"talos_version": "1.13.5", "kubernetes_version": "1.36.0"}),
    update("Clusters", T + "c", spec={"talos_version": "1.13.5", "kubernetes_version": "1.38.0"}),
]

SCENARIOS["machine-set-places"] = [
    create("MachineClasses", T + "k", spec={"match_labels": ["a = b"]}),
    create("Clusters", T + "c", spec=VERSIONS),
    *(
        create(
            "MachineSets",
            T + "c-control-planes",
            labels={CLUSTER: T + "c", **CONTROL_PLANE},
            spec={"bootstrap_spec": {"cluster_uuid": "x", "snapshot": path}},
        )
        for path in (".", "a/.", "./a", "a/../b", "a//b", "a/", "a/b", "...")
    ),
    create("MachineSets", T + "c-workers", labels={CLUSTER: T + "c", **WORKER}),
    update("MachineSets", T + "c-workers", spec={"machine_allocation": {"name": T + "k"}}),
    update(
        "MachineSets",
        T + "c-workers",
        spec={"machine_class": {"name": "absent"}, "machine_allocation": {"name": T + "k"}},
    ),
]

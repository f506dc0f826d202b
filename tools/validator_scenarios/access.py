"""Access policies at work: who may read and write what."""

from __future__ import annotations

from .policies import policy
from .steps import CLUSTER, VERSIONS, WORKER, Step, T, create, destroy, step, teardown, update

SCENARIOS: dict[str, list[Step]] = {}

ACTORS = {"Reader": "reader", "None": "none", "Operator": "operator"}


def account(role: str) -> str:
    """Return the identity of the account that plays a role."""
    return f"{T}{ACTORS[role]}@serviceaccount.omni.sidero.dev"


def reads(role: str, cluster: str) -> list[Step]:
    """Return reads of a cluster and its parts, one by one and by kind."""
    return [
        step("get", "Clusters", cluster, as_=role),
        step("get", "MachineSets", cluster + "-workers", as_=role),
        step("get", "MachineSets", cluster + "-absent", as_=role),
        step("get", "Clusters", cluster + "-absent", as_=role),
        step("watch", "Clusters", cluster, as_=role),
        step("watch", "MachineSets", cluster + "-workers", as_=role),
        step("list", "Clusters", "", as_=role),
        step("list", "MachineSets", "", as_=role),
        step("list", "MachineSets", "", as_=role, queries=[{CLUSTER: cluster}]),
        step("list", "MachineSets", "", as_=role, queries=[{CLUSTER: cluster}, {"a": "b"}]),
        step("list", "Clusters", "", as_=role, queries=[{CLUSTER: cluster}]),
        step("watchkind", "MachineSets", "", as_=role),
        step("watchkind", "MachineSets", "", as_=role, queries=[{CLUSTER: cluster}]),
        step("get", "MachineClasses", "absent", as_=role),
        step("list", "MachineStatuses", "", as_=role, queries=[{CLUSTER: cluster}]),
    ]


def writes(role: str, cluster: str, other: str) -> list[Step]:
    """Return writes to a cluster that a policy opens, and from and to another that it does not."""
    patch = {"data": "machine: {}\n"}
    mine, theirs = {CLUSTER: cluster}, {CLUSTER: other}
    return [
        create("ConfigPatches", T + "p", as_=role, labels=mine, spec=patch),
        create("ConfigPatches", T + "q", as_=role, labels=theirs, spec=patch),
        create("ConfigPatches", T + "q", as_=role, spec=patch),
        update("ConfigPatches", T + "p", as_=role, labels={**mine, "x": "y"}),
        update("ConfigPatches", T + "p", as_=role, labels=theirs),
        update("ConfigPatches", T + "p", as_=role, labels={}),
        update("ConfigPatches", T + "absent", as_=role, labels=mine),
        destroy("ConfigPatches", T + "absent", as_=role),
        update("Clusters", cluster, as_=role, labels={"x": "y"}),
        update("Clusters", other, as_=role, labels={"x": "y"}),
        destroy("ConfigPatches", T + "p", as_=role),
        teardown("ConfigPatches", T + "absent", as_=role),
        create("Clusters", cluster + "-new", as_=role, spec=VERSIONS),
    ]


def prepared() -> list[Step]:
    """Return the creation of two clusters with one machine set each."""
    return [
        made
        for name in (T + "a", T + "b")
        for made in (
            create("Clusters", name, spec=VERSIONS),
            create("MachineSets", name + "-workers", labels={CLUSTER: name, **WORKER}),
        )
    ]


SCENARIOS["policy-operator-of-one"] = [
    *prepared(),
    policy(rules=[{"users": [account("Reader"), account("None")], "clusters": [T + "a"], "role": "Operator"}]),
    *reads("None", T + "a"),
    *reads("None", T + "b"),
    *reads("Reader", T + "a"),
    *writes("Reader", T + "a", T + "b"),
    *writes("None", T + "a", T + "b"),
    step("get", "AccessPolicies", "access-policy", as_="None"),
]

SCENARIOS["policy-reader-of-all"] = [
    *prepared(),
    policy(
        user_groups={"u": {"users": [{"match": T + "none*"}]}},
        cluster_groups={"all": {"clusters": [{"match": "*"}]}},
        rules=[
            {"users": ["group/u"], "clusters": ["group/all"], "role": "Reader"},
            {"users": ["group/u"], "clusters": [T + "b"], "role": "Operator"},
            {"users": ["group/nobody"], "clusters": ["group/nothing"], "role": "Admin"},
        ],
    ),
    *reads("None", T + "a"),
    *writes("None", T + "a", T + "b"),
    *writes("None", T + "b", T + "a"),
]

SCENARIOS["policy-star-is-no-lower"] = [
    *prepared(),
    policy(
        cluster_groups={"a": {"clusters": [{"match": T + "*"}]}},
        rules=[{"users": [account("Operator")], "clusters": ["group/a"], "role": "Reader"}],
    ),
    *writes("Operator", T + "a", T + "b"),
    *reads("Operator", T + "a"),
]

SCENARIOS["newer-types"] = [
    create("MachineInstallDiskConfigs", T + "m", spec={"disk": "/dev/vda"}),
    create("MachineInstallDiskConfigs", T + "m", as_="Reader", labels={"": ""}),
    update("MachineInstallDiskConfigs", T + "m", labels={"": ""}),
    step("get", "MachineInstallDiskConfigs", T + "m"),
    destroy("MachineInstallDiskConfigs", T + "m"),
    step("list", "MachineInstallDiskStatuses", ""),
    step("watchkind", "MachineInstallDiskStatuses", "", as_="None"),
    step("get", "KubernetesHealthCheckStatuses", T + "c", namespace="ephemeral"),
    step("get", "VersionContract", "1.13.4", namespace="virtual"),
]

SCENARIOS["refusals-before-others"] = [
    create("MachineLabels", T + "m", owner="somebody", labels={"": ""}),
    create("MachineLabels", T + "m", owner="somebody", as_="Reader"),
    create("MachineLabels", T + "m", owner="somebody"),
    *(
        step(verb, "ImportedClusterSecrets", "" if verb == "list" else T + "m", as_=role)
        for role in ("Operator", "Reader")
        for verb in ("get", "list", "watch", "update")
    ),
]

SCENARIOS["policy-later-groups"] = [
    *prepared(),
    policy(
        cluster_groups={"a": {"clusters": [{"name": T + "a"}]}, "all": {"clusters": [{"match": "*"}]}},
        rules=[{"users": [account("None")], "clusters": ["group/a", "group/all"], "role": "Reader"}],
    ),
    *reads("None", T + "a"),
]

NAMED = [(verb, T + "z") for verb in ("create", "get", "update", "destroy", "teardown", "watch")]
KINDS = [("list", ""), ("watchkind", "")]

SCENARIOS["namespaces"] = [
    *(
        step(verb, "MachineLabels", id_, namespace=namespace, as_=role)
        for namespace in ("external", "metrics", "virtual")
        for role in ("Admin", "None")
        for verb, id_ in NAMED + KINDS
    ),
    *(
        step(verb, type_name, "current" if id_ else "", namespace=namespace)
        for namespace in ("default", "external", "metrics", "virtual")
        for type_name in ("CurrentUsers", "AdvertisedEndpoints", "EtcdBackupStatuses")
        for verb, id_ in NAMED[1:] + KINDS
    ),
]

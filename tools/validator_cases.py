"""What `record_validators.py` asks a server: scenarios of writes and reads, by name. The answers are in the record."""

from __future__ import annotations

from typing import Any

__all__ = ["SCENARIOS"]

Step = dict[str, Any]

T = "omniherd-test-"
L = "omni.sidero.dev/"
CLUSTER = L + "cluster"
SET = L + "machine-set"
CONTROL_PLANE = {L + "role-controlplane": ""}
WORKER = {L + "role-worker": ""}
VERSIONS = {"talos_version": "1.13.4", "kubernetes_version": "1.35.5"}
LOCK = {L + "cluster-locked": ""}
IMPORTING = {L + "cluster-import-is-in-progress": ""}

SCENARIOS: dict[str, list[Step]] = {}


def step(verb: str, type_name: str, id_: Any, **rest: Any) -> Step:
    """Return a step; `as_` is the role of who makes it."""
    if "as_" in rest:
        rest["as"] = rest.pop("as_")
    return {"verb": verb, "type": type_name, "id": id_, **rest}


def create(type_name: str, id_: Any = T + "x", **rest: Any) -> Step:
    """Return a creation."""
    return step("create", type_name, id_, **rest)


def update(type_name: str, id_: Any = T + "x", **rest: Any) -> Step:
    """Return an update of what is stored."""
    return step("update", type_name, id_, **rest)


def teardown(type_name: str, id_: Any = T + "x", **rest: Any) -> Step:
    """Return a teardown."""
    return step("teardown", type_name, id_, **rest)


def destroy(type_name: str, id_: Any = T + "x", **rest: Any) -> Step:
    """Return a destruction."""
    return step("destroy", type_name, id_, **rest)


def times(text: str, count: int, before: str = "") -> dict[str, Any]:
    """Return the short form of a long text."""
    return {"@repeat": [text, count, before]}


def specs(type_name: str, *contents: Any, **rest: Any) -> list[Step]:
    """Return creations of resources that differ in their content."""
    return [create(type_name, f"{T}{number}", spec=content, **rest) for number, content in enumerate(contents)]


# --- metadata ---------------------------------------------------------------------------------------------------------

SCENARIOS["metadata"] = [
    create("MachineLabels", ""),
    create("MachineLabels", times("x", 1025 - len(T), T)),
    create("MachineLabels", times("x", 1024 - len(T), T)),
    create("MachineLabels", times("é", 506, T)),
    create("MachineLabels", T + "a\nb"),
    create("MachineLabels", T + "a\x7fb"),
    create("MachineLabels", T + "a\u0085b"),
    *(
        step_
        for kind in ("labels", "annotations")
        for step_ in (
            create("MachineLabels", **{kind: {"@many": 257}}),
            create("MachineLabels", **{kind: {"": "x"}}),
            create("MachineLabels", **{kind: {"@x1025": ""}}),
            create("MachineLabels", **{kind: {"a\tb": ""}}),
            create("MachineLabels", **{kind: {'q"\u00e9\u200b\u0001': ""}}),
            create("MachineLabels", **{kind: {"a": times("x", 16385)}}),
            create("MachineLabels", **{kind: {"a": "b\nc"}}),
        )
    ),
    create("MachineLabels", "", labels={"": ""}, annotations={"": ""}),
    create("MachineLabels", T + "y", labels={"@many": 256}),
    update("MachineLabels", T + "y", labels={"@many": 257}),
    update("MachineLabels", T + "y", labels={"a\nb": ""}),
    update("MachineLabels", T + "y", annotations={"a": "b\nc"}),
    update("MachineLabels", T + "y", phase="tearingDown", labels={"": ""}),
    update("MachineLabels", T + "absent", labels={"": ""}),
    update("MachineLabels", T + "absent"),
    create("MachineLabels", "", as_="Reader"),
    create("MachineClasses", "", labels={"": ""}),
]

# --- clusters ---------------------------------------------------------------------------------------------------------


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

# --- machines' classes and requests -----------------------------------------------------------------------------------

SCENARIOS["machine-classes"] = [
    *specs(
        "MachineClasses",
        {},
        {"match_labels": [""]},
        {"match_labels": ["a ="]},
        {"match_labels": ["a in (b"]},
        {"match_labels": ["= b"]},
        {"match_labels": ["a = b", "c !!"]},
        {"match_labels": [L + "no-manual-allocation"]},
        {"match_labels": ["a", L + "no-manual-allocation = x"]},
        {"match_labels": ["a = b"], "auto_provision": {"provider_id": "x"}},
        {"auto_provision": {}},
        {"auto_provision": {"provider_id": "absent"}},
        {"auto_provision": {"provider_id": "absent", "kernel_args": {"@list": ["a", 65]}}},
    ),
    create("MachineClasses", T + "k", spec={"match_labels": ["a = b"]}),
    update("MachineClasses", T + "k", spec={}),
    update("MachineClasses", T + "k", spec={"match_labels": ["x ="]}),
    update("MachineClasses", T + "k", spec={}, labels={"": ""}),
    update("MachineClasses", T + "k", phase="tearingDown", spec={}),
    teardown("MachineClasses", T + "k"),
]

EXTENSIONS = ["siderolabs/hello-world-service"]

SCENARIOS["machine-requests"] = [
    *specs(
        "MachineRequestSets",
        {},
        {"provider_id": "absent"},
        {"provider_id": "absent", "kernel_args": {"@list": ["a", 65]}},
    ),
    update("MachineRequestSets", T + "absent"),
    *specs("MachineRequests", {}, {"talos_version": "x"}),
]

SCENARIOS["machines"] = [
    *specs(
        "KernelArgs",
        {"args": {"@list": ["a", 65]}},
        {"args": ["a", times("x", 257)]},
        {"args": ["a\nb"]},
        {"args": ["a", "b", "\u0001"]},
        {"args": {"@list": ["a", 64]}},
        {},
    ),
    update("KernelArgs", T + "4", spec={"args": ["\n"]}),
    update("KernelArgs", T + "4", spec={"args": ["\n"]}, phase="tearingDown"),
    *specs(
        "InfraMachineConfigs",
        {"requested_reboot_id": times("x", 129)},
        {"power_off_request_id": "a\nb"},
        {"extra_kernel_args": times("x", 4097)},
        {"requested_reboot_id": "\n", "power_off_request_id": "\n", "extra_kernel_args": "\n"},
        {"acceptance_status": "ACCEPTED"},
    ),
    update("InfraMachineConfigs", T + "4", spec={"acceptance_status": "REJECTED"}),
    update("InfraMachineConfigs", T + "4", spec={"requested_reboot_id": "\n"}),
    update("InfraMachineConfigs", T + "4", spec={"acceptance_status": "ACCEPTED", "requested_reboot_id": "\n"}),
    update("InfraMachineConfigs", T + "4", spec={"acceptance_status": "ACCEPTED", "requested_reboot_id": "a"}),
    *specs(
        "ExtensionsConfigurations",
        {},
        {"extensions": EXTENSIONS},
    ),
    create("ExtensionsConfigurations", T + "e", labels={CLUSTER: ""}, spec={"extensions": EXTENSIONS}),
    create("ExtensionsConfigurations", T + "e", labels={CLUSTER: T + "absent"}, spec={"extensions": EXTENSIONS}),
    create("Clusters", T + "c", spec=VERSIONS),
    *(
        create("ExtensionsConfigurations", T + "e", labels={CLUSTER: T + "c"}, spec={"extensions": extensions})
        for extensions in (
            ["nope"],
            ["siderolabs/nope", "siderolabs/nope"],
            [""],
            {"@list": ["nope", 257]},
            ["siderolabs/hello-world-service", "hello-world-service"],
            ["siderolabs/iscsi-tools", "iscsi-tools"],
            ["iscsi-tools"],
        )
    ),
    create("GRPCTunnelConfigs", T + "g"),
]

SCENARIOS["installation-media"] = [
    *specs(
        "InstallationMediaConfigs",
        {},
        {"architecture": "AMD64"},
        {"architecture": "AMD64", "sbc": {"overlay": "x"}, "cloud": {"platform": "y"}},
        {"architecture": "AMD64", "sbc": {}},
        {"architecture": "AMD64", "cloud": {}},
        {"architecture": "AMD64", "sbc": {"overlay": "absent"}},
        {"architecture": "AMD64", "cloud": {"platform": "absent"}},
        {"architecture": "AMD64", "cloud": {"platform": "aws"}},
        {"architecture": "ARM64", "sbc": {"overlay": "rpi_generic"}},
        {"architecture": "AMD64", "kernel_args": times("x", 4097)},
        {"architecture": "AMD64", "kernel_args": "a\nb"},
        {"architecture": "AMD64", "talos_version": "1.0.0"},
        {"architecture": "AMD64", "talos_version": "v1.0.0"},
        {"architecture": "AMD64", "talos_version": "x"},
        {"architecture": "AMD64", "talos_version": "1.11.0", "embedded_machine_config": "x"},
        {"architecture": "AMD64", "talos_version": "1.13.4", "embedded_machine_config": "x"},
        {"architecture": "AMD64", "embedded_machine_config": "x"},
        {"architecture": "AMD64", "talos_version": "1.13.4", "install_extensions": ["nope"]},
        {"architecture": "AMD64", "install_extensions": ["nope"]},
    ),
    update("InstallationMediaConfigs", T + "1", spec={}),
    update("InstallationMediaConfigs", T + "1", spec={}, phase="tearingDown"),
]

# --- config patches ---------------------------------------------------------------------------------------------------

BROKEN = (
    "a: [\n",
    "\n\na: [\n",
    "a: b: c\n",
    "\ta: 1\n",
    "a: 'x\n",
    "- a\nb: c\n",
    "a: *x\n",
    "a: {b\n",
    "%\n",
    "a: 1\n b: 2\n",
)
ZSTD_EMPTY = "KLUv/SAAAQAA"

SCENARIOS["config-patches"] = [
    *specs(
        "ConfigPatches",
        {},
        {"data": "# nothing\n"},
        {"data": "{foo: bar}"},
        {"data": "machine: {}\n"},
        {"data": "machine: {}\n---\nmachine: {type: worker}\n"},
        {"data": "machine: {type: worker, token: x}\ncluster: {id: x}\n"},
        {"data": "machine: {features: {kubernetesTalosAPIAccess: {allowedRoles: ['os:admin']}}}\n"},
        *({"data": text} for text in BROKEN),
        {"data": "machine: {nope: 1}\n"},
        {"data": "apiVersion: v1alpha1\nkind: Nope\n"},
        {"data": "machine: {}\n", "compressed_data": ZSTD_EMPTY},
        {"data": "machine: {}\n", "compressed_data": "bm90IHpzdGQ="},
        {"compressed_data": "bm90IHpzdGQ="},
        {"compressed_data": ZSTD_EMPTY},
    ),
    create("ConfigPatches", T + "a", labels={CLUSTER: T + "absent"}, spec={"data": "machine: {}\n"}),
    create("ConfigPatches", T + "b", labels={SET: T + "absent"}, spec={"data": "machine: {}\n"}),
    create("ConfigPatches", T + "c", labels={CLUSTER: ""}, spec={"data": "machine: {}\n"}),
    create("ConfigPatches", "", spec={"data": "{foo: bar}"}),
    update("ConfigPatches", T + "3", spec={"data": "{foo: bar}"}),
    update("ConfigPatches", T + "3", spec={}),
    update("ConfigPatches", T + "3", labels={"x": "y"}),
    update("ConfigPatches", T + "3", spec={"data": "{foo: bar}"}, phase="tearingDown"),
    update("ConfigPatches", T + "a", phase="tearingDown"),
    destroy("ConfigPatches", T + "b"),
]

# --- what goes with clusters ------------------------------------------------------------------------------------------

SCENARIOS["manifests-and-checks"] = [
    *specs("KubernetesManifestGroups", {}, {"mode": "FULL"}),
    *(
        create("KubernetesManifestGroups", f"{T}m{number}", labels=labels, spec=spec)
        for number, (labels, spec) in enumerate(
            [
                ({CLUSTER: T + "x", L + "system-manifest": ""}, {"mode": "FULL"}),
                ({CLUSTER: T + "x"}, {"mode": "FULL"}),
                ({CLUSTER: T + "x"}, {"mode": "FULL", "data": "# nothing\n---\n"}),
                ({CLUSTER: T + "x"}, {"mode": "FULL", "data": "a: b\n"}),
                *(({CLUSTER: T + "x"}, {"mode": "FULL", "data": text}) for text in BROKEN),
                ({CLUSTER: T + "x"}, {"mode": "FULL", "data": "- a\n"}),
                ({CLUSTER: T + "x"}, {"mode": "FULL", "data": "apiVersion: v1\nkind: ConfigMap\n"}),
            ]
        )
    ),
    *specs(
        "KubernetesHealthChecks",
        {},
        {"job": "a: [\n"},
        {"job": "- a\n"},
        {"job": "a: b\n"},
        {"job": "apiVersion: batch/v1\nkind: Job\n", "interval": "1s"},
        {"job": "apiVersion: batch/v1\nkind: Job\n", "interval": "5s"},
        {"job": "apiVersion: batch/v1\nkind: Job\n", "interval": "0s"},
    ),
    create("KubernetesHealthChecks", T + "A_b", spec={"job": "kind: Job\n"}),
    create("KubernetesHealthChecks", times("x", 60, T), spec={"job": "kind: Job\n"}),
    create("KubernetesHealthChecks", times("x", 240, T), spec={"job": "kind: Job\n"}),
    create("KubernetesHealthChecks", T + "", spec={"job": "kind: Job\n"}),
    *specs(
        "EtcdManualBackups",
        {},
        {"backup_at": "1970-01-01T00:00:00Z"},
        {"backup_at": "2100-01-01T00:00:00Z"},
        {"backup_at": {"@soon": 0}},
    ),
    update("EtcdManualBackups", T + "3", labels={"a": "b"}),
    update("EtcdManualBackups", T + "3", spec={"backup_at": "1970-01-01T00:00:00Z"}),
    *specs(
        "ExposedServices",
        {},
        {"port": 1},
    ),
    *(
        create("EtcdBackupS3Configs", T + "s3", spec=spec)
        for spec in (
            {"region": "x"},
            {"bucket": "b", "access_key_id": "x"},
            {"bucket": "b", "secret_access_key": "x"},
        )
    ),
    *(
        step_
        for kind in ("RotateTalosCAs", "RotateKubernetesCAs")
        for step_ in (
            create(kind, T + "r"),
            update(kind, T + "r", labels={"a": "b"}),
            teardown(kind, T + "r"),
        )
    ),
    create("ImportedClusterSecrets", T + "i"),
    update("ImportedClusterSecrets", T + "i"),
    step("get", "ImportedClusterSecrets", T + "i"),
]

# --- people and tokens ------------------------------------------------------------------------------------------------


def policy(**spec: Any) -> Step:
    """Return the creation of an access policy that is not expected to last."""
    return create("AccessPolicies", "access-policy", spec=spec)


def users(*entries: Any) -> dict[str, Any]:
    """Return one group of users."""
    return {"user_groups": {"g": {"users": list(entries)}}}


def clusters(*entries: Any) -> dict[str, Any]:
    """Return one group of clusters."""
    return {"cluster_groups": {"g": {"clusters": list(entries)}}}


RULE = {"users": ["u@x.y", "group/u"], "clusters": ["c", "group/c"], "role": "Operator"}
GROUPS = {
    "user_groups": {"u": {"users": [{"match": "m-*"}, {"label_selectors": ["team = a"]}]}},
    "cluster_groups": {"c": {"clusters": [{"match": "k-[ab]"}, {"name": "exact"}]}},
}


def tested(name: str, user: str, cluster: str, **expected: Any) -> dict[str, Any]:
    """Return one test of a policy."""
    return {"name": name, "user": {"name": user}, "cluster": {"name": cluster}, "expected": expected}


SCENARIOS["access-policies"] = [
    create("AccessPolicies", T + "p"),
    create("AccessPolicies", "access-policy", namespace="ephemeral"),
    policy(**users({})),
    policy(**users({"name": "a", "match": "b"})),
    policy(**users({"match": "[a"})),
    policy(**users({"match": "a\\"})),
    policy(**users({"match": "[]a]"})),
    policy(**users({"label_selectors": ["a ="]})),
    policy(**clusters({})),
    policy(**clusters({"name": "a", "match": "b"})),
    policy(**clusters({"match": "[a"})),
    policy(rules=[{"role": "Nope"}, {"role": "Auditor"}]),
    policy(rules=[{"role": "Nope"}, {"role": "Nope"}]),
    policy(tests=[{}]),
    policy(tests=[{}, {}]),
    policy(tests=[tested("t", "u@x.y", "c", role="Reader")]),
    policy(rules=[RULE], tests=[tested("t", "u@x.y", "c", role="Reader")]),
    policy(rules=[RULE], tests=[tested("t", "u@x.y", "other", role="Operator")]),
    policy(rules=[RULE], **GROUPS, tests=[tested("t", "m-x", "k-a", role="Admin")]),
    policy(rules=[RULE], **GROUPS, tests=[tested("t", "m-x", "k-c", role="Admin")]),
    policy(rules=[RULE], **GROUPS, tests=[tested("t", "n", "exact", role="Admin")]),
    policy(
        rules=[RULE],
        **GROUPS,
        tests=[{**tested("t", "n", "exact", role="Admin"), "user": {"name": "n", "labels": {"team": "a"}}}],
    ),
    policy(
        rules=[{**RULE, "kubernetes": {"impersonate": {"groups": ["b", "a"]}}}],
        tests=[tested("t", "u@x.y", "c", role="Operator")],
    ),
    policy(
        rules=[{**RULE, "kubernetes": {"impersonate": {"groups": ["b"]}}}],
        tests=[tested("t", "u@x.y", "c", kubernetes={"impersonate": {"groups": ["a", '"']}})],
    ),
    policy(
        rules=[RULE, {**RULE, "role": "Reader"}],
        tests=[tested("t", "u@x.y", "c", role="Reader"), tested("", "u@x.y", "c", role="Reader")],
    ),
    policy(**{**users({}), "rules": [{"role": "Nope"}], "tests": [{}]}),
    policy(),
    update("AccessPolicies", "access-policy", spec={"rules": [{"role": "Nope"}]}),
    update("AccessPolicies", "access-policy", spec={"rules": [{"role": "Nope"}]}, phase="tearingDown"),
    destroy("AccessPolicies", "access-policy"),
]

SCENARIOS["people"] = [
    *specs(
        "SAMLLabelRules",
        {},
        {"assign_role": "Reader", "match_labels": ["a"]},
        {"assign_role": "Nope", "match_labels": ["a ="]},
        {"assign_role": "Reader", "match_labels": ["a in (b"]},
        {"assign_role": "Reader", "match_labels": ["!"]},
        {"assign_role": "Auditor"},
        {"assign_role_on_registration": "Reader"},
        {"assign_role_on_registration": "Nope", "assign_role": "Nope"},
    ),
    update("SAMLLabelRules", T + "1", spec={"assign_role": "Nope"}),
    create("Users", T + "u"),
    create("Users", T + "u", spec={"role": "Auditor"}),
    create("Users", T + "u", spec={"role": "Admin"}),
    create("PublicKeys", T + "u", spec={"role": "Nope"}),
    create("Identities", T + "U@x.y"),
    create("Identities", T + "u"),
    create("Identities", T + "u@x.y"),
    create("JoinTokens", T + "j"),
    create("JoinTokens", T + "j", spec={"name": "a"}),
    update("DefaultJoinTokens", "default", spec={"token_id": "absent"}),
    update("DefaultJoinTokens", "default", spec={"token_id": "absent"}, phase="tearingDown"),
    destroy("DefaultJoinTokens", "default"),
    teardown("DefaultJoinTokens", "default"),
    create("EulaAcceptances", "eula"),
    create("EulaAcceptances", T + "e"),
    create("EulaAcceptances", T + "e", spec={"accepted_by_name": "a", "accepted_by_email": "b"}),
    update("EulaAcceptances", "eula"),
    destroy("EulaAcceptances", "eula"),
]

# --- access -----------------------------------------------------------------------------------------------------------

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

"""Config patches, and the manifests, checks and backups that go with a cluster."""

from __future__ import annotations

from .steps import CLUSTER, SET, L, Step, T, create, destroy, specs, step, teardown, times, update

SCENARIOS: dict[str, list[Step]] = {}

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

CUT = ("eA==", "KLUv", "KLUv/Q==", "KLUv/QQ=", "KLUv/SAB", "KLUv/SAACQA=", "eHh4eHg=")

SCENARIOS["packed-data"] = [
    *(create("ConfigPatches", T + "p", spec={"data": "machine: {}\n", "compressed_data": text}) for text in CUT),
    *(
        create("KubernetesManifestGroups", T + "g", labels={CLUSTER: T + "c"}, spec={"mode": "FULL", **packed})
        for packed in ({"compressed_data": text} for text in CUT)
    ),
    create("KubernetesManifestGroups", T + "g", spec={"compressed_data": "eA=="}),
    create("KubernetesManifestGroups", T + "g", spec={"mode": "FULL", "compressed_data": "eA=="}),
    update("KubernetesManifestGroups", T + "g", spec={"compressed_data": "eA=="}),
    update("KubernetesManifestGroups", T + "g", labels={"": ""}, spec={"compressed_data": "eA=="}),
    create("KubernetesManifestGroups", T + "g", labels={CLUSTER: T + "c"}, spec={"mode": "FULL", "data": "{}\n"}),
    update("KubernetesManifestGroups", T + "g", spec={"mode": "FULL", "compressed_data": "eA=="}),
    update("KubernetesManifestGroups", T + "g", labels={}, spec={"mode": "FULL", "compressed_data": "eA=="}),
    create("ClusterMachineConfigs", T + "x", spec={"compressed_data": "eA=="}),
    create("KubernetesHealthChecks", T + "past", spec={"job": "kind: Job\n", "interval": "-5s"}),
    create("ExposedServices", T + "e", labels={CLUSTER: T + "c", L + "exposed-service-alias": ""}),
]

"""The language of cluster templates as a table: which keys a document has, what they hold, and in which order.

The loader, the writer and the published JSON Schema are made from this one table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from omniherd.template import models

__all__ = ["DIALECTS", "KEYS", "KINDS", "NEWEST", "OLDEST", "Key", "Shape", "keys_of"]

OLDEST = "1.9"
NEWEST = "1.10"
DIALECTS = (OLDEST, NEWEST)
"""The versions of the language: that of Omni 1.9, and that of what comes after it."""


class Shape(Enum):
    """What a key holds."""

    TEXT = auto()
    FLAG = auto()
    COUNT = auto()
    DURATION = auto()
    TEXTS = auto()
    OPTIONAL_TEXTS = auto()
    TEXT_MAP = auto()
    INLINE = auto()
    SIZE = auto()
    STRATEGY_TYPE = auto()
    MODE = auto()
    ELEMENT = auto()
    OPTIONAL_ELEMENT = auto()
    ELEMENTS = auto()


class Key(NamedTuple):
    """One key of a document.

    Attributes:
        name: The key in YAML.
        attribute: The attribute in Python.
        shape: What it holds.
        about: What it means, for the JSON Schema.
        go: The Go type of the value in omnictl, which its errors name.
        element: The class of what is inside, for elements and lists of them.
        always: Whether it is written even when it is empty.
        needed: Whether the schema asks for it.
        since: The dialect that brought it.
    """

    name: str
    attribute: str
    shape: Shape
    about: str
    go: str = "string"
    element: type[models.Element] | None = None
    always: bool = False
    needed: bool = False
    since: str = OLDEST


@dataclass(frozen=True)
class Kind:
    """A kind of document.

    Attributes:
        name: What `kind` says.
        model: The class.
        about: What it is for.
    """

    name: str
    model: type[models.Cluster | models.MachineSet | models.Machine]
    about: str


KINDS = {
    kind.name: kind
    for kind in (
        Kind("Cluster", models.Cluster, "The cluster; every template has exactly one."),
        Kind("ControlPlane", models.ControlPlane, "The control plane; every template has exactly one."),
        Kind("Workers", models.Workers, "A set of workers."),
        Kind("Machine", models.Machine, "What is particular to one machine."),
    )
}

_LABELS = Key(
    "labels", "labels", Shape.TEXT_MAP, "Labels; the prefix omni.sidero.dev/ is reserved.", "map[string]string"
)
_ANNOTATIONS = Key(
    "annotations",
    "annotations",
    Shape.TEXT_MAP,
    "Annotations; the prefix omni.sidero.dev/ is reserved.",
    "map[string]string",
)
_PATCHES = Key(
    "patches",
    "patches",
    Shape.ELEMENTS,
    "Patches of the Talos machine configuration.",
    "models.PatchList",
    models.Patch,
)
_EXTENSIONS = Key(
    "systemExtensions",
    "system_extensions",
    Shape.OPTIONAL_TEXTS,
    "System extensions; an empty list clears them, no list leaves them as they are.",
    "[]string",
)
_KERNEL_ARGS = Key(
    "kernelArgs",
    "kernel_args",
    Shape.OPTIONAL_TEXTS,
    "Kernel arguments; the nearest list wins, an empty one too.",
    "[]string",
)
_FILE = Key("file", "file", Shape.TEXT, "Path of a file, relative to the template.")
_ID = Key("idOverride", "id_override", Shape.TEXT, "The whole id of the resource.")

_MACHINE_SET = (
    _EXTENSIONS,
    Key("name", "name", Shape.TEXT, "Name of the set, workers only; the default set is called workers."),
    _LABELS,
    _ANNOTATIONS,
    Key(
        "bootstrapSpec",
        "bootstrap_spec",
        Shape.OPTIONAL_ELEMENT,
        "The backup that the control plane is restored from.",
        "models.BootstrapSpec",
        models.BootstrapSpec,
    ),
    Key("machines", "machines", Shape.TEXTS, "Ids of the machines.", "models.MachineIDList"),
    Key(
        "machineClass",
        "machine_class",
        Shape.OPTIONAL_ELEMENT,
        "Machines that Omni picks.",
        "models.MachineClassConfig",
        models.MachineClass,
    ),
    Key(
        "updateStrategy",
        "update_strategy",
        Shape.OPTIONAL_ELEMENT,
        "How changes reach the machines, workers only.",
        "models.UpdateStrategyConfig",
        models.Strategy,
    ),
    Key(
        "deleteStrategy",
        "delete_strategy",
        Shape.OPTIONAL_ELEMENT,
        "How machines are removed, workers only.",
        "models.UpdateStrategyConfig",
        models.Strategy,
    ),
    Key(
        "upgradeStrategy",
        "upgrade_strategy",
        Shape.OPTIONAL_ELEMENT,
        "How Talos upgrades reach the machines.",
        "models.UpdateStrategyConfig",
        models.Strategy,
    ),
    _PATCHES,
    _KERNEL_ARGS,
)

KEYS: dict[type[models.Element], tuple[str, tuple[Key, ...]]] = {
    models.Cluster: (
        "models.Cluster",
        (
            _EXTENSIONS,
            Key("name", "name", Shape.TEXT, "The cluster's id.", always=True, needed=True),
            _LABELS,
            _ANNOTATIONS,
            Key(
                "kubernetes",
                "kubernetes",
                Shape.ELEMENT,
                "What the cluster runs of Kubernetes.",
                "models.KubernetesCluster",
                models.Kubernetes,
                always=True,
                needed=True,
            ),
            Key(
                "talos",
                "talos",
                Shape.ELEMENT,
                "What the cluster runs of Talos.",
                "models.TalosCluster",
                models.Talos,
                always=True,
                needed=True,
            ),
            Key("features", "features", Shape.ELEMENT, "What is switched on.", "models.Features", models.Features),
            _PATCHES,
            _KERNEL_ARGS,
        ),
    ),
    models.Kubernetes: (
        "models.KubernetesCluster",
        (
            Key("version", "version", Shape.TEXT, "Version, v1.34.3.", always=True, needed=True),
            Key(
                "manifests",
                "manifests",
                Shape.ELEMENTS,
                "Manifests that Omni keeps applied.",
                "models.KubernetesManifestsList",
                models.Manifest,
            ),
            Key(
                "healthchecks",
                "healthchecks",
                Shape.ELEMENTS,
                "Jobs that hold upgrades back until they succeed.",
                "models.KubernetesHealthCheckList",
                models.HealthCheck,
            ),
        ),
    ),
    models.Talos: (
        "models.TalosCluster",
        (Key("version", "version", Shape.TEXT, "Version, v1.12.7.", always=True, needed=True),),
    ),
    models.Features: (
        "models.Features",
        (
            Key("diskEncryption", "disk_encryption", Shape.FLAG, "Encrypt disks with keys that Omni holds.", "bool"),
            Key("enableWorkloadProxy", "enable_workload_proxy", Shape.FLAG, "Reach services through Omni.", "bool"),
            Key(
                "useEmbeddedDiscoveryService",
                "use_embedded_discovery_service",
                Shape.FLAG,
                "Use the discovery service inside Omni.",
                "bool",
            ),
            Key(
                "disablePublicDiscoveryService",
                "disable_public_discovery_service",
                Shape.FLAG,
                "Do not use the public discovery service.",
                "bool",
                since=NEWEST,
            ),
            Key(
                "enableNodeAuditSkip",
                "enable_node_audit_skip",
                Shape.FLAG,
                "Pass over the node audit.",
                "bool",
                since=NEWEST,
            ),
            Key(
                "backupConfiguration",
                "backup_configuration",
                Shape.ELEMENT,
                "Backups of etcd.",
                "models.BackupConfiguration",
                models.BackupConfiguration,
            ),
        ),
    ),
    models.BackupConfiguration: (
        "models.BackupConfiguration",
        (Key("interval", "interval", Shape.DURATION, "Time between backups, 6h.", "time.Duration"),),
    ),
    models.Patch: (
        "models.Patch",
        (
            Key("name", "name", Shape.TEXT, "Name of the patch."),
            _ID,
            _LABELS,
            _ANNOTATIONS,
            _FILE,
            Key("inline", "inline", Shape.INLINE, "The patch: a document, a list of documents, or YAML text."),
        ),
    ),
    models.Manifest: (
        "models.KubernetesManifest",
        (
            Key("inline", "inline", Shape.INLINE, "The manifests: a document, a list of documents, or YAML text."),
            _LABELS,
            _ANNOTATIONS,
            Key("name", "name", Shape.TEXT, "Name of the group.", always=True),
            _FILE,
            Key(
                "mode",
                "mode",
                Shape.MODE,
                "full keeps them applied, one-time applies them once.",
                always=True,
                needed=True,
            ),
        ),
    ),
    models.HealthCheck: (
        "models.KubernetesHealthCheck",
        (
            _LABELS,
            _ANNOTATIONS,
            _ID,
            Key("name", "name", Shape.TEXT, "Name of the check."),
            Key("job", "job", Shape.INLINE, "The job: a document or YAML text."),
            _FILE,
            Key("interval", "interval", Shape.DURATION, "How often it is repeated, 30s.", "time.Duration"),
        ),
    ),
    models.ControlPlane: ("models.ControlPlane", _MACHINE_SET),
    models.Workers: ("models.Workers", _MACHINE_SET),
    models.BootstrapSpec: (
        "models.BootstrapSpec",
        (
            Key("clusterUUID", "cluster_uuid", Shape.TEXT, "UUID of the cluster backed up.", always=True, needed=True),
            Key("snapshot", "snapshot", Shape.TEXT, "File name of the backup.", always=True, needed=True),
        ),
    ),
    models.MachineClass: (
        "models.MachineClassConfig",
        (
            Key("name", "name", Shape.TEXT, "Name of the machine class.", always=True),
            Key("size", "size", Shape.SIZE, "How many machines, or Unlimited.", always=True),
        ),
    ),
    models.Strategy: (
        "models.UpdateStrategyConfig",
        (
            Key("type", "type", Shape.STRATEGY_TYPE, "Rolling or Unset."),
            Key(
                "rolling",
                "rolling",
                Shape.OPTIONAL_ELEMENT,
                "How far a rolling change goes at once.",
                "models.RollingUpdateStrategyConfig",
                models.Rolling,
            ),
        ),
    ),
    models.Rolling: (
        "models.RollingUpdateStrategyConfig",
        (Key("maxParallelism", "max_parallelism", Shape.COUNT, "How many machines at a time.", "uint32"),),
    ),
    models.Machine: (
        "models.Machine",
        (
            _EXTENSIONS,
            Key("name", "name", Shape.TEXT, "The machine's id, a UUID.", "models.MachineID", always=True, needed=True),
            _LABELS,
            _ANNOTATIONS,
            Key("locked", "locked", Shape.FLAG, "Change nothing on the machine, workers only.", "bool"),
            Key(
                "install",
                "install",
                Shape.ELEMENT,
                "Where Talos is installed.",
                "models.MachineInstall",
                models.Install,
            ),
            _PATCHES,
            _KERNEL_ARGS,
        ),
    ),
    models.Install: (
        "models.MachineInstall",
        (
            Key("disk", "disk", Shape.TEXT, "The disk, /dev/nvme0n1."),
            Key("diskSelector", "disk_selector", Shape.TEXT, "A CEL expression that picks the disk.", since=NEWEST),
        ),
    ),
}


def keys_of(model: type[models.Element], dialect: str) -> dict[str, Key]:
    """Return the keys that a model has in a dialect, by their name in YAML."""
    return {key.name: key for key in KEYS[model][1] if key.since == OLDEST or dialect == NEWEST}

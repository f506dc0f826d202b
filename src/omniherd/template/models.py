"""The documents of a cluster template as Python values.

A program builds them, the loader makes them from files; `omniherd.template.language` says how each attribute is called
and written in YAML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeAlias

from omniherd.template.problems import Place

__all__ = [
    "BackupConfiguration",
    "BootstrapSpec",
    "Cluster",
    "ControlPlane",
    "Document",
    "Element",
    "Features",
    "HealthCheck",
    "Inline",
    "Install",
    "Kubernetes",
    "Machine",
    "MachineClass",
    "MachineSet",
    "Manifest",
    "Patch",
    "Rolling",
    "Strategy",
    "Talos",
    "Workers",
]

Inline: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]] | str
"""Content that stands in the template itself: one document, several, or YAML text that is taken as it is."""

StrategyType: TypeAlias = Literal["Unset", "Rolling"]


def _texts() -> dict[str, str]:
    return {}


@dataclass(kw_only=True)
class Element:
    """Anything of a template that came from a place in a file.

    Attributes:
        places: Where the element (under the empty name) and each of its keys stand; empty when a program made it.
    """

    places: dict[str, Place] = field(default_factory=dict[str, Place], init=False, repr=False, compare=False)

    def place(self, key: str = "") -> Place:
        """Return where a key stands; where the element stands when the key is not there."""
        return self.places.get(key) or self.places.get("") or Place()


@dataclass
class Patch(Element):
    """A patch of the Talos machine configuration, for a cluster, a machine set or a machine.

    Attributes:
        name: The name; ids are made from it. A patch from a file is called by its path when it has none.
        file: Path of the file that holds the patch, relative to the template. Either this or `inline`.
        inline: The patch itself.
        id_override: The whole id of the resource, instead of one made from weight, place and name.
        labels: Labels of the resource.
        annotations: Annotations of the resource; `name` is set to the patch's name unless given.
    """

    name: str = ""
    inline: Inline | None = None
    file: str = ""
    id_override: str = ""
    labels: dict[str, str] = field(default_factory=_texts)
    annotations: dict[str, str] = field(default_factory=_texts)

    @property
    def title(self) -> str:
        """What the patch is called: its name, else its file."""
        return self.name or self.file


@dataclass
class Manifest(Element):
    """Kubernetes manifests that Omni keeps applied in the cluster.

    Attributes:
        name: The name, else the file's path.
        mode: `full` keeps the cluster at what the manifests say, `one-time` applies them once.
        inline: The manifests themselves. Either this or `file`.
        file: Path of the file that holds them, relative to the template.
        labels: Labels of the resource.
        annotations: Annotations of the resource.
    """

    name: str = ""
    mode: Literal["", "full", "one-time"] = ""
    inline: Inline | None = None
    file: str = ""
    labels: dict[str, str] = field(default_factory=_texts)
    annotations: dict[str, str] = field(default_factory=_texts)

    @property
    def title(self) -> str:
        """What the manifest is called: its name, else its file."""
        return self.name or self.file


@dataclass
class HealthCheck(Element):
    """A Kubernetes job that must succeed before an upgrade goes on.

    Attributes:
        name: The name; the id is made from it.
        job: The job's manifest. Either this or `file`.
        file: Path of the file that holds it, relative to the template.
        interval: How often it is repeated while an upgrade waits; zero leaves it to the server (30 seconds).
        id_override: The whole id of the resource.
        labels: Labels of the resource.
        annotations: Annotations of the resource.
    """

    name: str = ""
    job: Inline | None = None
    file: str = ""
    interval: timedelta = timedelta()
    id_override: str = ""
    labels: dict[str, str] = field(default_factory=_texts)
    annotations: dict[str, str] = field(default_factory=_texts)

    @property
    def title(self) -> str:
        """What the check is called: its id when that is given, else its name."""
        return self.id_override or self.name


@dataclass
class Kubernetes(Element):
    """What a cluster runs of Kubernetes.

    Attributes:
        version: The version, `v1.34.3`.
        manifests: Manifests that Omni applies.
        healthchecks: Jobs that hold upgrades back until they succeed.
    """

    version: str = ""
    manifests: list[Manifest] = field(default_factory=list[Manifest])
    healthchecks: list[HealthCheck] = field(default_factory=list[HealthCheck])


@dataclass
class Talos(Element):
    """What a cluster runs of Talos.

    Attributes:
        version: The version, `v1.12.7`; the `v` is needed.
    """

    version: str = ""


@dataclass
class BackupConfiguration(Element):
    """Backups of etcd.

    Attributes:
        interval: Time between backups; zero means none.
    """

    interval: timedelta = timedelta()


@dataclass
class Features(Element):
    """What is switched on for a cluster; everything is off unless said otherwise.

    Attributes:
        disk_encryption: Disks are encrypted with keys that Omni holds; Talos 1.5 and newer.
        enable_workload_proxy: Services of the cluster can be reached through Omni.
        use_embedded_discovery_service: Members find each other through the service inside Omni.
        disable_public_discovery_service: Members do not use the public discovery service; None says nothing. Newer than
            Omni 1.9.
        enable_node_audit_skip: The node audit is passed over. Newer than Omni 1.9.
        backup_configuration: Backups of etcd.
    """

    disk_encryption: bool = False
    enable_workload_proxy: bool = False
    use_embedded_discovery_service: bool = False
    disable_public_discovery_service: bool | None = None
    enable_node_audit_skip: bool = False
    backup_configuration: BackupConfiguration = field(default_factory=BackupConfiguration)


@dataclass
class Cluster(Element):
    """The cluster: one document of every template.

    Attributes:
        name: The cluster's id: letters, digits, `-` and `_`.
        kubernetes: Version, manifests and health checks.
        talos: Version.
        features: What is switched on.
        patches: Patches for all machines.
        system_extensions: System extensions for all machines; an empty list clears them, None says nothing.
        kernel_args: Kernel arguments for all machines without their own; an empty list clears them.
        labels: Labels of the cluster.
        annotations: Annotations of the cluster.
    """

    name: str = ""
    kubernetes: Kubernetes = field(default_factory=Kubernetes)
    talos: Talos = field(default_factory=Talos)
    features: Features = field(default_factory=Features)
    patches: list[Patch] = field(default_factory=list[Patch])
    system_extensions: list[str] | None = None
    kernel_args: list[str] | None = None
    labels: dict[str, str] = field(default_factory=_texts)
    annotations: dict[str, str] = field(default_factory=_texts)


@dataclass
class MachineClass(Element):
    """Machines picked by Omni.

    Attributes:
        name: The machine class.
        size: How many, or `"Unlimited"`.
    """

    name: str = ""
    size: int | Literal["Unlimited"] = 0


@dataclass
class Rolling(Element):
    """How far a rolling change goes at once.

    Attributes:
        max_parallelism: How many machines at a time; 0 leaves it to the server.
    """

    max_parallelism: int = 0


@dataclass
class Strategy(Element):
    """How machines of a set are changed.

    Attributes:
        type: `Rolling` (a few at a time) or `Unset`; None takes the default.
        rolling: How far a rolling change goes at once.
    """

    type: StrategyType | None = None
    rolling: Rolling | None = None


@dataclass
class BootstrapSpec(Element):
    """Where a control plane is restored from.

    Attributes:
        cluster_uuid: The UUID of the cluster that was backed up.
        snapshot: The backup's file name.
    """

    cluster_uuid: str = ""
    snapshot: str = ""


@dataclass
class MachineSet(Element):
    """What control planes and workers have in common.

    Attributes:
        name: The name of a set of workers; the empty name is `workers`.
        machines: Ids of the machines. Either these or a class.
        machine_class: Machines picked by Omni.
        bootstrap_spec: Where the control plane is restored from.
        update_strategy: How configuration changes reach the machines; workers only.
        delete_strategy: How machines are removed; workers only.
        upgrade_strategy: How Talos upgrades reach the machines.
        patches: Patches for the machines of the set.
        system_extensions: System extensions of the set; an empty list clears them, None says nothing.
        kernel_args: Kernel arguments of the set's machines, unless they have their own.
        labels: Labels of the machine set.
        annotations: Annotations of the machine set.
    """

    name: str = ""
    machines: list[str] = field(default_factory=list[str])
    machine_class: MachineClass | None = None
    bootstrap_spec: BootstrapSpec | None = None
    update_strategy: Strategy | None = None
    delete_strategy: Strategy | None = None
    upgrade_strategy: Strategy | None = None
    patches: list[Patch] = field(default_factory=list[Patch])
    system_extensions: list[str] | None = None
    kernel_args: list[str] | None = None
    labels: dict[str, str] = field(default_factory=_texts)
    annotations: dict[str, str] = field(default_factory=_texts)


@dataclass
class ControlPlane(MachineSet):
    """The control plane: one document of every template. See `MachineSet`."""


@dataclass
class Workers(MachineSet):
    """A set of workers. See `MachineSet`."""


@dataclass
class Install(Element):
    """Where Talos is installed.

    Attributes:
        disk: The disk, `/dev/nvme0n1`.
        disk_selector: A CEL expression that picks the disk. Newer than Omni 1.9.
    """

    disk: str = ""
    disk_selector: str = ""


@dataclass
class Machine(Element):
    """What is particular to one machine of the template.

    Attributes:
        name: The machine's id, a UUID.
        locked: Whether nothing is changed on the machine; workers only.
        install: Where Talos is installed.
        patches: Patches for this machine.
        system_extensions: System extensions of this machine; an empty list clears them, None says nothing.
        kernel_args: Kernel arguments of this machine; None takes those of its set or cluster.
        labels: Labels of the machine in the cluster.
        annotations: Annotations of the machine in the cluster.
    """

    name: str = ""
    locked: bool = False
    install: Install = field(default_factory=Install)
    patches: list[Patch] = field(default_factory=list[Patch])
    system_extensions: list[str] | None = None
    kernel_args: list[str] | None = None
    labels: dict[str, str] = field(default_factory=_texts)
    annotations: dict[str, str] = field(default_factory=_texts)


Document: TypeAlias = Cluster | ControlPlane | Workers | Machine
"""Any document of a template."""

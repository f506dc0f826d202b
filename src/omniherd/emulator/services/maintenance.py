"""Talos installed and upgraded on machines that wait in maintenance mode."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from omniherd.emulator.records import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from omniherd.emulator.records import Stored
    from omniherd.emulator.server import Incoming
    from omniherd.emulator.services.audit_log import AuditLog
    from omniherd.emulator.store import Store
    from omniherd.emulator.talos.machines import Machines
    from omniherd.emulator.talos.nodes import Node

__all__ = ["Maintenance"]

_O = ".omni.sidero.dev"
_L = "omni.sidero.dev/"
_VERSIONS = "TalosVersions" + _O
_FEATURES = "FeaturesConfigs" + _O
_OLDEST = (1, 13)
_INSTALLED = _L + "installed"


class Maintenance:
    """What changes the Talos of a machine without a cluster.

    Args:
        store: The state.
        machines: The emulated machines.
        audit: Where calls to Talos are noted.
    """

    def __init__(self, store: Store, machines: Machines, audit: AuditLog) -> None:
        self._store = store
        self._machines = machines
        self._audit = audit

    def check_target(self, machine: Stored, version: str, *, same: bool = False) -> None:
        """Refuse a version that a machine cannot go to.

        Args:
            machine: Its MachineStatuses resource.
            version: The version, with or without a leading `v`.
            same: Whether the version that it runs will do.

        Raises:
            StateError: `FAILED_PRECONDITION`.
        """
        wanted = self._store.find("default", _VERSIONS, version.removeprefix("v"))
        if wanted is None:
            text = f'requested Talos version "{version}" is not tracked by this Omni release'
            raise StateError("FAILED_PRECONDITION", text)
        if wanted.decode().unsupported:
            text = f'requested Talos version "{version}" is not supported by this Omni release'
            raise StateError("FAILED_PRECONDITION", text)
        current = machine.decode().talos_version
        if same and wanted.id == current.removeprefix("v"):
            return
        source = self._store.find("default", _VERSIONS, current.removeprefix("v"))
        if source is None:
            text = f'no upgrade targets available: machine is running an untracked Talos version "{current}"'
            raise StateError("FAILED_PRECONDITION", text)
        if wanted.id not in source.decode().upgradable_talos_versions:
            raise StateError(
                "FAILED_PRECONDITION",
                f'requested Talos version "{version}" is not a supported target from the version running in memory '
                f'("{current}")',
            )

    def upgrade(self, call: Incoming, machine: Stored, version: str) -> None:
        """Upgrade a machine: it is away for a while and comes back with the version.

        Args:
            call: The call.
            machine: Its MachineStatuses resource.
            version: The version.

        Raises:
            StateError: `UNAVAILABLE`: the machine is away.
        """
        self._audit.talos_access(call, "machine.MachineService/Upgrade", "", machine.id)
        node = self._reached(machine, "failed to upgrade machine: rpc error: code = Unavailable desc =")
        self._machines.log.add(node.id, f"[talos] upgrade request received: {self._image(machine, version)}")
        self._boot(node, version)

    def lifecycle(self, call: Incoming, machine: Stored, version: str, disk: str) -> Iterator[str]:
        """Install or upgrade Talos on a machine, and yield what the server says meanwhile.

        Args:
            call: The call.
            machine: Its MachineStatuses resource.
            version: The version; empty for the one that it runs.
            disk: Where to install it; empty to upgrade.

        Raises:
            StateError: `FAILED_PRECONDITION`: the machine or the version does not fit; `UNAVAILABLE`: it is away.
        """
        current = machine.decode().talos_version
        _check_running(current)
        if version:
            self.check_target(machine, version, same=bool(disk))
        installed = _INSTALLED in machine.labels
        if disk and installed:
            text = "Talos is already installed on this machine; use OPERATION_UPGRADE"
            raise StateError("FAILED_PRECONDITION", text)
        if not disk and not installed:
            text = "Talos is not installed on this machine; use OPERATION_INSTALL"
            raise StateError("FAILED_PRECONDITION", text)
        version = version or current
        image = self._image(machine, version)
        yield f"[omni] pulling installer image {image}"
        self._audit.talos_access(call, "machine.ImageService/Pull", "", machine.id)
        node = self._reached(machine, "failed to pull installer image:")
        yield f"[omni] installer image pulled: {image}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"
        method = "Install" if disk else "Upgrade"
        self._audit.talos_access(call, f"machine.LifecycleService/{method}", "", machine.id)
        words = f"installing Talos to {disk}" if disk else f"upgrading Talos to v{version.removeprefix('v')}"
        for text in (words, "installation of Talos complete" if disk else "upgrade of Talos complete"):
            self._machines.log.add(node.id, f"[talos] {text}")
            yield f"[talos] {text}"
        yield "[omni] rebooting machine to boot into installed Talos"
        self._audit.talos_access(call, "machine.MachineService/Reboot", "", machine.id)
        self._boot(node, version)

    def _reached(self, machine: Stored, failed: str) -> Node:
        node = self._machines.nodes.node(machine.id)
        if node is None:
            raise StateError("NOT_FOUND", "machine not found")
        try:
            self._machines.running.check(node)
        except StateError as error:
            raise StateError(error.code, f"{failed} {error.message}") from None
        return node

    def _boot(self, node: Node, version: str) -> None:
        """Let a machine reboot into an installed version."""
        text = f"v{version.removeprefix('v')}"
        with self._store.lock:
            for kind in ("MachineStatuses", "MachineStatusLabels"):
                found = self._store.find("default", kind + _O, node.id)
                if found is None:
                    continue
                labels = {**found.labels, _INSTALLED: "", _L + "talos-version": text}
                changes = {"labels": labels}
                if kind == "MachineStatuses":
                    spec = found.decode()
                    spec.talos_version = text
                    changes["spec"] = spec.SerializeToString(deterministic=True)
                self._store.modify(found.namespace, found.type, found.id, **changes)
        self._machines.running.reboot(node)

    def _image(self, machine: Stored, version: str) -> str:
        features = self._store.find("default", _FEATURES, "features-config")
        base = "" if features is None else features.decode().image_factory_base_url
        host = base.partition("://")[2] or base
        status = machine.decode()
        platform = status.platform_metadata.platform or "metal"
        return f"{host}/{platform}-installer/{status.schematic.full_id}:v{version.removeprefix('v')}"


def _check_running(version: str) -> None:
    """Refuse a machine whose Talos has no calls for this yet."""
    numbers = version.removeprefix("v").split("-")[0].split(".")
    if tuple(int(number) for number in numbers[:2] if number.isdigit()) < _OLDEST:
        text = f'the lifecycle API requires Talos 1.13.0 or newer, machine is running "{version}"'
        raise StateError("FAILED_PRECONDITION", text)

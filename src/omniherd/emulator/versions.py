"""Which versions of Talos and Kubernetes a cluster may go to, after the server's own lists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omniherd.emulator.store import Store

__all__ = ["kubernetes_upgrades", "may_upgrade_kubernetes", "order", "talos_upgrades"]

_TALOS = "TalosVersions.omni.sidero.dev"


def order(version: str) -> tuple[int, ...]:
    """Return the three numbers of a version, for comparing."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def may_upgrade_kubernetes(old: str, new: str) -> bool:
    """Whether Kubernetes may go from one version to another: up, by one minor version at most."""
    before, after = order(old), order(new)
    return before == after or (after > before and after[0] == before[0] and after[1] - before[1] <= 1)


def talos_upgrades(store: Store, talos: str, kubernetes: str, initial: str = "") -> list[str]:
    """Return the Talos versions that a cluster may go to and that run its Kubernetes version.

    Args:
        store: Where the versions are.
        talos: The Talos version that it has.
        kubernetes: Its Kubernetes version.
        initial: The Talos version that it was made with: it never goes below that one's minor version.
    """
    found = store.find("default", _TALOS, talos)
    if found is None:
        return []
    targets = [store.find("default", _TALOS, version) for version in found.decode().upgradable_talos_versions]
    return [
        target.id
        for target in targets
        if target is not None
        and kubernetes in target.decode().compatible_kubernetes_versions
        and order(target.id)[:2] >= order(initial)[:2]
    ]


def kubernetes_upgrades(store: Store, talos: str, kubernetes: str) -> list[str]:
    """Return the Kubernetes versions that a cluster may go to on its Talos version."""
    found = store.find("default", _TALOS, talos)
    if found is None:
        return []
    known = found.decode().compatible_kubernetes_versions
    minor = order(kubernetes)[:2]
    return [
        version
        for version in known
        if version != kubernetes and (order(version)[:2] == minor or may_upgrade_kubernetes(kubernetes, version))
    ]

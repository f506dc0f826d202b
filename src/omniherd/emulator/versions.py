"""Which versions of Talos and Kubernetes a cluster may go to, after the server's own lists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omniherd.emulator.store import Store
    from omniherd.template.versions import Version

__all__ = [
    "kubernetes_path",
    "kubernetes_upgrades",
    "may_upgrade_kubernetes",
    "on_path",
    "order",
    "precedence",
    "talos_upgrades",
]

_TALOS = "TalosVersions.omni.sidero.dev"
_OLDEST_MINOR, _NEWEST_MINOR = 19, 36


def order(version: str) -> tuple[int, ...]:
    """Return the three numbers of a version, for comparing."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def may_upgrade_kubernetes(old: str, new: str) -> bool:
    """Whether Kubernetes may go from one version to another: up, by one minor version at most."""
    before, after = order(old), order(new)
    return before == after or (after > before and after[0] == before[0] and after[1] - before[1] <= 1)


def precedence(version: Version) -> tuple[tuple[int, int, int], bool, list[tuple[bool, int, str]]]:
    """Return what versions are compared by, pre-releases among them."""
    parts = version.prerelease.split(".") if version.prerelease else []
    ranks = [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]
    return version[:3], not parts, ranks


def kubernetes_path(old: str, new: str) -> tuple[Version, Version]:
    """Read the two ends of an upgrade of Kubernetes.

    Args:
        old: The version that runs.
        new: The version that is wanted.

    Raises:
        VersionRefused: One of them is no version; the text says which.
    """
    from omniherd.template.versions import VersionRefused, parse_version

    ends: list[Version] = []
    for name, text in (("from", old), ("to", new)):
        try:
            ends.append(parse_version(text.lstrip("v")))
        except VersionRefused as refused:
            raise VersionRefused(f"error parsing {name} version: {refused}") from None
    return ends[0], ends[1]


def on_path(old: Version, new: Version) -> bool:
    """Whether the server knows how to bring Kubernetes from one version to another: at most one minor version up."""
    known = old.minor >= _OLDEST_MINOR and new.minor <= _NEWEST_MINOR
    return known and old.major == new.major == 1 and new.minor - old.minor in {0, 1}


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

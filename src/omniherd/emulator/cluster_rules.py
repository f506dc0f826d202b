"""What a Cluster may say: its name, versions that fit each other, and what may change later."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from omniherd.emulator.access import frame
from omniherd.emulator.records import RUNNING, missing
from omniherd.emulator.versions import may_upgrade_kubernetes, order

if TYPE_CHECKING:
    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Store

__all__ = ["ClusterRules", "go_duration"]

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_VERSIONS = "TalosVersions.omni.sidero.dev"
_HOUR = 3600


class ClusterRules:
    """The rules of Clusters.

    Args:
        store: The state, asked for the known versions.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def judge(self, verb: str, current: Stored | None, resource: Stored) -> list[str]:
        """Return what is wrong with a write of a cluster; see `Validators.judge`."""
        if verb in {"teardown", "destroy"} or resource.phase != RUNNING:
            return []
        spec = resource.decode()
        if verb == "create":
            texts = self._versions(spec)
            if not _NAME.fullmatch(resource.id) and resource.id:
                texts.append("name should only contain letters, digits, dashes and underscores")
            return texts + _backup(spec)
        old = None if current is None else current.decode()
        return self._changes(old, spec) + _backup(spec)

    def _versions(self, spec: Any) -> list[str]:
        kubernetes, talos = spec.kubernetes_version, spec.talos_version
        texts: list[str] = []
        for name, version in (("Kubernetes", kubernetes), ("Talos", talos)):
            fault = _version_fault(version)
            if fault is not None:
                texts.append(f"error validating {name} version: {frame([fault])}")
        return texts + self._compatible(kubernetes, talos)

    def _compatible(self, kubernetes: str, talos: str) -> list[str]:
        found = self._store.find("default", _VERSIONS, talos)
        if found is None:
            return [f'invalid talos version "{talos}": {missing("default", _VERSIONS, talos).message}']
        if kubernetes not in found.decode().compatible_kubernetes_versions:
            return [f'invalid kubernetes version "{kubernetes}": is not compatible with talos version "{talos}"']
        return []

    def _changes(self, old: Any, new: Any) -> list[str]:
        if old is None:
            return []
        texts: list[str] = []
        talos, kubernetes = old.talos_version, old.kubernetes_version
        if new.talos_version != talos and order(new.talos_version) < order(talos):
            texts.append(f'downgrading from version "{talos}" to "{new.talos_version}" is not supported')
        elif (new.talos_version, new.kubernetes_version) != (talos, kubernetes):
            texts.extend(self._compatible(new.kubernetes_version, new.talos_version))
            if not texts and not may_upgrade_kubernetes(kubernetes, new.kubernetes_version):
                texts.append(
                    f'kubernetes version is not supported for upgrade to "{new.kubernetes_version}" from "{kubernetes}"'
                )
        if old.features.disk_encryption != new.features.disk_encryption:
            texts.append("updating disk encryption settings is not allowed")
        return texts


def _version_fault(version: str) -> str | None:
    """Return what is wrong with the form of a version, in the words of the server's parser."""
    if not version:
        return "version is required"
    major, *rest = version.removeprefix("v").split(".", 2)
    for name, part in (("major", major), ("minor", rest[0] if rest else "0")):
        if not (part.isascii() and part.isdigit()):
            return f'version should be in semver format: Invalid character(s) found in {name} number "{part}"'
    return None if len(rest) == 2 else "version should be in semver format: No Major.Minor.Patch elements found"


def _backup(spec: Any) -> list[str]:
    if not spec.HasField("backup_configuration") or not spec.backup_configuration.HasField("interval"):
        return []
    interval = spec.backup_configuration.interval
    nanoseconds = interval.seconds * 10**9 + interval.nanos
    actual = go_duration(nanoseconds)
    if nanoseconds < _HOUR * 10**9:
        return [f"backup interval must be greater than 1h0m0s, actual {actual}"]
    if nanoseconds > 24 * _HOUR * 10**9:
        return [f"backup interval must be less than 24h0m0s, actual {actual}"]
    return []


def go_duration(nanoseconds: int) -> str:
    """Return a duration as Go writes it: `1m0s`, `1h30m0s`, `1.5s`, `250ms`."""
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if rest < size * 1000:
            return f"{sign}{_decimal(rest, size)}{unit}"
    seconds, fraction = divmod(rest, 10**9)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(seconds * 10**9 + fraction, 10**9)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{sign}{hours}h{text}" if hours else sign + text


def _decimal(value: int, size: int) -> str:
    whole, fraction = divmod(value, size)
    if not fraction:
        return str(whole)
    digits = len(str(size)) - 1
    return f"{whole}.{str(fraction).zfill(digits).rstrip('0')}"

"""What the resources of machines may say: classes, requests, kernel arguments, extensions, installation media."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd.emulator.catalog import load_catalog
from omniherd.emulator.gotext import limited, limited_list, quote
from omniherd.emulator.machine_set_rules import CLUSTER, allocated
from omniherd.emulator.records import TEARING_DOWN, missing
from omniherd.emulator.versions import order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Store

__all__ = ["MachineRules", "selector_faults", "talos_fault"]

_O = ".omni.sidero.dev"
_VERSIONS = "TalosVersions" + _O
_PROVIDER_STATUS = "InfraProviderStatuses" + _O
_NO_MANUAL = "omni.sidero.dev/no-manual-allocation"
_STATIC_PROVIDER = "omni.sidero.dev/is-static-infra-provider"
_ARGUMENTS, _ARGUMENT = 64, 256
_EXTENSIONS = 256
_DEFAULT_TALOS = "1.13.5"
_EMBEDDED_SINCE = (1, 12)
_ACCEPTED = 1

Faults = list[str]


def talos_fault(store: Store, version: str, old: str = "") -> str | None:
    """Return what is wrong with a Talos version that the server does not know or does not take.

    Args:
        store: The state.
        version: The version, without `v`.
        old: The version before: from one that is no longer supported, others like it may be reached.
    """
    found = store.find("default", _VERSIONS, version)
    if found is None:
        return f"invalid talos version {quote(version)}: {missing('default', _VERSIONS, version).message}"
    before = store.find("default", _VERSIONS, old)
    if found.decode().deprecated and (before is None or not before.decode().deprecated):
        return f"talos version {quote(version)} is no longer supported"
    if found.decode().unsupported:
        return f"talos version {quote(version)} is not supported by this Omni release"
    return None


def selector_faults(selectors: Iterable[str]) -> tuple[str | None, set[str]]:
    """Return what is wrong with label selectors, as the server's client says it, and the keys that they name."""
    from omniherd.errors import SelectorError
    from omniherd.selectors import parse

    keys: set[str] = set()
    for selector in selectors:
        try:
            keys.update(term.key for term in parse(selector).terms)
        except SelectorError as error:
            return f"rpc error: code = InvalidArgument desc = {error}", keys
    return None, keys


class MachineRules:
    """The rules.

    Args:
        store: The state that they look things up in.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def judges(self) -> dict[str, Callable[[str, Stored | None, Stored], Faults]]:
        """Return what judges each type, by its short name."""
        return {
            "ExtensionsConfigurations": _first(self._extensions_configuration),
            "InfraMachineConfigs": _first(self._infra_machine, self._infra_machine_end),
            "InstallationMediaConfigs": _first(self._media),
            "KernelArgs": _first(self._kernel_args),
            "MachineClasses": _first(self._class, self._class_end),
            "MachineRequestSets": _first(self._request_set),
        }

    # --- classes and requests ---------------------------------------------------------------------------------------

    def _class(self, current: Stored | None, resource: Stored) -> str | None:
        spec = resource.decode()
        if not spec.HasField("auto_provision"):
            if not spec.match_labels:
                return "machine class should either have auto provision or match labels set"
            fault, keys = selector_faults(spec.match_labels)
            if fault is not None:
                return f"failed to parse matchLabels: {fault}"
            return f"selectors using label {_NO_MANUAL} are not allowed" if _NO_MANUAL in keys else None
        if spec.match_labels:
            return "can't set both auto provision and match labels at the same time"
        wanted = spec.auto_provision
        if not wanted.provider_id:
            return "providerID can not be empty"
        old = None if current is None else current.decode()
        fault = None
        if old is None or old.auto_provision.provider_data != wanted.provider_data:
            fault = self._provider(wanted.provider_id)
        return fault or limited_list("auto provision kernel args", wanted.kernel_args, _ARGUMENTS, _ARGUMENT)

    def _class_end(self, resource: Stored) -> str | None:
        users = [
            found.id
            for found in self._store.list("default", "MachineSets" + _O)
            if getattr(allocated(found.decode()), "name", None) == resource.id
        ]
        if not users:
            return None
        return f"can not delete the machine class as it is still in use by machine sets: {', '.join(users)}"

    def _provider(self, id_: str) -> str | None:
        found = self._store.find("infra-provider", _PROVIDER_STATUS, id_)
        if found is None:
            return f"failed to get provider: {missing('infra-provider', _PROVIDER_STATUS, id_).message}"
        if _STATIC_PROVIDER in found.labels:
            return "cannot use static provider in the auto-provisioned machine class"
        return None

    def _request_set(self, current: Stored | None, resource: Stored) -> str | None:
        spec = resource.decode()
        if not spec.provider_id:
            return "provider id can not be empty"
        old = None if current is None else current.decode()
        fault = None
        if old is None or old.provider_data != spec.provider_data:
            fault = self._provider(spec.provider_id)
        return (
            fault
            or limited_list("kernel args", spec.kernel_args, _ARGUMENTS, _ARGUMENT)
            or talos_fault(self._store, spec.talos_version)
            or self._extensions(spec.talos_version, spec.extensions)
        )

    # --- single machines --------------------------------------------------------------------------------------------

    @staticmethod
    def _kernel_args(_current: Stored | None, resource: Stored) -> str | None:
        return limited_list("args", resource.decode().args, _ARGUMENTS, _ARGUMENT)

    @staticmethod
    def _infra_machine(current: Stored | None, resource: Stored) -> str | None:
        spec = resource.decode()
        if current is not None and _ACCEPTED == current.decode().acceptance_status != spec.acceptance_status:
            return "an accepted machine cannot be rejected or set back to pending acceptance"
        return (
            limited("requested reboot ID", spec.requested_reboot_id, 128)
            or limited("power-off request ID", spec.power_off_request_id, 128)
            or limited("extra kernel args", spec.extra_kernel_args, 4096)
        )

    def _infra_machine_end(self, resource: Stored) -> str | None:
        accepted = resource.decode().acceptance_status == _ACCEPTED
        if not accepted or self._store.find("default", "Links" + _O, resource.id) is None:
            return None
        return "cannot delete the config for an already accepted machine config while it is linked to a machine"

    # --- extensions and media ---------------------------------------------------------------------------------------

    def _extensions_configuration(self, _current: Stored | None, resource: Stored) -> str | None:
        extensions = resource.decode().extensions
        cluster = resource.labels.get(CLUSTER, "")
        if not extensions:
            return None
        if not cluster:
            return (
                "extensions configuration with a non-empty extensions list must target a cluster via the cluster label"
            )
        found = self._store.find("default", "Clusters" + _O, cluster)
        if found is None:
            return f"cluster {quote(cluster)} does not exist"
        return self._extensions(found.decode().talos_version, extensions)

    def _extensions(self, version: str, names: Sequence[str]) -> str | None:
        if not names:
            return None
        if len(names) > _EXTENSIONS:
            return f"extensions list has {len(names)} entries, exceeds maximum of {_EXTENSIONS}"
        version = version or _DEFAULT_TALOS
        found = self._store.find("default", "TalosExtensions" + _O, version)
        if found is None:
            return f"no Talos extensions catalog for version {quote(version)}"
        known = {item.name for item in found.decode().items}
        seen: set[str] = set()
        for number, name in enumerate(names):
            full = name if "/" in name else f"siderolabs/{name}"
            if full not in known:
                return f"extension {quote(name)} (entry {number}) is not available for Talos version {quote(version)}"
            if full in seen:
                return f"extension {quote(name)} (entry {number}) is listed more than once"
            seen.add(full)
        return None

    def _media(self, _current: Stored | None, resource: Stored) -> str | None:
        if resource.phase == TEARING_DOWN:
            return None
        spec = resource.decode()
        fault = _platform(spec)
        if fault is not None:
            return f"invalid installation media config: {fault}"
        version = spec.talos_version.removeprefix("v")
        text = limited("kernel args", spec.kernel_args, 4096)
        if text is not None:
            return text
        if version and self._store.find("default", _VERSIONS, version) is None:
            return f"unknown Talos version {quote(spec.talos_version)}"
        if version and spec.embedded_machine_config and order(version)[:2] < _EMBEDDED_SINCE:
            return f"embedded machine config is not supported by Talos version {quote(spec.talos_version)}"
        return self._extensions(version, spec.install_extensions)


def _platform(spec: Any) -> str | None:
    if not spec.architecture:
        return "architecture is required"
    board, cloud = spec.HasField("sbc"), spec.HasField("cloud")
    if board and cloud:
        return "both sbc and cloud fields are set"
    if board and not spec.sbc.overlay:
        return "sbc.overlay is required when sbc is set"
    if board and spec.sbc.overlay not in load_catalog()["SBCConfigs" + _O]:
        return f"unknown SBC overlay {quote(spec.sbc.overlay)}"
    if cloud and not spec.cloud.platform:
        return "cloud.platform is required when cloud is set"
    if cloud and spec.cloud.platform not in load_catalog()["CloudPlatformConfigs" + _O]:
        return f"unknown cloud platform {quote(spec.cloud.platform)}"
    return None


def _first(
    write: Callable[[Stored | None, Stored], str | None], end: Callable[[Stored], str | None] | None = None
) -> Callable[[str, Stored | None, Stored], Faults]:
    """Return a judge out of one for creations and updates and one for ends, each of which names one fault at most."""

    def judge(verb: str, current: Stored | None, resource: Stored) -> Faults:
        fault = None
        if verb in {"create", "update"}:
            fault = write(current, resource)
        elif end is not None:
            fault = end(resource)
        return [] if fault is None else [fault]

    return judge

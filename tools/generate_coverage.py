"""Write docs/emulator-coverage.md: every call of Omni's services, and whether the emulator answers it.

Run it after a change of the emulator's services; a test compares the file with what it would write.
"""

from __future__ import annotations

from pathlib import Path

from omniherd.emulator import Emulator
from omniherd.emulator.talos.roles import closed_to_all
from omniherd.wire.calls import CALLS

TARGET = Path(__file__).parents[1] / "docs" / "emulator-coverage.md"

OWN = ("cosi.resource.State", "management.", "auth.", "oidc.", "omni.resources.")

_KUBERNETES = "resources of Kubernetes"
# What an answer leaves out, by method, or by path where a name is not enough.
PARTS = {
    "/omni.resources.ResourceService/Get": _KUBERNETES,
    "/omni.resources.ResourceService/List": _KUBERNETES,
    "/omni.resources.ResourceService/Watch": "resources of Kubernetes; several machines at once",
    "/omni.resources.ResourceService/Controllers": "answers UNIMPLEMENTED, as the real server",
    "/omni.resources.ResourceService/DependencyGraph": "answers UNIMPLEMENTED, as the real server",
    "GetSupportBundle": "no encryption; of the machines a dozen types of Talos' resources",
    "CreateSchematic": "other image factories; the image of an overlay is that of its name",
    "CreateSchematicFromRaw": "some texts of what does not fit",
    "ValidateJSONSchema": "`unevaluated…`, dynamic and remote references, which are refused",
    "ReadAuditLog": "nothing of Kubernetes, which is not reached through the emulator",
    "KubernetesUpgradePreChecks": "upgrade paths; the emulated clusters have no workloads to look at",
    "Logs": "a few lines of a service; of pods only that they run",
    "Read": "a few files of `/etc` and `/proc`",
    "/machine.MachineService/List": "the same few files",
    "HealthCheck": "whether the machines can be reached; what is in Kubernetes is always well",
    "Netstat": "sockets that listen; no connections",
    "ServiceRestart": "the kubelet only, as nothing else of Talos lets itself be restarted here",
    "Time": "the servers are always right",
    "TimeCheck": "the servers are always right",
}

# What is to be said of an answer that leaves nothing out.
NOTES = {
    "GetBootAssetURL": 'of servers from 1.10 on: with `Emulator(version="1.10")`',
    "ImageList": "always empty, as the recorded machines showed it",
    "MachinePowerOff": "where the fleet stands still, Omni never finds out",
    "MachinePowerOn": "a static infra provider is told; without one refused, as on a server",
    "KubernetesSyncManifests": "there is never anything to do: nothing is out of step in the emulated clusters",
}
_CLOSED = "refused to everybody: Omni gives nobody the role `os:admin` for it"

HEAD = """# What the emulator answers

Every call of Omni v1.9.3, and what later versions add. What is not answered ends with
UNIMPLEMENTED and a sentence that names the method; nothing pretends to have worked. Calls that the emulator answers in
part say so here.

The services from `cluster.ClusterService` on are those of Talos, reached with `runtime: Talos` in a call's metadata.
Their machines, and `cosi.resource.State` behind the same metadata (Get, List and Watch of a dozen types), answer from
what the fleet's resources say. Of Talos' methods `Containers`, `CPUFreqStats`, `CPUInfo`, `DiskStats`, `Disks`,
`EtcdAlarmList`, `EtcdStatus`, `Events`, `HealthCheck`, `List`, `LoadAvg`, `LogsContainers`, `Memory`, `Mounts`,
`Netstat`, `NetworkDeviceStats`, `Read`, `ServiceRestart`, `Stats`, `Time` and `TimeCheck` were not seen on a recorded
machine: their answers follow the API alone.
"""


def text() -> str:
    """Return the page."""
    emulator = Emulator(seed_fleet=False, version="1.10")
    answered = emulator.answered()
    services: dict[str, list[str]] = {}
    for path in CALLS:
        services.setdefault(path.removeprefix("/").partition("/")[0], []).append(path)
    parts = [HEAD]
    for service in sorted(services, key=lambda name: (not name.startswith(OWN), name)):
        paths = sorted(services[service])
        count = sum(path in answered for path in paths)
        parts.append(f"\n## {service}: {count} of {len(paths)}\n\n")
        if not count:
            names = ", ".join(path.rpartition("/")[2] for path in paths)
            parts.append(f"Nothing yet: {names}.\n")
            continue
        parts.append("| Call | Answered | What is left out |\n|---|---|---|\n")
        for path in paths:
            name = path.rpartition("/")[2]
            left = PARTS.get(path) or PARTS.get(name, "") if path in answered else ""
            said = "no" if path not in answered else "in part" if left else "yes"
            note = _CLOSED if path.startswith("/machine.MachineService/") and closed_to_all(path) else ""
            parts.append(f"| {name} | {said} | {left or note or NOTES.get(name, '')} |\n")
    return "".join(parts)


def main() -> None:
    """Write the page."""
    TARGET.write_text(text(), encoding="utf-8")
    print(f"wrote {TARGET.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()

"""`make demo`: start the emulator with a fleet in it, and do the main job on it with the client."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
import time

from omniherd import Omni
from omniherd.emulator import Emulator
from omniherd.errors import NotFound, VersionConflict
from omniherd.resources import Cluster, ClusterStatus, ConfigPatch, MachineSet, MachineStatus

COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def title(text: str, code: str = "") -> None:
    """Print a heading, and the line of code that does what follows."""
    print()
    print(f"\033[1;36m{text}\033[0m" if COLOUR else f"== {text}")
    if code:
        print(textwrap.indent(f"\033[2m{code}\033[0m" if COLOUR else f">>> {code}", "   "))


def show(*columns: object) -> None:
    """Print a row."""
    widths = (12, 14, 12, 22)
    cells = [str(column).ljust(width) for column, width in zip(columns, widths, strict=False)]
    print(("   " + " ".join(cells)).rstrip())


def list_clusters(omni: Omni) -> None:
    """List clusters with their specs and states."""
    title("Clusters, with their specs", "omni.list(Cluster)")
    states = {status.id: status.spec for status in omni.list(ClusterStatus)}
    show("ID", "KUBERNETES", "TALOS", "MACHINES")
    for cluster in omni.list(Cluster):
        state = states[cluster.id]
        machines = f"{state.machines.healthy}/{state.machines.total} healthy"
        show(cluster.id, cluster.spec.kubernetes_version, cluster.spec.talos_version, machines)


def get_one(omni: Omni) -> None:
    """Get one resource, and see what a missing one gives."""
    title("One resource, typed", 'omni.get(Cluster, "prod")')
    cluster = omni.get(Cluster, "prod")
    show("id", cluster.id)
    show("version", cluster.version)
    show("labels", dict(sorted(cluster.labels.items())))
    show("created", f"{cluster.created:%Y-%m-%d %H:%M:%S} UTC")
    show("finalizers", f"{len(cluster.finalizers)}, the first is {cluster.finalizers[0]}")
    try:
        omni.get(Cluster, "nope")
    except NotFound as error:
        show("missing", f"NotFound: {error}")


def change_cluster(omni: Omni) -> None:
    """Create a cluster, change it and take it away, for the watch to report."""
    omni.create(
        Cluster(
            "demo",
            labels={"env": "demo"},
            spec={"kubernetes_version": "1.35.5", "talos_version": "1.13.5"},
        )
    )
    with omni.edit(Cluster, "demo") as cluster:
        cluster.spec.kubernetes_version = "1.36.0"
    omni.delete(Cluster, "demo")


def follow(omni: Omni) -> None:
    """Follow a cluster's life while another thread changes it."""
    title("Changes, live", 'for event in omni.watch(Cluster, labels="env = demo"): ...')
    worker = threading.Thread(target=change_cluster, args=(omni,))
    finalizers = -1
    for event in omni.watch(Cluster, labels="env = demo"):
        if event.kind == "bootstrapped":
            worker.start()
            continue
        cluster = event.resource
        what = f"Kubernetes {cluster.spec.kubernetes_version}"
        if event.old is not None and event.old.spec.kubernetes_version != cluster.spec.kubernetes_version:
            what = f"Kubernetes {event.old.spec.kubernetes_version} -> {cluster.spec.kubernetes_version}"
        elif event.kind == "updated" and finalizers != -1 and abs(len(cluster.finalizers) - finalizers) < 13:
            continue  # its controllers come and go one by one; the first and last are enough here
        finalizers = len(cluster.finalizers)
        show(event.kind, f"version {cluster.version}", cluster.phase.value, f"{what}, {finalizers} finalizers")
        if event.kind == "destroyed":
            break
    worker.join()


def write(omni: Omni) -> None:
    """Create and edit with typed specs."""
    title("Create and edit with typed specs", 'with omni.edit(ConfigPatch, "500-demo-ntp") as patch: ...')
    for name, server in (("500-demo-ntp", "time.example.org"), ("500-demo-ntp-lab", "time.lab.example.org")):
        patch = omni.create(
            ConfigPatch(
                name,
                labels={"omni.sidero.dev/cluster": "edge-lab", "demo": ""},
                spec={"data": f"machine:\n  time:\n    servers: [{server}]\n"},
            )
        )
        show("created", f"version {patch.version}", "", patch.id)
    with omni.edit(ConfigPatch, "500-demo-ntp") as current:
        current.spec.data = current.spec.data.replace("time.", "ntp.")
        current.labels["reviewed"] = "yes"
    after = omni.get(ConfigPatch, "500-demo-ntp")
    show("edited", f"version {after.version}", "", after.spec.data.strip().splitlines()[-1].strip())
    try:
        omni.update(patch)
        omni.update(patch)
    except VersionConflict as error:
        show("stale copy", f"VersionConflict: {error}")


def select(omni: Omni) -> None:
    """Find by label, delete by label."""
    title("By label", 'omni.delete_many(ConfigPatch, labels="demo, reviewed != yes")')
    large = omni.list(MachineStatus, labels="omni.sidero.dev/cores > 8, omni.sidero.dev/cluster = prod")
    show("found", f"{len(large)} machines of prod with more than 8 cores:", "", "")
    for status in large:
        show("", status.spec.network.hostname, f"{status.labels['omni.sidero.dev/cores']} cores")
    sets = omni.list(MachineSet, labels="omni.sidero.dev/role-worker")
    show("found", f"{len(sets)} worker sets: {', '.join(one.id for one in sets)}")
    for selector in ("demo, reviewed != yes", "demo"):
        result = omni.delete_many(ConfigPatch, labels=selector)
        show("deleted", f"{', '.join(one.id for one in result.deleted)} ({selector})")


def main() -> None:
    """Run the demonstration."""
    began = time.perf_counter()
    with Emulator() as emulator:
        took = (time.perf_counter() - began) * 1000
        title("An Omni on this machine, with a fleet of our own making")
        show("endpoint", emulator.endpoint)
        show("ready", f"after {took:.0f} ms, gRPC with signed requests, loopback only")
        account = {"endpoint": emulator.endpoint, "service_account_key": emulator.service_account_key}
        with Omni.connect(**account) as omni:
            list_clusters(omni)
            get_one(omni)
            follow(omni)
            write(omni)
            select(omni)
    title("Now on your own")
    print(
        textwrap.indent(
            "source .venv/bin/activate\n"
            "omniherd emulator               # prints two lines to paste into another terminal\n"
            "omniherd get clusters           # there\n"
            "python examples/sync/monitoring.py\n",
            "   ",
        )
    )


if __name__ == "__main__":
    main()

"""Living machines by the hundred: `python tests/perf/bench_fleet.py [--machines N] [--clusters N]`.

Machines join, clusters take them, upgrade Kubernetes and Talos, and go. Time is stepped, so the figures say what the
emulator itself needs; the last one says how much memory all of it took.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import TYPE_CHECKING, Any

from omniherd.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable

O = ".omni.sidero.dev"  # noqa: E741
L = "omni.sidero.dev/"
PLANES = 3


class Bench:
    """The fleet, and clusters of equal size that take all of it."""

    def __init__(self, machines: int, clusters: int) -> None:
        self.emulator = Emulator(machines=machines, speed=0)
        self.store, self.fleet = self.emulator.store, self.emulator.fleet
        self.names = [f"c{number}" for number in range(clusters)]
        self.events = 0
        self.store.observe(self.count)

    def count(self, _event: Any) -> None:
        self.events += 1

    def make(self) -> None:
        size = len(self.fleet.machines) // len(self.names)
        for number, name in enumerate(self.names):
            machines = self.fleet.machines[number * size : (number + 1) * size]
            spec = {"talos_version": "1.13.4", "kubernetes_version": "1.35.5"}
            self.store.put("Clusters" + O, name, spec)
            for suffix, role, ids in (
                ("control-planes", "role-controlplane", machines[:PLANES]),
                ("workers", "role-worker", machines[PLANES:]),
            ):
                labels = {L + "cluster": name, L + role: ""}
                self.store.put("MachineSets" + O, f"{name}-{suffix}", {"update_strategy": "Rolling"}, labels=labels)
                for id_ in ids:
                    self.store.put("MachineSetNodes" + O, id_, labels={**labels, L + "machine-set": f"{name}-{suffix}"})

    def want(self, field: str, version: str) -> None:
        for name in self.names:
            spec = self.store.get("default", "Clusters" + O, name).decode()
            setattr(spec, field, version)
            self.store.modify("default", "Clusters" + O, name, spec=spec.SerializeToString())

    def tear_down(self) -> None:
        for name in self.names:
            self.store.modify("default", "Clusters" + O, name, phase="tearingDown")

    def all_are(self, kind: str, check: Callable[[Any], bool]) -> bool:
        found = [self.store.find("default", kind + O, name) for name in self.names]
        return all(resource is not None and check(resource.decode()) for resource in found)

    def until(self, title: str, begin: Callable[[], None], done: Callable[[], bool]) -> None:
        events, second, real = self.events, self.fleet.schedule.now, time.perf_counter()
        begin()
        while not done():
            if self.fleet.schedule.next_due is None:
                raise SystemExit(f"{title}: nothing happens any more")
            self.fleet.step(1)
        took, passed = time.perf_counter() - real, self.fleet.schedule.now - second
        print(f"{title}: {took:.1f} s for {passed:.0f} s of the fleet's, {self.events - events} events")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=500)
    parser.add_argument("--clusters", type=int, default=10)
    options = parser.parse_args()
    real = time.perf_counter()
    bench = Bench(options.machines, options.clusters)
    print(f"{options.machines} machines join: {time.perf_counter() - real:.1f} s")

    def up() -> bool:
        answers = bench.all_are("KubernetesUpgradeStatuses", lambda spec: spec.phase == 2)
        return answers and bench.all_are("ClusterStatuses", lambda spec: spec.ready)

    def upgraded(kind: str, version: str) -> bool:
        done = bench.all_are(kind, lambda spec: spec.last_upgrade_version == version)
        return done and bench.all_are("ClusterStatuses", lambda spec: spec.ready)

    bench.until(f"{options.clusters} clusters come up", bench.make, up)
    bench.until(
        "Kubernetes is upgraded",
        lambda: bench.want("kubernetes_version", "1.36.0"),
        lambda: upgraded("KubernetesUpgradeStatuses", "1.36.0"),
    )
    bench.until(
        "Talos is upgraded",
        lambda: bench.want("talos_version", "1.13.5"),
        lambda: upgraded("TalosUpgradeStatuses", "1.13.5"),
    )
    bench.until("clusters go", bench.tear_down, lambda: not bench.store.list("default", "Clusters" + O))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{bench.events} events in all, {memory:.0f} MiB at most")


if __name__ == "__main__":
    main()

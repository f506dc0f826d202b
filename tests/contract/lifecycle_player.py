"""Plays what an operator did to a real server on the emulator, and lines up what both then did, step by step."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from omniherd.emulator.forms import yaml_of
from omniherd.emulator.records import CREATED, DESTROYED, Event

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from omniherd.emulator.simulation import Fleet
    from omniherd.emulator.store import Store

DATA = Path(__file__).parent.parent / "data"
O = ".omni.sidero.dev"  # noqa: E741
L = "omni.sidero.dev/"


def load(text: str) -> Any:
    return yaml.load(text, Loader=yaml.CSafeLoader)


# What differs from run to run or from machine to machine, and says nothing of the lifecycle.
BLIND = {
    "ClusterUUIDs": {"uuid"},
    "ClusterMachineIdentities": {"nodeidentity", "etcdmemberid", "nodeips"},
    "MachineSetStatuses": {"confighash"},
    "ClusterMachineConfigStatuses": {"clustermachineconfigsha256", "redactedcurrentmachineconfig"},
    "RedactedClusterMachineConfigs": {"data"},
    "ClusterMachineStatuses": {"managementaddress"},
    "ClusterEndpoints": {"managementaddresses"},
    "LoadBalancerConfigs": {"bindport", "siderolinkendpoint"},
    "MachineUpgradeStatuses": {"currentschematicid", "schematicid"},
    "DiscoveryAffiliateDeleteTasks": {"clusterid"},
    "Machines": {"managementaddress"},
}
# Of a machine's status only this is about its life; the rest is what it is made of.
SHOWN = {
    "MachineStatuses": {"talosversion", "lasterror", "connected", "maintenance", "cluster", "role", "powerstate"},
}
BLIND_LABELS = {L + "cluster-uuid", "env"}
HARDWARE = {L + name for name in ("arch", "cores", "cpu", "mem", "platform", "storage")}


@dataclass(frozen=True)
class Step:
    """One event of one resource, as far as it is compared."""

    kind: str
    phase: str
    owner: str
    labels: str
    finalizers: str
    spec: str


@dataclass
class Tally:
    """How many steps of a type are the same in the record and on the emulator."""

    same: int = 0
    recorded: int = 0
    more: int = 0
    unlike: list[str] = field(default_factory=list)


class Names:
    """Puts names in place of ids and names that differ from run to run."""

    def __init__(self, machines: dict[str, str]) -> None:
        self.machines = machines

    def __call__(self, text: str) -> str:
        for id_, name in self.machines.items():
            text = text.replace(id_, name)
        text = re.sub(r"fdae:41e4:649b:9303:[0-9a-f:]+", "<address>", text)
        return re.sub(r"talos-[a-z0-9]{3}-[a-z0-9]{3}", "<node>", text)


def shape(kind: str, spec: Any) -> Any:
    """Return what is compared of a spec."""
    if not isinstance(spec, dict):
        return spec
    shown = SHOWN.get(kind)
    kept = {key: value for key, value in spec.items() if key not in BLIND.get(kind, ()) and (not shown or key in shown)}
    if kind == "MachineSetNodes":
        return {}
    if kind in {"MachinePendingUpdates", "MachineConfigDiffs"}:
        for key in ("configdiff", "diff"):
            if key in kept:
                kept[key] = changed_lines(kept[key] or "")
        if kept.get("upgrade"):
            kept["upgrade"] = {key: value for key, value in kept["upgrade"].items() if "schematic" not in key}
    if kind == "ClusterMachineTalosVersions":
        kept.pop("schematicid", None)
    if kind in {"ConfigPatches", "ClusterMachineConfigPatches"}:
        texts = kept.get("patches") or [kept.get("data")]
        return [load(text) if text else None for text in texts]
    return kept


def changed_lines(diff: str) -> str:
    """Return the lines that a unified diff adds and takes, and nothing for a diff from nothing."""
    if diff.startswith("@@ -0,0"):
        return "everything"
    lines = [line for line in diff.splitlines() if line[:1] in "+-"]
    return "\n".join(re.sub(r"\S+/metal-installer/\w+", "<installer>", line) for line in lines)


class Track:
    """Collects the steps of every resource."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.steps: dict[tuple[str, str], list[Step]] = defaultdict(list)
        self.numbers: dict[tuple[str, str], str] = {}
        self.counts: Counter[str] = Counter()
        self.closed = False

    def identify(self, kind: str, id_: str) -> str:
        """Return an id that is the same in every run: differences are numbered, identities all the same."""
        if kind == "DiscoveryAffiliateDeleteTasks":
            return "<identity>"
        name = self.names(id_)
        if kind != "MachineConfigDiffs":
            return name
        if (kind, id_) not in self.numbers:
            machine = name.partition("-2")[0]
            self.counts[machine] += 1
            self.numbers[kind, id_] = f"{machine}-{self.counts[machine]}"
        return self.numbers[kind, id_]

    def add(
        self,
        kind: str,
        id_: str,
        event: str,
        phase: str,
        owner: str,
        labels: dict[str, str],
        finalizers: Iterable[str],
        spec: Any,
    ) -> None:
        shown = {
            key.removeprefix(L): self.names(value)
            for key, value in labels.items()
            if key not in BLIND_LABELS and key not in HARDWARE
        }
        step = Step(
            event,
            phase,
            owner,
            json.dumps(shown, sort_keys=True),
            " ".join(sorted(finalizers)),
            self.names(json.dumps(shape(kind, spec), sort_keys=True)),
        )
        steps = self.steps[kind, self.identify(kind, id_)]
        if steps and event == "UPDATED":
            last = steps[-1]
            more = set(last.finalizers.split()) <= set(step.finalizers.split())
            if more and (last.phase, last.labels, last.spec) == (step.phase, step.labels, step.spec):
                # Annotations alone, or one more finalizer of several that come in no order.
                steps[-1] = replace(last, finalizers=step.finalizers)
                return
        steps.append(step)


# --- the record -----------------------------------------------------------------------------------------------------


def read(file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / file).read_text("utf-8").splitlines()]


def record(lines: Iterable[dict[str, Any]], names: Names, kinds: Collection[str]) -> Track:
    """Return the steps of a record."""
    track = Track(names)
    specs: dict[tuple[str, str], Any] = {}
    for line in lines:
        if "action" in line:
            continue
        kind, id_ = line["type"].removesuffix(O), line["id"]
        if kind not in kinds:
            continue
        key = (kind, id_)
        if "spec_diff" in line:
            specs[key] = patched(specs.get(key), line["spec_diff"])
        elif line["spec"] != "=":
            specs[key] = load(line["spec"])
        track.add(
            kind,
            id_,
            line["event"],
            line["phase"],
            line.get("owner", ""),
            line.get("labels", {}),
            line.get("finalizers", []),
            specs.get(key),
        )
    return track


def patched(spec: Any, diff: str) -> Any:
    """Apply what a diff says of the first level of a spec; deeper changes are not compared."""
    spec = dict(spec or {})
    for line in diff.splitlines():
        if line.startswith("+") and not line.startswith(("+ ", "+++")):
            spec.update(load(line[1:]) or {})
    return spec


# --- the emulator ---------------------------------------------------------------------------------------------------


def watch(store: Store, names: Names, kinds: Collection[str]) -> Track:
    """Collect the steps of every resource of a store from now on."""
    track, events = Track(names), {CREATED: "CREATED", DESTROYED: "DESTROYED"}

    def note(event: Event) -> None:
        resource = event.resource
        if track.closed or resource is None:
            return
        kind = resource.type.removesuffix(O)
        if kind not in kinds:
            return
        track.add(
            kind,
            resource.id,
            events.get(event.kind, "UPDATED"),
            resource.phase,
            resource.owner,
            dict(resource.labels),
            resource.finalizers,
            load(yaml_of(resource.type, resource.spec)),
        )

    store.keep(note)
    return track


def play(fleet: Fleet, actions: Iterable[tuple[float, Callable[[], None]]], start: float, end: float) -> None:
    """Do at every moment what was done at that moment of the record."""
    now = start
    for at, action in actions:
        fleet.step(at - now)
        now = at
        action()
    fleet.step(end - now)


# --- comparing ------------------------------------------------------------------------------------------------------


def compare(recorded: Track, played: Track) -> dict[str, Tally]:
    """Line up the steps of every resource."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    for key in sorted(recorded.steps.keys() | played.steps.keys()):
        kind, id_ = key
        tally = tallies[kind]
        theirs, ours = recorded.steps.get(key, []), played.steps.get(key, [])
        matcher = difflib.SequenceMatcher(None, theirs, ours, autojunk=False)
        same = sum(block.size for block in matcher.get_matching_blocks())
        tally.same += same
        tally.recorded += len(theirs)
        tally.more += len(ours) - same
        for tag, a, b, c, d in matcher.get_opcodes():
            if tag != "equal":
                tally.unlike.append(f"{kind}/{id_}")
                tally.unlike += [f"  - {told(step)}" for step in theirs[a:b]]
                tally.unlike += [f"  + {told(step)}" for step in ours[c:d]]
    return tallies


def told(step: Step) -> str:
    return f"{step.kind[:3]} {step.phase} [{step.finalizers}] {step.labels} {step.spec[:600]}"

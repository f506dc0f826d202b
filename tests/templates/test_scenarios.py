"""Whole lives of clusters, recorded from omnictl and a real server, played against a world that only remembers.

What a server judges by itself (versions, machine classes, the state of machines) is no matter of templates; those steps
are played elsewhere, against a server.
"""

import json
from datetime import UTC, datetime

import pytest
from recorded_text import SCENARIOS, comparable

from omniherd import template


class World:
    """Resources as a server keeps them: every write gives a version and a time."""

    def __init__(self):
        self.kept = {}

    def __iter__(self):
        return iter(list(self.kept.values()))

    def write(self, resource, version):
        kept = resource.copy()
        kept.metadata.version = version
        now = int(datetime.now(UTC).timestamp())
        if kept.created is None:
            kept.metadata.proto.created.seconds = now
        kept.metadata.proto.updated.seconds = now
        self.kept[kept.key] = kept

    def carry_out(self, plan):
        for one in plan.creates:
            assert one.key not in self.kept
            self.write(one, 1)
        for one in plan.updates:
            assert self.kept[one.new.key].version == one.new.version
            self.write(one.new, one.new.version + 1)
        for one in (one for phase in plan.destroys for one in phase):
            # A cluster takes all with it that carries its label, a set its machines.
            label = {"Clusters": "cluster", "MachineSets": "machine-set"}.get(one.type.partition(".")[0], "")
            for key, other in list(self.kept.items()):
                if key == one.key or (label and other.labels.get(f"omni.sidero.dev/{label}") == one.id):
                    del self.kept[key]


def play(arguments, world):
    """Return what a command prints, or None for one that is not played here."""
    verb, *rest = arguments
    flags = set(rest)
    if verb == "export":
        return template.export(world, rest[rest.index("-c") + 1]).to_yaml()
    found = template.load(rest[rest.index("-f") + 1])
    found.validate()
    if verb == "validate":
        return ""
    if verb == "render":
        return found.render(now=datetime.now(UTC))
    if verb == "diff":
        return found.plan(world).diff(now=datetime.now(UTC))
    dry, verbose = bool(flags & {"-d", "--dry-run"}), bool(flags & {"-v", "--verbose"})
    plan = found.plan(world) if verb == "sync" else found.plan_delete(world)
    if not dry:
        world.carry_out(plan)
    parts = []
    if verbose and verb == "sync":
        parts.append(f"Processing 1 template file(s)\nSyncing template: {found.name}\n")
    for step in plan.steps():
        parts.append(step.line(dry_run=dry) + "\n")
        if verbose:
            parts.append(step.diff(now=datetime.now(UTC)))
    return "".join(parts)


def lasting(text):
    """Leave out lines that tell what became of the world besides."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("* destroyed "))


def is_played(step, remote_state):
    arguments = step["args"]
    return (
        arguments[:2] == ["cluster", "template"]
        and arguments[2] in {"validate", "render", "diff", "sync", "delete", "export"}
        and not step["expect"].get("stderr")
        and "--destroy-disconnected-machines" not in arguments
        and not remote_state
    )


@pytest.mark.parametrize("path", SCENARIOS, ids=[path.stem for path in SCENARIOS])
def test_scenario(path, tmp_path, monkeypatch):
    scenario = json.loads(path.read_text())
    monkeypatch.chdir(tmp_path)
    world = World()
    played = 0
    for step in scenario["steps"]:
        for name, text in step.get("write", {}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        arguments = step["args"]
        directory = "-f" in arguments and (tmp_path / arguments[arguments.index("-f") + 1]).is_dir()
        if not is_played(step, directory):
            if arguments[:3] == ["cluster", "template", "sync"]:
                # What follows depends on what a server made of it.
                break
            continue
        ours, recorded = lasting(play(arguments[2:], world)), lasting(step["expect"].get("stdout", ""))
        assert comparable(ours, step) == comparable(recorded, step), " ".join(arguments)
        played += 1
    if not played:
        pytest.skip("every step needs a server or a folder of templates")

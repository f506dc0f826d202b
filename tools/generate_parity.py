"""Make docs/cli-parity.md: every command and flag of omnictl v1.9.3, and what omniherd makes of it.

omnictl's side is recorded in tests/data/commands.json, ours is read off the commands themselves. What is written down
here by hand are remarks only: a command or flag is `yes` when it is there with the same short form, the same kind of
value and the same default, and making the page fails where one differs without a remark that says why.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from omniherd.cli.flags import BOOL, Duration, global_flags  # noqa: E402 - the path comes first
from omniherd.cli.table import ROOT as COMMANDS  # noqa: E402 - as above

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

    from omniherd.cli.table import Entry

PAGE = "docs/cli-parity.md"

# Commands that are there in name only, or not at all.
MISSING = {
    "completion powershell": "bash, zsh and fish only",
}
# Done otherwise on purpose, by command and flag; the page on differences says more.
BETTER = {
    ("apply", ""): "unchanged resources are left alone, and changes shown as lines",
    ("apply", "--file"): "`-` reads standard input",
    ("apply", "--dry-run"): "a diff of lines, coloured on a terminal only",
    ("cluster import", ""): "`-o json`; says what stands after a failure half way",
    ("cluster import", "--backup-output"): "mode 0600, appears once it is whole",
    ("cluster import", "--initial-talos-version"): "honoured",
    ("cluster import", "--initial-kubernetes-version"): "honoured",
    ("cluster secret rotate", "--wait-timeout"): "0 waits without a limit",
    ("cluster status", "--quiet"): "notices health",
    ("cluster status", "--wait"): "0 looks once, also at a cluster that does not exist",
    ("config context", ""): "warns of a context that is not there",
    ("configure machine", ""): "takes hostnames; says when nothing changed",
    ("delete", ""): "says what was not there and who holds what; `--wait-timeout`",
    ("download", "--output"): "the file appears once it is whole",
    ("edit", ""): "a refused edit is an error, and is not lost",
    ("get", "--watch"): "waits for an absent id",
    ("get", "--output"): "a jsonpath with `range` works for every resource",
    ("infraprovider create", "--ttl"): "honoured",
    ("infraprovider renewkey", "--ttl"): "honoured",
    ("kubeconfig", ""): "mode 0600 where a token is in it; keys that Kubernetes does not know stay",
    ("machine-logs", "--log-format"): "`omni` does not crash; what is no format is told",
    ("media download", "--output"): "the file appears once it is whole",
    ("media preset list", "--output"): "`table`, `json` and `yaml` too",
    ("serviceaccount list", ""): "an account without keys has a row",
    ("serviceaccount renew", "--ttl"): "honoured",
    ("support", "--output"): "asks before the bundle is gathered; mode 0600",
    ("support", "--verbose"): "lines on standard error",
}
# Aliases that lead to another command in omnictl, too.
SHADOWED = {"jointoken renew": {"r"}}
# Empty by default, which stands for what omnictl writes out.
ALIKE = {("delete", "--namespace"), ("download", "--talos-version")}
HEAD = """# Command line, compared with omnictl

Every command and every flag of omnictl v1.9.3. `yes`: here with the same name, short form, kind of value and default.
`better`: here, and done otherwise on purpose, see [differences](differences.md). `missing`: not here. The page is made
by `make generate` from the commands themselves, so that it is as they are.

{count}

| command | flag | here | remark |
|---|---|---|---|
"""


def render() -> dict[str, bytes]:
    """Return the page by its path below the root.

    Raises:
        SystemExit: A flag differs and no remark says why, or a remark is about nothing.
    """
    recorded: list[dict[str, Any]] = json.loads((ROOT / "tests" / "data" / "commands.json").read_text())
    rows: list[tuple[str, str, str, str]] = []
    wrong: list[str] = []
    used: set[tuple[str, str]] = set()
    # Flags of a group count for the commands in it.
    inherited: dict[str, list[dict[str, Any]]] = {}
    for command in recorded:
        name = command["command"].removeprefix("omnictl").strip()
        node = find(name)
        state, why = "yes", ""
        if node is None or name in MISSING:
            state, why = "missing", MISSING.get(name, "")
            used.add((name, "missing"))
        elif (name, "") in BETTER:
            state, why = "better", BETTER[name, ""]
            used.add((name, ""))
        if node is not None:
            lacking = sorted(set(command.get("aliases", ())) - set(node.aliases) - SHADOWED.get(name, set()))
            wrong += [f"{name}: alias {alias} is missing" for alias in lacking]
        rows.append((name or "(every command)", "", state, why))
        options = flags_of(node, name)
        inherited[name] = [flag for flag in command.get("flags", ()) if flag.get("inherited_by_children")]
        for flag in command.get("flags", ()):
            row, fault = compare(name, flag, options, used, built=state != "missing")
            rows.append(row)
            wrong += fault
    unused = [key for key in [*BETTER, *((name, "missing") for name in MISSING)] if key not in used]
    wrong += [f"a remark on {' '.join(key)} is about nothing" for key in unused]
    if wrong:
        raise SystemExit("\n".join(wrong))
    counted = {state: sum(row[2] == state for row in rows) for state in ("yes", "better", "missing")}
    count = f"Of {len(rows)} commands and flags {counted['yes']} are the same, {counted['better']} better, and "
    count += f"{counted['missing']} missing."
    text = HEAD.format(count=count)
    for name, flag, state, why in rows:
        text += f"| {'' if flag else f'`{name}`'} | {flag and f'`{flag}`'} | {state} | {why} |\n"
    text += "\n## What omnictl does not have\n\n| command | flags |\n|---|---|\n"
    for name, flags in additions(recorded):
        text += f"| `{name}` | {', '.join(f'`{flag}`' for flag in flags)} |\n"
    return {PAGE: text.encode()}


def find(name: str) -> Entry | None:
    """Return the row of the table for a command of omnictl, None where there is none."""
    node: Entry | None = COMMANDS
    if name == "help":
        # A word of the program itself.
        return COMMANDS
    for word in name.split():
        node = None if node is None else node.children.get(word)
    return node


def flags_of(node: Entry | None, name: str) -> dict[str, click.Option]:
    """Return the flags that a command takes, by name; those of a group are those of every command in it."""
    if node is None:
        return {}
    if node is COMMANDS:
        return {option: flag for flag in global_flags() for option in flag.opts}
    commands = [node] if node.module else list(leaves(node))
    found = [{option: param for param in leaf.load().params for option in param.opts} for leaf in commands]
    shared = set.intersection(*(set(one) for one in found))
    if name == "cluster template":
        # `status` and `export` read no files that a flag could allow.
        shared |= {option for one in found for option in one}
    return {option: param for one in found for option, param in one.items() if option in shared}


def leaves(node: Entry) -> Iterator[Entry]:
    """Yield the commands of a group."""
    for child in node.children.values():
        if child.module:
            yield child
        yield from leaves(child)


def compare(
    name: str, flag: dict[str, Any], options: dict[str, click.Option], used: set[tuple[str, str]], *, built: bool
) -> tuple[tuple[str, str, str, str], list[str]]:
    """Return the row of a flag, and what is wrong with it."""
    long = flag["long"]
    shown = f"{flag['short']}, {long}" if flag.get("short") else long
    if long == "--version" and not name:
        return (name, shown, "yes", ""), []
    option = options.get(long)
    if option is None or not built:
        return (name, shown, "missing", ""), []
    remark = BETTER.get((name, long))
    if remark is not None:
        used.add((name, long))
        return (name, shown, "better", remark), []
    differs = []
    if flag.get("short") and flag["short"] not in option.opts:
        differs.append(f"short form {flag['short']}")
    if (flag["type"] == "bool") != (option.type is BOOL):
        differs.append(f"kind {flag['type']}")
    if flag["type"] in {"stringSlice", "stringArray"} and not option.multiple:
        differs.append("cannot be repeated")
    if (name, long) not in ALIKE and not same_default(flag, option):
        differs.append(f"default {flag['default']!r}, not {option.default!r}")
    return (name, shown, "yes", ""), [f"{name} {long}: {what}" for what in differs]


def same_default(flag: dict[str, Any], option: click.Option) -> bool:
    """Whether a flag that is not given means the same."""
    default, ours = flag["default"], option.default
    if flag.get("required"):
        return True
    if flag["type"] == "duration":
        return Duration().convert(default, None, None) == ours
    if flag["type"] == "bool":
        # None is told apart from false where a preset says what holds otherwise.
        return {"true": True, "false": False}[default] is bool(ours)
    if flag["type"] in {"stringSlice", "stringArray"}:
        return default.strip("[]").split(",") == list(ours or ("",))
    return default == str("" if ours is None else ours)


def additions(recorded: list[dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Yield what only omniherd has: commands, and flags of commands."""
    known = {one["command"].removeprefix("omnictl").strip(): one for one in recorded}
    own = {option for flag in global_flags() for option in flag.opts}
    theirs = {flag["long"] for flag in known[""]["flags"]}
    yield "(every command)", sorted(own - theirs)
    for name, node in walk(COMMANDS, ""):
        if not node.module:
            continue
        path = name.split()
        groups = [" ".join(path[:depth]) for depth in range(1, len(path) + 1)]
        flags = {flag["long"] for group in groups for flag in known.get(group, {}).get("flags", ())}
        mine = {option for param in node.load().params for option in param.opts if option.startswith("--")}
        more = sorted(mine - own - flags)
        if name not in known or more:
            yield name, more


def walk(node: Entry, path: str) -> Iterator[tuple[str, Entry]]:
    """Yield every row of the table below one, with its name."""
    for child in node.children.values():
        name = f"{path} {child.name}".strip()
        yield name, child
        yield from walk(child, name)

"""Plans as people and programs read them: text for a terminal, JSON, and Markdown for a pull request."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

from omniherd.cli.output.diffs import coloured

if TYPE_CHECKING:
    from datetime import datetime

    from omniherd.template import FleetPlan, PlanPart, Step

__all__ = ["markdown", "record", "step_record", "summary", "text", "title", "warnings_of"]

_MARKS = {"create": "+", "update": "~", "destroy": "-"}
_SHADES = {"create": "\x1b[32m", "update": "\x1b[33m", "destroy": "\x1b[31m"}
_RED_BOLD, _RESET = "\x1b[1;31m", "\x1b[0m"
_WORDS = {"create": "create", "update": "change", "destroy": "destroy"}


def summary(plan: FleetPlan) -> str:
    """Return what a plan does in one line."""
    if plan.empty:
        return "No changes."
    counts = ", ".join(f"{number} to {_WORDS[action]}" for action, number in plan.counts().items())
    dangerous = len(plan.dangers())
    warning = f"; {dangerous} dangerous change{'' if dangerous == 1 else 's'}" if dangerous else ""
    return f"Plan: {counts}{warning}."


def text(plan: FleetPlan, *, now: datetime, colour: bool, brief: bool = False) -> str:
    """Return a plan for a terminal.

    Args:
        plan: The plan.
        now: What to show as the times of new resources.
        colour: Whether to colour it.
        brief: Whether to leave the diffs out.
    """
    lines: list[str] = []
    for part in plan.parts:
        if part.plan.empty:
            continue
        lines.append(f"{title(part)}\n")
        warnings = warnings_of(part)
        for step in part.plan.steps():
            line = f"{_MARKS[step.action]} {step.action} {_short(step)}"
            lines.append(f"{_SHADES[step.action]}{line}{_RESET}\n" if colour else f"{line}\n")
            for warning in warnings.get(step.resource.key, ()):
                line = f"! {warning}"
                lines.append(f"{_RED_BOLD}{line}{_RESET}\n" if colour else f"{line}\n")
            if not brief:
                diff = step.diff(now=now, dialect=part.plan.dialect, tidy=True)
                lines.append(coloured(diff) if colour else diff)
        lines.append("\n")
    return "".join(lines) + summary(plan) + "\n"


def record(plan: FleetPlan, *, now: datetime) -> dict[str, Any]:
    """Return a plan as JSON has it."""
    return {
        "endpoint": plan.endpoint,
        "changes": plan.counts(),
        "dangers": [danger.text for danger in plan.dangers()],
        "parts": [
            {
                "cluster": part.cluster or None,
                "file": part.file or None,
                "steps": [
                    step_record(part, step, warnings.get(step.resource.key, []), now=now) for step in part.plan.steps()
                ],
            }
            for part in plan.parts
            for warnings in (warnings_of(part),)
        ],
    }


def step_record(part: PlanPart, step: Step, warnings: list[str], *, now: datetime | None) -> dict[str, Any]:
    """Return a step as JSON has it."""
    one = step.resource
    return {
        "action": step.action,
        "type": one.type,
        "namespace": one.namespace,
        "id": one.id,
        "dangers": warnings,
        "diff": step.diff(now=now, dialect=part.plan.dialect, tidy=True),
    }


def markdown(plan: FleetPlan, *, now: datetime, brief: bool = False) -> str:
    """Return a plan for a comment on a pull request: a line that sums it up, dangers first, diffs folded away.

    Args:
        plan: The plan.
        now: What to show as the times of new resources.
        brief: Whether to leave the diffs out.
    """
    parts = [f"### {summary(plan)}\n"]
    found = plan.dangers()
    if found:
        parts.append("> [!CAUTION]\n" + "".join(f"> - {_escaped(danger.text)}\n" for danger in found))
    for part in plan.parts:
        if part.plan.empty:
            continue
        parts.append(f"#### {_escaped(title(part))}\n")
        warnings = warnings_of(part)
        for step in part.plan.steps():
            mark = " ⚠️" if step.resource.key in warnings else ""
            head = f"{step.action} <code>{_escaped(_short(step))}</code>{mark}"
            if brief:
                parts.append(f"- {head}\n")
                continue
            diff = step.diff(now=now, dialect=part.plan.dialect, tidy=True)
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", diff)), default=0))
            parts.append(
                f"<details><summary>{head}</summary>\n\n{fence}diff\n{diff.rstrip(chr(10))}\n{fence}\n\n</details>\n"
            )
    return "\n".join(parts)


def title(part: PlanPart) -> str:
    """Return what a part is about."""
    if not part.cluster:
        return "resources of no cluster"
    return f"cluster {part.cluster} ({part.file})" if part.file else f"cluster {part.cluster}"


def _short(step: Step) -> str:
    one = step.resource
    return f"{one.type.partition('.')[0]} {one.id}"


def warnings_of(part: PlanPart) -> dict[tuple[str, str, str], list[str]]:
    """Return what is dangerous in a part, by the keys of the resources."""
    from omniherd.template import dangers

    found: dict[tuple[str, str, str], list[str]] = {}
    for danger in dangers(part.plan):
        found.setdefault(danger.step.resource.key, []).append(danger.text)
    return found


def _escaped(words: str) -> str:
    return html.escape(words, quote=False)

"""Differences that a plan shall leave as they are: locks that somebody set, labels of other tools, whole resources."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from typing import TYPE_CHECKING, Any

from omniherd.errors import InputError
from omniherd.resource import Resource, resource_class
from omniherd.template import ids
from omniherd.template.planning import Plan, Update, same_content

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

__all__ = ["Ignore"]

_NUMBER = re.compile(r"^[0-9]{3}-")
_NUMBERED_TYPES = frozenset(("ConfigPatches.omni.sidero.dev", "KubernetesManifestGroups.omni.sidero.dev"))
_LOCKS = (ids.LOCKED, f"{ids.PREFIX}cluster-locked")


class Ignore:
    """Rules on what a plan leaves as it is on the server.

    Args:
        rules: `locks` for locks of machines and clusters; `numbers` for those in the ids of patches and manifests,
            which move when one before them goes or comes; `labels=PATTERN` and `annotations=PATTERN` for labels and
            annotations by their names; `TYPE` or `TYPE/PATTERN` for resources by their ids. Patterns are those of
            file names, `*` and `?`.

    Raises:
        InputError: A rule is none of these.

    Example:
        >>> Ignore(["locks", "annotations=backup.example.com/*", "configpatch/900-*"])
        Ignore(['locks', 'annotations=backup.example.com/*', 'configpatch/900-*'])
    """

    def __init__(self, rules: Iterable[str] = ()) -> None:
        self.rules = tuple(rules)
        self._numbers = False
        self._labels: list[str] = []
        self._annotations: list[str] = []
        self._resources: list[tuple[str, str]] = []
        for rule in self.rules:
            name, equals, pattern = rule.partition("=")
            if rule == "locks":
                self._annotations += _LOCKS
            elif rule == "numbers":
                self._numbers = True
            elif equals and name in {"labels", "annotations"} and pattern:
                (self._labels if name == "labels" else self._annotations).append(pattern)
            elif equals or not rule:
                raise InputError(
                    f'there is no such rule "{rule}"',
                    hint="a rule is locks, numbers, labels=PATTERN, annotations=PATTERN, TYPE or TYPE/PATTERN",
                )
            else:
                word, _, pattern = rule.partition("/")
                self._resources.append((resource_class(word).type_name, pattern or "*"))

    def __repr__(self) -> str:
        return f"Ignore({list(self.rules)!r})"

    def apply(self, plan: Plan) -> Plan:
        """Return a plan without what the rules leave as it is; carried out, it keeps what it does not show."""
        if not self.rules:
            return plan
        if self._numbers:
            plan = _keep_numbers(plan)
        changed = [self._keep(update) for update in plan.updates if not self._leaves(update.new)]
        return dataclasses.replace(
            plan,
            creates=tuple(one for one in plan.creates if not self._leaves(one)),
            updates=tuple(update for update in changed if not same_content(update.old, update.new)),
            destroys=tuple(tuple(one for one in phase if not self._leaves(one)) for phase in plan.destroys),
        )

    def _leaves(self, resource: Resource[Any]) -> bool:
        return any(
            resource.type == type_name and fnmatch.fnmatchcase(resource.id, pattern)
            for type_name, pattern in self._resources
        )

    def _keep(self, update: Update) -> Update:
        new = update.new.copy()
        _restore(new.labels, update.old.labels, self._labels)
        _restore(new.annotations, update.old.annotations, self._annotations)
        return Update(update.old, new)


def _keep_numbers(plan: Plan) -> Plan:
    """Return a plan in which patches and manifests that only move up or down stay where they are.

    Their ids say in which order they come. A type of which that order would become another is left as it was planned.
    """
    old = {(one.type, _unnumbered(one)): one for phase in plan.destroys for one in phase if one.type in _NUMBERED_TYPES}
    moves: dict[str, dict[str, str]] = {}
    for new in plan.creates:
        there = old.get((new.type, _unnumbered(new)))
        if there is not None and new.key != there.key and same_content(there, new):
            moves.setdefault(new.type, {})[new.id] = there.id
    dropped: set[tuple[str, str]] = set()
    for type_name, moved in moves.items():
        leaving = {one.id for phase in plan.destroys for one in phase if one.type == type_name}
        staying = {key[2] for key in plan.basis if key[1] == type_name} - leaving
        wanted = sorted(staying | {one.id for one in plan.creates if one.type == type_name})
        kept = [moved.get(ident, ident) for ident in wanted]
        if kept == sorted(kept):
            dropped |= {(type_name, ident) for pair in moved.items() for ident in pair}
    return dataclasses.replace(
        plan,
        creates=tuple(one for one in plan.creates if (one.type, one.id) not in dropped),
        destroys=tuple(tuple(one for one in phase if (one.type, one.id) not in dropped) for phase in plan.destroys),
    )


def _unnumbered(resource: Resource[Any]) -> str:
    return _NUMBER.sub("", resource.id)


def _restore(new: MutableMapping[str, str], old: MutableMapping[str, str], patterns: list[str]) -> None:
    for name in {*old, *new}:
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            if name in old:
                new[name] = old[name]
            else:
                del new[name]

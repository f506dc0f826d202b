"""Differences that a plan shall leave as they are: locks that somebody set, labels of other tools, whole resources."""

from __future__ import annotations

import dataclasses
import fnmatch
from typing import TYPE_CHECKING, Any

from omniherd.errors import InputError
from omniherd.resource import Resource, resource_class
from omniherd.template import ids
from omniherd.template.planning import Plan, Update, same_content

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

__all__ = ["Ignore"]

_LOCKS = (ids.LOCKED, f"{ids.PREFIX}cluster-locked")


class Ignore:
    """Rules on what a plan leaves as it is on the server.

    Args:
        rules: `locks` for locks of machines and clusters; `labels=PATTERN` and `annotations=PATTERN` for labels and
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
        self._labels: list[str] = []
        self._annotations: list[str] = []
        self._resources: list[tuple[str, str]] = []
        for rule in self.rules:
            name, equals, pattern = rule.partition("=")
            if rule == "locks":
                self._annotations += _LOCKS
            elif equals and name in {"labels", "annotations"} and pattern:
                (self._labels if name == "labels" else self._annotations).append(pattern)
            elif equals or not rule:
                raise InputError(
                    f'there is no such rule "{rule}"',
                    hint="a rule is locks, labels=PATTERN, annotations=PATTERN, TYPE or TYPE/PATTERN",
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


def _restore(new: MutableMapping[str, str], old: MutableMapping[str, str], patterns: list[str]) -> None:
    for name in {*old, *new}:
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            if name in old:
                new[name] = old[name]
            else:
                del new[name]

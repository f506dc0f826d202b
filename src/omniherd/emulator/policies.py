"""Access policies: what they may say, and which role they give whom on which cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from omniherd.emulator.access import SERVER_ROLES, rank
from omniherd.emulator.globs import BadPattern, glob_matches
from omniherd.emulator.gotext import quote, quote_all
from omniherd.emulator.records import describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from omniherd.emulator.access import Principal
    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Store

__all__ = ["MASTERS", "POLICY", "POLICY_ID", "Policies", "evaluate", "judge_policy"]

POLICY = "AccessPolicies.omni.sidero.dev"
POLICY_ID = "access-policy"
MASTERS = "system:masters"
"""The group of Kubernetes whose members may do everything; Operators are in it."""
_IDENTITY = "Identities.omni.sidero.dev"
_CLUSTER = "Clusters.omni.sidero.dev"
_GROUP = "group/"
_PATTERN = "syntax error in pattern"


@dataclass(slots=True)
class Verdict:
    """What a policy says of a user and a cluster.

    Attributes:
        role: The role that it gives.
        groups: Kubernetes groups to impersonate.
        everywhere: Whether a rule that gave something holds for all clusters.
    """

    role: str = "None"
    groups: list[str] = field(default_factory=list[str])
    everywhere: bool = False


class PolicyFault(Exception):
    """A policy that cannot be evaluated; its text is the server's."""


# --- what it gives ----------------------------------------------------------------------------------------------------


def evaluate(policy: Any, user: str, labels: Mapping[str, str], cluster: str) -> Verdict:
    """Return what a policy gives a user on a cluster.

    Args:
        policy: The spec.
        user: Identity of the user.
        labels: Labels of the identity.
        cluster: Id of the cluster.

    Raises:
        PolicyFault: A pattern or a label selector does not parse.
    """
    verdict = Verdict()
    for rule in policy.rules:
        if not any(_user_matches(policy, entry, user, labels) for entry in rule.users):
            continue
        found, everywhere = _cluster_matches(policy, rule.clusters, cluster)
        verdict.everywhere |= everywhere
        if not found:
            continue
        verdict.groups.extend(rule.kubernetes.impersonate.groups)
        if rule.role and rank(rule.role) > rank(verdict.role):
            verdict.role = rule.role
    return verdict


def _user_matches(policy: Any, entry: str, user: str, labels: Mapping[str, str]) -> bool:
    if entry == user:
        return True
    name = entry.removeprefix(_GROUP)
    if name == entry or name not in policy.user_groups:
        return False
    return any(
        _one_matches(one, user, _IDENTITY) or (bool(one.label_selectors) and _selected(one.label_selectors, labels))
        for one in policy.user_groups[name].users
    )


def _cluster_matches(policy: Any, entries: Iterable[str], cluster: str) -> tuple[bool, bool]:
    """Return whether a rule holds for a cluster, and whether for all: groups after the first that fits still count."""
    found = everywhere = False
    for entry in entries:
        if entry == cluster:
            return True, everywhere
        name = entry.removeprefix(_GROUP)
        if name == entry or name not in policy.cluster_groups:
            continue
        for one in policy.cluster_groups[name].clusters:
            if one.match == "*":
                found = everywhere = True
                break
            if _one_matches(one, cluster, _CLUSTER):
                found = True
                break
    return found, everywhere


def _one_matches(one: Any, id_: str, type_name: str) -> bool:
    if one.name and one.name == id_:
        return True
    try:
        return bool(one.match) and glob_matches(one.match, id_)
    except BadPattern:
        named = describe(type_name, "default", id_)
        raise PolicyFault(f"invalid match pattern {quote(one.match)} for {named}") from None


def _selected(selectors: Iterable[str], labels: Mapping[str, str]) -> bool:
    from omniherd.errors import SelectorError
    from omniherd.selectors import parse

    try:
        return parse(",".join(selectors)).matches(labels)
    except SelectorError as error:
        raise PolicyFault(str(error)) from None


class Policies:
    """The policy in force.

    Args:
        store: The state.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def role(self, principal: Principal, cluster: str) -> tuple[str, bool]:
        """Return the role of a caller on a cluster, and whether the policy holds for all clusters.

        Args:
            principal: The caller.
            cluster: Id of the cluster.
        """
        verdict = self._verdict(principal.identity, cluster)
        return max(principal.role, verdict.role, key=rank), verdict.everywhere

    def groups(self, identity: str, cluster: str) -> list[str]:
        """Return the groups of Kubernetes that the policy gives somebody on a cluster.

        Args:
            identity: Who.
            cluster: Id of the cluster.
        """
        verdict = self._verdict(identity, cluster)
        return [*verdict.groups, *([MASTERS] if rank(verdict.role) >= rank("Operator") else [])]

    def _verdict(self, identity: str, cluster: str) -> Verdict:
        """Return what the policy says; one that is not there, or faulty, says nothing."""
        stored = self._store.find("default", POLICY, POLICY_ID)
        found = self._store.find("default", _IDENTITY, identity)
        if stored is None or found is None:
            return Verdict()
        try:
            return evaluate(stored.decode(), identity, found.labels, cluster)
        except PolicyFault:
            return Verdict()


# --- what it may say --------------------------------------------------------------------------------------------------


def judge_policy(verb: str, _current: Stored | None, resource: Stored) -> list[str]:
    """Return what is wrong with a policy; see `Validators.judge`."""
    if verb not in {"create", "update"}:
        return []
    policy = resource.decode()
    texts: list[str] = []
    if resource.id != POLICY_ID:
        texts.append(f"access policy ID mismatch: expected {quote(POLICY_ID)}, got {quote(resource.id)}")
    if resource.namespace != "default":
        texts.append(f'access policy namespace mismatch: expected "default", got {quote(resource.namespace)}')
    for name, group in policy.user_groups.items():
        for one in group.users:
            texts.extend(_judge_entry(one, f"access policy user group {quote(name)} contains", "user"))
    for name, group in policy.cluster_groups.items():
        for one in group.clusters:
            texts.extend(_judge_entry(one, f"access policy cluster group {quote(name)} contains", "cluster"))
    texts.extend(
        f"unknown role to parse: {quote(rule.role)}"
        for rule in policy.rules
        if rule.role and rule.role not in SERVER_ROLES
    )
    for test in policy.tests:
        texts.extend(_judge_test(policy, test))
    return texts


def _judge_entry(entry: Any, place: str, what: str) -> list[str]:
    texts: list[str] = []
    count = sum((bool(entry.name), bool(entry.match), bool(what == "user" and entry.label_selectors)))
    if entry.match:
        try:
            glob_matches(entry.match, "")
        except BadPattern:
            texts.append(_PATTERN)
    if count == 0:
        texts.append(f"{place} an empty {what}")
    elif count > 1:
        texts.append(f"{place} a {what} with mutually exclusive fields set")
    return texts


def _judge_test(policy: Any, test: Any) -> list[str]:
    texts: list[str] = []
    if not test.name:
        texts.append("invalid test: name is empty")
    if not test.cluster.name:
        texts.append('invalid test "": cluster name is empty')
    if not test.user.name:
        texts.append('invalid test "": user name is empty')
    try:
        verdict = evaluate(policy, test.user.name, test.user.labels, test.cluster.name)
    except PolicyFault as fault:
        return [*texts, str(fault)]
    failed = f"access policy test {quote(test.name)} failed:"
    wanted, groups = sorted(test.expected.kubernetes.impersonate.groups), sorted(verdict.groups)
    if wanted != groups:
        texts.append(
            f"{failed} kubernetes impersonate groups mismatch: expected {quote_all(wanted)}, got {quote_all(groups)}"
        )
    if test.expected.role and test.expected.role != verdict.role:
        texts.append(f"{failed} role mismatch: expected {quote(test.expected.role)}, got {quote(verdict.role)}")
    return texts

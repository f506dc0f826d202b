"""Access policies as they are written."""

from __future__ import annotations

from typing import Any

from .steps import Step, T, create, destroy, update

SCENARIOS: dict[str, list[Step]] = {}


def policy(**spec: Any) -> Step:
    """Return the creation of an access policy that is not expected to last."""
    return create("AccessPolicies", "access-policy", spec=spec)


def users(*entries: Any) -> dict[str, Any]:
    """Return one group of users."""
    return {"user_groups": {"g": {"users": list(entries)}}}


def clusters(*entries: Any) -> dict[str, Any]:
    """Return one group of clusters."""
    return {"cluster_groups": {"g": {"clusters": list(entries)}}}


RULE = {"users": ["u@x.y", "group/u"], "clusters": ["c", "group/c"], "role": "Operator"}
GROUPS = {
    "user_groups": {"u": {"users": [{"match": "m-*"}, {"label_selectors": ["team = a"]}]}},
    "cluster_groups": {"c": {"clusters": [{"match": "k-[ab]"}, {"name": "exact"}]}},
}


def tested(name: str, user: str, cluster: str, **expected: Any) -> dict[str, Any]:
    """Return one test of a policy."""
    return {"name": name, "user": {"name": user}, "cluster": {"name": cluster}, "expected": expected}


SCENARIOS["access-policies"] = [
    create("AccessPolicies", T + "p"),
    create("AccessPolicies", "access-policy", namespace="ephemeral"),
    policy(**users({})),
    policy(**users({"name": "a", "match": "b"})),
    policy(**users({"match": "[a"})),
    policy(**users({"match": "a\\"})),
    policy(**users({"match": "[]a]"})),
    policy(**users({"label_selectors": ["a ="]})),
    policy(**clusters({})),
    policy(**clusters({"name": "a", "match": "b"})),
    policy(**clusters({"match": "[a"})),
    policy(rules=[{"role": "Nope"}, {"role": "Auditor"}]),
    policy(rules=[{"role": "Nope"}, {"role": "Nope"}]),
    policy(tests=[{}]),
    policy(tests=[{}, {}]),
    policy(tests=[tested("t", "u@x.y", "c", role="Reader")]),
    policy(rules=[RULE], tests=[tested("t", "u@x.y", "c", role="Reader")]),
    policy(rules=[RULE], tests=[tested("t", "u@x.y", "other", role="Operator")]),
    policy(rules=[RULE], **GROUPS, tests=[tested("t", "m-x", "k-a", role="Admin")]),
    policy(rules=[RULE], **GROUPS, tests=[tested("t", "m-x", "k-c", role="Admin")]),
    policy(rules=[RULE], **GROUPS, tests=[tested("t", "n", "exact", role="Admin")]),
    policy(
        rules=[RULE],
        **GROUPS,
        tests=[{**tested("t", "n", "exact", role="Admin"), "user": {"name": "n", "labels": {"team": "a"}}}],
    ),
    policy(
        rules=[{**RULE, "kubernetes": {"impersonate": {"groups": ["b", "a"]}}}],
        tests=[tested("t", "u@x.y", "c", role="Operator")],
    ),
    policy(
        rules=[{**RULE, "kubernetes": {"impersonate": {"groups": ["b"]}}}],
        tests=[tested("t", "u@x.y", "c", kubernetes={"impersonate": {"groups": ["a", '"']}})],
    ),
    policy(
        rules=[RULE, {**RULE, "role": "Reader"}],
        tests=[tested("t", "u@x.y", "c", role="Reader"), tested("", "u@x.y", "c", role="Reader")],
    ),
    policy(**{**users({}), "rules": [{"role": "Nope"}], "tests": [{}]}),
    policy(),
    update("AccessPolicies", "access-policy", spec={"rules": [{"role": "Nope"}]}),
    update("AccessPolicies", "access-policy", spec={"rules": [{"role": "Nope"}]}, phase="tearingDown"),
    destroy("AccessPolicies", "access-policy"),
]

BROKEN = {"match": "[a"}
EVERYBODY = [tested("t", "u", "c", role="None")]

SCENARIOS["policy-faults"] = [
    policy(**users(BROKEN), rules=[{**RULE, "users": ["group/g"]}], tests=EVERYBODY),
    policy(**clusters(BROKEN), rules=[{**RULE, "users": ["u"], "clusters": ["group/g"]}], tests=EVERYBODY),
    policy(**users({"label_selectors": ["a ="]}), rules=[{**RULE, "users": ["group/g"]}], tests=EVERYBODY),
]

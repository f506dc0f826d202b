"""The words of the scenarios: steps, and the names that they speak of."""

from __future__ import annotations

from typing import Any

Step = dict[str, Any]

T = "omniherd-test-"
L = "omni.sidero.dev/"
CLUSTER = L + "cluster"
SET = L + "machine-set"
CONTROL_PLANE = {L + "role-controlplane": ""}
WORKER = {L + "role-worker": ""}
VERSIONS = {"talos_version": "1.13.4", "kubernetes_version": "1.35.5"}
LOCK = {L + "cluster-locked": ""}
IMPORTING = {L + "cluster-import-is-in-progress": ""}


def step(verb: str, type_name: str, id_: Any, **rest: Any) -> Step:
    """Return a step; `as_` is the role of who makes it."""
    if "as_" in rest:
        rest["as"] = rest.pop("as_")
    return {"verb": verb, "type": type_name, "id": id_, **rest}


def create(type_name: str, id_: Any = T + "x", **rest: Any) -> Step:
    """Return a creation."""
    return step("create", type_name, id_, **rest)


def update(type_name: str, id_: Any = T + "x", **rest: Any) -> Step:
    """Return an update of what is stored."""
    return step("update", type_name, id_, **rest)


def teardown(type_name: str, id_: Any = T + "x", **rest: Any) -> Step:
    """Return a teardown."""
    return step("teardown", type_name, id_, **rest)


def destroy(type_name: str, id_: Any = T + "x", **rest: Any) -> Step:
    """Return a destruction."""
    return step("destroy", type_name, id_, **rest)


def times(text: str, count: int, before: str = "") -> dict[str, Any]:
    """Return the short form of a long text."""
    return {"@repeat": [text, count, before]}


def specs(type_name: str, *contents: Any, **rest: Any) -> list[Step]:
    """Return creations of resources that differ in their content."""
    return [create(type_name, f"{T}{number}", spec=content, **rest) for number, content in enumerate(contents)]

"""Putting a change on a newer version of what was changed."""

from __future__ import annotations

import pytest

from omniherd._core.merge import MergeConflict, merge_resources
from omniherd.resource import Phase, resource_class
from omniherd.resources import AccessPolicy, Cluster, InstallationMediaConfig, MachineSet


def cluster(**spec):
    return Cluster("lab", labels={"keep": "1"}, finalizers=["first"], spec={"talos_version": "1.13.5", **spec})


def merged(base, mine, theirs):
    return merge_resources(base, mine, theirs)


def change(resource, what):
    copy = resource.copy()
    what(copy)
    return copy


def test_changes_of_different_things_go_together():
    base = cluster(kubernetes_version="1.35.0")

    def mine(one):
        one.spec.kubernetes_version = "1.36.1"
        one.labels["mine"] = "1"
        one.finalizers.append("second")

    def theirs(one):
        one.metadata.version = 7
        one.spec.features.disk_encryption = True
        del one.labels["keep"]
        one.annotations["theirs"] = "1"
        one.finalizers.clear()

    out = merged(base, change(base, mine), change(base, theirs))
    assert out.version == 7
    assert (out.spec.kubernetes_version, out.spec.features.disk_encryption) == ("1.36.1", True)
    assert (dict(out.labels), dict(out.annotations)) == ({"mine": "1"}, {"theirs": "1"})
    assert list(out.finalizers) == ["second"]


def test_the_same_change_on_both_sides_is_none():
    base = cluster(kubernetes_version="1.35.0")
    other = cluster(kubernetes_version="1.36.1")
    assert merged(base, other, other.copy()).spec.kubernetes_version == "1.36.1"


def test_a_scalar_that_both_changed_is_a_conflict():
    with pytest.raises(MergeConflict) as caught:
        merged(
            cluster(kubernetes_version="1"),
            change(cluster(kubernetes_version="2"), lambda one: one.labels.update(keep="2")),
            change(cluster(kubernetes_version="3"), lambda one: one.labels.update(keep="3")),
        )
    assert caught.value.paths == ("labels.keep", "spec.kubernetes_version")
    assert str(caught.value) == "labels.keep, spec.kubernetes_version"


def test_messages_inside_are_merged_field_by_field():
    base = cluster(features={"disk_encryption": False, "enable_workload_proxy": False})
    mine = change(base, lambda one: setattr(one.spec.features, "enable_workload_proxy", True))
    theirs = change(base, lambda one: setattr(one.spec.features, "disk_encryption", True))
    features = merged(base, mine, theirs).spec.features
    assert (features.enable_workload_proxy, features.disk_encryption) == (True, True)


def test_a_message_can_appear_and_go():
    base = cluster()
    mine = cluster(backup_configuration={"enabled": True})
    assert merged(base, mine, cluster(kubernetes_version="1")).spec.backup_configuration.enabled
    out = merged(mine, base, change(mine, lambda one: one.labels.update(a="b")))
    assert not out.spec.HasField("backup_configuration")
    assert merged(base, base, mine).spec.backup_configuration.enabled
    with pytest.raises(MergeConflict, match=r"spec\.backup_configuration"):
        merged(base, mine, cluster(backup_configuration={"enabled": False}))


def test_a_list_counts_as_one_value():
    def machine_set(*names):
        return MachineSet("lab-workers", spec={"machine_allocation": {"name": names[0]}} if names else {})

    assert merged(machine_set(), machine_set("a"), machine_set()).spec.machine_allocation.name == "a"
    with pytest.raises(MergeConflict, match=r"spec\.machine_allocation"):
        merged(machine_set(), machine_set("a"), machine_set("b"))


def test_repeated_messages_and_scalars():
    kind = resource_class("machineclasses")

    def of(*labels):
        return kind("x", spec={"match_labels": list(labels)})

    assert list(merged(of("a"), of("a", "b"), of("a")).spec.match_labels) == ["a", "b"]
    assert list(merged(of("a"), of("a"), of("c")).spec.match_labels) == ["c"]
    assert list(merged(of("a"), of(), of("a")).spec.match_labels) == []
    with pytest.raises(MergeConflict, match=r"spec\.match_labels"):
        merged(of("a"), of("b"), of("c"))


def test_map_fields_are_merged_by_key():
    def of(**labels):
        return InstallationMediaConfig("x", spec={"machine_labels": labels})

    out = merged(of(a="1", b="1", c="1"), of(a="2", c="1", d="4"), of(a="1", b="1", c="3", e="5"))
    assert dict(out.spec.machine_labels) == {"a": "2", "c": "3", "d": "4", "e": "5"}
    with pytest.raises(MergeConflict) as caught:
        merged(of(a="1"), of(a="2"), of(a="3"))
    assert caught.value.paths == ("spec.machine_labels.a",)


def test_map_fields_of_messages_are_merged_by_key():
    def of(**groups):
        spec = {"user_groups": {name: {"users": [{"name": user}]} for name, user in groups.items()}}
        return AccessPolicy("access-policy", spec=spec)

    out = merged(of(a="x"), of(a="y", b="z"), of(a="x", c="w"))
    assert {name: group.users[0].name for name, group in out.spec.user_groups.items()} == {"a": "y", "b": "z", "c": "w"}
    assert list(merged(of(a="x", b="y"), of(a="x"), of(a="x", b="y")).spec.user_groups) == ["a"]


def test_mappings_of_unknown_types_are_merged_by_key():
    kind = resource_class("Things.example.dev")

    def of(**spec):
        return kind("x", spec=spec)

    out = merged(of(a={"x": 1, "y": 1}, b=1), of(a={"x": 2, "y": 1}, b=1), of(a={"x": 1, "y": 3}, c=1))
    assert out.spec == {"a": {"x": 2, "y": 3}, "c": 1}
    with pytest.raises(MergeConflict, match=r"spec\.a\.x"):
        merged(of(a={"x": 1}), of(a={"x": 2}), of(a={"x": 3}))


def test_the_phase_is_merged_too():
    base = cluster()
    torn = change(base, lambda one: setattr(one.metadata, "phase", "tearingDown"))
    assert merged(base, base.copy(), torn).phase == Phase.TEARING_DOWN
    assert merged(base, torn, base.copy()).phase == Phase.TEARING_DOWN

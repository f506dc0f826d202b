"""What the client's verbs mean, on the emulator and on a real server, for threads and for tasks."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from omniherd._core.requests import list_options
from omniherd.errors import (
    AlreadyExists,
    DeleteTimeout,
    FinalizersPending,
    InputError,
    InvalidArgument,
    NotFound,
    OwnerConflict,
    PermissionDenied,
    PhaseConflict,
    SelectorError,
    UnknownType,
    VersionConflict,
    WaitTimeout,
    WatchExpired,
)
from omniherd.resource import Phase
from omniherd.resources import Cluster, ConfigPatch, CurrentUser, MachineClass, SysVersion, TalosVersion
from omniherd.wire import cosi_resource

SPEC = {"match_labels": ["omniherd = test"]}


def made(prefix, name, **more):
    return MachineClass(prefix + name, spec=SPEC, **more)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_get_by_class_full_name_and_alias(omni):
    one = omni.get(SysVersion, "current")
    assert one.spec.backend_version
    assert type(omni.get(SysVersion.type_name, "current")) is SysVersion
    assert omni.get("sysversion", "current") == one


def test_list_sorts_and_selects(omni, prefix):
    for number, env in enumerate(["prod", "test", "prod"]):
        omni.create(made(prefix, str(number), labels={"env": env, prefix + "n": str(number)}))
    mine = f"^{prefix}"

    def ids(**query):
        return [one.id.removeprefix(prefix) for one in omni.list(MachineClass, id_regexp=mine, **query)]

    assert ids() == ["0", "1", "2"]
    assert ids(labels="env = prod") == ["0", "2"]
    assert ids(labels={"env": "test"}) == ["1"]
    assert ids(labels=f"env, {prefix}n > 0") == ["1", "2"]
    assert ids(labels="env in (test, prod), !nope") == ["0", "1", "2"]
    assert ids(sort="-id") == ["2", "1", "0"]
    assert ids(sort=lambda one: (one.labels["env"], -int(one.id[-1]))) == ["2", "0", "1"]
    assert ids(sort="created") == ["0", "1", "2"]
    assert omni.list(MachineClass, namespace="nowhere") == []


def test_a_list_is_what_the_server_lists(omni, prefix):
    # Kinds of every namespace, and one that grows; others may change under the test on a server in use.
    for number in range(3):
        omni.create(made(prefix, str(number)))
    for cls, regexp in ((MachineClass, f"^{prefix}"), (TalosVersion, None), (SysVersion, None)):
        request = cosi_resource.ListRequest(
            namespace=cls.default_namespace, type=cls.type_name, options=list_options(None, regexp)
        )
        listed = [cls.from_proto(one.resource) for one in omni.stream("/cosi.resource.State/List", request)]
        assert listed
        assert omni.list(cls, id_regexp=regexp) == listed
        assert [one.id for one in omni.list(cls, id_regexp=regexp)] == [one.id for one in listed]


def test_what_cannot_be_asked(omni):
    with pytest.raises(NotFound) as missing:
        omni.get(Cluster, "omniherd-test-missing")
    assert missing.value.resource == "Clusters.omni.sidero.dev(default/omniherd-test-missing)"
    with pytest.raises(UnknownType):
        omni.list("nothing-of-that-name")
    with pytest.raises(PermissionDenied) as refused:
        omni.list("Things.example.dev")
    assert "does not know it" in refused.value.hint
    with pytest.raises(SelectorError):
        omni.list(Cluster, labels="env in prod")
    with pytest.raises(InvalidArgument, match="missing closing"):
        omni.list(Cluster, id_regexp="(")
    with pytest.raises(InputError, match="nothing to sort by"):
        omni.list(TalosVersion, sort="spec.nope")
    for bad in ("", "x" * 5000):
        with pytest.raises(InputError):
            omni.get(Cluster, bad)


# --- writing ----------------------------------------------------------------------------------------------------------


def test_create_update_and_their_conflicts(omni, prefix):
    first = omni.create(made(prefix, "a", labels={"one": "1"}, annotations={"note": "x"}))
    assert (first.version, first.phase, first.owner) == (1, Phase.RUNNING, "")
    assert first.created is not None
    with pytest.raises(AlreadyExists):
        omni.create(made(prefix, "a"))
    stale = first.copy()
    first.spec.match_labels.append("second = yes")
    second = omni.update(first)
    assert second.version == 2
    assert second.created == first.created
    assert dict(second.labels) == {"one": "1"}
    assert dict(second.annotations) == {"note": "x"}
    with pytest.raises(VersionConflict) as conflict:
        omni.update(stale)
    assert conflict.value.details == {"expected": "1", "actual": "2"}
    third = omni.update(second)
    assert third.version == 3
    with pytest.raises(PhaseConflict):
        omni.update(third, expected_phase=Phase.TEARING_DOWN)
    with pytest.raises(NotFound):
        omni.update(made(prefix, "missing"))
    with pytest.raises(OwnerConflict):
        omni.update(third, owner="somebody")


def test_validators_are_listed(omni, prefix):
    with pytest.raises(InvalidArgument) as caught:
        omni.create(MachineClass(prefix + "empty"))
    assert caught.value.details["errors"]


def test_edit_looks_at_resources_only_in_what_a_function_returns(omni, prefix):
    omni.create(made(prefix, "a", labels={"x": "y"}))
    assert dict(omni.edit(MachineClass, prefix + "a", lambda one: one.labels.pop("x")).labels) == {}
    other = made(prefix, "a", labels={"z": "1"})

    def replace(one):
        other.metadata.proto.version = one.metadata.proto.version
        return other

    assert dict(omni.edit(MachineClass, prefix + "a", replace).labels) == {"z": "1"}


def test_edit_retries_and_writes_only_changes(omni, prefix):
    omni.create(made(prefix, "a"))
    with omni.edit(MachineClass, prefix + "a"):
        pass
    assert omni.get(MachineClass, prefix + "a").version == 1
    with pytest.raises(ZeroDivisionError), omni.edit(MachineClass, prefix + "a") as one:
        one.labels["never"] = str(1 / 0)
    assert omni.get(MachineClass, prefix + "a").version == 1

    def count(one):
        one.annotations["count"] = str(int(one.annotations.get("count", "0")) + 1)

    threads = [threading.Thread(target=omni.edit, args=(MachineClass, prefix + "a", count)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert omni.get(MachineClass, prefix + "a").annotations["count"] == "4"


def test_apply_creates_updates_and_leaves_alone(omni, prefix):
    wanted = made(prefix, "a", labels={"env": "test"})
    assert omni.apply(wanted).version == 1
    assert omni.apply(wanted).version == 1
    omni.edit(MachineClass, prefix + "a", lambda one: one.labels.update(other="1"))
    wanted.spec.match_labels.append("more = yes")
    applied = omni.apply(wanted)
    assert applied.version == 3
    assert dict(applied.labels) == {"env": "test", "other": "1"}
    assert list(applied.spec.match_labels) == ["omniherd = test", "more = yes"]
    assert dict(omni.apply(wanted, replace=True).labels) == {"env": "test"}


def test_a_patch_survives_the_way_there_and_back(omni, prefix):
    text = "machine:\n  network:\n    hostname: omniherd\n"
    created = omni.create(ConfigPatch(prefix + "patch", labels={"omni.sidero.dev/cluster": "x"}, spec={"data": text}))
    assert created.spec.data == text
    with omni.edit(ConfigPatch, prefix + "patch") as patch:
        patch.annotations["seen"] = "yes"
    assert omni.get(ConfigPatch, prefix + "patch").spec.data == text


# --- deleting ---------------------------------------------------------------------------------------------------------


def test_delete_is_done_when_it_returns(omni, prefix):
    for number in range(5):
        omni.create(made(prefix, str(number)))
        omni.delete(MachineClass, prefix + str(number))
        with pytest.raises(NotFound):
            omni.get(MachineClass, prefix + str(number))
    with pytest.raises(NotFound):
        omni.delete(MachineClass, prefix + "0")


def test_delete_waits_for_finalizers_and_names_them(omni, prefix):
    omni.create(made(prefix, "held", finalizers=["one", "two"]))
    with pytest.raises(FinalizersPending) as pending:
        omni.destroy(MachineClass, prefix + "held")
    assert pending.value.details["finalizers"] == ["one", "two"]
    with pytest.raises(DeleteTimeout, match="held by one, two") as late:
        omni.delete(MachineClass, prefix + "held", timeout=0.3)
    assert late.value.details["finalizers"] == ["one", "two"]
    assert omni.get(MachineClass, prefix + "held").phase == Phase.TEARING_DOWN
    waiting = threading.Thread(target=omni.delete, args=(MachineClass, prefix + "held"))
    waiting.start()
    omni.edit(MachineClass, prefix + "held", lambda one: one.finalizers.clear())
    waiting.join(timeout=30)
    assert not waiting.is_alive()
    with pytest.raises(NotFound):
        omni.get(MachineClass, prefix + "held")


def test_the_single_steps(omni, prefix):
    omni.create(made(prefix, "a"))
    omni.destroy(MachineClass, prefix + "a")
    omni.create(made(prefix, "b", finalizers=["x"]))
    assert omni.teardown(MachineClass, prefix + "b") is False
    assert omni.teardown(MachineClass, prefix + "b") is False
    omni.edit(MachineClass, prefix + "b", lambda one: one.finalizers.clear())
    omni.wait_gone(MachineClass, prefix + "b", timeout=30)
    omni.create(made(prefix, "c"))
    omni.teardown_and_destroy(MachineClass, prefix + "c")
    with pytest.raises(NotFound):
        omni.teardown_and_destroy(MachineClass, prefix + "c")


def test_delete_many_reports_on_each(omni, prefix):
    label = prefix + "many"
    for number in range(6):
        omni.create(made(prefix, str(number), labels={label: "yes"}, finalizers=["keep"] if number == 3 else []))
    result = omni.delete_many(MachineClass, labels=f"{label} = yes", concurrency=3, timeout=0.5)
    assert [one.id.removeprefix(prefix) for one in result.deleted] == ["0", "1", "2", "4", "5"]
    ((id_, error),) = result.failed
    assert id_ == prefix + "3"
    assert isinstance(error, DeleteTimeout)
    assert [one.id for one in omni.list(MachineClass, labels=label)] == [prefix + "3"]
    with pytest.raises(InputError):
        omni.delete_many(MachineClass, labels="")
    with pytest.raises(InputError):
        omni.delete_many(MachineClass, labels=label, concurrency=0)


# --- watching ---------------------------------------------------------------------------------------------------------


def collect(watch, until):
    """Return events as short tuples up to the one that `until` names."""
    found = []
    for event in watch:
        found.append((str(event.kind), event.resource.id, event.resource.version, event.old and event.old.version))
        if found[-1][:2] == until:
            watch.close()
            return found
    raise AssertionError(found)


@pytest.mark.parametrize("aggregated", [True, False])
def test_watch_of_a_kind(omni, prefix, aggregated):
    omni.create(made(prefix, "a"))
    watch = omni.watch(MachineClass, id_regexp=f"^{prefix}", aggregated=aggregated)
    assert collect_until_mark(watch) == [("created", prefix + "a", 1)]
    assert watch.caught_up
    assert watch.stale_since is None
    omni.create(made(prefix, "b"))
    omni.edit(MachineClass, prefix + "b", lambda one: one.labels.update(x="y"))
    omni.delete(MachineClass, prefix + "b")
    assert collect(watch, ("destroyed", prefix + "b")) == [
        ("created", prefix + "b", 1, None),
        ("updated", prefix + "b", 2, 1),
        ("updated", prefix + "b", 3, 2),
        ("destroyed", prefix + "b", 3, None),
    ]
    assert list(watch) == [], "a closed watch is over"


def collect_until_mark(watch):
    found = []
    for event in watch:
        if event.kind == "bootstrapped":
            return found
        found.append((str(event.kind), event.resource.id, event.resource.version))
    raise AssertionError(found)


def test_watch_by_label_tells_of_what_begins_and_stops_to_match(omni, prefix):
    label = prefix + "on"
    omni.create(made(prefix, "a"))
    with omni.watch(MachineClass, labels=f"{label} = yes") as watch:
        assert collect_until_mark(watch) == []
        omni.edit(MachineClass, prefix + "a", lambda one: one.labels.update({label: "yes"}))
        omni.edit(MachineClass, prefix + "a", lambda one: one.annotations.update(a="b"))
        omni.edit(MachineClass, prefix + "a", lambda one: one.labels.clear())
        assert collect(watch, ("destroyed", prefix + "a")) == [
            ("created", prefix + "a", 2, None),
            ("updated", prefix + "a", 3, 2),
            ("destroyed", prefix + "a", 4, None),
        ]


def test_watch_of_one_that_comes_and_goes(omni, prefix):
    with omni.watch(MachineClass, prefix + "a") as watch:
        assert collect_until_mark(watch) == []
        omni.create(made(prefix, "a"))
        omni.delete(MachineClass, prefix + "a")
        assert [one[0] for one in collect(watch, ("destroyed", prefix + "a"))] == ["created", "updated", "destroyed"]


def test_watch_goes_on_after_a_bookmark_and_looks_back(omni, prefix):
    with omni.watch(MachineClass, bootstrap=False) as watch:
        assert next(watch).kind == "noop"
        bookmark = watch.bookmark
    omni.create(made(prefix, "a"))
    omni.create(made(prefix, "b"))
    with omni.watch(MachineClass, bookmark=bookmark) as watch:
        assert [next(watch).resource.id for _ in range(2)] == [prefix + "a", prefix + "b"]
    with omni.watch(MachineClass, tail=1) as watch:
        assert next(watch).resource.id == prefix + "b"
    with pytest.raises(WatchExpired):
        next(omni.watch(MachineClass, bookmark=b"no such bookmark"))
    with omni.watch(MachineClass, id_regexp=f"^{prefix}", bookmark=b"no such", on_expired="restart") as watch:
        assert collect_until_mark(watch) == [("created", prefix + "a", 1), ("created", prefix + "b", 1)]


def test_a_cache_follows_what_happens(omni, prefix):
    omni.create(made(prefix, "a", labels={"on": "yes"}))
    told, gone = [], threading.Event()

    def tell(event):
        told.append((str(event.kind), event.resource.id))
        if event.kind == "destroyed":
            gone.set()

    with (
        omni.cache(MachineClass, id_regexp=f"^{prefix}", indexes={"on": lambda one: one.labels.get("on")}) as cache,
        omni.cache(MachineClass, id_regexp=f"^{prefix}", labels="on = yes") as chosen,
    ):
        cache.subscribe(tell)
        assert [one.id for one in cache.by("on", "yes")] == [prefix + "a"]
        omni.create(made(prefix, "b"))
        omni.edit(MachineClass, prefix + "a", lambda one: one.labels.clear())
        cache.wait_until(lambda held: prefix + "b" in held and not held.by("on", "yes"), 30)
        chosen.wait_until(lambda held: len(held) == 0, 30)
        assert cache.list() == omni.list(MachineClass, id_regexp=f"^{prefix}")
        omni.delete(MachineClass, prefix + "b")
        assert gone.wait(30)
        assert prefix + "b" not in cache
        assert cache.synced
    assert told[:2] == [("created", prefix + "a"), ("bootstrapped", "")]


def test_a_watch_can_be_closed_from_another_thread(omni):
    watch = omni.watch(MachineClass)
    collect_until_mark(watch)
    closing = threading.Timer(0.2, watch.close)
    closing.start()
    assert list(watch) == []
    closing.join()


def test_a_forgotten_watch_leaves_no_stream(omni):
    for event in omni.watch(MachineClass):
        if event.kind == "bootstrapped":
            break
    assert sum(omni.channel.streams) == 0


def test_wait_for_sees_what_is_and_what_becomes(omni, prefix):
    threading.Timer(0.2, lambda: omni.create(made(prefix, "a"))).start()
    assert omni.wait_for(MachineClass, prefix + "a", timeout=30).version == 1
    threading.Timer(0.2, lambda: omni.edit(MachineClass, prefix + "a", lambda one: one.labels.update(x="y"))).start()
    assert omni.wait_for(MachineClass, prefix + "a", lambda one: "x" in one.labels, timeout=30).version == 2
    with pytest.raises(WaitTimeout) as late:
        omni.wait_for(MachineClass, prefix + "a", lambda one: False, timeout=0.2)
    assert late.value.details["last"].version == 2
    with pytest.raises(WaitTimeout, match="does not exist") as never:
        omni.wait_for(MachineClass, prefix + "never", timeout=0.2)
    assert never.value.details["last"] is None
    with pytest.raises(WaitTimeout, match="still exists"):
        omni.wait_gone(MachineClass, prefix + "a", timeout=0.2)


def test_wait_for_polls_what_cannot_be_watched(omni):
    assert omni.wait_for(CurrentUser, "current", timeout=30).id == "current"
    with pytest.raises(WaitTimeout):
        omni.wait_for(CurrentUser, "current", lambda one: False, timeout=0.3)


# --- tasks ------------------------------------------------------------------------------------------------------------


async def test_the_verbs_with_await(aomni, prefix):
    created = await aomni.create(made(prefix, "a", labels={"env": "test"}))
    assert (await aomni.get(MachineClass, prefix + "a")) == created
    async with aomni.edit(MachineClass, prefix + "a") as one:
        one.labels["x"] = "y"
    assert (await aomni.edit(MachineClass, prefix + "a", lambda one: one.labels.update(z="1"))).version == 3
    assert [one.id for one in await aomni.list(MachineClass, id_regexp=f"^{prefix}")] == [prefix + "a"]
    assert (await aomni.apply(made(prefix, "a"))).version == 3
    with pytest.raises(VersionConflict):
        await aomni.update(created)
    await aomni.teardown_and_destroy(MachineClass, prefix + "a")
    await asyncio.gather(*(aomni.create(made(prefix, str(n), labels={prefix + "m": ""})) for n in range(5)))
    result = await aomni.delete_many(MachineClass, labels=prefix + "m")
    assert (len(result.deleted), result.failed) == (5, [])
    with pytest.raises(NotFound):
        await aomni.delete(MachineClass, prefix + "0")


async def test_watch_and_wait_with_await(aomni, prefix):
    seen = []
    async with aomni.watch(MachineClass, id_regexp=f"^{prefix}") as watch:
        async for event in watch:
            seen.append(str(event.kind))
            if event.kind == "bootstrapped":
                waiting = asyncio.create_task(aomni.wait_for(MachineClass, prefix + "a", lambda one: "x" in one.labels))
                await aomni.create(made(prefix, "a"))
                await aomni.edit(MachineClass, prefix + "a", lambda one: one.labels.update(x="y"))
                assert (await waiting).version == 2
                await aomni.delete(MachineClass, prefix + "a")
            if event.kind == "destroyed":
                break
    assert seen == ["bootstrapped", "created", "updated", "updated", "destroyed"]
    assert sum(aomni.channel.streams) == 0


async def test_a_watch_survives_the_cancellation_of_a_step(aomni, prefix):
    async with aomni.watch(MachineClass, id_regexp=f"^{prefix}") as watch:
        assert (await anext(watch)).kind == "bootstrapped"
        for number in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(watch), 0.05)
            await aomni.create(made(prefix, str(number)))
            assert (await anext(watch)).resource.id == f"{prefix}{number}"
    assert sum(aomni.channel.streams) == 0


async def test_closing_the_client_ends_its_watches(server):
    from omniherd import AsyncOmni

    client = AsyncOmni.connect(**server)
    started = asyncio.Event()

    async def follow():
        async for event in client.watch(MachineClass):
            if event.kind == "bootstrapped":
                started.set()
        return "ended"

    tasks = [asyncio.create_task(follow()) for _ in range(3)]
    await asyncio.wait_for(started.wait(), 10)
    await asyncio.sleep(0.1)
    await client.close()
    assert await asyncio.wait_for(asyncio.gather(*tasks), 10) == ["ended"] * 3


async def test_the_sync_client_works_inside_a_running_loop(omni, prefix):
    omni.create(made(prefix, "a"))
    assert omni.get(MachineClass, prefix + "a").version == 1


def test_the_sync_client_works_from_several_threads(omni):
    results = []

    def read():
        for _ in range(20):
            results.append(omni.get(SysVersion, "current").id)
            omni.list(TalosVersion)

    threads = [threading.Thread(target=read) for _ in range(4)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["current"] * 80, time.monotonic() - begun

"""The emulator's store: order of checks, versions, histories, watches."""

import threading

import pytest

from omniherd.emulator.records import (
    BOOTSTRAPPED,
    CREATED,
    DESTROYED,
    ERRORED,
    NOOP,
    TEARING_DOWN,
    UPDATED,
    StateError,
    Stored,
)
from omniherd.emulator.store import CAPACITY, Store, WatchOptions

TYPE = "MachineLabels.omni.sidero.dev"
NOW = 1_795_500_000


class Clock:
    def __init__(self):
        self.now = NOW * 10**9

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    return Store(clock)


def resource(id_="one", **fields):
    return Stored("default", TYPE, id_, **fields)


def kinds(events):
    return [event.kind for event in events]


def ids(events):
    return [event.resource.id for event in events]


# --- writes -----------------------------------------------------------------------------------------------------------


def test_create_counts_from_one_and_stamps_the_creation_only(store):
    stored = store.create(resource(version="7", updated=(5, 6)))
    assert (stored.version, stored.created, stored.updated) == ("1", (NOW, 0), (5, 6))


def test_create_refuses_what_exists_under_the_version_that_was_sent(store):
    store.create(resource())
    with pytest.raises(StateError) as caught:
        store.create(resource(version="5"))
    assert (caught.value.code, caught.value.message) == (
        "ALREADY_EXISTS",
        f"resource {TYPE}(default/one@5) already exists",
    )


@pytest.mark.parametrize(
    ("fields", "owner", "text"),
    [
        ({"owner": "a"}, "", 'owner is already set to "a"'),
        ({"owner": "a"}, "b", 'owner is already set to "a"'),
    ],
)
def test_create_takes_the_owner_from_its_caller_only(store, fields, owner, text):
    with pytest.raises(StateError) as caught:
        store.create(resource(**fields), owner)
    assert (caught.value.code, caught.value.message) == ("UNKNOWN", text)
    assert store.create(resource(owner="a"), "a").owner == "a"


def test_create_needs_a_namespace(store):
    with pytest.raises(StateError, match=r"^bucket name required$"):
        store.create(Stored("", TYPE, "one"))


def test_update_replaces_everything_but_the_creation(store, clock):
    first = store.create(resource(labels={"a": "1"}, finalizers=("f",)))
    clock.now += 10**9
    second = store.update(resource(version="1", annotations={"n": "x"}))
    assert (second.version, second.created, second.updated) == ("2", first.created, (NOW + 1, 0))
    assert (second.labels, second.annotations, second.finalizers) == ({}, {"n": "x"}, ())


def test_update_checks_existence_owner_version_phase_in_that_order(store):
    wrong = resource(version="9")
    with pytest.raises(StateError) as caught:
        store.update(wrong, "x", TEARING_DOWN)
    assert caught.value.code == "NOT_FOUND"
    store.create(resource(), "")
    texts = []
    for changed, owner in ((wrong, "x"), (wrong, ""), (resource(version="1"), "")):
        with pytest.raises(StateError) as caught:
            store.update(changed, owner, TEARING_DOWN)
        texts.append((caught.value.code, caught.value.message))
    assert texts == [
        ("PERMISSION_DENIED", f'resource {TYPE}(default/one@1) is owned by ""'),
        (
            "FAILED_PRECONDITION",
            f'resource {TYPE}(default/one@1) update conflict: expected version "9", actual version "1"',
        ),
        ("INVALID_ARGUMENT", f"resource {TYPE}(default/one@1) is not in phase tearingDown"),
    ]


def test_update_gives_the_ownership_away(store):
    store.create(resource(), "a")
    assert store.update(resource(version="1", owner=""), "a").owner == ""
    assert store.update(resource(version="2", owner="b"), "").owner == "b"


def test_destroy_checks_existence_owner_finalizers_in_that_order(store):
    with pytest.raises(StateError) as caught:
        store.destroy("default", TYPE, "one")
    assert caught.value.message == f"resource {TYPE}(default/one@undefined) doesn't exist"
    store.create(resource(finalizers=("f", "g")), "a")
    with pytest.raises(StateError) as caught:
        store.destroy("default", TYPE, "one")
    assert caught.value.code == "PERMISSION_DENIED"
    with pytest.raises(StateError) as caught:
        store.destroy("default", TYPE, "one", "a")
    assert caught.value.message == f"resource {TYPE}(default/one@1) has pending finalizers &[f g]"
    store.update(resource(version="1"), "a")
    store.destroy("default", TYPE, "one", "")
    assert store.find("default", TYPE, "one") is None


def test_teardown_marks_once_and_tells_whether_it_may_go(store):
    store.create(resource(finalizers=("f",)))
    assert store.teardown("default", TYPE, "one") is False
    assert store.teardown("default", TYPE, "one") is False
    found = store.get("default", TYPE, "one")
    assert (found.version, found.phase) == ("2", TEARING_DOWN)
    store.update(found.replace(finalizers=()))
    assert store.teardown("default", TYPE, "one") is True


def test_put_creates_replaces_and_leaves_equal_content_alone(store):
    first = store.put("MachineClasses.omni.sidero.dev", "gpu", {"match_labels": ["a"]}, labels={"l": "1"})
    assert store.put("MachineClasses.omni.sidero.dev", "gpu", {"match_labels": ["a"]}) is first
    changed = store.put("MachineClasses.omni.sidero.dev", "gpu", {"match_labels": ["b"]})
    assert (changed.version, changed.labels, list(changed.decode().match_labels)) == ("2", {"l": "1"}, ["b"])


def test_put_back_a_resource_comes_or_changes(store):
    made = store.put("MachineClasses.omni.sidero.dev", "gpu", {"match_labels": ["a"]})
    seen = []
    store.observe(lambda event: seen.append((event.kind, event.old is not None)))
    store.restore(made.wire)
    store.remove("default", made.type, "gpu")
    store.restore(made.wire)
    assert seen == [(UPDATED, True), (DESTROYED, False), (CREATED, False)]


def test_a_restored_resource_is_what_it_was(store):
    other = Store(lambda: 7 * 10**9)
    first = other.put("MachineClasses.omni.sidero.dev", "gpu", {"match_labels": ["a"]}, labels={"l": "1"})
    moved = other.modify("default", first.type, "gpu", finalizers=("f",))
    restored = store.restore(moved.wire)
    assert restored.wire == moved.wire
    assert (restored.version, restored.created, store.get("default", first.type, "gpu")) == ("2", (7, 0), restored)
    assert store.restore(first.to_proto()).version == "1"


def test_list_is_sorted_by_id_and_filtered(store):
    for id_ in ("b", "c", "a"):
        store.create(resource(id_))
    store.destroy("default", TYPE, "c")
    assert [found.id for found in store.list("default", TYPE)] == ["a", "b"]
    assert [found.id for found in store.list("default", TYPE, lambda found: found.id > "a")] == ["b"]
    assert store.list("elsewhere", TYPE) == []


def test_the_encoded_resource_holds_both_forms_of_its_spec(store):
    stored = store.put("KubernetesVersions.omni.sidero.dev", "9.9.9", {"version": "9.9.9"})
    proto = type(stored.to_proto()).FromString(stored.wire)
    assert proto.spec.proto_spec == stored.spec
    assert proto.spec.yaml_spec == "version: 9.9.9\n"
    assert proto.metadata.HasField("updated")


# --- watches ----------------------------------------------------------------------------------------------------------


def test_a_kind_is_watched_from_now_on(store):
    store.create(resource("old"))
    watch = store.watch("default", TYPE, None, WatchOptions())
    assert watch.poll() == []
    store.create(resource("new"))
    store.teardown("default", TYPE, "new")
    store.destroy("default", TYPE, "new")
    events = watch.poll()
    assert kinds(events) == [CREATED, UPDATED, DESTROYED]
    assert [event.resource.version for event in events] == ["1", "2", "2"]
    assert events[1].old.version == "1"
    assert watch.poll() == []


def test_bootstrap_shows_what_exists_then_marks(store):
    for id_ in ("b", "a"):
        store.create(resource(id_))
    options = WatchOptions(bootstrap_contents=True, bootstrap_bookmark=True)
    events = store.watch("default", TYPE, None, options).poll()
    assert kinds(events) == [CREATED, CREATED, BOOTSTRAPPED, NOOP]
    assert ids(events[:2]) == ["a", "b"]
    assert [event.bookmark for event in events] == [None, None, store.bookmark(1), store.bookmark(1)]


def test_readers_of_the_first_api_version_get_no_marks(store):
    options = WatchOptions(bootstrap_contents=True, bootstrap_bookmark=True, marks=False)
    assert kinds(store.watch("default", TYPE, None, options).poll()) == [NOOP]


def test_a_single_watch_begins_with_the_resource_or_its_tombstone(store):
    events = store.watch("default", TYPE, "one", WatchOptions()).poll()
    assert (kinds(events), events[0].resource.version) == ([DESTROYED], "undefined")
    store.create(resource())
    store.create(resource("other"))
    watch = store.watch("default", TYPE, "one", WatchOptions())
    assert (kinds(watch.poll()), watch.poll()) == ([CREATED], [])
    store.create(resource("third"))
    assert watch.poll() == []


def test_a_query_turns_updates_into_comings_and_goings(store):
    def match(found):
        return "k" in found.labels

    watch = store.watch("default", TYPE, None, WatchOptions(match=match))
    store.create(resource())
    store.update(resource(version="1", labels={"k": "1"}))
    store.update(resource(version="2", labels={"k": "2"}))
    store.update(resource(version="3"))
    events = watch.poll()
    assert kinds(events) == [CREATED, UPDATED, DESTROYED]
    assert [(event.resource.version, event.old is not None) for event in events] == [
        ("2", False),
        ("3", True),
        ("4", False),
    ]


def test_a_tail_counts_what_matches(store):
    for number in range(6):
        store.create(resource(f"{'even' if number % 2 == 0 else 'odd'}-{number}"))
    options = WatchOptions(tail_events=2, match=lambda found: found.id.startswith("even"))
    assert ids(store.watch("default", TYPE, None, options).poll()) == ["even-2", "even-4"]
    assert ids(store.watch("default", TYPE, "odd-1", WatchOptions(tail_events=5)).poll()) == ["odd-1"]


def test_a_watch_goes_on_from_a_bookmark(store):
    store.create(resource("a"))
    watch = store.watch("default", TYPE, None, WatchOptions(tail_events=1))
    bookmark = watch.poll()[0].bookmark
    store.create(resource("b"))
    assert ids(store.watch("default", TYPE, None, WatchOptions(start_from=bookmark)).poll()) == ["b"]
    empty = store.bookmark(-1)
    assert ids(store.watch("default", TYPE, None, WatchOptions(start_from=empty)).poll()) == ["a", "b"]


@pytest.mark.parametrize("bookmark", [b"", b"hello", b"x" * 16, None])
def test_a_bookmark_that_is_none_is_refused(store, bookmark):
    store.create(resource())
    given = store.bookmark(1) if bookmark is None else bookmark
    with pytest.raises(StateError) as caught:
        store.watch("default", TYPE, None, WatchOptions(start_from=given))
    assert (caught.value.code, caught.value.message) == ("FAILED_PRECONDITION", "invalid watch bookmark")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"bootstrap_contents": True, "tail_events": 1},
            "cannot use BootstrapContents with TailEvents and StartFromBookmark options",
        ),
        (
            {"bootstrap_contents": True, "start_from": b""},
            "cannot use BootstrapContents with TailEvents and StartFromBookmark options",
        ),
        ({"tail_events": 1, "start_from": b""}, "cannot use both TailEvents and StartFromBookmark options"),
    ],
)
def test_options_exclude_each_other(store, options, text):
    with pytest.raises(StateError) as caught:
        store.watch("default", TYPE, None, WatchOptions(**options))
    assert (caught.value.code, caught.value.message) == ("UNKNOWN", text)


def churn(store, count):
    store.put(TYPE, "busy")
    for number in range(count):
        store.modify("default", TYPE, "busy", labels={"n": str(number)})


def test_a_reader_that_falls_behind_is_told_once_and_hears_no_more(store):
    watch = store.watch("default", TYPE, None, WatchOptions())
    silent = store.watch("default", TYPE, None, WatchOptions(marks=False))
    churn(store, CAPACITY)
    events = watch.poll()
    assert kinds(events) == [ERRORED]
    assert events[0].error == (
        f'buffer overrun: namespace "default" type "{TYPE}", write pos {CAPACITY + 1}, pos 0, capacity {CAPACITY}'
    )
    assert silent.poll() == []
    store.create(resource("later"))
    assert (watch.poll(), silent.poll()) == ([], [])


def test_the_history_forgets_old_bookmarks(store):
    store.put(TYPE, "first")
    old = store.bookmark(0)
    churn(store, CAPACITY)
    with pytest.raises(StateError, match="invalid watch bookmark"):
        store.watch("default", TYPE, None, WatchOptions(start_from=old))
    recent = store.bookmark(CAPACITY - 10)
    assert len(store.watch("default", TYPE, None, WatchOptions(start_from=recent)).poll()) == 11


def test_a_reader_is_called_once_for_what_waits(store):
    watch = store.watch("default", TYPE, None, WatchOptions())
    calls = []
    watch.ready = lambda: calls.append(1)
    store.create(resource("a"))
    store.create(resource("b"))
    assert len(calls) == 1
    assert len(watch.poll(limit=1)) == 1
    assert len(calls) == 2
    assert len(watch.poll()) == 1
    store.create(resource("c"))
    assert len(calls) == 3
    watch.close()
    store.create(resource("d"))
    assert len(calls) == 3


def test_observers_see_every_change_in_order(store):
    seen = []
    store.observe(lambda event: seen.append((event.kind, event.resource.id)))
    store.create(resource("a"))
    store.remove("default", TYPE, "a")
    assert seen == [(CREATED, "a"), (DESTROYED, "a")]


def test_writers_in_many_threads_lose_nothing(store):
    watch = store.watch("default", TYPE, None, WatchOptions())

    def write(name):
        for number in range(200):
            store.create(resource(f"{name}-{number}"))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = watch.poll()
    assert len(events) == len(store.list("default", TYPE)) == 800
    assert [event.bookmark for event in events] == [store.bookmark(number) for number in range(800)]

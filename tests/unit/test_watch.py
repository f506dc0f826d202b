"""The state machine of a watch, without a server."""

from __future__ import annotations

import pytest

from omniherd._core.retry import RetryPolicy
from omniherd._core.watch import WatchState
from omniherd.errors import (
    Canceled,
    DeadlineExceeded,
    InputError,
    InternalError,
    PermissionDenied,
    Unavailable,
    Unimplemented,
    WatchError,
    WatchExpired,
)
from omniherd.resources import MachineClass
from omniherd.wire import cosi_resource as cosi

CREATED, UPDATED, DESTROYED, BOOTSTRAPPED, ERRORED, NOOP = range(6)
GONE = Unavailable("broke")
EXPIRED = WatchExpired("invalid watch bookmark")


def state(id_=None, **options):
    return WatchState(MachineClass, "default", id_, retry=RetryPolicy(jitter=0), **options)


def resource(id_, version="1", *, born=1, phase="running"):
    metadata = cosi.Metadata(
        namespace="default", type=MachineClass.type_name, id=id_, version=str(version), phase=phase
    )
    metadata.created.seconds = born
    return cosi.Resource(metadata=metadata)


def event(kind, id_="", version="1", *, mark=None, old=None, **more):
    made = cosi.Event(event_type=kind, resource=resource(id_, version, **more))
    if mark is not None:
        made.bookmark = mark
    if old is not None:
        made.old.CopyFrom(resource(id_, old))
    return made


def told(watch, *events):
    """Feed one message; return what the caller is told, short."""
    return [
        (str(one.kind), one.resource.id, one.resource.version, one.old.version if one.old else None, one.synthetic)
        for one in watch.feed(cosi.WatchResponse(event=events))
    ]


def news(kind, id_, version=1, old=None, *, synthetic=False):
    return (kind, id_, version, old, synthetic)


CAUGHT_UP = news("bootstrapped", "", 1)


def started(**options):
    """A watch of a kind that has caught up with a@1 and b@1 at bookmark m1."""
    watch = state(**options)
    watch.request()
    told(watch)
    told(watch, event(CREATED, "a"), event(CREATED, "b"), event(BOOTSTRAPPED, mark=b"m1"))
    return watch


def test_what_is_asked_for():
    request = state().request()
    assert (request.namespace, request.type, request.api_version) == ("default", MachineClass.type_name, 1)
    assert not request.HasField("id")
    options = request.options
    assert (options.bootstrap_contents, options.aggregated, options.bootstrap_bookmark) == (True, True, False)
    options = state(bootstrap=False, aggregated=False, id_regexp="^a").request().options
    assert (options.bootstrap_contents, options.aggregated, options.bootstrap_bookmark) == (False, False, True)
    assert options.id_query.regexp == "^a"
    options = state(tail=3).request().options
    assert (options.tail_events, options.bootstrap_contents, options.bootstrap_bookmark) == (3, False, False)
    options = state(bookmark=b"m").request().options
    assert (options.start_from_bookmark, options.bootstrap_contents) == (b"m", False)
    request = state("a").request()
    assert (request.id, request.options) == ("a", cosi.WatchOptions())


@pytest.mark.parametrize(
    ("id_", "options"),
    [
        (None, {"tail": -1}),
        (None, {"tail": 1, "bookmark": b"m"}),
        (None, {"tail": 1, "bootstrap": True}),
        (None, {"bookmark": b"", "bootstrap": True}),
        (None, {"on_expired": "ignore"}),
        ("a", {"id_regexp": "a"}),
        ("a", {"queries": [cosi.LabelQuery()]}),
    ],
)
def test_what_does_not_go_together(id_, options):
    with pytest.raises(InputError):
        state(id_, **options)


def test_contents_then_a_mark_then_changes():
    watch = state()
    watch.request()
    assert told(watch) == []
    assert not watch.caught_up
    assert told(watch, event(CREATED, "a"), event(CREATED, "b")) == [news("created", "a"), news("created", "b")]
    assert told(watch, event(BOOTSTRAPPED, mark=b"m1")) == [CAUGHT_UP]
    assert watch.caught_up
    assert told(watch, event(UPDATED, "a", 2, old=1, mark=b"m2")) == [news("updated", "a", 2, 1)]
    assert told(watch, event(UPDATED, "a", 3, mark=b"m3")) == [news("updated", "a", 3)]
    assert told(watch, event(DESTROYED, "b", mark=b"m4")) == [news("destroyed", "b")]
    assert watch.bookmark == b"m4"


def test_a_break_goes_on_after_the_last_bookmark():
    watch = started()
    assert watch.broken(GONE) == 0.1
    options = watch.request().options
    assert options.start_from_bookmark == b"m1"
    assert not options.bootstrap_contents
    assert told(watch, event(CREATED, "c", mark=b"m2")) == [news("created", "c")]


@pytest.mark.parametrize("error", [None, GONE, Canceled("x"), DeadlineExceeded("x"), WatchError("overrun")])
def test_what_counts_as_a_break(error):
    assert started().broken(error) > 0


@pytest.mark.parametrize(
    "error",
    [PermissionDenied("x"), Unimplemented("x"), InternalError("panic"), Unavailable("x", retryable=False), EXPIRED],
)
def test_what_ends_a_watch(error):
    with pytest.raises(type(error)):
        started().broken(error)


def test_without_resume_every_end_is_an_error():
    watch = started(resume=False)
    with pytest.raises(Unavailable, match="ended the watch"):
        watch.broken(None)
    with pytest.raises(Canceled):
        watch.broken(Canceled("x"))


def test_the_first_connection_is_tried_a_few_times_a_later_one_for_ever():
    watch = state()
    delays = []
    for _ in range(4):
        watch.request()
        delays.append(watch.broken(GONE))
    with pytest.raises(Unavailable):
        watch.broken(GONE)
    assert delays == [0.1, 0.2, 0.4, 0.8]
    watch = started()
    assert [watch.broken(GONE) for _ in range(50)][-1] == 5
    told(watch, event(UPDATED, "a", 2, mark=b"m2"))
    assert watch.broken(GONE) == 0.1


def test_a_server_that_hangs_up_at_once_is_not_hammered():
    watch = started()
    delays = []
    for _ in range(4):
        delays.append(watch.broken(None))
        watch.request()
        told(watch)
    assert delays == [0.1, 0.2, 0.4, 0.8]


def test_a_break_amid_the_contents_reports_nothing_twice():
    watch = state()
    watch.request()
    assert told(watch, event(CREATED, "a"), event(CREATED, "b"), event(CREATED, "c")) == [
        news("created", name) for name in "abc"
    ]
    watch.broken(GONE)
    assert watch.request().options.bootstrap_contents
    again = told(
        watch, event(CREATED, "a"), event(CREATED, "c", 2), event(CREATED, "d"), event(BOOTSTRAPPED, mark=b"m")
    )
    assert again == [
        news("updated", "c", 2, 1, synthetic=True),
        news("created", "d"),
        news("destroyed", "b", synthetic=True),
        CAUGHT_UP,
    ]


def test_an_expired_bookmark_can_restart_with_the_difference():
    watch = started(on_expired="restart")
    told(watch, event(CREATED, "c", mark=b"m2"), event(UPDATED, "a", 2, old=1, mark=b"m3"))
    told(watch, event(DESTROYED, "b", mark=b"m4"), event(CREATED, "e", mark=b"m5"))
    assert watch.broken(EXPIRED) == 0
    assert watch.request().options.bootstrap_contents
    difference = told(
        watch,
        event(CREATED, "a", 2),
        event(CREATED, "c", 1, born=9),
        event(CREATED, "d"),
        event(CREATED, "f", phase="tearingDown"),
        event(BOOTSTRAPPED, mark=b"n1"),
    )
    assert difference == [
        news("destroyed", "c", synthetic=True),
        news("created", "c", synthetic=True),
        news("created", "d", synthetic=True),
        news("created", "f", synthetic=True),
        news("destroyed", "e", synthetic=True),
        news("bootstrapped", "", 1, synthetic=True),
    ]
    assert watch.bookmark == b"n1"
    assert watch.broken(EXPIRED) == 0, "it may expire again"


def test_a_phase_change_at_the_same_version_is_news():
    watch = started(on_expired="restart")
    watch.broken(EXPIRED)
    watch.request()
    found = told(watch, event(CREATED, "a", phase="tearingDown"), event(CREATED, "b"), event(BOOTSTRAPPED, mark=b"n"))
    assert found[0] == news("updated", "a", 1, 1, synthetic=True)


def test_a_given_bookmark_that_expired_restarts_with_everything():
    watch = state(bookmark=b"old", on_expired="restart")
    watch.request()
    assert watch.broken(EXPIRED) == 0
    assert watch.request().options.bootstrap_contents
    assert told(watch, event(CREATED, "a"), event(BOOTSTRAPPED, mark=b"m")) == [news("created", "a"), CAUGHT_UP]


def test_expiry_without_a_bookmark_is_no_loop():
    watch = state(on_expired="restart")
    watch.request()
    with pytest.raises(WatchExpired):
        watch.broken(EXPIRED)


def test_a_watch_from_now_says_once_that_it_stands():
    watch = state(bootstrap=False)
    watch.request()
    assert told(watch, event(NOOP, mark=b"m1")) == [news("noop", "")]
    assert watch.caught_up
    watch.broken(GONE)
    assert watch.request().options.start_from_bookmark == b"m1"
    assert told(watch, event(NOOP, mark=b"m2")) == []
    assert watch.bookmark == b"m2"


def test_tail_events_come_as_they_are_and_are_asked_for_again_only_when_none_came():
    watch = state(tail=2)
    watch.request()
    told(watch)
    watch.broken(GONE)
    assert watch.request().options.tail_events == 2
    assert told(watch, event(CREATED, "a", mark=b"m1")) == [news("created", "a")]
    watch.broken(GONE)
    assert watch.request().options.start_from_bookmark == b"m1"


def test_a_server_that_dropped_events_is_left():
    watch = started()
    told(watch, cosi.Event(event_type=ERRORED, error="buffer overrun"))
    assert isinstance(watch.failure, WatchError)
    assert str(watch.failure) == "buffer overrun"
    assert watch.failure.retryable
    assert watch.broken(watch.failure) == 0.1
    assert watch.failure is None
    watch.request()
    told(watch, cosi.Event(event_type=ERRORED))
    assert "without a reason" in str(watch.failure)


def test_what_came_in_one_message_before_events_were_dropped_is_delivered():
    watch = started()
    overrun = cosi.Event(event_type=ERRORED, error="buffer overrun")
    found = told(watch, event(UPDATED, "a", 2, old=1, mark=b"m2"), overrun, event(UPDATED, "a", 9, mark=b"m9"))
    assert found == [news("updated", "a", 2, 1)]
    assert watch.failure is not None
    assert watch.bookmark == b"m2", "what comes after the failure cannot be trusted"


def test_past_events_are_not_asked_for_again_when_the_bookmark_expired():
    watch = state(tail=2, on_expired="restart")
    watch.request()
    told(watch, event(CREATED, "a", mark=b"m1"))
    assert watch.broken(EXPIRED) == 0
    options = watch.request().options
    assert (options.tail_events, options.bootstrap_contents) == (0, True)
    assert told(watch, event(CREATED, "a"), event(CREATED, "b"), event(BOOTSTRAPPED, mark=b"n")) == [
        news("created", "b"),
        CAUGHT_UP,
    ]


def test_a_change_amid_the_contents_does_not_make_a_break_skip_the_rest():
    watch = state()
    watch.request()
    told(watch, event(CREATED, "a"), event(CREATED, "c", mark=b"m1"))
    watch.broken(GONE)
    assert watch.request().options.bootstrap_contents
    told(watch, event(CREATED, "a"), event(CREATED, "c", mark=b"m1"), event(BOOTSTRAPPED, mark=b"m1"))
    assert watch.bookmark == b"m1"


def test_a_change_amid_the_contents_is_not_taken_for_gone_at_their_end():
    watch = state()
    watch.request()
    found = told(watch, event(CREATED, "a"), event(CREATED, "c", mark=b"m1"), event(BOOTSTRAPPED, mark=b"m1"))
    assert found == [news("created", "a"), news("created", "c"), CAUGHT_UP]


# --- time -------------------------------------------------------------------------------------------------------------


def test_it_is_stale_until_the_contents_are_complete():
    watch = state()
    watch.request()
    watch.opened(100)
    assert watch.stale_since == 100
    told(watch)
    watch.heard(101)
    assert watch.stale_since == 100, "the server answered, and has told nothing yet"
    told(watch, event(CREATED, "a"))
    watch.heard(102)
    assert watch.stale_since == 100
    told(watch, event(BOOTSTRAPPED, mark=b"m1"))
    watch.heard(103)
    assert watch.stale_since is None


@pytest.mark.parametrize(
    ("heard", "lost", "since"),
    [
        (1000, 1010, 1000),  # nothing was heard for ten seconds: it may have been dead since
        (1000, 5000, 4920),  # the keepalive vouches for all but the last 80 seconds
        (1000, 1000, 1000),
    ],
)
def test_a_break_counts_from_when_the_stream_was_certainly_whole(heard, lost, since):
    watch = started()
    watch.heard(heard)
    assert watch.stale_since is None
    watch.lost(lost)
    assert watch.stale_since == since
    watch.broken(GONE)
    watch.request()
    watch.opened(lost + 1)
    watch.lost(lost + 2)
    assert watch.stale_since == since, "it is one time without a stream"
    watch.request()
    watch.opened(lost + 3)
    told(watch)
    watch.heard(lost + 3)
    assert watch.stale_since is None


def test_after_an_expiry_it_is_stale_until_the_difference_is_told():
    watch = started(on_expired="restart")
    watch.heard(1000)
    watch.lost(1000)
    watch.broken(EXPIRED)
    watch.request()
    watch.opened(1001)
    told(watch, event(CREATED, "a"))
    watch.heard(1002)
    assert watch.stale_since == 1000
    told(watch, event(BOOTSTRAPPED, mark=b"n"))
    watch.heard(1003)
    assert watch.stale_since is None


def test_dropped_events_leave_it_stale():
    watch = started()
    watch.heard(1000)
    watch.lost(1000)
    watch.request()
    watch.opened(1001)
    told(watch, event(UPDATED, "a", 2, mark=b"m2"), cosi.Event(event_type=ERRORED))
    watch.heard(1002)
    assert watch.stale_since == 1000


def test_patience_with_a_silent_stream():
    assert state().patience(5) is None
    watch = state(max_silence=600)
    watch.opened(1000)
    assert watch.patience(1000) == 600
    watch.heard(1100)
    assert watch.patience(1200) == 500
    assert watch.patience(2000) == 0
    for bad in (0, -1, float("nan")):
        with pytest.raises(InputError, match="positive number of seconds"):
            state(max_silence=bad)


def test_kinds_of_a_newer_server_are_skipped_but_their_bookmark_counts():
    watch = started()
    assert told(watch, event(17, "a", mark=b"m9")) == []
    assert watch.bookmark == b"m9"


def test_one_resource_that_exists():
    watch = state("a")
    watch.request()
    assert told(watch) == []
    assert told(watch, event(CREATED, "a", 4)) == [news("created", "a", 4), news("bootstrapped", "", None)]
    assert told(watch, event(UPDATED, "a", 5, old=4, mark=b"m")) == [news("updated", "a", 5, 4)]
    watch.broken(GONE)
    assert watch.request().options.start_from_bookmark == b"m"


def test_one_resource_that_does_not_exist_yet():
    watch = state("a")
    watch.request()
    assert told(watch, event(DESTROYED, "a", "undefined")) == [news("bootstrapped", "", None)]
    assert told(watch, event(CREATED, "a", mark=b"m")) == [news("created", "a")]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (event(CREATED, "a", 4), []),
        (event(CREATED, "a", 6), [news("updated", "a", 6, 4, synthetic=True)]),
        (
            event(CREATED, "a", 1, born=7),
            [news("destroyed", "a", 4, synthetic=True), news("created", "a", synthetic=True)],
        ),
        (event(DESTROYED, "a", "undefined"), [news("destroyed", "a", 4, synthetic=True)]),
    ],
)
def test_one_resource_after_a_break_without_a_bookmark(now, expected):
    watch = state("a")
    watch.request()
    told(watch, event(CREATED, "a", 4))
    watch.broken(GONE)
    assert watch.request().id == "a"
    assert told(watch, now) == expected


def test_one_resource_from_now_on():
    watch = state("a", bootstrap=False)
    watch.request()
    assert told(watch, event(CREATED, "a", 4)) == [news("noop", "", None)]
    watch.broken(GONE)
    watch.request()
    assert told(watch, event(CREATED, "a", 5)) == [news("updated", "a", 5, 4, synthetic=True)]


def test_one_resource_whose_bookmark_expired():
    watch = state("a", on_expired="restart")
    watch.request()
    told(watch, event(CREATED, "a", 4))
    told(watch, event(UPDATED, "a", 5, old=4, mark=b"m"))
    assert watch.broken(EXPIRED) == 0
    assert not watch.request().options.HasField("start_from_bookmark")
    assert told(watch, event(DESTROYED, "a", "undefined")) == [news("destroyed", "a", 5, synthetic=True)]


def test_the_subject_is_told():
    assert state().subject == "MachineClasses.omni.sidero.dev(default/*)"
    assert state("a").subject == "MachineClasses.omni.sidero.dev(default/a)"


def test_what_is_kept_does_not_keep_its_message():
    """A part of a message holds all of it in memory; a watch that compares keeps resources for as long as they live."""
    message = cosi.WatchResponse(event=[event(CREATED, "a"), event(CREATED, "b"), event(BOOTSTRAPPED, mark=b"m")])
    kept, passing = state(on_expired="restart"), state()
    for watch, apart in ((kept, True), (passing, False)):
        watch.request()
        if not apart:
            watch._known = None
        first = watch.feed(message)[0].resource
        message.event[0].resource.metadata.annotations["seen"] = "yes"
        assert ("seen" in first.annotations) is not apart
        message.event[0].resource.metadata.annotations.clear()


def test_contents_are_not_kept_where_nothing_will_be_compared():
    assert started()._known is None
    assert set(started(on_expired="restart")._known) == {"a", "b"}

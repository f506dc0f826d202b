"""The state machine of a watch: what to ask for, what events mean, how to go on after a break. No I/O.

A watch begins with the present contents (or with past events, a bookmark, or nothing), says when it has caught up, and
goes on with changes. When the stream breaks it is opened again:

- after the last bookmark, when there is one: no event is lost, none comes twice;
- from the contents, while there is none yet or when the server has forgotten it: what the caller was told before is
  compared with what is there now, and the difference is reported.

Times are told to it, seconds since 1970: it asks no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from omniherd._core.requests import resource_text
from omniherd._core.retry import RetryPolicy
from omniherd.errors import (
    APIError,
    Canceled,
    DeadlineExceeded,
    InputError,
    Unavailable,
    WatchError,
    WatchExpired,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omniherd.resource import Resource
    from omniherd.wire import cosi_resource

__all__ = ["KEEPALIVE_INTERVAL", "KEEPALIVE_TIMEOUT", "Event", "EventKind", "OnExpired", "WatchState"]

R_co = TypeVar("R_co", bound="Resource[Any]", covariant=True)
R = TypeVar("R", bound="Resource[Any]")
OnExpired = Literal["raise", "restart"]

KEEPALIVE_INTERVAL: Final = 60
"""Seconds after which a quiet connection is asked whether it lives."""

KEEPALIVE_TIMEOUT: Final = 20
"""Seconds that its answer may take."""

# How long a connection may have been dead when its end is noticed.
_BLIND: Final = KEEPALIVE_INTERVAL + KEEPALIVE_TIMEOUT

_CREATED, _UPDATED, _DESTROYED, _BOOTSTRAPPED, _ERRORED, _NOOP = range(6)


class EventKind(StrEnum):
    """What an event tells."""

    CREATED = "created"
    UPDATED = "updated"
    DESTROYED = "destroyed"
    BOOTSTRAPPED = "bootstrapped"
    NOOP = "noop"


@dataclass(frozen=True, slots=True)
class Event(Generic[R_co]):
    """One thing that happened.

    Attributes:
        kind: `created` (it exists, or began to match), `updated`, `destroyed` (it is gone, or stopped matching),
            `bootstrapped` (all that existed has been reported) or `noop` (a watch without contents stands; once).
        resource: The resource after the event; its last state when it is destroyed. With `bootstrapped` and `noop` it
            has no id.
        old: The resource before an update.
        bookmark: Where to go on after this event, opaque, None where the server gave none.
        synthetic: Whether the event was found by comparing contents after a break: there may have been several changes
            where one is reported.
    """

    kind: EventKind
    resource: R_co
    old: R_co | None = None
    bookmark: bytes | None = None
    synthetic: bool = False


class WatchState(Generic[R]):
    """Where a watch stands.

    Args:
        cls: Class of the resources.
        namespace: Their namespace.
        id: One resource, or None for the kind.
        queries: Label queries, for a kind.
        id_regexp: Regular expression on ids, for a kind.
        bootstrap: Whether to begin with the present contents; by default unless `tail` or `bookmark` say otherwise.
        tail: How many past events to begin with.
        bookmark: The bookmark to go on after.
        aggregated: Whether the server may put several events in one message.
        on_expired: What to do when the server has forgotten the bookmark.
        resume: Whether to go on after a break at all.
        max_silence: Seconds without a message after which a stream is taken for dead; None for never.
        retry: Delays between attempts, and how often the very first one is repeated.

    Raises:
        InputError: The arguments do not go together.
    """

    def __init__(
        self,
        cls: type[R],
        namespace: str,
        id: str | None = None,  # noqa: A002 - the field's name for it
        *,
        queries: Sequence[cosi_resource.LabelQuery] = (),
        id_regexp: str | None = None,
        bootstrap: bool | None = None,
        tail: int = 0,
        bookmark: bytes | None = None,
        aggregated: bool = True,
        on_expired: OnExpired = "raise",
        resume: bool = True,
        max_silence: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        if tail < 0:
            raise InputError(f"tail is a number of events, not {tail}")
        if tail and bookmark is not None:
            raise InputError("a watch begins with past events (tail) or after a bookmark, not both")
        if bootstrap and (tail or bookmark is not None):
            raise InputError(
                "a watch begins with the contents (bootstrap), with past events (tail) or after a bookmark"
            )
        if id is not None and (queries or id_regexp):
            raise InputError("a watch of one resource takes no selector")
        if on_expired not in {"raise", "restart"}:
            raise InputError(f"on_expired is 'raise' or 'restart', not {on_expired!r}")
        if max_silence is not None and not max_silence > 0:
            raise InputError(f"max_silence is a positive number of seconds, not {max_silence}")
        self.cls = cls
        self.namespace = namespace
        self.id = id
        self._queries = list(queries)
        self._id_regexp = id_regexp
        self._contents = bootstrap if bootstrap is not None else not tail and bookmark is None
        self._tail = tail
        self._bookmark = bookmark
        self._aggregated = aggregated
        self._on_expired: OnExpired = on_expired
        self._resume = resume
        self._retry = RetryPolicy() if retry is None else retry
        # What the caller was told exists. It is needed to compare with, and dropped when nothing will be compared.
        self._known: dict[str, R] | None = {}
        self._round: set[str] | None = None
        self._initial = False
        self._announced = False
        self._established = False
        self._failures = 0
        self._failure: WatchError | None = None
        self._max_silence = max_silence
        self._heard = 0.0
        self._stale_since: float | None = None
        self.caught_up = False

    # --- asking ---------------------------------------------------------------------------------------------------

    @property
    def bookmark(self) -> bytes | None:
        """The last bookmark, which another watch can go on after."""
        return self._bookmark

    @property
    def subject(self) -> str:
        """What is watched, for errors."""
        return resource_text(self.namespace, self.cls.type_name, "*" if self.id is None else self.id)

    @property
    def failure(self) -> WatchError | None:
        """Why the stream is dead though it stands; to be taken to `broken` when its last events are delivered."""
        return self._failure

    def request(self) -> cosi_resource.WatchRequest:
        """Return the request of the next stream, and be ready for its first message."""
        from omniherd.wire import cosi_resource

        options = cosi_resource.WatchOptions()
        # With version 0 the server drops the events that tell of the end of the contents and of a broken stream.
        request = cosi_resource.WatchRequest(namespace=self.namespace, type=self.cls.type_name, api_version=1)
        self._round = None
        self._initial = False
        self._failure = None
        if self.id is not None:
            request.id = self.id
        else:
            options.aggregated = self._aggregated
            options.label_query.extend(self._queries)
            if self._id_regexp:
                options.id_query.regexp = self._id_regexp
        if self._bookmark is not None:
            options.start_from_bookmark = self._bookmark
        elif self._tail:
            options.tail_events = self._tail
        elif self.id is not None:
            # The server begins a watch of one resource with its state, asked or not.
            self._initial = True
        elif self._contents:
            options.bootstrap_contents = True
            self._round = set()
        else:
            options.bootstrap_bookmark = True
        request.options.CopyFrom(options)
        return request

    # --- hearing --------------------------------------------------------------------------------------------------

    def feed(self, message: cosi_resource.WatchResponse) -> list[Event[R]]:
        """Take a message of the stream; return the events that it means for the caller.

        A server that dropped events says so by the last event of a stream. What came before it counts, and `failure`
        is set.
        """
        out: list[Event[R]] = []
        self._established = True
        for event in message.event:
            self._failures = 0
            kind = event.event_type
            bookmark = event.bookmark if event.HasField("bookmark") else None
            if kind == _ERRORED:
                self._failure = WatchError(
                    event.error or "the server reports a broken watch without a reason",
                    code="ERRORED",
                    resource=self.subject,
                    retryable=True,
                )
                break
            resource = self.cls.from_proto(self._apart(event.resource, message))
            if kind in {_NOOP, _BOOTSTRAPPED}:
                if bookmark is not None:
                    self._mark(bookmark)
                if kind == _BOOTSTRAPPED:
                    self._end_of_contents(resource, bookmark, out)
                else:
                    self._announce(resource, bookmark, out)
            elif self._initial:
                self._first_state(resource, kind, bookmark, out)
            elif self._round is not None and kind == _CREATED and bookmark is None:
                self._round.add(resource.id)
                self._compare(resource, out)
            else:
                self._change(event, kind, resource, bookmark, out)
        return out

    def _apart(self, proto: cosi_resource.Resource, message: cosi_resource.WatchResponse) -> cosi_resource.Resource:
        # As a part of its message a resource keeps all of it in memory; where resources are kept, that must not be
        # for as long as the last of them stays as it is.
        if self._known is None or len(message.event) == 1:
            return proto
        copy = type(proto)()
        copy.CopyFrom(proto)
        return copy

    def _mark(self, bookmark: bytes) -> None:
        self._bookmark = bookmark
        # Past events were asked for where there was nothing to go on after; now there is.
        self._tail = 0

    def _change(
        self, event: cosi_resource.Event, kind: int, resource: R, bookmark: bytes | None, out: list[Event[R]]
    ) -> None:
        if self._round is not None:
            # The contents are not complete, so that going on after this bookmark would leave some of them out.
            self._round.add(resource.id)
        elif bookmark is not None:
            self._mark(bookmark)
        known = self._known
        if kind == _DESTROYED:
            if known is not None:
                known.pop(resource.id, None)
            out.append(Event(EventKind.DESTROYED, resource, None, bookmark))
            return
        if known is not None:
            known[resource.id] = resource
        if kind == _UPDATED:
            old = self.cls.from_proto(event.old) if event.HasField("old") else None
            out.append(Event(EventKind.UPDATED, resource, old, bookmark))
        elif kind == _CREATED:
            out.append(Event(EventKind.CREATED, resource, None, bookmark))
        # Kinds of a newer server are skipped: they cannot be told in our words.

    def _compare(self, resource: R, out: list[Event[R]]) -> None:
        """Report a resource of the contents, in so far as it is news."""
        known = self._known
        if known is None:
            known = self._known = {}
        old = known.get(resource.id)
        known[resource.id] = resource
        if old is None:
            out.append(Event(EventKind.CREATED, resource, synthetic=self.caught_up))
        elif _birth(old) != _birth(resource):
            out.append(Event(EventKind.DESTROYED, old, synthetic=True))
            out.append(Event(EventKind.CREATED, resource, synthetic=True))
        elif old.version != resource.version or old.phase != resource.phase:
            out.append(Event(EventKind.UPDATED, resource, old, synthetic=True))

    def _end_of_contents(self, resource: R, bookmark: bytes | None, out: list[Event[R]]) -> None:
        if self._round is not None and self._known is not None:
            gone = [id_ for id_ in self._known if id_ not in self._round]
            out.extend(Event(EventKind.DESTROYED, self._known.pop(id_), synthetic=True) for id_ in gone)
        self._round = None
        if self._on_expired == "raise":
            self._known = None
        out.append(Event(EventKind.BOOTSTRAPPED, resource, None, bookmark, synthetic=self.caught_up))
        self.caught_up = True

    def _announce(self, resource: R, bookmark: bytes | None, out: list[Event[R]]) -> None:
        if not self._announced and not self._contents:
            self._announced = True
            self.caught_up = True
            if self._on_expired == "raise" and self.id is None:
                self._known = None
            out.append(Event(EventKind.NOOP, resource, None, bookmark))

    def _first_state(self, resource: R, kind: int, bookmark: bytes | None, out: list[Event[R]]) -> None:
        """Take the state that a watch of one resource begins with: as it is, or a tombstone where there is none."""
        self._initial = False
        known = {} if self._known is None else self._known
        self._known = known
        if kind == _DESTROYED:
            old = known.pop(resource.id, None)
            if old is not None:
                out.append(Event(EventKind.DESTROYED, old, synthetic=True))
        elif self._contents or self._announced:
            self._compare(resource, out)
        else:
            known[resource.id] = resource
        if self._contents and not self.caught_up:
            out.append(Event(EventKind.BOOTSTRAPPED, self.nothing(), None, bookmark))
        else:
            self._announce(self.nothing(), bookmark, out)
        self.caught_up = True

    def nothing(self) -> R:
        """Return what stands for no resource in events that are about none."""
        from omniherd.wire import cosi_resource

        metadata = cosi_resource.Metadata(namespace=self.namespace, type=self.cls.type_name, phase="running")
        return self.cls.from_proto(cosi_resource.Resource(metadata=metadata))

    # --- time -----------------------------------------------------------------------------------------------------

    @property
    def stale_since(self) -> float | None:
        """Since when events may be outstanding; None while the caller was told all that a standing stream had to tell.

        A connection may have been dead for a while before that is noticed. The time is then the last at which it was
        certainly whole.
        """
        return self._stale_since

    def opened(self, now: float) -> None:
        """Take note that a stream is being opened."""
        self._heard = now
        if self._stale_since is None:
            self._stale_since = now

    def heard(self, now: float) -> None:
        """Take note of a message, when it was fed."""
        self._heard = now
        if self._round is None and not self._initial and self._failure is None:
            self._stale_since = None

    def lost(self, now: float) -> None:
        """Take note that there is no stream any more."""
        if self._stale_since is None:
            self._stale_since = max(self._heard, now - _BLIND)

    def patience(self, now: float) -> float | None:
        """Return for how many seconds more the silence can be borne, 0 when it is over; None for ever."""
        if self._max_silence is None:
            return None
        return max(0.0, self._heard + self._max_silence - now)

    # --- going on -------------------------------------------------------------------------------------------------

    def broken(self, error: APIError | None) -> float:
        """Decide what comes after the end of a stream.

        Args:
            error: How it ended; None for a clean end, which is a break too: no watch ends by itself.

        Returns:
            Seconds to wait before the next stream.

        Raises:
            APIError: There is to be no next one.
        """
        self._failure = None
        if isinstance(error, WatchExpired) and self._on_expired == "restart" and self._bookmark is not None:
            self._bookmark = None
            self._contents = True
            return 0.0
        if error is None:
            error = Unavailable("the server ended the watch", resource=self.subject)
        transient = isinstance(error, (Canceled, DeadlineExceeded, WatchError)) or (
            isinstance(error, Unavailable) and error.retryable
        )
        if not self._resume or not transient:
            raise error
        if not self._established and self._failures + 1 >= self._retry.attempts:
            raise error
        delay = self._retry.delay(self._failures)
        self._failures += 1
        return delay


def _birth(resource: Resource[Any]) -> tuple[int, int]:
    stamp = resource.metadata.proto.created
    return (stamp.seconds, stamp.nanos)

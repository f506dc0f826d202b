"""The emulator's state: resources in memory with COSI's meaning of versions, owners, phases, finalizers and watches.

Nothing here knows gRPC, users or rules: the store does what a controller inside the server may do. Access and
validation are decided before a call comes here.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omniherd.emulator.records import (
    BOOTSTRAPPED,
    CREATED,
    DESTROYED,
    ERRORED,
    NOOP,
    TEARING_DOWN,
    UPDATED,
    Event,
    StateError,
    Stored,
    missing,
    shown_namespace,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from omniherd.wire import cosi_resource

__all__ = ["CAPACITY", "Clock", "Match", "Store", "Subscription", "WatchOptions"]

Clock = Callable[[], int]
Match = Callable[[Stored], bool]
Resources = list[Stored]
Kinds = list[tuple[str, str]]

CAPACITY = 10_000
"""How many events of a kind are kept for watchers; one that falls farther behind gets ERRORED."""

_GAP = 5
"""How near to the end of the kept history a bookmark may lie: what is older may vanish while the watch starts."""


@dataclass(slots=True)
class WatchOptions:
    """How a watch starts and what it shows; see `cosi.resource.WatchOptions`.

    Attributes:
        bootstrap_contents: Show what exists before what changes.
        bootstrap_bookmark: Tell the current position first.
        tail_events: How many past events to show first.
        start_from: A bookmark to go on from; None for none.
        match: Which resources to show; None for all.
        marks: Whether the reader knows BOOTSTRAPPED and ERRORED (`api_version` 1).
    """

    bootstrap_contents: bool = False
    bootstrap_bookmark: bool = False
    tail_events: int = 0
    start_from: bytes | None = None
    match: Match | None = None
    marks: bool = True


class _Kind:
    """The resources of one type in one namespace, and their history."""

    __slots__ = ("events", "listeners", "namespace", "position", "resources", "sorted_ids", "type")

    def __init__(self, namespace: str, type_name: str) -> None:
        self.namespace = namespace
        self.type = type_name
        self.resources: dict[str, Stored] = {}
        self.sorted_ids: list[str] | None = []
        self.events: list[Event] = []  # a ring once it has grown to the capacity
        self.position = 0  # of the next event
        self.listeners: set[Subscription] = set()

    def event_at(self, position: int) -> Event:
        return self.events[position % CAPACITY]

    def append(self, event: Event) -> None:
        if len(self.events) < CAPACITY:
            self.events.append(event)
        else:
            self.events[self.position % CAPACITY] = event
        self.position += 1

    def ids(self) -> list[str]:
        if self.sorted_ids is None:
            self.sorted_ids = sorted(self.resources)
        return self.sorted_ids


class Subscription:
    """A running watch. The reader takes events with `poll` when `ready` was called.

    Attributes:
        ready: Called without arguments, from whatever thread made a change, once for each time that new events wait.
    """

    def __init__(self, store: Store, kind: _Kind, id_: str | None, options: WatchOptions) -> None:
        self.ready: Callable[[], None] | None = None
        self._store = store
        self._kind = kind
        self._id = id_
        self._options = options
        self._initial: list[Event] = []
        self._position = 0
        self._signalled = False
        self._broken = False

    def poll(self, limit: int = CAPACITY) -> list[Event]:
        """Take the events that wait; none when there is nothing new.

        A reader that fell behind the kept history gets one ERRORED event (nothing when it does not know ERRORED) and
        nothing ever after: that is what the real server does.

        Args:
            limit: How many events of the history to look at, at most.
        """
        with self._store.lock:
            self._signalled = False
            found, self._initial = self._initial, []
            if found or self._broken:
                self._signal_if_behind()
                return found
            kind = self._kind
            if kind.position - self._position > CAPACITY:
                self._broken = True
                if not self._options.marks:
                    return []
                text = (
                    f'buffer overrun: namespace "{shown_namespace(kind.namespace)}" type "{kind.type}", '
                    f"write pos {kind.position}, pos {self._position}, capacity {CAPACITY}"
                )
                return [Event(ERRORED, None, error=text)]
            end = min(kind.position, self._position + limit)
            for position in range(self._position, end):
                shown = self._show(kind.event_at(position))
                if shown is not None:
                    found.append(shown)
            self._position = end
            self._signal_if_behind()
            return found

    def close(self) -> None:
        """End the watch; nothing comes after it."""
        with self._store.lock:
            self._kind.listeners.discard(self)
            self.ready = None

    def signal(self) -> None:
        """Tell the reader once that events wait."""
        if not self._signalled and self.ready is not None:
            self._signalled = True
            self.ready()

    def fall_behind(self) -> None:
        """Be where a reader is that was too slow; called by the store under its lock."""
        self._position = self._kind.position - CAPACITY - 1
        self.signal()

    def _signal_if_behind(self) -> None:
        if not self._broken and self._position < self._kind.position:
            self.signal()

    def _show(self, event: Event) -> Event | None:
        """Return how an event of the history looks through the watch's query."""
        resource = event.resource
        assert resource is not None  # noqa: S101 - the history holds changes only
        if self._id is not None:
            return event if resource.id == self._id else None
        match = self._options.match
        if match is None:
            return event
        now = match(resource)
        if event.kind != UPDATED or event.old is None:
            return event if now else None
        before = match(event.old)
        if now and before:
            return event
        if now:
            return Event(CREATED, resource, bookmark=event.bookmark)
        if before:
            return Event(DESTROYED, resource, bookmark=event.bookmark)
        return None

    def start(self) -> None:
        """Find where the watch begins; called by the store under its lock."""
        kind, options = self._kind, self._options
        if options.start_from is not None:
            self._position = self._store.position_of(kind, options.start_from) + 1
        elif options.tail_events > 0:
            self._position = self._tail()
        else:
            self._position = kind.position
            if self._id is not None:
                self._initial.append(self._single())
        bookmark = self._store.bookmark(kind.position - 1)
        if options.bootstrap_contents:
            match = options.match
            for id_ in kind.ids():
                resource = kind.resources[id_]
                if match is None or match(resource):
                    self._initial.append(Event(CREATED, resource))
            if options.marks:
                self._initial.append(Event(BOOTSTRAPPED, self._mark(), bookmark=bookmark))
        if options.bootstrap_bookmark and self._id is None:
            self._initial.append(Event(NOOP, self._mark(), bookmark=bookmark))
        kind.listeners.add(self)

    def _single(self) -> Event:
        assert self._id is not None  # noqa: S101 - only watches of one id come here
        resource = self._kind.resources.get(self._id)
        if resource is not None:
            return Event(CREATED, resource)
        return Event(DESTROYED, self._mark(self._id))

    def _mark(self, id_: str = "") -> Stored:
        now = self._store.now()
        return Stored(self._kind.namespace, self._kind.type, id_, created=now, updated=now, yaml="")

    def _tail(self) -> int:
        kind = self._kind
        wanted = self._options.tail_events
        position = kind.position
        oldest = max(0, kind.position - CAPACITY + _GAP)
        while position > oldest and wanted > 0:
            position -= 1
            if self._show(kind.event_at(position)) is not None:
                wanted -= 1
        return position


class Store:
    """Resources by namespace, type and id, with history.

    All methods may be called from any thread.

    Args:
        clock: Nanoseconds since 1970; the machine's clock by default.

    Attributes:
        lock: Held while something changes; hold it to make several changes in one.
        cookie: The eight bytes that begin every bookmark of this store.
        reacting: Whether observers are at it, so that a change is one that another change caused.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.lock = threading.RLock()
        self.cookie = os.urandom(8)
        self.clock: Clock = clock or time.time_ns
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._observers: list[Callable[[Event], None]] = []
        self._keepers: list[Callable[[Event], None]] = []
        self._quiet = False
        self.reacting = False

    def now(self) -> tuple[int, int]:
        """Return the time as seconds and nanoseconds."""
        return divmod(self.clock(), 1_000_000_000)

    def observe(self, observer: Callable[[Event], None]) -> None:
        """Call a function after every change, under the lock; controllers hang on here."""
        self._observers.append(observer)

    @property
    def quiet(self) -> bool:
        """Whether a state as a whole is being put in place, see `quietly`."""
        return self._quiet

    def keep(self, keeper: Callable[[Event], None]) -> None:
        """Call a function at every change, under the lock and before all observers; what keeps the state hangs on here.

        A keeper is called even while the store is quiet, and in the order of the changes.
        """
        self._keepers.append(keeper)

    @contextlib.contextmanager
    def quietly(self) -> Generator[None]:
        """Make changes that controllers do not react to: the state as a whole is put in place. Watches see them."""
        with self.lock:
            before, self._quiet = self._quiet, True
            try:
                yield
            finally:
                self._quiet = before

    # --- reading ----------------------------------------------------------------------------------------------------

    def find(self, namespace: str, type_name: str, id_: str) -> Stored | None:
        """Return a resource, None when it is not there."""
        kind = self._kinds.get((namespace, type_name))
        return None if kind is None else kind.resources.get(id_)

    def get(self, namespace: str, type_name: str, id_: str) -> Stored:
        """Return a resource.

        Raises:
            StateError: `NOT_FOUND`.
        """
        found = self.find(namespace, type_name, id_)
        if found is None:
            raise missing(namespace, type_name, id_)
        return found

    def list(self, namespace: str, type_name: str, match: Match | None = None) -> Resources:
        """Return the resources of a kind sorted by id.

        Args:
            namespace: The namespace; one that is not there holds nothing.
            type_name: The full type name.
            match: Which to return; None for all.
        """
        with self.lock:
            kind = self._kinds.get((namespace, type_name))
            if kind is None:
                return []
            resources = kind.resources
            found = [resources[id_] for id_ in kind.ids()]
        return found if match is None else [resource for resource in found if match(resource)]

    def kinds(self) -> Kinds:
        """Return namespace and type of everything that was ever stored."""
        with self.lock:
            return sorted(self._kinds)

    # --- writing ----------------------------------------------------------------------------------------------------

    def create(self, resource: Stored, owner: str = "") -> Stored:
        """Store a new resource under version 1; the answer is what was stored.

        Args:
            resource: What to store. Its owner counts only when `owner` is the same.
            owner: Who is to own it.

        Raises:
            StateError: `ALREADY_EXISTS`, `UNKNOWN` for an owner in the resource that is not the caller's, or for an
                empty namespace.
        """
        if resource.owner not in {"", owner}:
            raise StateError("UNKNOWN", f'owner is already set to "{resource.owner}"')
        with self.lock:
            if self.find(resource.namespace, resource.type, resource.id) is not None:
                raise StateError("ALREADY_EXISTS", f"resource {resource} already exists")
            if not resource.namespace:
                raise StateError("UNKNOWN", "bucket name required")
            kind = self._kind(resource.namespace, resource.type)
            stored = resource.replace(version="1", owner=owner, created=self.now())
            kind.resources[stored.id] = stored
            kind.sorted_ids = None
            self._record(kind, Event(CREATED, stored))
            return stored

    def update(self, resource: Stored, owner: str = "", expected_phase: str | None = None) -> Stored:
        """Replace a resource as a whole; the answer is what was stored.

        Args:
            resource: The new content; its version must be the stored one.
            owner: The caller, who must be the owner.
            expected_phase: The phase that the stored one must be in; None for any.

        Raises:
            StateError: `NOT_FOUND`; `PERMISSION_DENIED` for another owner; `FAILED_PRECONDITION` for another version;
                `INVALID_ARGUMENT` for another phase. Checked in that order.
        """
        with self.lock:
            current = self.get(resource.namespace, resource.type, resource.id)
            self._check_owner(current, owner)
            if resource.version != current.version:
                raise StateError(
                    "FAILED_PRECONDITION",
                    f"resource {current} update conflict: "
                    f'expected version "{resource.version}", actual version "{current.version}"',
                )
            if expected_phase is not None and current.phase != expected_phase:
                raise StateError("INVALID_ARGUMENT", f"resource {current} is not in phase {expected_phase}")
            return self._replace(current, resource)

    def destroy(self, namespace: str, type_name: str, id_: str, owner: str = "") -> None:
        """Remove a resource, in whatever phase.

        Raises:
            StateError: `NOT_FOUND`; `PERMISSION_DENIED` for another owner; `FAILED_PRECONDITION` for pending
                finalizers. Checked in that order.
        """
        with self.lock:
            current = self.get(namespace, type_name, id_)
            self._check_owner(current, owner)
            if current.finalizers:
                held = " ".join(current.finalizers)
                raise StateError("FAILED_PRECONDITION", f"resource {current} has pending finalizers &[{held}]")
            kind = self._kind(namespace, type_name)
            del kind.resources[id_]
            kind.sorted_ids = None
            self._record(kind, Event(DESTROYED, current))

    def teardown(self, namespace: str, type_name: str, id_: str, owner: str = "") -> bool:
        """Mark a resource for destruction; tell whether nothing holds it any more.

        Raises:
            StateError: `NOT_FOUND`; `PERMISSION_DENIED` for another owner.
        """
        with self.lock:
            current = self.get(namespace, type_name, id_)
            self._check_owner(current, owner)
            if current.phase != TEARING_DOWN:
                current = self._replace(current, current.replace(phase=TEARING_DOWN))
            return not current.finalizers

    def put(
        self,
        type_name: str,
        id_: str,
        spec: Message | Mapping[str, Any] | bytes = b"",
        *,
        namespace: str | None = None,
        owner: str = "",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        finalizers: Iterable[str] | None = None,
    ) -> Stored:
        """Create a resource, or replace what is given of one that exists; for seeds, controllers and tests.

        Args:
            type_name: The full type name.
            id_: The id.
            spec: The spec: a message, its fields, or encoded.
            namespace: Where the type lives by default.
            owner: Who owns it.
            labels: All its labels; those that it has stay for None.
            annotations: All its annotations; those that it has stay for None.
            finalizers: All its finalizers; those that it has stay for None.
        """
        from omniherd.emulator.forms import default_namespace, encode

        data = spec if isinstance(spec, bytes) else encode(type_name, spec)
        place = default_namespace(type_name) if namespace is None else namespace
        with self.lock:
            current = self.find(place, type_name, id_)
            base = current or Stored(place, type_name, id_, updated=self.now())
            changed = base.replace(spec=data, owner=owner)
            if labels is not None:
                changed.labels = dict(labels)
            if annotations is not None:
                changed.annotations = dict(annotations)
            if finalizers is not None:
                changed.finalizers = tuple(finalizers)
            if current is None:
                return self.create(changed, owner)
            if _same(current, changed):
                return current
            return self._replace(current, changed)

    def restore(self, resource: cosi_resource.Resource | bytes) -> Stored:
        """Store a resource as it was somewhere else: version, times, owner and all; for fixtures and exports.

        Args:
            resource: The resource as it came over the wire, a message or encoded.
        """
        from omniherd._core.pool import message

        proto: Any = message("cosi.resource.Resource").FromString(resource) if isinstance(resource, bytes) else resource
        metadata = proto.metadata
        with self.lock:
            kind = self._kind(metadata.namespace, metadata.type)
            current = kind.resources.get(metadata.id)
            stored = Stored.of(proto)
            kind.resources[stored.id] = stored
            kind.sorted_ids = None
            self._record(kind, Event(CREATED if current is None else UPDATED, stored, old=current))
            return stored

    def modify(self, namespace: str, type_name: str, id_: str, **changes: Any) -> Stored | None:
        """Change fields of a resource whoever owns it; None when it is gone. For controllers."""
        with self.lock:
            current = self.find(namespace, type_name, id_)
            return None if current is None else self._replace(current, current.replace(**changes))

    def remove(self, namespace: str, type_name: str, id_: str) -> bool:
        """Remove a resource whoever owns or holds it; tell whether it was there. For controllers."""
        with self.lock:
            current = self.find(namespace, type_name, id_)
            if current is None:
                return False
            kind = self._kind(namespace, type_name)
            del kind.resources[id_]
            kind.sorted_ids = None
            self._record(kind, Event(DESTROYED, current))
            return True

    # --- watching ---------------------------------------------------------------------------------------------------

    def watch(self, namespace: str, type_name: str, id_: str | None, options: WatchOptions) -> Subscription:
        """Start a watch of a kind, or of one resource.

        Args:
            namespace: The namespace.
            type_name: The full type name.
            id_: The id to watch; None for the kind.
            options: How it starts and what it shows.

        Raises:
            StateError: Options that exclude each other, or a bookmark that is not (or no longer) valid.
        """
        if options.bootstrap_contents and (options.tail_events > 0 or options.start_from is not None):
            raise StateError("UNKNOWN", "cannot use BootstrapContents with TailEvents and StartFromBookmark options")
        if options.tail_events > 0 and options.start_from is not None:
            raise StateError("UNKNOWN", "cannot use both TailEvents and StartFromBookmark options")
        with self.lock:
            subscription = Subscription(self, self._kind(namespace, type_name), id_, options)
            subscription.start()
            return subscription

    def overrun(self) -> int:
        """Let all running watches fall behind the kept history; return how many there are."""
        with self.lock:
            listeners = [listener for kind in self._kinds.values() for listener in kind.listeners]
            for listener in listeners:
                listener.fall_behind()
        return len(listeners)

    def bookmark(self, position: int) -> bytes:
        """Return the bookmark of a position in a kind's history."""
        return self.cookie + position.to_bytes(8, "big", signed=True)

    def position_of(self, kind: _Kind, bookmark: bytes) -> int:
        """Return the position that a bookmark names.

        Raises:
            StateError: `FAILED_PRECONDITION`: it is not of this store, or what came after it is no longer kept.
        """
        if len(bookmark) == 16 and bookmark.startswith(self.cookie):
            position = int.from_bytes(bookmark[8:], "big", signed=True)
            oldest = kind.position - CAPACITY + _GAP if kind.position > CAPACITY else -1
            if oldest <= position < kind.position:
                return position
        raise StateError("FAILED_PRECONDITION", "invalid watch bookmark")

    # --- inside -----------------------------------------------------------------------------------------------------

    def _kind(self, namespace: str, type_name: str) -> _Kind:
        kind = self._kinds.get((namespace, type_name))
        if kind is None:
            kind = self._kinds[namespace, type_name] = _Kind(namespace, type_name)
        return kind

    @staticmethod
    def _check_owner(current: Stored, owner: str) -> None:
        if current.owner != owner:
            raise StateError("PERMISSION_DENIED", f'resource {current} is owned by "{current.owner}"')

    def _replace(self, current: Stored, changed: Stored) -> Stored:
        kind = self._kind(current.namespace, current.type)
        stored = changed.replace(version=str(int(current.version) + 1), created=current.created, updated=self.now())
        kind.resources[stored.id] = stored
        self._record(kind, Event(UPDATED, stored, old=current))
        return stored

    def _record(self, kind: _Kind, event: Event) -> None:
        event.bookmark = self.bookmark(kind.position)
        kind.append(event)
        for listener in tuple(kind.listeners):
            listener.signal()
        for keeper in self._keepers:
            keeper(event)
        if self._quiet:
            return
        before, self.reacting = self.reacting, True
        try:
            for observer in self._observers:
                observer(event)
        finally:
            self.reacting = before


def _same(one: Stored, other: Stored) -> bool:
    return (
        one.spec == other.spec
        and one.owner == other.owner
        and one.labels == other.labels
        and one.annotations == other.annotations
        and one.finalizers == other.finalizers
        and one.phase == other.phase
    )

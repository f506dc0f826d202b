"""What a cache holds, without a server."""

from __future__ import annotations

import pytest

from omniherd import Event, EventKind
from omniherd._core.cache import Shelf, keys_of
from omniherd.errors import InputError, SelectorError
from omniherd.resources import MachineClass


def made(id_, version=1, **labels):
    return MachineClass.from_proto(_proto(id_, version, labels))


def _proto(id_, version, labels):
    resource = MachineClass(id_, labels=labels).to_proto()
    resource.metadata.version = str(version)
    return resource


def shelf(**indexes):
    failed = []
    made_shelf = Shelf(indexes, lambda error, event: failed.append((error, event)))
    made_shelf.failed = failed
    return made_shelf


def created(resource):
    return Event(EventKind.CREATED, resource)


def updated(resource, old=None):
    return Event(EventKind.UPDATED, resource, old)


def destroyed(resource):
    return Event(EventKind.DESTROYED, resource)


def told(event):
    old = event.old.version if event.old is not None else None
    return (str(event.kind), event.resource.id, event.resource.version, old)


def test_it_holds_what_events_say():
    one = shelf()
    assert told(one.apply(created(made("b")))) == ("created", "b", 1, None)
    assert told(one.apply(created(made("a")))) == ("created", "a", 1, None)
    assert told(one.apply(updated(made("a", 2)))) == ("updated", "a", 2, 1)
    assert [(found.id, found.version) for found in one.list()] == [("a", 2), ("b", 1)]
    assert told(one.apply(destroyed(made("b", 3)))) == ("destroyed", "b", 3, 1)
    assert len(one) == 1
    assert "a" in one
    assert "b" not in one
    assert one.get("a").version == 2
    assert one.get("b") is None


def test_events_are_told_as_they_look_from_here():
    one = shelf()
    assert told(one.apply(updated(made("a", 5), made("a", 4)))) == ("created", "a", 5, None)
    assert told(one.apply(created(made("a", 6)))) == ("updated", "a", 6, 5)
    assert told(one.apply(updated(made("a", 8), made("a", 7)))) == ("updated", "a", 8, 6)
    assert one.apply(destroyed(made("b"))) is None
    for kind in (EventKind.BOOTSTRAPPED, EventKind.NOOP):
        assert one.apply(Event(kind, made(""))) is None
    assert [found.id for found in one.list()] == ["a"]


def test_what_an_event_carries_stays():
    one = shelf()
    event = one.apply(Event(EventKind.UPDATED, made("a"), None, b"m", synthetic=True))
    assert (event.kind, event.bookmark, event.synthetic) == ("created", b"m", True)
    event = one.apply(Event(EventKind.DESTROYED, made("a"), None, b"n", synthetic=True))
    assert (event.bookmark, event.synthetic) == (b"n", True)


def test_it_selects_by_labels():
    one = shelf()
    for resource in (made("a", env="prod"), made("b", env="test"), made("c")):
        one.apply(created(resource))
    assert [found.id for found in one.list("env")] == ["a", "b"]
    assert [found.id for found in one.list({"env": "test"})] == ["b"]
    assert [found.id for found in one.list("env != prod")] == ["b", "c"]
    with pytest.raises(SelectorError):
        one.list("env in (")


def test_indexes_follow_what_changes():
    one = shelf(env=lambda resource: resource.labels.get("env"), letters=lambda resource: list(resource.id))
    for resource in (made("c"), made("bc", env="prod"), made("ab", env="prod")):
        one.apply(created(resource))
    assert [found.id for found in one.by("env", "prod")] == ["ab", "bc"]
    assert [found.id for found in one.by("letters", "b")] == ["ab", "bc"]
    assert one.values("letters") == ["a", "b", "c"]
    one.apply(updated(made("ab", 2, env="test")))
    assert [found.id for found in one.by("env", "prod")] == ["bc"]
    assert [found.version for found in one.by("env", "test")] == [2]
    one.apply(updated(made("bc", 2)))
    assert one.by("env", "prod") == []
    assert one.values("env") == ["test"]
    one.apply(destroyed(made("ab", 2, env="test")))
    assert one.values("env") == []
    assert one.values("letters") == ["b", "c"]
    assert one.failed == []


def test_an_index_can_come_later_and_names_are_checked():
    one = shelf()
    one.apply(created(made("a", env="prod")))
    with pytest.raises(InputError, match="no index 'env'") as caught:
        one.by("env", "prod")
    assert caught.value.hint == "it has these: none"
    one.add_index("env", lambda resource: resource.labels.get("env"))
    assert [found.id for found in one.by("env", "prod")] == ["a"]
    with pytest.raises(InputError, match="already"):
        one.add_index("env", lambda resource: None)
    with pytest.raises(InputError) as caught:
        one.values("nope")
    assert caught.value.hint == "it has these: env"


def test_an_index_that_fails_is_told_and_leaves_the_rest_alone():
    def picky(resource):
        return dict(resource.labels)["env"]

    one = shelf(picky=picky, id=lambda resource: resource.id)
    event = created(made("a"))
    assert told(one.apply(event))[0] == "created"
    assert one.values("picky") == []
    assert one.values("id") == ["a"]
    ((error, about),) = one.failed
    assert isinstance(error, KeyError)
    assert about is event
    one.apply(updated(made("a", 2, env="x")))
    assert [found.version for found in one.by("picky", "x")] == [2]
    one.apply(updated(made("a", 3)))
    assert one.by("picky", "x") == [], "it is not found under what it was"


def test_what_an_index_may_answer():
    assert keys_of(None) == ()
    assert keys_of("ab") == ("ab",)
    assert keys_of(["a", "b", "a"]) == ("a", "b")
    assert keys_of(letter for letter in "ab") == ("a", "b")

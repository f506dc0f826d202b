"""A list is the contents of a watch wherever that is the same, and a list wherever it is not."""

import contextlib

import grpc
import pytest
from scripted_server import QUICK, found, scripted

from omniherd import Omni
from omniherd._core.contents import has_contents
from omniherd._core.resource_table import TABLE
from omniherd.emulator import Emulator
from omniherd.errors import OmniError, PermissionDenied, Unavailable
from omniherd.resources import InfraProvider, MachineClass, MachineStatus
from omniherd.signing import PGPKey
from omniherd.wire import cosi_resource as cosi

CREATED, DESTROYED, BOOTSTRAPPED, ERRORED = 0, 2, 3, 4
LIST, WATCH = "List", "Watch"


@pytest.fixture(scope="module")
def fleet():
    with Emulator() as running:
        yield running


@pytest.fixture(scope="module")
def signer():
    return PGPKey.generate("", "", "test@example.com", 3600)


def events(*pairs):
    return cosi.WatchResponse(
        event=[cosi.Event(event_type=kind, resource=found(id_)) for kind, id_ in pairs]
    ).SerializeToString()


def listed(*ids):
    return [cosi.ListResponse(resource=found(id_)).SerializeToString() for id_ in ids]


@contextlib.contextmanager
def client(signer, watch, answers=("l",)):
    """A client of a server whose watches are played by a function, and whose lists have these ids."""

    def answer(verb, request, context, number):
        if verb == WATCH:
            yield from watch(context, number)
        else:
            yield from listed(*answers)

    with scripted(answer) as script, Omni.connect(script.endpoint, signer=signer, retry=QUICK) as omni:
        yield omni, script


def verbs(script):
    return [verb for verb, _ in script.calls]


def ids(resources):
    return [one.id for one in resources]


def test_contents_in_one_message_are_the_list(signer):
    def watch(context, number):
        yield b""
        yield events((CREATED, "a"), (CREATED, "b"), (BOOTSTRAPPED, ""))

    with client(signer, watch) as (omni, script):
        assert ids(omni.list(MachineClass)) == ["a", "b"]
        assert verbs(script) == [WATCH]


def test_contents_in_several_messages_are_the_list_and_what_comes_after_is_not(signer):
    def watch(context, number):
        yield b""
        yield events((CREATED, "a"))
        yield events((CREATED, "b"), (BOOTSTRAPPED, ""), (CREATED, "later"))

    with client(signer, watch) as (omni, _):
        assert ids(omni.list(MachineClass)) == ["a", "b"]


def test_contents_that_break_off_are_read_again_as_a_whole(signer):
    def watch(context, number):
        yield events((CREATED, f"{number}"))
        if number == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "broke")
        yield events((BOOTSTRAPPED, ""))

    with client(signer, watch) as (omni, script):
        assert ids(omni.list(MachineClass)) == ["2"]
        assert verbs(script) == [WATCH, WATCH]


def abort(code):
    def watch(context, number):
        yield events((CREATED, "a"))
        context.abort(code, "no")

    return watch


def errored(context, number):
    yield events((CREATED, "a"), (ERRORED, ""))


def ended(context, number):
    yield events((CREATED, "a"))


@pytest.mark.parametrize(
    "watch",
    [abort(grpc.StatusCode.UNIMPLEMENTED), abort(grpc.StatusCode.RESOURCE_EXHAUSTED), errored, ended],
    ids=["unimplemented", "too large", "errored", "ended"],
)
def test_where_a_watch_does_not_do_a_list_is_asked_for(watch, signer):
    with client(signer, watch) as (omni, script):
        assert ids(omni.list(MachineClass)) == ["l"]
        assert verbs(script) == [WATCH, LIST]


def test_a_refusal_is_not_asked_for_twice(signer):
    with client(signer, abort(grpc.StatusCode.PERMISSION_DENIED)) as (omni, script):
        with pytest.raises(PermissionDenied, match="no"):
            omni.list(MachineClass)
        assert verbs(script) == [WATCH]


def test_it_gives_up_after_as_many_attempts_as_a_list(signer):
    with client(signer, abort(grpc.StatusCode.UNAVAILABLE)) as (omni, script):
        with pytest.raises(Unavailable):
            omni.list(MachineClass)
        assert verbs(script) == [WATCH] * QUICK.attempts


def test_kinds_with_rules_of_their_own_are_listed(signer):
    with client(signer, errored) as (omni, script):
        omni.list(InfraProvider)
        omni.list(MachineClass, namespace="elsewhere")
        omni.list("Things.example.dev")
        assert verbs(script) == [LIST] * 3


def plain_list(omni, type_name, namespace, options=None):
    """What State.List itself answers: the resources, or the error."""
    request = cosi.ListRequest(namespace=namespace, type=type_name, options=options)
    try:
        return [parts(one.resource) for one in omni.stream("/cosi.resource.State/List", request)]
    except OmniError as error:
        return type(error), str(error)


def our_list(omni, type_name, **selection):
    try:
        return [parts(one._proto) for one in omni.list(type_name, **selection)]
    except OmniError as error:
        return type(error), str(error)


def parts(resource):
    """A resource as it came, whatever order its labels were written in."""
    return resource.metadata, resource.spec.proto_spec, resource.spec.yaml_spec


@pytest.mark.parametrize("role", ["None", "InfraProvider", "Reader", "Operator", "Admin"])
def test_the_answer_is_that_of_a_list_for_every_type_and_role(role, fleet):
    name = "infra-provider:lists" if role == "InfraProvider" else f"lists-{role.lower()}"
    key = fleet.add_service_account(name, role)
    rows = [row for row in TABLE if has_contents(row, row.namespace)]
    assert len(rows) > 100
    with Omni.connect(fleet.endpoint, service_account_key=key) as omni:
        assert [row.type for row in rows if our_list(omni, row.type) != plain_list(omni, row.type, row.namespace)] == []


@pytest.mark.parametrize(
    "selection",
    [
        {"labels": "omni.sidero.dev/cluster=prod"},
        {"labels": "!omni.sidero.dev/cluster"},
        {"id_regexp": "^1"},
        {"id_regexp": "("},
        {"labels": "omni.sidero.dev/cluster", "id_regexp": "0"},
        {"labels": "none-has-it"},
    ],
)
def test_queries_mean_the_same(selection, fleet):
    from omniherd._core.requests import list_options

    options = list_options(selection.get("labels"), selection.get("id_regexp"))
    with fleet.connect() as omni:
        theirs = plain_list(omni, MachineStatus.type_name, "default", options)
        ours = our_list(omni, MachineStatus, **selection)
    assert ours == theirs
    assert ours or selection["labels"] == "none-has-it"

"""ResourceService in the emulator: what no recording shows, and JSON as Go reads and writes it."""

from __future__ import annotations

import base64
import json
import math
from weakref import WeakSet

import grpc
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from omniherd._core.pool import message, pool
from omniherd.emulator import Emulator
from omniherd.emulator.protojson import JSONFault, read, write
from omniherd.emulator.records import StateError
from omniherd.emulator.resources_api.hosted import refusing
from omniherd.emulator.resources_api.windows import Rank, Window
from omniherd.emulator.server import Incoming
from omniherd.errors import NotFound, OmniError, PermissionDenied, Unimplemented, UnknownError
from omniherd.wire import cosi_resource, omni_resources, specs

PREFIX = "/omni.resources.ResourceService/"
OMNI = (("runtime", "Omni"),)
LABELS = {"namespace": "default", "type": "MachineLabels.omni.sidero.dev"}


@pytest.fixture(scope="module")
def omni(emulator):
    with emulator.connect() as client:
        yield client


def ask(omni, method, request):
    return omni.call(PREFIX + method, request, metadata=OMNI)


# --- the service ------------------------------------------------------------------------------------------------------


def test_the_web_pages_machines_are_searched_and_sorted(omni):
    query = {"namespace": "default", "type": "MachineStatuses.omni.sidero.dev"}
    everything = ask(omni, "List", omni_resources.ListRequest(**query, sort_by_field="hostname"))
    names = [json.loads(item)["spec"]["network"]["hostname"] for item in everything.items]
    assert names == sorted(names)
    assert everything.total == len(names) > 3
    found = ask(omni, "List", omni_resources.ListRequest(**query, search_for=[names[1]]))
    assert [json.loads(item)["spec"]["network"]["hostname"] for item in found.items] == [names[1]]
    by_state = ask(
        omni,
        "List",
        omni_resources.ListRequest(namespace="default", type="ClusterStatuses.omni.sidero.dev", search_for=["!ready"]),
    )
    assert all(not json.loads(item)["spec"].get("ready") for item in by_state.items)


def test_changes_are_in_the_audit_log(omni):
    resource = omni_resources.Resource(metadata=cosi_resource.Metadata(**LABELS, id="noted"), spec="{}")
    ask(omni, "Create", omni_resources.CreateRequest(resource=resource))
    ask(omni, "Delete", omni_resources.DeleteRequest(**LABELS, id="noted"))
    lines = [entry for entry in omni.management.audit_log() if b"noted" in str(entry).encode()]
    assert [line["event_type"] for line in lines][:1] == ["create"]


def test_roles_are_those_of_the_state_service(emulator):
    key = emulator.add_service_account("watcher", "Reader")
    resource = omni_resources.Resource(metadata=cosi_resource.Metadata(**LABELS, id="no"), spec="{}")
    from omniherd import Omni

    with Omni.connect(emulator.endpoint, service_account_key=key) as reader, pytest.raises(PermissionDenied) as caught:
        ask(reader, "Create", omni_resources.CreateRequest(resource=resource))
    assert 'insufficient role: "Reader"' in str(caught.value)


def test_the_licence_is_accepted_without_a_signature():
    metadata = cosi_resource.Metadata(namespace="default", type="EulaAcceptances.omni.sidero.dev", id="eula")
    spec = json.dumps({"accepted_by_name": "Me", "accepted_by_email": "me@example.com"})
    request = omni_resources.CreateRequest(resource=omni_resources.Resource(metadata=metadata, spec=spec))
    with Emulator(seed_fleet=False, eula_accepted=False) as emulator, emulator.connect() as omni:
        with pytest.raises(OmniError, match="EULA has not been accepted"):
            omni.list("clusters")
        with grpc.insecure_channel(emulator.endpoint.removeprefix("http://")) as channel:
            channel.unary_unary(PREFIX + "Create", request_serializer=bytes)(
                request.SerializeToString(), metadata=OMNI, timeout=10
            )
        assert omni.list("clusters") == []
        assert omni.get("eulaacceptances", "eula").spec.accepted_by_name == "Me"


def test_the_hosted_service_has_none():
    request = omni_resources.GetRequest(**LABELS, id="x")
    with Emulator(seed_fleet=False, resource_service=False) as emulator, emulator.connect() as omni:
        with pytest.raises(UnknownError, match="status: 405"):
            ask(omni, "Get", request)
        assert omni.list("clusters") == []


async def test_each_library_has_its_own_words_for_405():
    call = Incoming(PREFIX + "Get", [("user-agent", "grpc-go/1.81.1")], None, WeakSet())
    with pytest.raises(StateError, match=r"405 \(Method Not Allowed\)"):
        await refusing({PREFIX + "Get": None})[PREFIX + "Get"](call, None)


def test_resources_of_machines(emulator, omni):
    """They come from Talos, in its YAML form, with the machine as the caller named it."""
    stored = emulator.store.list("default", "ClusterMachines.omni.sidero.dev")
    machines = [one.id for one in stored if one.labels["omni.sidero.dev/cluster"] == "prod"][:2]
    members = {"namespace": "cluster", "type": "Members.cluster.talos.dev"}
    metadata = [("runtime", "Talos"), ("cluster", "prod"), ("nodes", ",".join(machines))]
    found = omni.call(PREFIX + "List", omni_resources.ListRequest(**members), metadata=metadata)
    seen = [json.loads(item) for item in found.items]
    assert {item["metadata"]["node"] for item in seen} == set(machines)
    assert all(item["spec"]["machineType"] in {"controlplane", "worker"} for item in seen)
    one = [("runtime", "Talos"), ("cluster", "prod"), ("nodes", machines[0])]
    with omni.stream(PREFIX + "Watch", omni_resources.WatchRequest(**members), metadata=one) as stream:
        first = next(stream)
        assert (first.event.event_type, first.total) == (1, 1)
        assert json.loads(first.event.resource)["metadata"]["node"] == machines[0]
    missing = omni_resources.GetRequest(**members, id="nope")
    with pytest.raises(NotFound):
        omni.call(PREFIX + "Get", missing, metadata=one)
    with pytest.raises(Unimplemented, match="several machines"):
        next(omni.stream(PREFIX + "Watch", omni_resources.WatchRequest(**members), metadata=metadata))
    with pytest.raises(Unimplemented, match="Kubernetes is not emulated"):
        omni.call(PREFIX + "Get", missing, metadata=[("runtime", "Kubernetes"), ("cluster", "prod")])


# --- windows ----------------------------------------------------------------------------------------------------------


def rank(name):
    return Rank("", ("default", name), descending=False)


def test_a_window_stays_where_the_first_ones_settled_it():
    window = Window(1, 2)
    assert [window.shows(rank(name)) for name in "abcd"] == [False, True, True, False]
    assert [window.shows(rank(name)) for name in ("bb", "a", "cc")] == [True, False, False]
    open_end = Window(1, 0)
    assert [open_end.shows(rank(name)) for name in "aabza"] == [False, False, True, True, False]
    assert Window(-1, -2).shows(rank("a"))


def test_ranks_know_up_and_down():
    low, high = (Rank(text, ("d", "x"), descending=True) for text in "ab")
    assert high < low
    assert low > high
    assert low == Rank("a", ("d", "x"), descending=True)
    assert len({low, Rank("a", ("d", "x"), descending=True)}) == 1


# --- JSON -------------------------------------------------------------------------------------------------------------

METADATA = message("cosi.resource.Metadata")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("-", "unexpected end of JSON input"),
        ("-x", "invalid character 'x' in numeric literal"),
        ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ("1ex", "invalid character 'x' in exponent of numeric literal"),
        ('"\\u12x4"', "invalid character 'x' in \\u hexadecimal character escape"),
        ('"\x01"', "invalid character '\\x01' in string literal"),
        ("é", "invalid character 'Ã' looking for beginning of value"),
        ('{"id":"\\ud800"}', "proto: syntax error (line 1:7): invalid escape code in string"),
        ("[" * 300, "exceeded max depth"),
        ('{"created":{}}', "proto: syntax error (line 1:12): unexpected token {"),
    ],
)
def test_faults_in_json(text, fault):
    with pytest.raises(JSONFault) as caught:
        read(METADATA, text)
    assert str(caught.value) == fault


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("10e-1", 1), ("1.0", 1), ('"7"', 7), ("-0", 0), ("0.0", 0), ("1E2", 100), ("-1.50e1", -15)],
)
def test_integers_in_every_form(text, value):
    assert read(omni_resources.ListRequest, f'{{"limit":{text}}}').limit == value


@pytest.mark.parametrize("text", ["1.5", '"1.5"', '" 1"', '""', "1e-1", "2147483648", "1e999", "null x"])
def test_what_is_no_integer(text):
    with pytest.raises(JSONFault):
        read(omni_resources.ListRequest, f'{{"limit":{text}}}')


def test_bytes_in_every_alphabet():
    for text in ("-_8=", "-_8", "+/8="):
        assert read(cosi_resource.Spec, json.dumps({"proto_spec": text})).proto_spec == b"\xfb\xff"


def test_one_member_of_a_group_only():
    with pytest.raises(JSONFault) as caught:
        read(specs.OngoingTaskSpec, '{"destroy":{},"talosUpgrade":{}}')
    told = 'error parsing "talosUpgrade", oneof specs.OngoingTaskSpec.details is already set'
    assert str(caught.value) == f"proto: (line 1:15): {told}"


def test_fractions():
    quantity = specs.KubernetesUsageSpec.Quantity
    assert write(quantity(requests=1.5, limits=2.0, capacity=math.inf)) == (
        '{"requests":1.5,"limits":2,"capacity":"Infinity"}'
    )
    assert math.isnan(read(quantity, '{"requests":"NaN"}').requests)
    assert read(quantity, '{"requests":"1e3","limits":-0.5}') == quantity(requests=1000, limits=-0.5)
    with pytest.raises(JSONFault, match="invalid value for double field requests: true"):
        read(quantity, '{"requests":true}')


@given(
    st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
    st.text(max_size=8),
    st.integers(-62135596800, 253402300799),
)
def test_what_is_written_can_be_read(labels, id_, seconds):
    proto = METADATA(id=id_, labels=labels, finalizers=[id_])
    proto.created.seconds = seconds
    text = write(proto)
    assert read(METADATA, text) == proto
    assert json_format.Parse(text, METADATA(), descriptor_pool=pool()) == proto


@given(st.text(alphabet='{}[]:,"\\ tfn0.-e1xid', max_size=30))
def test_what_go_takes_python_takes(text):
    """Python's reader agrees on what is JSON, but for numbers that are none."""
    try:
        read(cosi_resource.LabelTerm, text)
        fault = ""
    except JSONFault as error:
        fault = str(error)
    try:
        json.loads(text)
        fine = True
    except ValueError:
        fine = False
    syntax = fault and not fault.startswith("proto:")
    assert bool(syntax) != fine


def test_long_numbers_are_texts():
    proto = specs.MachineStatusLinkSpec(machine_created_at=1 << 60)
    assert write(proto) == '{"machine_created_at":"1152921504606846976"}'
    assert read(specs.MachineStatusLinkSpec, write(proto)) == proto


def test_bytes_are_base64():
    assert (
        json.loads(write(cosi_resource.Spec(proto_spec=b"\x00\xff")))["proto_spec"]
        == base64.b64encode(b"\x00\xff").decode()
    )

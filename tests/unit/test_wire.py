"""The compiled descriptors say what the API's facts say, and live in a pool of their own."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from omniherd._core.pool import descriptor, enum_descriptor, message, module_member, pool
from omniherd._core.spec_mapping import is_repeated
from omniherd.wire.calls import CALLS

FACTS = json.loads((Path(__file__).parent.parent / "data" / "wire.json").read_text())
ROOT = Path(__file__).parent.parent.parent

SCALARS = {
    1: "double",
    2: "float",
    3: "int64",
    4: "uint64",
    5: "int32",
    8: "bool",
    9: "string",
    12: "bytes",
    13: "uint32",
    17: "sint32",
    18: "sint64",
    7: "fixed32",
    6: "fixed64",
}


def type_name(field):
    if field.message_type is not None:
        return field.message_type.full_name
    if field.enum_type is not None:
        return field.enum_type.full_name
    return SCALARS[field.type]


def describe(field):
    oneof = field.containing_oneof
    optional = oneof is not None and len(oneof.fields) == 1 and oneof.name == f"_{field.name}"
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        return [field.number, f"map<{type_name(key)},{type_name(value)}>", "map", ""]
    label = "repeated" if is_repeated(field) else "optional" if optional else ""
    return [field.number, type_name(field), label, oneof.name if oneof is not None and not optional else ""]


@pytest.mark.parametrize("name", sorted(FACTS["messages"]))
def test_message(name):
    found = {field.name: describe(field) for field in descriptor(name).fields}
    assert found == FACTS["messages"][name]


@pytest.mark.parametrize("name", sorted(FACTS["enums"]))
def test_enum(name):
    found = {value.name: value.number for value in enum_descriptor(name).values}
    assert found == FACTS["enums"][name]


def test_methods():
    streams = {(False, False): "", (False, True): "server", (True, False): "client", (True, True): "bidi"}
    found = {
        call.path: [call.request, call.response, streams[call.client_stream, call.server_stream]]
        for call in CALLS.values()
    }
    assert found == FACTS["methods"]


def test_the_pool_has_nothing_that_the_facts_lack():
    found = set()

    def walk(one):
        if not one.GetOptions().map_entry:
            found.add(one.full_name)
        for nested in one.nested_types:
            walk(nested)

    for file in (ROOT / "proto").rglob("*.proto"):
        for one in pool().FindFileByName(str(file.relative_to(ROOT / "proto"))).message_types_by_name.values():
            walk(one)
    assert found == set(FACTS["messages"])


def test_counts_are_those_of_the_api():
    assert len(FACTS["methods"]) == 121
    assert len(FACTS["enums"]) == 77
    assert sum(len(fields) for fields in FACTS["messages"].values()) == 1763


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="proto package 'specs' has no 'Nope'"):
        module_member("specs", "Nope")
    with pytest.raises(KeyError):
        message("specs.Nope")


def test_enums_and_messages_come_from_modules():
    from omniherd.wire import common, specs

    assert specs.ClusterSpec is message("specs.ClusterSpec")
    assert specs.MachineSetPhase.Value("Running") == 3
    assert common.Data(bytes=b"x").bytes == b"x"


CLASHING = """
    from google.protobuf import descriptor_pb2, descriptor_pool

    default = descriptor_pool.Default()
    for name, package in [("common/common.proto", "common"), ("omni/specs/omni.proto", "specs"),
                          ("time/time.proto", "time"), ("auth/auth.proto", "auth"),
                          ("v1alpha1/resource.proto", "cosi.resource")]:
        file = descriptor_pb2.FileDescriptorProto(name=name, package=package, syntax="proto3")
        for clash in ("Data", "ClusterSpec", "Metadata", "TimeRequest", "PublicKey"):
            message = file.message_type.add(name=clash)
            message.field.add(name="theirs", number=77, type=descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
                              label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
        default.AddSerializedFile(file.SerializeToString())
    {first}
    from omniherd.wire import common, cosi_resource, specs
    from omniherd.resources import Cluster
    assert [f.name for f in common.Data.DESCRIPTOR.fields] == ["metadata", "bytes"]
    assert Cluster("x", spec={{"talos_version": "1"}}).spec.talos_version == "1"
    assert cosi_resource.Metadata(id="x").id == "x"
    from google.protobuf import message_factory
    theirs = message_factory.GetMessageClass(default.FindMessageTypeByName("specs.ClusterSpec"))
    assert [f.name for f in theirs.DESCRIPTOR.fields] == ["theirs"]
    print("both")
"""


@pytest.mark.parametrize("first", ["", "import google.protobuf.timestamp_pb2"])
def test_beside_another_library_with_the_same_file_and_package_names(first):
    code = textwrap.dedent(CLASHING).format(first=first)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "both\n", "")


def test_importing_ours_first_leaves_the_default_pool_alone():
    code = """
        import omniherd.resources, omniherd.wire.specs as specs
        specs.ClusterSpec
        from google.protobuf import descriptor_pool
        try:
            descriptor_pool.Default().FindMessageTypeByName("specs.ClusterSpec")
        except KeyError:
            print("clean")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "clean\n"), done.stderr


def test_shared_facts_have_not_moved():
    """The condensed facts in tests/data are those of the shared record, where it is at hand."""
    shared = ROOT.parent / "shared" / "wire"
    if not shared.is_dir():
        pytest.skip("the shared record of wire facts is not beside this checkout")
    names = set()

    def walk(prefix, container):
        for name, one in container.get("messages", {}).items():
            names.add(f"{prefix}.{name}")
            walk(f"{prefix}.{name}", one)

    for path in (shared / "proto").glob("*.json"):
        facts = json.loads(path.read_text())
        for file in facts["files"].values():
            walk(facts["package"], file)
    assert names == set(FACTS["messages"])


def test_threads_that_ask_first_get_the_same_classes():
    code = """
        import sys, threading
        sys.setswitchinterval(1e-6)
        from omniherd._core.pool import message, pool
        gate, found = threading.Barrier(8), []
        def ask():
            gate.wait()
            found.append((id(pool()), id(message("specs.ClusterSpec")), id(message("cosi.resource.Metadata"))))
        threads = [threading.Thread(target=ask) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        print(len(set(found)))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.stdout == "1\n", done.stderr

"""Resources: metadata views, specs that are decoded late and sent back as they came, names of types."""

import pickle
import threading
from datetime import UTC, datetime, timedelta

import pytest

from omniherd._core.resource_table import TABLE
from omniherd.errors import AmbiguousType, InputError, InternalError, NotFound, OmniError, UnknownType
from omniherd.resource import Metadata, Phase, Resource, class_for_type, resource_class
from omniherd.resources import (
    ALL_TYPES,
    Cluster,
    ConfigPatch,
    KubernetesResource,
    MachineClass,
    MachineSet,
    MachineSetNode,
    MachineStatusLabel,
)
from omniherd.wire import cosi_resource, specs


def served(resource, version="3", **metadata):
    """Return a message as a server would send it."""
    proto = resource.to_proto()
    proto.metadata.version = version
    for name, value in metadata.items():
        setattr(proto.metadata, name, value)
    return proto


class TestMetadata:
    def test_a_new_resource(self):
        cluster = Cluster("lab", labels={"env": "test"}, annotations={"a": "b"}, finalizers=["f"])
        assert cluster.key == ("default", "Clusters.omni.sidero.dev", "lab")
        assert (cluster.version, cluster.phase, cluster.owner) == (None, Phase.RUNNING, "")
        assert (cluster.created, cluster.updated) == (None, None)
        assert dict(cluster.labels) == {"env": "test"}
        assert dict(cluster.annotations) == {"a": "b"}
        assert list(cluster.finalizers) == ["f"]

    def test_what_goes_out_has_the_zero_times_of_official_clients(self):
        proto = Cluster("lab").to_proto()
        assert proto.metadata.version == "undefined"
        assert proto.metadata.phase == "running"
        assert proto.metadata.created.seconds == proto.metadata.updated.seconds == -62135596800
        assert proto.HasField("spec")
        assert proto.spec.proto_spec == b""

    def test_real_datetimes(self):
        proto = served(Cluster("lab"))
        proto.metadata.created.seconds = 1795501437
        proto.metadata.created.nanos = 325144029
        cluster = Cluster.from_proto(proto)
        assert cluster.created == datetime(2026, 11, 24, 6, 23, 57, 325144, tzinfo=UTC)
        assert cluster.updated is None

    @pytest.mark.parametrize("seconds", [0, -62135596800, -62135596801, 10**17])
    def test_times_that_are_none(self, seconds):
        proto = cosi_resource.Metadata()
        proto.created.seconds = seconds
        assert Metadata(proto).created is None

    def test_an_absent_time_is_none(self):
        assert Metadata(cosi_resource.Metadata()).updated is None

    def test_it_is_a_live_view(self):
        cluster = Cluster("lab", labels={"old": "1"})
        cluster.metadata.labels["new"] = "2"
        assert cluster.labels["new"] == "2"
        cluster.labels = {"only": "3"}
        cluster.annotations = {"x": "y"}
        cluster.finalizers = ["a", "b"]
        cluster.metadata.version = 7
        cluster.metadata.owner = "me"
        cluster.metadata.phase = Phase.TEARING_DOWN
        cluster.metadata.namespace = "other"
        cluster.metadata.id = "lab2"
        proto = cluster.to_proto().metadata
        assert dict(proto.labels) == {"only": "3"}
        assert dict(proto.annotations) == {"x": "y"}
        assert list(proto.finalizers) == ["a", "b"]
        assert (proto.version, proto.owner, proto.phase, proto.namespace, proto.id) == (
            "7",
            "me",
            "tearingDown",
            "other",
            "lab2",
        )
        assert cluster.phase is Phase.TEARING_DOWN
        assert (cluster.namespace, cluster.owner, cluster.type) == ("other", "me", "Clusters.omni.sidero.dev")
        cluster.metadata.version = None
        assert cluster.to_proto().metadata.version == "undefined"

    def test_labels_may_be_assigned_from_themselves(self):
        cluster = Cluster("lab", labels={"a": "1", "b": "2"}, finalizers=["x"])
        cluster.labels = cluster.labels
        cluster.finalizers = cluster.finalizers
        assert dict(cluster.labels) == {"a": "1", "b": "2"}
        assert list(cluster.finalizers) == ["x"]

    def test_a_wrong_phase(self):
        with pytest.raises(ValueError, match="nope"):
            Cluster("lab").metadata.phase = "nope"

    def test_the_repr_names_the_resource(self):
        assert repr(Cluster("lab").metadata) == "<Metadata Clusters.omni.sidero.dev(default/lab@undefined)>"


class TestSpec:
    def test_from_a_mapping(self):
        cluster = Cluster(
            "lab",
            spec={
                "talos_version": "1.13.5",
                "features": {"disk_encryption": True},
                "backup_configuration": {"interval": timedelta(hours=2), "enabled": True},
            },
        )
        assert cluster.spec.talos_version == "1.13.5"
        assert cluster.spec.features.disk_encryption is True
        assert cluster.spec.backup_configuration.interval.ToTimedelta() == timedelta(hours=2)

    def test_from_a_message_takes_a_copy(self):
        spec = specs.ClusterSpec(talos_version="1.13.5")
        cluster = Cluster("lab", spec=spec)
        spec.talos_version = "changed"
        assert cluster.spec.talos_version == "1.13.5"

    def test_enums_by_name_and_number(self):
        assert MachineSet("a", spec={"update_strategy": "Rolling"}).spec.update_strategy == 1
        assert MachineSet("a", spec={"update_strategy": 1}).spec.update_strategy == 1

    def test_lists_and_nested_messages(self):
        one = MachineClass(
            "m", spec={"match_labels": ["a", "b"], "auto_provision": {"provider_id": "p", "meta_values": [{"key": 1}]}}
        )
        assert list(one.spec.match_labels) == ["a", "b"]
        assert one.spec.auto_provision.meta_values[0].key == 1

    def test_none_clears_a_field(self):
        made = Cluster("a", spec={"features": None, "talos_version": "1.13.5"})
        assert not made.spec.HasField("features")
        assert made.spec.talos_version == "1.13.5"

    @pytest.mark.parametrize(
        ("spec", "text"),
        [
            ({"nope": 1}, "spec.nope: specs.ClusterSpec has no such field"),
            ({"features": {"nope": 1}}, "spec.features.nope: specs.ClusterSpec.Features has no such field"),
            ({"features": 5}, "spec.features: expected specs.ClusterSpec.Features or a mapping, got int"),
            ({"talos_version": 5}, "spec.talos_version: "),
            ({"features": specs.ClusterSpec()}, "spec.features: expected specs.ClusterSpec.Features, got specs."),
            ({"backup_configuration": {"interval": "1h"}}, "spec.backup_configuration.interval: expected google."),
        ],
    )
    def test_what_does_not_fit_is_named(self, spec, text):
        with pytest.raises(InputError) as caught:
            Cluster("lab", spec=spec)
        assert str(caught.value).startswith(text)

    @pytest.mark.parametrize(
        ("spec", "text"),
        [
            ({"match_labels": "a"}, "spec.match_labels: expected a list, got str"),
            ({"match_labels": 5}, "spec.match_labels: expected a list, got int"),
            ({"match_labels": [1]}, "spec.match_labels: "),
        ],
    )
    def test_lists_that_do_not_fit(self, spec, text):
        with pytest.raises(InputError) as caught:
            MachineClass("m", spec=spec)
        assert str(caught.value).startswith(text)

    def test_an_unknown_enum_name_lists_the_known_ones(self):
        with pytest.raises(InputError, match="'Nope' is none of Unset, Rolling"):
            MachineSet("a", spec={"update_strategy": "Nope"})

    def test_a_message_of_another_type(self):
        with pytest.raises(InputError, match=r"is specs.ClusterSpec or a mapping, not MachineSetSpec"):
            Cluster("lab", spec=specs.MachineSetSpec())

    def test_a_change_in_place_goes_out(self):
        cluster = Cluster.from_proto(served(Cluster("lab", spec={"talos_version": "1.12.0"})))
        cluster.spec.talos_version = "1.13.5"
        assert specs.ClusterSpec.FromString(cluster.to_proto().spec.proto_spec).talos_version == "1.13.5"

    def test_an_untouched_spec_goes_out_as_it_came_even_if_it_is_odd(self):
        proto = served(Cluster("lab"))
        proto.spec.proto_spec = b"\xff\xff"
        cluster = Cluster.from_proto(proto)
        assert cluster.to_proto().spec.proto_spec == b"\xff\xff"
        with pytest.raises(
            InputError, match=r"Clusters.omni.sidero.dev\(default/lab@3\) is no specs.ClusterSpec"
        ) as caught:
            _ = cluster.spec
        assert caught.value.resource == "Clusters.omni.sidero.dev(default/lab@3)"

    def test_unknown_fields_survive(self):
        future = specs.ClusterSpec(talos_version="1.13.5").SerializeToString() + b"\xfa\x3f\x03new"
        proto = served(Cluster("lab"))
        proto.spec.proto_spec = future
        cluster = Cluster.from_proto(proto)
        cluster.spec.kubernetes_version = "1.36.1"
        assert b"\xfa\x3f\x03new" in cluster.to_proto().spec.proto_spec

    def test_unknown_metadata_fields_survive(self):
        raw = served(Cluster("lab")).SerializeToString()
        proto = cosi_resource.Resource.FromString(raw)
        proto.metadata.MergeFromString(b"\xfa\x3f\x03new")
        assert b"\xfa\x3f\x03new" in Cluster.from_proto(proto).to_proto().SerializeToString()

    def test_a_type_without_a_spec(self):
        label = MachineStatusLabel("m")
        assert label.spec is None
        assert label.yaml_spec == "{}\n"
        with pytest.raises(InputError, match="is a mapping"):
            label.spec = 5

    def test_an_empty_spec_message(self):
        node = MachineSetNode("m")
        assert node.to_proto().spec.proto_spec == b""
        assert node.spec == specs.MachineSetNodeSpec()


class TestCompressed:
    def packed(self):
        proto = served(ConfigPatch("p"))
        proto.spec.proto_spec = specs.ConfigPatchSpec(compressed_data=b"\x28\xb5\x2f\xfdxx").SerializeToString()
        proto.spec.yaml_spec = "data: |\n    machine:\n        type: worker\ncompresseddata: []\n"
        return ConfigPatch.from_proto(proto)

    def test_it_reads_as_its_plain_twin(self):
        patch = self.packed()
        assert patch.spec.data == "machine:\n    type: worker\n"
        assert patch.spec.compressed_data == b""

    def test_read_only_it_goes_back_as_it_came(self):
        patch = self.packed()
        before = patch.to_proto().spec.proto_spec
        assert patch.spec.data
        assert patch.to_proto().spec.proto_spec == before

    def test_changed_it_goes_out_plain(self):
        patch = self.packed()
        patch.spec.data = "machine: {}\n"
        sent = specs.ConfigPatchSpec.FromString(patch.to_proto().spec.proto_spec)
        assert (sent.data, sent.compressed_data) == ("machine: {}\n", b"")

    def test_without_the_yaml_form_nothing_is_guessed(self):
        patch = self.packed()
        proto = patch.to_proto()
        assert ConfigPatch.from_proto(proto).spec.compressed_data == b"\x28\xb5\x2f\xfdxx"

    def test_lists_are_filled_too(self):
        kind = resource_class("ClusterMachineConfigPatches.omni.sidero.dev")
        proto = served(kind("m"))
        proto.spec.proto_spec = specs.ClusterMachineConfigPatchesSpec(compressed_patches=[b"x"]).SerializeToString()
        proto.spec.yaml_spec = "patches:\n    - a\n    - b\n"
        assert list(kind.from_proto(proto).spec.patches) == ["a", "b"]


class TestUnknownTypes:
    def test_the_spec_is_a_mapping(self):
        proto = served(class_for_type("Things.example.dev")("x"))
        proto.spec.proto_spec = b"opaque"
        proto.spec.yaml_spec = "size: 3\n"
        thing = class_for_type("Things.example.dev").from_proto(proto)
        assert thing.spec == {"size": 3}
        assert thing.yaml_spec == "size: 3\n"
        assert thing.to_proto().spec.proto_spec == b"opaque"

    def test_a_changed_mapping_goes_out_as_yaml(self):
        thing = class_for_type("Things.example.dev")("x", spec={"size": 3})
        thing.spec["name"] = "x"
        assert thing.yaml_spec == thing.to_proto().spec.yaml_spec == "name: x\nsize: 3\n"
        assert thing.to_dict()["spec"] == {"name": "x", "size": 3}

    def test_kubernetes_resources_have_no_protobuf_form(self):
        proto = served(KubernetesResource("x"))
        proto.spec.yaml_spec = "kind: Pod\n"
        assert KubernetesResource.from_proto(proto).spec == {"kind": "Pod"}


class TestForms:
    def test_yaml_out_and_in(self):
        cluster = Cluster("lab", labels={"env": "test", "n": "10"}, spec={"talos_version": "1.13.5"})
        again = Cluster.from_yaml(cluster.to_yaml())
        assert again.spec == cluster.spec
        assert again.key == cluster.key
        assert dict(again.labels) == {"env": "test", "n": "10"}

    def test_the_servers_text_stays_while_nothing_changed(self):
        proto = served(Cluster("lab", spec={"talos_version": "1.13.5"}))
        proto.spec.yaml_spec = "as: sent\n"
        cluster = Cluster.from_proto(proto)
        assert cluster.yaml_spec == "as: sent\n"
        assert cluster.spec.talos_version == "1.13.5"
        assert cluster.yaml_spec == "as: sent\n"
        cluster.spec.talos_version = "1.13.6"
        assert "talosversion: 1.13.6\n" in cluster.yaml_spec

    def test_a_document_of_another_type(self):
        with pytest.raises(InputError, match=r"is of type Clusters.omni.sidero.dev, not MachineSets"):
            MachineSet.from_yaml(Cluster("lab").to_yaml())
        assert isinstance(Resource.from_yaml(Cluster("lab").to_yaml()), Cluster)

    def test_plain_values(self):
        found = Cluster("lab", labels={"n": "10"}, spec={"talos_version": "1.13.5"}).to_dict()
        assert found["metadata"]["labels"] == {"n": "10"}
        assert found["metadata"]["id"] == "lab"
        assert found["spec"]["talosversion"] == "1.13.5"

    def test_copies_share_nothing(self):
        cluster = Cluster.from_proto(served(Cluster("lab", labels={"a": "1"}, spec={"talos_version": "1"})))
        assert cluster.copy() == cluster
        assert cluster.spec.talos_version == "1"
        twin = cluster.copy()
        assert twin == cluster
        twin.labels["a"] = "2"
        assert twin != cluster
        twin = cluster.copy()
        twin.spec.talos_version = "2"
        assert cluster.spec.talos_version == "1"
        assert twin != cluster
        thing = class_for_type("Things.example.dev")("x", spec={"list": [1]})
        other = thing.copy()
        assert other == thing
        other.spec["list"].append(2)
        assert other != thing

    def test_it_equals_no_stranger_and_is_not_hashable(self):
        assert Cluster("lab") != "lab"
        with pytest.raises(TypeError):
            hash(Cluster("lab"))

    def test_text_and_repr_show_no_spec(self):
        patch = ConfigPatch("p", spec={"data": "token: s3cr3t"})
        assert str(patch) == "ConfigPatches.omni.sidero.dev(default/p@undefined)"
        assert repr(patch) == "<ConfigPatch default/p version=None phase=running>"


class TestTypes:
    def test_every_type_has_a_class(self):
        assert len(ALL_TYPES) == 158
        for info in TABLE:
            kind = class_for_type(info.type)
            assert kind.type_name == info.type
            assert kind.default_namespace == info.namespace
            one = kind("x")
            if info.spec is not None:
                assert one.spec.DESCRIPTOR.full_name == info.spec

    def test_classes_are_made_once(self):
        import omniherd.resources as module

        assert module.Cluster is resource_class("clusters") is class_for_type("Clusters.omni.sidero.dev")
        assert "Cluster" in dir(module)
        with pytest.raises(AttributeError, match="no attribute 'Nope'"):
            _ = module.Nope

    @pytest.mark.parametrize("name", ["cluster", "Clusters", "clusters.omni", "clusters.omni.sidero.dev", "Cluster"])
    def test_aliases_in_any_case(self, name):
        assert resource_class(name) is Cluster

    def test_short_aliases(self):
        assert resource_class("msn") is MachineSetNode
        assert resource_class(MachineSetNode) is MachineSetNode

    def test_an_ambiguous_alias_names_the_candidates(self):
        with pytest.raises(AmbiguousType) as caught:
            resource_class("cds")
        candidates = "clusterdestroystatuses.omni.sidero.dev clusterdiagnostics.omni.sidero.dev"
        assert str(caught.value) == f'resource type "cds" is ambiguous: [{candidates}]'

    def test_an_unknown_alias(self):
        with pytest.raises(UnknownType, match='resource "frobs" is not registered'):
            resource_class("frobs")

    def test_a_full_name_may_be_unknown(self):
        found = resource_class("Frobs.example.dev")
        assert (found.type_name, found.__name__) == ("Frobs.example.dev", "Frobs")

    def test_the_root_class_has_no_type(self):
        with pytest.raises(InputError, match="needs a type"):
            Resource("x")
        with pytest.raises(InputError, match="has no type"):
            resource_class(Resource)


class TestErrors:
    def test_they_survive_a_pickle(self):
        error = NotFound("gone", resource="T(n/i)", details={"a": 1}, hint="look")
        twin = pickle.loads(pickle.dumps(error))
        assert type(twin) is NotFound
        assert (str(twin), twin.code, twin.resource, twin.details, twin.hint, twin.retryable) == (
            "gone",
            "NOT_FOUND",
            "T(n/i)",
            {"a": 1},
            "look",
            False,
        )

    def test_the_tree_in_the_docstring_is_the_tree(self):
        import re

        from omniherd import errors

        drawn = re.findall(r"[├└]── (\w+)", errors.__doc__)
        assert sorted(["OmniError", *drawn]) == sorted(errors.__all__)
        parents = {0: "OmniError"}
        for line in errors.__doc__.splitlines():
            match = re.match(r"^([│ ├└─]+) (\w+)", line)
            if match:
                depth = (len(match[1]) - 3) // 4 + 1
                parents[depth] = match[2]
                parent = getattr(errors, parents[depth - 1])
                assert getattr(errors, match[2]).__bases__ == (parent,), line
        assert issubclass(OmniError, Exception)


@pytest.mark.parametrize("field", ["labels", "annotations"])
@pytest.mark.parametrize(
    "ask", [lambda texts: texts["site"], lambda texts: texts.pop("site"), lambda texts: texts.__delitem__("site")]
)
def test_a_key_that_is_only_asked_for_is_not_put_there(field, ask):
    resource = MachineClass("a", labels={"env": "prod"}, annotations={"env": "prod"})
    for texts in (getattr(resource, field), getattr(resource.metadata, field)):
        with pytest.raises(KeyError, match="site"):
            ask(texts)
        assert texts.get("site") is None
        assert "site" not in texts
        assert texts == {"env": "prod"}
    assert dict(getattr(resource.to_proto().metadata, field)) == {"env": "prod"}


def test_labels_change_in_place():
    resource = MachineClass("a", labels={"env": "prod"})
    texts = resource.labels
    texts["site"] = "fra"
    assert texts.pop("env") == "prod"
    assert repr(resource.labels) == "{'site': 'fra'}"
    assert dict(resource.to_proto().metadata.labels) == {"site": "fra"}


class TestEncoded:
    def test_bytes_are_decoded_at_the_first_look(self):
        sent = MachineClass("a", labels={"env": "prod"}, spec={"match_labels": ["x"]})
        found = MachineClass.from_bytes(sent.to_proto().SerializeToString())
        assert found == sent
        found.labels["env"] = "test"
        found.spec.match_labels.append("y")
        assert found.labels == {"env": "test"}
        assert found.to_proto().metadata.labels["env"] == "test"
        assert found.copy() == found
        assert sent.labels == {"env": "prod"}

    def test_what_is_no_resource_is_an_error_of_ours_each_time(self):
        found = MachineClass.from_bytes(b"\xff\xff")
        for _ in range(2):
            with pytest.raises(InternalError, match="cannot be read"):
                _ = found.id

    def test_threads_that_look_at_once_get_one_message(self):
        data = MachineClass("a").to_proto().SerializeToString()
        for _ in range(50):
            found, gate = MachineClass.from_bytes(data), threading.Barrier(4)

            def put(number, found=found, gate=gate):
                gate.wait()
                found.labels[str(number)] = ""

            threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(found.labels) == ["0", "1", "2", "3"]

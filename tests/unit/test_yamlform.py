"""YAML as Go reads and writes it, and specs and resources in Omni's YAML form."""

import base64
import json
import random
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniherd._core.pool import message
from omniherd._core.resource_table import TABLE
from omniherd.errors import InputError, YAMLError
from omniherd.resource import Resource, class_for_type
from omniherd.resources import Cluster, ClusterMachine, ConfigPatch, MachineClass, OngoingTask
from omniherd.wire import cosi_resource, specs
from omniherd.yamlform import (
    dump,
    load,
    load_all,
    resource_from_yaml,
    resources_from_yaml,
    spec_from_yaml,
    spec_to_yaml,
    typed_object,
)
from omniherd.yamlform.scalars import resolve

DATA = Path(__file__).parent.parent / "data"
RECORD = json.loads((DATA / "goyaml.json").read_text())
FLEET = json.loads((DATA / "fleet.json").read_text())


def plain(value):
    """Turn the record's tagged values into Python's."""
    if isinstance(value, dict):
        if set(value) == {"$int"}:
            return int(value["$int"])
        if set(value) == {"$float"}:
            return float(value["$float"].replace("Inf", "inf"))
        if set(value) == {"$time"}:
            return ("time", value["$time"])
        if set(value) == {"$bytes"}:
            return base64.b64decode(value["$bytes"])
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def shown(value):
    if isinstance(value, datetime):
        from omniherd._core.gojson import time_text

        return ("time", time_text(value))
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    return [shown(item) for item in value] if isinstance(value, list) else value


def walk(value):
    """Yield the leaves of a value, mappings by key."""
    if isinstance(value, dict):
        for key in sorted(value, key=repr):
            yield from walk(value[key])
    elif isinstance(value, list):
        for item in value:
            yield from walk(item)
    else:
        yield value


ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


class TestGo:
    @pytest.mark.parametrize("case", RECORD["emit"], ids=lambda case: repr(case["text"])[:40])
    def test_writes_as_recorded(self, case):
        assert dump(case["value"], indent=case["indent"]) == case["text"]

    @pytest.mark.parametrize("case", RECORD["load"], ids=lambda case: repr(case["text"])[:40])
    def test_reads_as_recorded(self, case):
        if case.get("error"):
            with pytest.raises(YAMLError):
                load(case["text"])
        else:
            found = shown(load(case["text"]))
            wanted = plain(case["value"])
            assert found == wanted
            assert list(map(repr, walk(found))) == list(map(repr, walk(wanted)))  # 1 is not True, -0.0 is not 0.0

    def test_a_key_that_stands_twice(self):
        with pytest.raises(YAMLError, match='line 2: mapping key "a" already defined at line 1') as caught:
            load("a: 1\na: 2\n")
        assert caught.value.details == {"line": 2, "column": 1}

    def test_a_syntax_error_has_its_place(self):
        with pytest.raises(YAMLError, match="yaml: line 2: ") as caught:
            load("a: 1\n\t- b\n")
        assert caught.value.details["line"] == 2

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("a: !!int x\n", "cannot construct !!str `x` as a !!int"),
            ("a: !!binary '***'\n", "invalid base64"),
            ("? [a]\n: b\n", "must be a scalar"),
            ("<<: 1\n", "map merge requires"),
            ("&a [*a]\n", "contains itself"),
            (b"\xff\xfe\xfa", "yaml: "),
        ],
    )
    def test_what_does_not_fit(self, text, error):
        with pytest.raises(YAMLError) as caught:
            load(text)
        assert error in str(caught.value)

    def test_several_documents(self):
        assert load_all("a: 1\n---\n- on\n---\n") == [{"a": 1}, ["on"], None]
        assert load("") is None

    def test_merges_and_aliases(self):
        assert load("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\ne: {<<: [*x, {f: 4}]}\n") == {
            "a": {"b": 1, "c": 2},
            "d": {"b": 1, "c": 3},
            "e": {"b": 1, "c": 2, "f": 4},
        }

    def test_times(self):
        assert resolve("2026-11-24T08:00:00+01:30") == datetime(
            2026, 11, 24, 8, tzinfo=timezone(timedelta(hours=1, minutes=30))
        )
        assert resolve("2026-11-24 8:0:0.25") == datetime(2026, 11, 24, 8, 0, 0, 250000, tzinfo=UTC)
        assert resolve("2026-13-24") == "2026-13-24"
        assert resolve("2026-11-24T08:00:00+99:00") == "2026-11-24T08:00:00+99:00"
        assert dump(datetime(2026, 11, 24, tzinfo=UTC)) == "2026-11-24T00:00:00Z\n"

    def test_what_yaml_has_no_form_for(self):
        with pytest.raises(TypeError, match="no form for object"):
            dump({"a": object()})

    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(10**9), 10**9)
            | st.text(st.characters(codec="utf-8"), max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), inner, max_size=3)
            ),
            max_leaves=12,
        )
    )
    def test_what_is_written_reads_back(self, value):
        # A NUL, lone CR and other signs that YAML cannot carry raw are written escaped and come back.
        assert load(dump(value)) == value

    @given(st.text(alphabet="ab:-[]{}&*!|>'\"%@`#,? \n\t019.e~<", max_size=30))
    def test_any_text_loads_or_is_refused_with_an_error_of_ours(self, text):
        try:
            found = load(text)
        except YAMLError as error:
            found = str(error)
        assert found is None or found == found or isinstance(found, float)


class TestFleet:
    """Every resource of a live fleet decodes, and gives the text that the server sent."""

    @pytest.mark.parametrize("record", FLEET, ids=lambda record: f"{record['type'].split('.')[0]}/{record['id']}")
    def test_resource(self, record):
        raw = base64.b64decode(record["resource"])
        kind = class_for_type(record["type"])
        resource = kind.from_proto(cosi_resource.Resource.FromString(raw))
        assert (resource.type, resource.id, resource.namespace) == (record["type"], record["id"], record["namespace"])
        assert resource.yaml_spec == record["yaml_spec"]
        sent = resource.to_proto()
        assert sent.metadata == cosi_resource.Resource.FromString(raw).metadata
        assert sent.spec.proto_spec == cosi_resource.Resource.FromString(raw).spec.proto_spec
        if kind.info.spec is None:
            assert resource.spec is None or isinstance(resource.spec, dict)
            return
        spec = resource.spec
        assert spec_to_yaml(spec, record["type"]) == record["yaml_spec"]
        assert spec_from_yaml(record["yaml_spec"], type(spec), record["type"]) == spec
        # Whole documents: printed, read back, the same resource.
        again = resource_from_yaml(resource.to_yaml())
        assert again.spec == spec
        assert again.key == resource.key
        assert dict(again.labels) == dict(resource.labels)
        assert again.to_yaml() == resource.to_yaml()

    def test_it_is_the_whole_fleet(self):
        assert len(FLEET) == 473


def random_message(full_name, rng, depth=0):
    """Fill a message at random, every kind of field in it."""
    result = message(full_name)()
    for field in result.DESCRIPTOR.fields:
        if rng.random() < 0.4 or depth > 3:
            continue
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == 3
        if is_map:
            value = field.message_type.fields_by_name["value"]
            key = field.message_type.fields_by_name["key"]
            for _ in range(2):
                name = random_scalar(key, rng)
                if value.message_type is not None:
                    getattr(result, field.name)[name].CopyFrom(
                        random_message(value.message_type.full_name, rng, depth + 1)
                    )
                else:
                    getattr(result, field.name)[name] = random_scalar(value, rng)
        elif field.message_type is not None:
            made = random_message(field.message_type.full_name, rng, depth + 1)
            if repeated:
                getattr(result, field.name).append(made)
            else:
                getattr(result, field.name).CopyFrom(made)
        elif repeated:
            getattr(result, field.name).extend(random_scalar(field, rng) for _ in range(2))
        else:
            setattr(result, field.name, random_scalar(field, rng))
    return result


def random_scalar(field, rng):
    if field.type == field.TYPE_STRING:
        return rng.choice(["", "plain", "on", "1.30", "two\nlines\n", " a: b ", "é", "\t", "2026-11-24"])
    if field.type == field.TYPE_BYTES:
        return rng.choice([b"", b"\x00\xff"])
    if field.type == field.TYPE_BOOL:
        return rng.random() < 0.5
    if field.type in {field.TYPE_DOUBLE, field.TYPE_FLOAT}:
        return rng.choice([0.0, 0.5, 1e21])
    return rng.choice([0, 1, 2, 7])


@pytest.mark.parametrize("info", [info for info in TABLE if info.spec], ids=lambda info: info.name)
def test_every_spec_goes_to_yaml_and_back(info):
    rng = random.Random(info.type)
    for _ in range(5):
        spec = random_message(info.spec, rng)
        if info.spec == "cosi.resource.meta.ResourceDefinitionSpec":
            spec.sensitivity %= 2
        if info.name in {"ClusterMachine", "ClusterMachineConfigPatch"}:
            kept = {"ClusterMachine": "kubernetes_version", "ClusterMachineConfigPatch": "patches"}[info.name]
            for field in spec.DESCRIPTOR.fields:
                if field.name != kept:
                    spec.ClearField(field.name)
        text = spec_to_yaml(spec, info.type)
        assert spec_from_yaml(text, type(spec), info.type) == spec
        assert spec_to_yaml(spec_from_yaml(text, type(spec), info.type), info.type) == text


class TestSpecs:
    def test_oneofs_stand_under_their_group(self):
        spec = specs.OngoingTaskSpec(title="t", talos_upgrade={"step": "s"})
        text = spec_to_yaml(spec, OngoingTask.type_name)
        assert text.startswith("title: t\ndetails:\n    talosupgrade:\n        phase: 0\n")
        assert spec_from_yaml(text, specs.OngoingTaskSpec) == spec
        assert "details: null\n" in spec_to_yaml(specs.OngoingTaskSpec(title="t"))

    def test_fields_newer_than_the_recorded_server_show_when_they_are_set(self):
        assert "disablepublicdiscoveryservice" not in spec_to_yaml(specs.ClusterSpec(features={}))
        newer = specs.ClusterSpec(features={"disable_public_discovery_service": True})
        assert "    disablepublicdiscoveryservice: true\n" in spec_to_yaml(newer)

    def test_go_reads_numbers_into_text_by_their_source(self):
        read = spec_from_yaml("kubernetesversion: 1.30\ntalosversion: 0x1F\n", specs.ClusterSpec)
        assert (read.kubernetes_version, read.talos_version) == ("1.30", "0x1F")

    def test_unknown_keys_are_passed_over_and_null_is_nothing(self):
        assert spec_from_yaml("nope: 1\nfeatures: null\n", specs.ClusterSpec) == specs.ClusterSpec()
        assert spec_from_yaml("", specs.ClusterSpec) == specs.ClusterSpec()

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("features: 5\n", "spec.features: expected a mapping, got int 5"),
            ("talosversion: [a]\n", "spec.talosversion: expected text, got a list"),
            ("features:\n  diskencryption: 1\n", "spec.features.diskencryption: expected true or false, got int 1"),
            (
                "backupconfiguration:\n  interval:\n    seconds: x\n",
                "spec.backupconfiguration.interval.seconds: ",
            ),
            ("- a\n", "the spec must be a mapping, not a list"),
            ("features: {a: 1\n", "yaml: line"),
        ],
    )
    def test_what_does_not_fit_names_its_key(self, text, error):
        with pytest.raises(YAMLError) as caught:
            spec_from_yaml(text, specs.ClusterSpec)
        assert error in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("matchlabels: a\n", "spec.matchlabels: expected a list, got str 'a'"),
            ("matchlabels: [{}]\n", "spec.matchlabels[0]: expected text, got a mapping"),
            (
                "autoprovision:\n  grpctunnel: 99999999999\n",
                "spec.autoprovision.grpctunnel: expected a whole number ",
            ),
            (
                "autoprovision:\n  grpctunnel: 1.5\n",
                "spec.autoprovision.grpctunnel: expected a whole number, ",
            ),
        ],
    )
    def test_lists_and_ranges(self, text, error):
        with pytest.raises(YAMLError) as caught:
            spec_from_yaml(text, specs.MachineClassSpec)
        assert str(caught.value).startswith(error)

    def test_special_forms(self):
        assert spec_to_yaml(specs.ClusterMachineSpec(kubernetes_version="1.36.1"), ClusterMachine.type_name) == (
            "kubernetes_version: 1.36.1\n"
        )
        patches = class_for_type("ClusterMachineConfigPatches.omni.sidero.dev")
        assert patches("m", spec={"patches": ["a\n"]}).yaml_spec == "patches:\n    - |\n      a\n"


class TestDocuments:
    def test_a_label_too_long_for_a_simple_key_stands_behind_a_question_mark(self):
        names = ["x" * 128, "y" * 129, "é" * 65]
        one = MachineClass("m", labels=dict.fromkeys(names, "a #b"), annotations={"z" * 200: ""})
        assert f"""
    labels:
        {names[0]}: 'a #b'
        ? {names[1]}
        : 'a #b'
        ? {names[2]}
        : 'a #b'
    annotations:
        ? {"z" * 200}
        :
spec:
""" in one.to_yaml()
        assert MachineClass.from_yaml(one.to_yaml()).labels == one.labels

    def test_metadata_is_written_without_protection(self):
        one = MachineClass("m", labels={"n": "10", "empty": "", "odd": "a: b", "lines": "a\nb"}, finalizers=["f"])
        assert one.to_yaml() == (
            "metadata:\n    namespace: default\n    type: MachineClasses.omni.sidero.dev\n    id: m\n"
            "    version: undefined\n    owner:\n    phase: running\n"
            "    created: 0001-01-01T00:00:00Z\n    updated: 0001-01-01T00:00:00Z\n"
            "    labels:\n        empty:\n        lines: |-\n            a\n            b\n"
            "        n: 10\n        odd: 'a: b'\n"
            "    finalizers:\n        - f\n"
            "spec:\n    matchlabels: []\n    autoprovision: null\n"
        )

    def test_reading_it_back_types_the_labels_as_omnictl_does(self):
        typed = typed_object(MachineClass("m", labels={"n": "10", "t": "true"}).to_yaml())
        assert typed["metadata"]["labels"] == {"n": 10, "t": True}
        assert typed["metadata"]["owner"] is None
        assert MachineClass("m", labels={"n": "10"}).to_dict()["metadata"]["labels"] == {"n": "10"}

    def test_an_absent_time_shows_as_1970(self):
        assert "    created: 1970-01-01T00:00:00Z\n" in Cluster.from_proto(cosi_resource.Resource()).to_yaml()

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("a\n", "expected mapping node, got 8"),
            ("metadata: {}\n", "expected 4 elements node, got 2"),
            ("metadata: {}\nspec: 5\n", "expected mapping node, got 8"),
            ("metadata: {}\nspek: {}\n", "unexpected key spek"),
            ("[a]: {}\nspec: {}\n", "expected scalar node, got 2"),
            ("metadata: {type: [A]}\nspec: {}\n", "1:18 expected scalar node, got 2"),
            (
                "metadata: {type: A.b, version: x}\nspec: {}\n",
                "1:32 failed to parse resource.Version strconv.",
            ),
            ("metadata: {type: A.b, phase: x}\nspec: {}\n", "1:30 failed to parse resource.Phase unknown phase: x"),
            ("metadata: {type: A.b, created: x}\nspec: {}\n", "1:32 failed to parse time.Time 'x' is no time"),
            ("metadata: {type: A.b, labels: x}\nspec: {}\n", "1:31 expected mapping node, got 8"),
            ("metadata: {type: A.b, finalizers: x}\nspec: {}\n", "1:35 expected sequence node, got 8"),
            ("metadata: {id: x}\nspec: {}\n", "the resource has no type"),
            ("metadata: {}\nmetadata: {}\n", "metadata or spec node is missing"),
        ],
    )
    def test_what_is_no_resource(self, text, error):
        with pytest.raises(YAMLError) as caught:
            resource_from_yaml(text)
        assert str(caught.value).startswith(error)

    def test_everything_of_the_metadata_is_read(self):
        text = (
            "metadata:\n  namespace: n\n  type: MachineClasses.omni.sidero.dev\n  id: 5\n  version: 3\n  owner: o\n"
            "  phase: tearingDown\n  created: 2026-11-24T08:00:00Z\n  updated: 2026-11-24T08:00:00.5+01:00\n"
            "  labels: {a: 10}\n  annotations: {b: on}\n  finalizers: [f]\n  other: x\nspec:\n  matchlabels: [a]\n"
        )
        one = resource_from_yaml(text)
        assert one.key == ("n", "MachineClasses.omni.sidero.dev", "5")
        assert (one.version, one.owner, one.phase) == (3, "o", "tearingDown")
        assert one.created == datetime(2026, 11, 24, 8, tzinfo=UTC)
        assert one.updated == datetime(2026, 11, 24, 7, 0, 0, 500000, tzinfo=UTC)
        assert (dict(one.labels), dict(one.annotations), list(one.finalizers)) == ({"a": "10"}, {"b": "on"}, ["f"])
        assert list(one.spec.match_labels) == ["a"]

    def test_streams(self):
        text = MachineClass("a").to_yaml() + "---\n---\n" + ConfigPatch("b", spec={"data": "x: 1\n"}).to_yaml()
        assert [one.id for one in resources_from_yaml(text)] == ["a", "b"]
        with pytest.raises(YAMLError, match="expected one YAML document, got 2"):
            resource_from_yaml(text)

    def test_types_that_are_not_known(self):
        thing = resource_from_yaml("metadata: {type: Things.example.dev, id: x, namespace: d}\nspec: {size: 3}\n")
        assert thing.spec == {"size": 3}
        assert isinstance(thing, Resource)
        with pytest.raises(InputError):
            Cluster.from_yaml(thing.to_yaml())

    def test_a_spec_that_is_no_mapping(self):
        proto = cosi_resource.Resource(spec={"yaml_spec": "- a\n"})
        proto.metadata.type = "Things.example.dev"
        with pytest.raises(YAMLError, match="a spec is a mapping, not list"):
            _ = class_for_type("Things.example.dev").from_proto(proto).spec

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from command_shell import Shell

from omniherd.cli.output.changes import changes, same_wish, updated
from omniherd.cli.output.printers import printer_for
from omniherd.cli.output.tables import Columns, cell, layout
from omniherd.errors import InputError, JSONPathError
from omniherd.resources import Cluster, MachineClass

if TYPE_CHECKING:
    from pathlib import Path

    from omniherd.emulator import Emulator


def test_columns_are_padded_and_the_last_is_not() -> None:
    assert layout([("A", "B", "C"), ("long", "", "x")]) == "A      B   C\nlong       x\n"
    assert layout([]) == ""


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([], ""),
        ([""], ""),
        ([None], "null"),
        ([True, 3], "true 3"),
        ([["a", "b"]], '["a","b"]'),
        ([{"b": 1, "a": None}], '{"a":null,"b":1}'),
        (["two words"], "two words"),
    ],
)
def test_cells(values: list[object], shown: str) -> None:
    assert cell(values) == shown


def test_a_cell_cannot_move_the_cursor() -> None:
    assert cell(["a\x1b[2Jb\nc"]) == "a\\x1b[2Jb\\nc"
    # What is printable stays, in every language.
    assert cell(["größe 🐑"]) == "größe 🐑"


def test_a_missing_column_is_empty() -> None:
    columns = Columns([("Talos Version", "{.talosversion}"), ("Deep", "{.a.b}")])
    assert columns.titles == ("TALOS VERSION", "DEEP")
    assert columns.cells("talosversion: 1.13.4\n") == ("1.13.4", "")
    assert columns.cells("") == ("", "")


def cluster(name: str) -> Cluster:
    made = Cluster(name, labels={"rank": "10"}, spec={"talos_version": "1.13.4", "kubernetes_version": "1.35.5"})
    made.metadata.version = 3
    return made


COLUMNS = [("Talos Version", "{.talosversion}")]


def test_a_table_is_laid_out_when_flushed() -> None:
    printer = printer_for("table", COLUMNS, "Cluster", watch=False)
    assert printer.add(cluster("lab")) == ""
    assert printer.flush() == (
        "NAMESPACE   TYPE      ID    VERSION   TALOS VERSION\ndefault     Cluster   lab   3         1.13.4\n"
    )
    assert printer.flush() == ""


def test_an_empty_table_is_its_header() -> None:
    assert printer_for("table", [], "Cluster", watch=False).flush() == "NAMESPACE   TYPE   ID   VERSION\n"


def test_a_watched_table_marks_what_happened() -> None:
    printer = printer_for("table", [], "Cluster", watch=True)
    printer.add(cluster("lab"), "created")
    assert printer.flush().splitlines()[1] == "+   default     Cluster   lab   3"
    for event, mark in (("updated", " "), ("destroyed", "-")):
        printer.add(cluster("lab"), event)
        assert printer.flush() == f"{mark}   default     Cluster   lab   3\n"


def test_yaml_documents_are_parted() -> None:
    printer = printer_for("yaml", [], "Cluster", watch=False)
    first, second = printer.add(cluster("a")), printer.add(cluster("b"))
    assert first.startswith("metadata:\n    namespace: default\n")
    assert second.startswith("---\nmetadata:\n")
    assert printer.add(cluster("c"), "updated").startswith("---\nevent: updated\nmetadata:\n")


def test_json_is_the_yaml_read_back() -> None:
    text = printer_for("json", [], "Cluster", watch=True).add(cluster("a"), "created")
    assert text.startswith('{\n    "event": "created",\n    "metadata": {\n')
    assert '"rank": 10' in text


def test_jsonpath_prints_a_line_a_result() -> None:
    printer = printer_for("jsonpath={.metadata.id} {.metadata.version}", [], "Cluster", watch=False)
    assert printer.add(cluster("a")) == "a\n \n3\n"
    with pytest.raises(JSONPathError, match="nope is not found") as caught:
        printer_for("jsonpath={.nope}", [], "Cluster", watch=False).add(cluster("a"))
    assert "Clusters.omni.sidero.dev(default/a@3)" in str(caught.value.hint)


@pytest.mark.parametrize("output", ["xml", "jsonpath", "", "Table"])
def test_other_formats_are_refused(output: str) -> None:
    with pytest.raises(InputError, match=f'output format "{output}" is not supported'):
        printer_for(output, [], "Cluster", watch=False)


def machine_class(zone: str, version: int) -> MachineClass:
    made = MachineClass("big", spec={"match_labels": [f"zone = {zone}"]})
    made.metadata.version = version
    return made


def test_a_change_shows_lines_and_not_what_the_server_keeps() -> None:
    before, after = machine_class("a", 1), machine_class("b", 7)
    lines = changes(before, after).splitlines()
    assert [line for line in lines if not line.startswith("  ")] == ["-         - zone = a", "+         - zone = b"]
    assert not any("version:" in line for line in lines)
    coloured = changes(before, after, colour=True)
    assert "\x1b[31m-         - zone = a\x1b[0m\n\x1b[32m+         - zone = b\x1b[0m\n" in coloured
    assert "\x1b" not in updated(before, after)


def test_what_is_the_same_is_told_as_such() -> None:
    assert updated(machine_class("a", 1), machine_class("a", 2)) == "Resource 'big' is unchanged\n"


@pytest.mark.parametrize("attribute", ["labels", "annotations"])
def test_labels_and_annotations_are_part_of_the_wish(attribute: str) -> None:
    other = machine_class("a", 1)
    assert same_wish(machine_class("a", 9), other)
    setattr(other, attribute, {"a": "b"})
    assert not same_wish(machine_class("a", 9), other)


def test_lines_of_a_watch_stand_below_each_other() -> None:
    printer = printer_for("table", [], "MachineClass", watch=True)
    printer.add(MachineClass("a-long-name", spec={}), "created")
    first = printer.flush()
    printer.add(MachineClass("b", spec={}), "updated")
    assert printer.flush().index("undefined") == first.splitlines()[1].index("undefined")
    printer.add(MachineClass("a-name-that-is-still-longer", spec={}), "created")
    printer.flush()
    printer.add(MachineClass("b", spec={}), "destroyed")
    assert printer.flush().index("undefined") > first.splitlines()[1].index("undefined")


def test_label_values_are_texts_in_lines_of_json() -> None:
    labels = {"rank": "10", "on": "true", "none": "", "day": "2026-11-24"}
    one = MachineClass("m", labels=labels, annotations={"n": "0x1"}, spec={"match_labels": ["a", "b"]})
    printer = printer_for("jsonl", [], "", watch=False)
    lines = (printer.add(one) + printer.add(one, "updated")).splitlines()
    first, second = map(json.loads, lines)
    assert (first["metadata"]["labels"], first["metadata"]["annotations"]) == (labels, {"n": "0x1"})
    assert first["spec"]["matchlabels"] == ["a", "b"]
    assert (second.pop("event"), second) == ("updated", first)


@pytest.fixture
def shell(server: Emulator, tmp_path: Path) -> Shell:
    made = Shell(tmp_path, server.environment())
    assert made("config", "add", "lab", "--url", "https://lab.example.com", "--identity", "me@example.com")[0] == 0
    return made


# What the documents of each command are made of. Programs read these: a name that is here stays.
FIELDS: list[tuple[list[str], type, set[str]]] = [
    (["version"], dict, {"client", "server"}),
    (["version", "--client"], dict, {"client", "server"}),
    (["config", "contexts"], list, {"current", "name", "url", "identity"}),
    (["config", "info", "--context", "lab"], dict, {"current", "name", "url", "identity"}),
    (
        ["cluster", "status", "prod"],
        dict,
        {
            "id",
            "healthy",
            "phase",
            "ready",
            "available",
            "control_plane_ready",
            "kubernetes_api_ready",
            "kubernetes_version",
            "talos_version",
            "machines",
            "load_balancers",
            "upgrades",
            "machine_sets",
            "cluster_machines",
        },
    ),
    (
        ["cluster", "kubernetes", "upgrade-pre-checks", "prod", "--to", "1.36.0"],
        dict,
        {"cluster", "to", "ok", "reason"},
    ),
    (["serviceaccount", "list"], list, {"name", "role", "last_active", "keys"}),
    (["user", "list"], list, {"id", "email", "role", "last_active", "labels"}),
    (["jointoken", "list"], list, {"id", "name", "state", "expiration", "use_count", "default"}),
    (["wait", "cluster", "prod"], list, {"type", "id", "condition", "met", "missing"}),
    (["label", "cluster", "prod", "env=prod"], list, {"type", "id", "changed"}),
]


@pytest.mark.parametrize(("words", "form", "fields"), FIELDS, ids=[" ".join(words) for words, _, _ in FIELDS])
def test_documents_have_names_that_stay(words: list[str], form: type, fields: set[str], shell: Shell) -> None:
    code, out, _ = shell(*words, "-o", "json")
    assert code == 0
    value: Any = json.loads(out)
    assert isinstance(value, form)
    for one in value if isinstance(value, list) else [value]:
        assert set(one) == fields
    code, out, _ = shell(*words, "-o", "yaml")
    assert code == 0
    assert yaml.safe_load(out) == value
    code, out, err = shell(*words, "-o", "xml")
    assert (code, out) == (1, "")
    assert err.startswith('Error: output format "xml" is not supported')


def test_a_status_that_is_not_healthy_is_a_document_too(shell: Shell) -> None:
    code, out, err = shell("cluster", "status", "edge-lab", "--wait", "0", "-o", "json")
    assert (code, err) == (1, "Error: cluster is not healthy\n")
    value = json.loads(out)
    assert (value["healthy"], value["machines"]["healthy"], value["phase"]) == (False, 1, "running")


def test_what_became_of_each_resource(shell: Shell) -> None:
    def document(ident: str, match: str) -> str:
        head = f"metadata: {{namespace: default, type: MachineClasses.omni.sidero.dev, id: {ident}}}\n"
        return f"---\n{head}spec: {{matchlabels: ['{match}']}}\n"

    def actions(*words: str) -> tuple[int, list[tuple[str, str]]]:
        code, out, _ = shell(*words, "-o", "json")
        return code, [(one["id"], one["action" if "action" in one else "outcome"]) for one in json.loads(out)]

    (shell.home / "m.yaml").write_text(document("out-a", "a") + document("out-b", "b"))
    assert actions("apply", "-f", "m.yaml", "--dry-run") == (0, [("out-a", "created"), ("out-b", "created")])
    assert actions("create", "-f", "m.yaml") == (0, [("out-a", "created"), ("out-b", "created")])
    (shell.home / "m.yaml").write_text(document("out-a", "a") + document("out-b", "c") + document("out-c", "("))
    # What was done before one is refused is told, too.
    assert actions("apply", "-f", "m.yaml") == (1, [("out-a", "unchanged"), ("out-b", "updated")])
    code, out, err = shell("delete", "mc", "out-a", "out-b", "out-none", "-o", "yaml")
    assert code == 0
    assert [(one["id"], one["outcome"], one["error"]) for one in yaml.safe_load(out)] == [
        ("out-a", "destroyed", None),
        ("out-b", "destroyed", None),
        ("out-none", "not found", None),
    ]
    assert "destroyed MachineClasses.omni.sidero.dev out-a\n" in err
    assert actions("delete", "talosversion", "1.13.5") == (1, [("1.13.5", "failed")])


@pytest.mark.parametrize("noun", ["serviceaccount", "infraprovider"])
def test_a_new_key_as_a_document(noun: str, shell: Shell, server: Emulator) -> None:
    code, out, err = shell(noun, "create", "robot", "-o", "json")
    assert (code, err) == (0, "")
    value = json.loads(out)
    assert set(value) == {"name", "public_key_id", "endpoint", "service_account_key"}
    environ = {"OMNI_ENDPOINT": value["endpoint"], "OMNI_SERVICE_ACCOUNT_KEY": value["service_account_key"]}
    assert value["endpoint"] == server.endpoint
    assert shell("version", **environ)[0] == 0

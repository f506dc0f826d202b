from __future__ import annotations

import pytest

from omniherd.cli.output.changes import changes, same_wish, updated
from omniherd.cli.output.printers import printer_for
from omniherd.cli.output.tables import Columns, cell, layout
from omniherd.errors import InputError, JSONPathError
from omniherd.resources import Cluster, MachineClass


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
        assert printer.flush() == f"{mark}   default   Cluster   lab   3\n"


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

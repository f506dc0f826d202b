"""Templates read, find and print as kubectl's own code (`data/jsonpath.json`) and omnictl's recorded runs say."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniherd.errors import JSONPathError
from omniherd.jsonpath import Template, text_of
from omniherd.jsonpath import compile as read

RECORD = json.loads((Path(__file__).parent.parent / "data" / "jsonpath.json").read_text())

# What omnictl printed for this resource, one template a run.
CLASS = {
    "metadata": {
        "created": datetime(2026, 11, 24, 6, 47, 10, tzinfo=UTC),
        "id": "cli-g02-b",
        "labels": {"cli-golden": "cli-g02", "env": "stage", "rank": 10, "size": "4GB"},
        "owner": None,
        "phase": "running",
        "version": 1,
    },
    "spec": {"autoprovision": None, "matchlabels": ["omni.sidero.dev/cores > 4", "zone"]},
}
PRINTED = {
    "{.metadata.version}": "1\n",
    "{.spec}": '{\n    "autoprovision": null,\n    "matchlabels": [\n'
    '        "omni.sidero.dev/cores \\u003e 4",\n        "zone"\n    ]\n}\n',
    "{.spec.matchlabels}": '[\n    "omni.sidero.dev/cores \\u003e 4",\n    "zone"\n]\n',
    "{.spec.matchlabels[*]}": "omni.sidero.dev/cores > 4\nzone\n",
    "{.spec.matchlabels[-1:]}": "zone\n",
    "{.metadata.id}{.metadata.version}": "cli-g02-b\n1\n",
    "id={.metadata.id}": "id=\ncli-g02-b\n",
    "{range .spec.matchlabels[*]}[{@}]{end}": "[\nomni.sidero.dev/cores > 4\n]\n[\nzone\n]\n",
    "{..id}": "cli-g02-b\n",
    '{.spec.matchlabels[?(@=="zone")]}': "zone\n",
    "{.metadata['id','phase']}": "cli-g02-b\nrunning\n",
    "{.spec.autoprovision}": "<nil>\n",
    "metadata.id": "metadata.id\n",
    "": "",
    "{.metadata.created}": '"2026-11-24T06:47:10Z"\n',
    "{.metadata.labels}": '{\n    "cli-golden": "cli-g02",\n'
    '    "env": "stage",\n    "rank": 10,\n    "size": "4GB"\n}\n',
    "{.metadata.id}\n": "cli-g02-b\n\n\n",
}


def outcome(template, value):
    """The results, or the error's text; floats that are whole come back from the record as integers."""
    try:
        return json.loads(json.dumps(read(template).results(value)))
    except JSONPathError as error:
        return str(error)


@pytest.mark.parametrize("case", RECORD["cases"], ids=lambda case: repr(case["template"]))
def test_as_kubectl(case):
    assert outcome(case["template"], RECORD["object"]) == case.get("results", case.get("error"))


@pytest.mark.parametrize(("template", "text"), PRINTED.items())
def test_as_omnictl_printed(template, text):
    assert "".join(line + "\n" for line in read(template).render_lines(CLASS)) == text


@pytest.mark.parametrize(
    ("template", "results"),
    [
        ("{range .e[*]}{.x}{end}after", [["after"]]),  # kubectl would look for x in nothing, and fail
        ("{range .l[*]}{.}{end}", "error finding result for jsonpath:  is not found"),
        ("{range .l[*]}{@}", [[1], [2]]),  # kubectl would begin again on the whole object after the last
        ("{range .l[*]}{range .e}{end}", "error finding result for jsonpath: e is not found"),
        ("{.m.*}", [[1, 2]]),  # kubectl gives the values in any order
        ("{.m.*[0]}", "error finding result for jsonpath: int is not array or slice"),
        ("{.l[?(@[0])]}", [[]]),  # kubectl takes the failure for a yes
        ("{..}", [[{"e": [], "l": [1, 2], "m": {"b": 2, "a": 1}}, [1, 2], {"b": 2, "a": 1}]]),
    ],
)
def test_better_than_kubectl(template, results):
    assert outcome(template, {"e": [], "l": [1, 2], "m": {"b": 2, "a": 1}}) == results


def test_a_template_serves_many_objects():
    template = read("{range .l[*]}{@}{end}")
    assert [template.results({"l": [n]}) for n in range(3)] == [[[0]], [[1]], [[2]]]
    assert template.source == "{range .l[*]}{@}{end}"


def test_nothing_is_printed_of_an_object_that_fails():
    with pytest.raises(JSONPathError):
        next(read("{.a}{.nope}").render_lines({"a": 1}))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "<nil>"),
        (True, "true"),
        (3, "3"),
        (1.5, "1.5"),
        (1e6, "1e+06"),
        (1e-5, "1e-05"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Inf"),
        ("<a&b>", "<a&b>"),
        (["<a&b>", {}], '[\n    "\\u003ca\\u0026b\\u003e",\n    {}\n]'),
        (datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC), '"2026-01-02T03:04:05.6Z"'),
    ],
)
def test_text_of(value, text):
    assert text_of(value) == text


def test_a_value_without_json_form_is_our_error():
    with pytest.raises(JSONPathError, match="a object has no JSON form"):
        text_of([object()])


def test_times_do_not_compare():
    with pytest.raises(JSONPathError, match="invalid type for comparison"):
        read('{.l[?(@.t=="x")]}').results({"l": [{"t": CLASS["metadata"]["created"]}]})


@pytest.mark.parametrize("text", ["{.l[?(" * 3000, "{" + ".l[?(" * 3000 + "@" + ")]" * 3000 + "}"])
def test_deep_templates_fail_as_ours(text):
    with pytest.raises(JSONPathError):
        read(text).results({"l": []})


def test_descent_has_no_depth_limit():
    value = {"x": 0}
    for _ in range(20_000):
        value = {"a": value}
    assert read("{..x}").results(value) == [[0]]


DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abx"), inner, max_size=3),
    max_leaves=12,
)
PIECES = st.sampled_from(
    [
        *"{}[]()?@$.*,:-019ax<! \n\\é",
        '"',
        "'",
        "..",
        "==",
        "range ",
        "end",
        "true",
        "{.a",
        "[?(@.x",
        "[0:",
        "[*]",
        "{range .a[*]}",
        "{end}",
    ]
)


def failure(step):
    """The text with which a step fails, empty when it does not; any error but ours ends the test."""
    try:
        step()
    except JSONPathError as error:
        return str(error)
    return ""


@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=12), DATA)
def test_only_our_errors(text, value):
    refusal = failure(lambda: read(text))
    assert not refusal or refusal.startswith("error parsing jsonpath: ")
    if not refusal:
        template = read(text)
        assert isinstance(template, Template)
        refusal = failure(lambda: list(template.render_lines(value)))
        assert not refusal or refusal.startswith("error finding result for jsonpath: ")

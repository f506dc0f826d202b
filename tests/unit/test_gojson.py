"""JSON has Go's layout, escapes and numbers."""

import json
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniherd._core.gojson import dumps, float_text, time_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ([], "[]"),
        ([[], {}, None, True, False], "[[],{},null,true,false]"),
        ({"b": 1, "a": 2, "B": 3}, '{"B":3,"a":2,"b":1}'),
        ({"\U0001f600": 1, "\uffff": 2}, '{"\uffff":2,"\U0001f600":1}'),
        ("<>&\u2028\u2029", '"\\u003c\\u003e\\u0026\\u2028\\u2029"'),
        ('"\\/\b\f\n\r\t\x00\x7f', '"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\x7f"'),
        ("\ud800", '"?"'),
        ({1: "a", False: "b", 1.5: "c", None: "d"}, '{"1":"a","1.5":"c","false":"b","null":"d"}'),
        (datetime(2026, 1, 2, tzinfo=UTC), '"2026-01-02T00:00:00Z"'),
        (b"ab", "[97,98]"),
        (
            [0.0, -0.0, 1.0, 1e20, 1e21, 1e-6, 1e-7, 1.5e-9, 1e-10],
            "[0,-0,1,100000000000000000000,1e+21,0.000001,1e-7,1.5e-9,1e-10]",
        ),
    ],
)
def test_compact(value, text):
    assert dumps(value, indent=None) == text


def test_indented():
    assert dumps({"b": [1, {"c": []}], "a": {}}) == (
        '{\n    "a": {},\n    "b": [\n        1,\n        {\n            "c": []\n        }\n    ]\n}'
    )
    assert dumps([1], indent=2) == "[\n  1\n]"


@pytest.mark.parametrize(
    ("value", "text"), [("nan", '"NaN"'), ("inf", '"Infinity"'), ("-inf", '"-Infinity"')], ids=["nan", "inf", "-inf"]
)
def test_numbers_that_json_lacks_are_written_as_protobuf_does(value, text):
    assert dumps([float(value)], indent=None) == f"[{text}]"
    assert dumps({float(value): 1}, indent=None) == f"{{{text}:1}}"
    with pytest.raises(ValueError, match="not finite"):
        float_text(float(value))


def test_values_that_json_lacks():
    with pytest.raises(TypeError, match="object has no JSON form"):
        dumps({"a": object()})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-4, "0.0001"),
        (1e-5, "1e-05"),
        (100000.0, "100000"),
        (1e6, "1e+06"),
        (123456.789, "123456.789"),
        (1234567.5, "1.2345675e+06"),
        (1e21, "1e+21"),
        (5e-324, "5e-324"),
        (-1.25e100, "-1.25e+100"),
    ],
)
def test_float_text_of_percent_v(value, text):
    assert float_text(value, low=-4, high=6) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (date(2026, 1, 2), "2026-01-02T00:00:00Z"),
        (datetime(1, 1, 1), "0001-01-01T00:00:00Z"),  # noqa: DTZ001 - a time without a zone is the case
        (datetime(2026, 1, 2, 3, 4, 5, 120, tzinfo=UTC), "2026-01-02T03:04:05.00012Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=-3, minutes=-30))), "2026-01-02T03:04:05-03:30"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T03:04:05+02:00"),
    ],
)
def test_time_text(value, text):
    assert time_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_read_back(value):
    assert float(float_text(value)) == value
    assert float(json.loads(dumps(value))) == value


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    ),
    st.sampled_from([None, 1, 4]),
)
def test_reads_back(value, indent):
    assert json.loads(dumps(value, indent=indent)) == value

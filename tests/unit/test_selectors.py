"""Selectors parse, print and match as the record of Omni's own parser and matcher says."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniherd.errors import SelectorError
from omniherd.selectors import Operator, Selector, Term, label, number, parse
from omniherd.wire import cosi_resource

RECORD = json.loads((Path(__file__).parent.parent / "data" / "selectors.json").read_text())


def expected_terms(case):
    return tuple(
        Term(term["key"], Operator[term["op"]], tuple(term.get("value", ())), term.get("invert", False))
        for term in case["terms"]
    )


@pytest.mark.parametrize("case", RECORD["parse"], ids=lambda case: repr(case["selector"]))
def test_parse_as_recorded(case):
    if "error" in case:
        with pytest.raises(SelectorError) as caught:
            parse(case["selector"])
        assert str(caught.value) == case["error"]
    else:
        assert parse(case["selector"]).terms == expected_terms(case)


@pytest.mark.parametrize("case", RECORD["match"], ids=lambda case: f"{case['selector']} on {case['labels']}")
def test_match_as_recorded(case):
    assert parse(case["selector"]).matches(case["labels"]) is case["matches"]


@pytest.mark.parametrize("case", RECORD["numbers"], ids=lambda case: case["left"])
def test_numbers_as_recorded(case):
    left, right = number(case["left"]), number(case["right"])
    if case.get("comparable") is False:
        assert left is None or right is None
    else:
        assert (left, right) == (case["left_number"], case["right_number"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("6 kittens", 6144),
        ("1.5", None),
        ("6b", None),
        ("", None),
        ("-", None),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None),
        ("9223372036854775807k", -1000),
    ],
)
def test_more_numbers(text, value):
    assert number(text) == value


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a in (!)", "unable to parse term: found '!', expected: ',', ')' or identifier"),
        ("a in (b,!)", "unable to parse term: found '!', expected: ',', or identifier"),
        ("!a=1", "unable to parse term: expected EOF or ',', found "),
        ("!a in (b)", "unable to parse term: expected EOF or ',', found "),
        ("a=b,", "found '', expected: identifier after ','"),
        ("notin in (in)", "unable to parse term: found 'in ', expected: ==, =, !=, >=, >, in, notin, <=, <"),
    ],
)
def test_more_errors(text, error):
    with pytest.raises(SelectorError) as caught:
        parse(text)
    assert str(caught.value) == error


def test_commas_in_a_row_and_a_nul():
    assert parse("a in (x,,y)").terms[0].values == ("", "x", "y")
    assert parse("a\0").terms == (Term("a"),)
    assert parse("a=b\0").terms == (Term("a", Operator.EQUAL, ("b",)),)
    assert parse("a=\0b").terms == (Term("a", Operator.EQUAL, ("b",)),)


class TestBuilding:
    def test_each_comparison(self):
        a = label("a")
        assert str(a.exists()) == "a"
        assert str(~a.exists()) == "!a"
        assert str(a == "b") == "a = b"
        assert str(a != "b") == "a != b"
        assert str(a.in_("y", "x", "y")) == "a in (x, y)"
        assert str(~a.in_("x")) == "a notin (x)"
        assert [str(a < 1), str(a <= 1), str(a > 1), str(a >= "1Gi")] == ["a < 1", "a <= 1", "a > 1", "a >= 1Gi"]
        assert hash(label("a")) == hash(label("a"))

    def test_joined(self):
        both = (label("a") == "b") & ~label("c").exists()
        assert both == parse("a = b, !c")
        with pytest.raises(SelectorError, match="one term"):
            _ = ~both

    def test_it_has_no_truth_that_would_drop_conditions(self):
        with pytest.raises(TypeError, match="join selectors with `&`"):
            _ = label("a") == "x" and label("b") == "y"

    def test_traps(self):
        assert ~Selector((Term("a", Operator.NOT_EXISTS),)) == parse("a")
        with pytest.raises(SelectorError, match="no values for 'a'"):
            label("a").in_()

    @pytest.mark.parametrize(
        ("given_as", "text"),
        [
            (None, ""),
            ("", ""),
            ("a = b", "a = b"),
            ({"a": "b", "c": ""}, 'a = b, c = ""'),
            (Term("a"), "a"),
            ([Term("a"), Term("b")], "a, b"),
            (parse("a"), "a"),
        ],
    )
    def test_whatever_a_caller_gives(self, given_as, text):
        assert str(Selector.of(given_as)) == text


class TestQueries:
    def test_there_and_back(self):
        selector = parse("a, !b, c = d, e in (x, y), f > 4GiB")
        query = selector.to_query()
        assert [term.op for term in query.terms] == [0, 0, 1, 3, 7]
        assert Selector.from_query(query) == selector

    def test_an_unknown_operator(self):
        query = cosi_resource.LabelQuery(terms=[{"key": "a", "op": 42}])
        with pytest.raises(SelectorError, match="unsupported label query operator: 42"):
            Selector.from_query(query)

    def test_operators_that_the_language_lacks(self):
        lower = Term("a", Operator.LT, ("m",))
        assert [lower.matches({"a": value}) for value in ("a", "m", "z")] == [True, False, False]
        assert not lower.matches({})
        assert Term("a", Operator.LTE, ("m",), invert=True).matches({"a": "z"})
        assert Term("a", Operator.NOT_EXISTS, invert=True).matches({})
        assert str(Term("a", Operator.NOT_EXISTS)) == "!a"
        with pytest.raises(SelectorError, match="cannot say LT of 'a'"):
            str(lower)

    def test_a_term_without_its_value(self):
        assert Term("a", Operator.EQUAL).matches({"a": ""})
        assert str(Term("a", Operator.EQUAL)) == 'a = ""'


KEYS = st.text(min_size=1).filter(lambda text: "\0" not in text)
VALUES = st.text().filter(lambda text: "\0" not in text)
TERMS = st.one_of(
    st.builds(Term, KEYS, st.just(Operator.EXISTS), st.just(()), st.booleans()),
    st.builds(Term, KEYS, st.just(Operator.EQUAL), st.tuples(VALUES), st.booleans()),
    st.builds(
        Term,
        KEYS,
        st.sampled_from([Operator.LT_NUMERIC, Operator.LTE_NUMERIC]),
        st.tuples(VALUES),
        st.booleans(),
    ),
    st.builds(
        Term,
        KEYS,
        st.just(Operator.IN),
        st.lists(VALUES, min_size=1, unique=True).map(lambda values: tuple(sorted(values, key=str.encode))),
        st.booleans(),
    ),
)


@given(st.lists(TERMS, min_size=1))
def test_text_reads_back_as_the_same_selector(terms):
    selector = Selector(tuple(terms))
    assert parse(str(selector)) == selector


@given(st.text(alphabet='ab=!<>(), "\\\t1Gin\0') | st.text())
def test_any_text_parses_or_is_refused_with_an_error_of_ours(text):
    try:
        matched = parse(text).matches({"a": "1"})
    except SelectorError:
        matched = False
    assert matched in {True, False}

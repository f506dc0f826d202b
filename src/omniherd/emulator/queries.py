"""Label and id queries of the State service, made into functions once for each call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from omniherd.emulator.records import StateError, Stored
from omniherd.selectors import number

if TYPE_CHECKING:
    from omniherd.wire import cosi_resource

__all__ = ["compile_queries", "compile_regexp", "has_queries"]

Match = Callable[[Stored], bool]
_Term = Callable[[str | None], bool]

_EXISTS, _EQUAL, _NOT_EXISTS, _IN, _LT, _LTE, _LT_NUMERIC, _LTE_NUMERIC = range(8)


def has_queries(options: cosi_resource.ListOptions | cosi_resource.WatchOptions) -> tuple[bool, bool]:
    """Tell whether options bear a label query, and an id query."""
    return bool(options.label_query), options.HasField("id_query") and bool(options.id_query.regexp)


def compile_queries(options: cosi_resource.ListOptions | cosi_resource.WatchOptions) -> Match | None:
    """Return what the queries in options match; None when they match everything.

    Args:
        options: Options of List or Watch.

    Raises:
        StateError: A bad regular expression, an unknown operator, or a term without its value, with the server's text.
    """
    queries = [_compile_query(query.terms) for query in options.label_query]
    search: Callable[[str], bool] | None = None
    if options.HasField("id_query") and options.id_query.regexp:
        search = compile_regexp(options.id_query.regexp)
    if not queries or any(not query for query in queries):
        if search is None:
            return None
        by_id = search
        return lambda resource: by_id(resource.id)

    def match(resource: Stored) -> bool:
        if search is not None and not search(resource.id):
            return False
        labels = resource.labels
        return any(all(test(labels.get(key)) for key, test in query) for query in queries)

    return match


def compile_regexp(pattern: str) -> Callable[[str], bool]:
    """Return a search for a regular expression in Go's dialect, unanchored.

    Raises:
        StateError: `INVALID_ARGUMENT` with Go's text.
    """
    re2: Any = import_module("re2")
    options: Any = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        raw: Any = error.args[0] if error.args else ""
        text: str = raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)
        raise StateError("INVALID_ARGUMENT", f"failed to compile regexp: {_go_text(text, pattern)}") from None
    search: Any = compiled.search
    return lambda text: search(text) is not None


_GO_TEXTS = {
    "missing )": "missing closing )",
    "unexpected )": "unexpected )",
    "missing ]": "missing closing ]",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "no argument for repetition operator": "missing argument to repetition operator",
    "invalid repetition size": "invalid repeat count",
    "bad repetition operator": "invalid nested repetition operator",
    "trailing \\": "trailing backslash at end of expression",
    "invalid escape sequence": "invalid escape sequence",
    "invalid character class range": "invalid character class range",
    "invalid named capture group": "invalid named capture",
}


def _go_text(text: str, pattern: str) -> str:
    """Say in Go's words what RE2 found wrong; both parse the same language and differ in wording."""
    kind, _, part = text.partition(": ")
    said = _GO_TEXTS.get(kind, kind)
    if kind in {"missing )", "unexpected )", "missing ]"} and not (kind == "missing ]" and part):
        part = pattern
    if kind == "trailing \\":
        part = ""
    return f"error parsing regexp: {said}: `{part}`"


def _compile_query(terms: Iterable[cosi_resource.LabelTerm]) -> list[tuple[str, _Term]]:
    return [(term.key, _compile_term(term)) for term in terms]


def _compile_term(term: cosi_resource.LabelTerm) -> _Term:
    operator, invert = term.op, term.invert
    if operator == _EXISTS:
        return (lambda value: value is None) if invert else (lambda value: value is not None)
    if operator == _NOT_EXISTS:
        return lambda value: value is None
    if operator == _IN:
        allowed = frozenset(term.value)
        return lambda value: (value in allowed) != invert
    if operator > _LTE_NUMERIC or operator < 0:
        raise StateError("UNIMPLEMENTED", f"unsupported label query operator: {operator}")
    if not term.value:
        raise StateError("INTERNAL", "runtime error: index out of range [0] with length 0")
    operand = term.value[0]
    if operator == _EQUAL:
        return lambda value: (value == operand) != invert
    if operator == _LT:
        return lambda value: value is not None and (value < operand) != invert
    if operator == _LTE:
        return lambda value: value is not None and (value <= operand) != invert
    limit = number(operand)
    if limit is None:
        return lambda _value: False
    inclusive = operator == _LTE_NUMERIC

    def compare(value: str | None) -> bool:
        size = None if value is None else number(value)
        if size is None:
            return False
        return (size < limit or (inclusive and size == limit)) != invert

    return compare

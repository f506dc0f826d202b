"""JSON schemas of draft 2020-12, as far as Omni's users meet them, with the words of the validator that Omni uses.

What a schema holds beyond the keywords here is refused, so that nothing passes unlooked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from omniherd._core.shapes import is_list, is_mapping
from omniherd.emulator.records import StateError
from omniherd.emulator.services.json_values import (
    display,
    escaped,
    is_number,
    number_text,
    pattern_of,
    quote,
    same,
    type_of,
    types_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence, Sized

__all__ = ["Fault", "parse_schema", "validate"]

# The directory that the server runs in stands in its addresses.
_URL = "file:///untitled-schema.json"
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_SILENT = frozenset(
    {
        "$anchor",
        "$comment",
        "$defs",
        "$id",
        "$schema",
        "contentEncoding",
        "contentMediaType",
        "default",
        "definitions",
        "deprecated",
        "description",
        "else",
        "examples",
        "format",
        "maxContains",
        "minContains",
        "readOnly",
        "then",
        "title",
        "writeOnly",
    }
)
# What the value of a keyword must be.
_FORMS: dict[str, str] = {
    **dict.fromkeys(("$ref", "$id", "title", "description", "pattern", "format"), "string"),
    **dict.fromkeys(("properties", "patternProperties", "$defs", "dependentRequired", "definitions"), "object"),
    **dict.fromkeys(("required", "enum", "allOf", "anyOf", "oneOf", "prefixItems"), "array"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number"),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains"), "integer"
    ),
    "uniqueItems": "boolean",
}


@dataclass(slots=True)
class Fault:
    """What does not fit.

    Attributes:
        schema: Where in the schema, as an address.
        data: Where in the data, the steps to it.
        cause: What is wrong.
        missing: Properties that are missing, instead of a cause.
        causes: What is wrong below.
    """

    schema: str
    data: tuple[str, ...]
    cause: str
    missing: tuple[str, ...] = ()
    causes: list[Fault] = field(default_factory=list["Fault"])


def _json_fault(text: str, error: json.JSONDecodeError) -> str:
    """Return what Go says of text that is no JSON; it reads bytes, not characters."""
    if not text.strip():
        return "EOF"
    if error.msg == "Extra data":
        return "invalid character after top-level value"
    rest = text[error.pos :].strip().encode().decode("latin-1")
    if not rest:
        return "unexpected EOF"
    if rest[0] == "-" and len(rest) > 1:
        return f"invalid character '{rest[1]}' in numeric literal"
    return f"invalid character '{rest[0]}' looking for beginning of value"


def parse_schema(text: str) -> Any:
    """Read a schema.

    Raises:
        StateError: `UNKNOWN`: it is no JSON or no schema; `UNIMPLEMENTED`: it has what is not understood here.
    """
    try:
        schema = json.loads(text)
    except json.JSONDecodeError as error:
        raise StateError("UNKNOWN", _json_fault(text, error)) from None
    _check(schema, ())
    return schema


def validate(schema: Any, data: Any) -> list[Fault]:
    """Return what of some data does not fit a schema; nothing when all does.

    Args:
        schema: The schema.
        data: The data, of plain Python values.

    Raises:
        StateError: `UNKNOWN`: the schema refers to what cannot be had.
    """
    return _visit(_Here(schema, schema, (), ()), data)


# --- the schema itself ------------------------------------------------------------------------------------------------


def _check(schema: Any, path: tuple[str, ...]) -> None:
    if isinstance(schema, bool):
        return
    if not is_mapping(schema):
        raise _not_valid(path, [f"got {type_of(schema)}, want boolean or object"])
    known = schema
    for name, value in known.items():
        here = (*path, name)
        if name == "type":
            _check_type(value, here)
        elif name in _FORMS and _FORMS[name] not in types_of(value):
            raise _not_valid(here, [f"got {type_of(value)}, want {_FORMS[name]}"])
        elif name not in _SILENT and name not in _KEYWORDS:
            raise StateError("UNIMPLEMENTED", f'the emulator does not know the keyword "{name}" of JSON schemas')
        for step, inner in _subschemas(name, value):
            _check(inner, (*here, *step))


def _subschemas(name: str, value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if name in {"properties", "patternProperties", "$defs", "definitions"}:
        for key, inner in value.items():
            yield (key,), inner
    elif name in {"allOf", "anyOf", "oneOf", "prefixItems"}:
        for number, inner in enumerate(value):
            yield (str(number),), inner
    elif name in {"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"}:
        yield (), value


def _check_type(value: Any, path: tuple[str, ...]) -> None:
    names: list[Any] = list(value) if is_list(value) else [value]
    if all(isinstance(name, str) and name in _TYPES for name in names) and names:
        return
    lines = [f"value must be one of {', '.join(quote(name) for name in _TYPES)}"]
    if not is_list(value):
        lines.append(f"got {type_of(value)}, want array")
    raise _not_valid(path, lines, "anyOf")


def _not_valid(path: tuple[str, ...], lines: list[str], group: str = "") -> StateError:
    place = quote("/" + "/".join(path))
    told = [f'"{_URL}#" is not valid against metaschema: jsonschema validation failed with ']
    told[0] += "'https://json-schema.org/draft/2020-12/schema#'"
    told.append("- at '': 'allOf' failed")
    indent = "  "
    if group:
        told.append(f"{indent}- at {place}: '{group}' failed")
        indent += "  "
    told.extend(f"{indent}- at {place}: {line}" for line in lines)
    return StateError("UNKNOWN", "\n".join(told))


# --- data against it --------------------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class _Here:
    """Where a look at data is.

    Attributes:
        root: The whole schema.
        schema: The part of it that holds here.
        path: The steps to that part.
        place: The steps to the data.
        referred: The references on the way here, with the places where they were met.
    """

    root: Any
    schema: Any
    path: tuple[str, ...]
    place: tuple[str, ...]
    referred: frozenset[tuple[str, tuple[str, ...]]] = frozenset()

    def fault(self, cause: str, *, missing: Sequence[str] = (), causes: Sequence[Fault] = ()) -> Fault:
        """Return a fault of the data here."""
        return Fault(_address(self.path), self.place, cause, tuple(missing), list(causes))

    def below(self, steps: tuple[str, ...], schema: Any, data: Any, *step: Any) -> list[Fault]:
        """Return what is wrong by a schema below this one.

        Args:
            steps: The steps to the schema.
            schema: The schema.
            data: The data that it is about.
            step: The step from the data here to that data, if it is a part of it.
        """
        place = (*self.place, *(str(one) for one in step))
        return _visit(_Here(self.root, schema, (*self.path, *steps), place, self.referred), data)

    def part(self, steps: tuple[str, ...], schema: Any, data: Any, *step: Any) -> list[Fault]:
        """Return the same as one fault at most."""
        faults = self.below(steps, schema, data, *step)
        if len(faults) <= 1:
            return faults
        place = (*self.place, *(str(one) for one in step))
        return [Fault(_address((*self.path, *steps)), place, "validation failed", causes=faults)]

    def referring(self, target: str, data: Any) -> list[Fault]:
        """Return what is wrong by the schema that is referred to."""
        if not target.startswith("#"):
            path = target.removeprefix("file://")
            if target.startswith("file://"):
                raise StateError("UNKNOWN", f'failing loading "{target}": open {path}: no such file or directory')
            raise StateError("UNIMPLEMENTED", f'the emulator does not load the JSON schema "{target}"')
        steps = tuple(step.replace("~1", "/").replace("~0", "~") for step in target[1:].split("/")[1:])
        schema: Any = self.root
        for step in steps:
            try:
                schema = schema[int(step)] if is_list(schema) else schema[step]
            except (KeyError, IndexError, TypeError, ValueError):
                raise StateError("UNKNOWN", f'jsonpointer in "{_URL}{target}" not found') from None
        visit = (target, self.place)
        if visit in self.referred:
            return []
        return _visit(_Here(self.root, schema, steps, self.place, self.referred | {visit}), data)


def _visit(here: _Here, data: Any) -> list[Fault]:
    if isinstance(here.schema, bool):
        return [] if here.schema else [here.fault("false schema")]
    found: list[Fault] = []
    for name, value in here.schema.items():
        keyword = _KEYWORDS.get(name)
        if keyword is not None:
            found.extend(keyword(here, value, data))
    return found


def _address(path: tuple[str, ...]) -> str:
    return _URL + "#" + "".join(f"/{escaped(step)}" for step in path)


_Faults = Iterator[Fault]
_Keyword = Callable[[_Here, Any, Any], _Faults]


def _type(here: _Here, value: Any, data: Any) -> _Faults:
    wanted: list[str] = list(value) if is_list(value) else [value]
    if not types_of(data) & set(wanted):
        yield here.fault(f"got {type_of(data)}, want {' or '.join(wanted)}")


def _enum(here: _Here, value: Any, data: Any) -> _Faults:
    if any(same(data, one) for one in value):
        return
    if any((is_mapping(one) or is_list(one)) for one in value):
        yield here.fault("enum failed")
    elif len(value) == 1:
        yield here.fault(f"value must be {display(value[0])}")
    else:
        yield here.fault(f"value must be one of {', '.join(display(one) for one in value)}")


def _const(here: _Here, value: Any, data: Any) -> _Faults:
    if not same(data, value):
        yield here.fault("const failed" if (is_mapping(value) or is_list(value)) else f"value must be {display(value)}")


def _required(here: _Here, value: Any, data: Any) -> _Faults:
    missing = [name for name in value if name not in data] if is_mapping(data) else []
    if missing:
        yield here.fault("", missing=missing)


def _properties(here: _Here, value: Any, data: Any) -> _Faults:
    if is_mapping(data):
        for name, inner in value.items():
            if name in data:
                yield from here.part(("properties", name), inner, data[name], name)


def _pattern_properties(here: _Here, value: Any, data: Any) -> _Faults:
    if is_mapping(data):
        for pattern, inner in value.items():
            matches = pattern_of(pattern)
            for name, item in data.items():
                if matches(name):
                    yield from here.part(("patternProperties", pattern), inner, item, name)


def _additional(here: _Here, value: Any, data: Any) -> _Faults:
    if not is_mapping(data):
        return
    patterns = [pattern_of(pattern) for pattern in here.schema.get("patternProperties", {})]
    more = [
        name
        for name in data
        if name not in here.schema.get("properties", {}) and not any(matches(name) for matches in patterns)
    ]
    if value is False:
        if more:
            yield here.fault(f"additional properties {', '.join(quote(name) for name in more)} not allowed")
        return
    for name in more:
        yield from here.part(("additionalProperties",), value, data[name], name)


def _property_names(here: _Here, value: Any, data: Any) -> _Faults:
    if is_mapping(data):
        for name in data:
            causes = here.part(("propertyNames",), value, name)
            if causes:
                yield here.fault(f"invalid propertyName {quote(name)}", causes=causes)


def _dependent(here: _Here, value: Any, data: Any) -> _Faults:
    if is_mapping(data):
        for name, wanted in value.items():
            missing = [one for one in wanted if one not in data] if name in data else []
            if missing:
                listed = ", ".join(quote(one) for one in missing)
                yield here.fault(f"properties {listed} required, if {quote(name)} exists")


def _items(here: _Here, value: Any, data: Any) -> _Faults:
    if is_list(data):
        items = data
        for number in range(len(here.schema.get("prefixItems", ())), len(items)):
            yield from here.part(("items",), value, items[number], number)


def _prefix_items(here: _Here, value: Any, data: Any) -> _Faults:
    if is_list(data):
        for number, (inner, item) in enumerate(zip(value, data, strict=False)):
            yield from here.part(("prefixItems", str(number)), inner, item, number)


def _contains(here: _Here, value: Any, data: Any) -> _Faults:
    if not is_list(data):
        return
    items = data
    matching = [number for number, one in enumerate(items) if not here.below(("contains",), value, one, number)]
    least, most = here.schema.get("minContains"), here.schema.get("maxContains")
    if least is None and not matching:
        yield here.fault("no items match contains schema")
    elif least is not None and len(matching) < least:
        yield here.fault(f"min {least} items required to match contains schema, but {_matched(matching)}")
    if most is not None and len(matching) > most:
        yield here.fault(f"max {most} items required to match contains schema, but {_matched(matching)}")


def _matched(numbers: list[int]) -> str:
    return f"matched {len(numbers)} items at {' '.join(map(str, numbers))}" if numbers else "none matched"


def _unique(here: _Here, value: Any, data: Any) -> _Faults:
    if value and is_list(data):
        items = data
        for second, one in enumerate(items):
            first = next((number for number in range(second) if same(items[number], one)), None)
            if first is not None:
                yield here.fault(f"items at {first} and {second} are equal")
                return


def _pattern(here: _Here, value: Any, data: Any) -> _Faults:
    if isinstance(data, str) and not pattern_of(value)(data):
        yield here.fault(f"{quote(data)} does not match pattern {quote(value)}")


def _all_of(here: _Here, value: Any, data: Any) -> _Faults:
    causes = [fault for number, one in enumerate(value) for fault in here.part(("allOf", str(number)), one, data)]
    if causes:
        yield here.fault("'allOf' failed", causes=causes)


def _any_of(here: _Here, value: Any, data: Any) -> _Faults:
    tried = [here.part(("anyOf", str(number)), one, data) for number, one in enumerate(value)]
    if all(tried):
        yield here.fault("'anyOf' failed", causes=[fault for one in tried for fault in one])


def _one_of(here: _Here, value: Any, data: Any) -> _Faults:
    tried = [here.part(("oneOf", str(number)), one, data) for number, one in enumerate(value)]
    matching = [number for number, faults in enumerate(tried) if not faults]
    if not matching:
        yield here.fault("'oneOf' failed, none matched", causes=[fault for one in tried for fault in one])
    elif len(matching) > 1:
        yield here.fault(f"'oneOf' failed, subschemas {matching[0]}, {matching[1]} matched")


def _not(here: _Here, value: Any, data: Any) -> _Faults:
    if not here.below(("not",), value, data):
        yield here.fault("'not' failed")


def _if(here: _Here, value: Any, data: Any) -> _Faults:
    branch = "else" if here.below(("if",), value, data) else "then"
    if branch in here.schema:
        yield from here.part((branch,), here.schema[branch], data)


def _ref(here: _Here, value: Any, data: Any) -> _Faults:
    causes = here.referring(value, data)
    if causes:
        yield here.fault(f"validation failed with {quote(_URL + value)}", causes=causes)


def _bound(name: str, fails: Callable[[float, float], bool]) -> _Keyword:
    def judge(here: _Here, value: Any, data: Any) -> _Faults:
        if is_number(data) and fails(data, value):
            yield here.fault(f"{name}: got {number_text(data)}, want {number_text(value)}")

    return judge


def _size(name: str, kinds: type[Sized], fails: Callable[[int, int], bool]) -> _Keyword:
    def judge(here: _Here, value: Any, data: Any) -> _Faults:
        if isinstance(data, kinds):
            size = len(data)
            if fails(size, value):
                yield here.fault(f"{name}: got {size}, want {int(value)}")

    return judge


_KEYWORDS: dict[str, _Keyword] = {
    "$ref": _ref,
    "type": _type,
    "const": _const,
    "enum": _enum,
    "minimum": _bound("minimum", lambda got, want: got < want),
    "maximum": _bound("maximum", lambda got, want: got > want),
    "exclusiveMinimum": _bound("exclusiveMinimum", lambda got, want: got <= want),
    "exclusiveMaximum": _bound("exclusiveMaximum", lambda got, want: got >= want),
    "multipleOf": _bound("multipleOf", lambda got, want: not (got / want).is_integer()),
    "minLength": _size("minLength", str, lambda got, want: got < want),
    "maxLength": _size("maxLength", str, lambda got, want: got > want),
    "minItems": _size("minItems", list, lambda got, want: got < want),
    "maxItems": _size("maxItems", list, lambda got, want: got > want),
    "minProperties": _size("minProperties", dict, lambda got, want: got < want),
    "maxProperties": _size("maxProperties", dict, lambda got, want: got > want),
    "required": _required,
    "dependentRequired": _dependent,
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional,
    "propertyNames": _property_names,
    "prefixItems": _prefix_items,
    "items": _items,
    "contains": _contains,
    "uniqueItems": _unique,
    "pattern": _pattern,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    "if": _if,
}

"""The language of templates as a JSON Schema, for editors and other tools; made from the table of `language`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd.template.language import KEYS, KINDS, NEWEST, OLDEST, Key, Shape

if TYPE_CHECKING:
    from omniherd.template import models

__all__ = ["json_schema"]

_LARGEST = (1 << 32) - 1
_TEXT: dict[str, Any] = {"type": ["string", "number", "boolean"]}
_ID = "https://raw.githubusercontent.com/omniherd/omniherd/main/docs/template.schema.json"
_DURATION = r"^[-+]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$"
_UUID = r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
# An id of nothing but digits is a number to YAML, and an id all the same.
_MACHINE_ID = {"type": ["string", "number"], "pattern": rf"^((urn:uuid:)?{_UUID}|\{{{_UUID}\}}|[0-9a-fA-F]{{32}})$"}


def json_schema(dialect: str = NEWEST) -> dict[str, Any]:
    """Return the schema of one document of a template.

    Args:
        dialect: The version of the language; the newer one by default, in which newer keys say so.
    """
    definitions = {_title(model): _element(model, dialect) for model in KEYS}
    for kind in KINDS.values():
        definition = definitions[kind.name]
        definition["description"] = kind.about
        definition["properties"] = {"kind": {"const": kind.name}, **definition["properties"]}
        definition["required"] = ["kind", *definition.get("required", ())]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": _ID,
        "title": "Omni cluster template",
        "description": "One document of a cluster template.",
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": list(KINDS)}},
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in KINDS],
        "$defs": definitions,
    }


def _title(model: type[models.Element]) -> str:
    return model.__name__


def _element(model: type[models.Element], dialect: str) -> dict[str, Any]:
    keys = [key for key in KEYS[model][1] if key.since == OLDEST or dialect == NEWEST]
    found: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key.name: {**_value(key), "description": _about(key)} for key in keys},
    }
    needed = [key.name for key in keys if key.needed]
    if needed:
        found["required"] = needed
    return found


def _about(key: Key) -> str:
    return key.about if key.since == OLDEST else f"{key.about} Newer than Omni 1.9."


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _value(key: Key) -> dict[str, Any]:
    if key.name in {"labels", "annotations"}:
        values = {"type": ["string", "number", "boolean", "null"]}
        # The prefix is Omni's own.
        names = {"not": {"pattern": "^omni\\.sidero\\.dev/"}}
        return {"type": ["object", "null"], "additionalProperties": values, "propertyNames": names}
    if key.go == "models.MachineID":
        return _MACHINE_ID
    if key.go == "models.MachineIDList":
        return {"type": ["array", "null"], "items": _MACHINE_ID}
    if key.element is not None:
        reference = {"$ref": f"#/$defs/{_title(key.element)}"}
        if key.shape is Shape.ELEMENTS:
            return {"type": ["array", "null"], "items": reference}
        return reference if key.needed else _nullable(reference)
    document = {"type": "object"}
    simple: dict[Shape, dict[str, Any]] = {
        Shape.TEXT: _TEXT if key.needed else {"type": [*_TEXT["type"], "null"]},
        Shape.FLAG: {"type": ["boolean", "null"]},
        Shape.COUNT: {"type": "integer", "minimum": 0, "maximum": _LARGEST},
        Shape.DURATION: {"anyOf": [{"type": "string", "pattern": _DURATION}, {"const": 0}]},
        Shape.OPTIONAL_TEXTS: {"type": ["array", "null"], "items": _TEXT},
        Shape.INLINE: {"anyOf": [{"type": ["object", "string", "null"]}, {"type": "array", "items": document}]},
        Shape.SIZE: {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": _LARGEST},
                {"type": "string", "pattern": "^([0-9]+|Unlimited|unlimited|infinity|∞|Static)$"},
            ]
        },
        Shape.STRATEGY_TYPE: {"enum": ["Unset", "Rolling"]},
        Shape.MODE: {"enum": ["full", "one-time"]},
    }
    return dict(simple[key.shape])

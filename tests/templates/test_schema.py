"""The published schema is the one of the models, and says of templates what the loader says."""

import json
import re
import runpy
from pathlib import Path

import pytest

from omniherd import template
from omniherd.template.language import KEYS, KINDS
from omniherd.template.schema import json_schema
from omniherd.yamlform import load_all

ROOT = Path(__file__).parent.parent.parent
CASES = json.loads((ROOT / "tests" / "data" / "templates" / "offline.json").read_text())["cases"]


def test_the_published_schema_is_the_one_of_the_models():
    render = runpy.run_path(str(ROOT / "tools" / "generate_template_schema.py"))["render"]
    assert (ROOT / "docs" / "template.schema.json").read_text(encoding="utf-8") == render()


def test_newer_keys_are_marked_and_not_in_the_older_schema():
    newer, older = json_schema()["$defs"], json_schema("1.9")["$defs"]
    extra = {
        (name, key) for name, one in newer.items() for key in one["properties"] if key not in older[name]["properties"]
    }
    assert extra == {
        ("Features", "disablePublicDiscoveryService"),
        ("Features", "enableNodeAuditSkip"),
        ("Install", "diskSelector"),
    }
    for name, key in extra:
        assert newer[name]["properties"][key]["description"].endswith("Newer than Omni 1.9.")


def test_every_key_has_its_attribute():
    for model, (_, keys) in KEYS.items():
        for key in keys:
            assert hasattr(model(), key.attribute), (model, key)


def matches(schema, value, definitions):
    """Tell whether a value fits a schema: as much of JSON Schema as ours uses."""
    if "$ref" in schema:
        return matches(definitions[schema["$ref"].rpartition("/")[2]], value, definitions)
    types = {
        "string": str,
        "object": dict,
        "array": list,
        "boolean": bool,
        "null": type(None),
        "integer": int,
        "number": (int, float),
    }
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(
            isinstance(value, types[name]) and (name == "boolean" or not isinstance(value, bool)) for name in names
        ):
            return False
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        return False
    if "minimum" in schema and not schema["minimum"] <= value <= schema["maximum"]:
        return False
    if "not" in schema and matches(schema["not"], value, definitions):
        return False
    for name, count in (("anyOf", None), ("oneOf", 1)):
        if name in schema:
            fitting = sum(matches(one, value, definitions) for one in schema[name])
            if not fitting or (count and fitting != count):
                return False
    if isinstance(value, dict):
        if not set(schema.get("required", ())) <= set(value):
            return False
        for key, one in value.items():
            if (
                "propertyNames" in schema
                and schema["propertyNames"]["not"]["pattern"]
                and str(key).startswith("omni.sidero.dev/")
            ):
                return False
            inner = schema.get("properties", {}).get(key, schema.get("additionalProperties", True))
            if inner is False or (isinstance(inner, dict) and not matches(inner, one, definitions)):
                return False
    if isinstance(value, list) and "items" in schema:
        return all(matches(schema["items"], one, definitions) for one in value)
    return True


def loads(text):
    try:
        return list(template.loads(text).documents)
    except template.TemplateError:
        return None


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES])
def test_the_schema_agrees_with_the_loader(case):
    """What omnictl takes, the schema takes; what it refuses to load for its form, the schema refuses."""
    text = case["files"][case["template"]]
    errors = case["validate"].get("stderr", "")
    if "error decoding template" in errors or "mapping key" in errors:
        pytest.skip("it is no YAML")
    # `yes` is a boolean to omnictl where one is wanted, and `true` in quotes is none: that is beyond a schema.
    if case["id"] in {"load-bool-yes", "load-empty", "load-only-comment"}:
        pytest.skip("a schema sees other values than omnictl does, or none")
    schema = json_schema("1.9")
    fits = all(matches(schema, document, schema["$defs"]) for document in load_all(text))
    if case["validate"]["rc"] == 0:
        assert fits
    elif "error loading template" in errors:
        assert not fits


def test_kinds_are_those_of_the_language():
    assert (
        json_schema()["properties"]["kind"]["enum"] == list(KINDS) == ["Cluster", "ControlPlane", "Workers", "Machine"]
    )

"""Nodes of a template file made into models, as strictly as omnictl does it and with its words."""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from omniherd._core.durations import parse_duration
from omniherd.errors import YAMLError
from omniherd.template.language import KEYS, KINDS, Key, Shape, keys_of
from omniherd.template.problems import Place, go_quote

if TYPE_CHECKING:
    from omniherd.template import models
    from omniherd.template.documents import Source, SourceDocument

__all__ = ["Decoder", "Finding"]

_KINDS_OF_NODE = {"mapping": "!!map", "sequence": "!!seq"}
_FLAGS = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_UNLIMITED = frozenset(("unlimited", "∞", "infinity", "Unlimited"))
_PREFIX = "tag:yaml.org,2002:"
_LINE = re.compile(r"(?<=^yaml: )line \d+: ")
_LARGEST_COUNT = (1 << 32) - 1


@dataclass(frozen=True)
class Finding:
    """What is wrong with a value.

    Attributes:
        text: omnictl's words.
        place: Where it stands in the file.
        line: Its line in omnictl's print of the document.
    """

    text: str
    place: Place
    line: int


class _Refused(Exception):
    pass


_REFUSED = _Refused()


def scalar_value(node: Any) -> Any:
    """Return what a scalar node stands for; quoted text is text."""
    from omniherd.yamlform.goyaml import scalar

    return scalar(node)


def tag_of(node: Any) -> str:
    """Return the short tag of a node as Go has it, `!!int`."""
    if node.id != "scalar":
        return _KINDS_OF_NODE[node.id]
    tag: str = node.tag or ""
    if tag.startswith(_PREFIX):
        return "!!" + tag.removeprefix(_PREFIX)
    if tag and tag != "!quoted":
        return tag
    value = scalar_value(node)
    if value is None:
        return "!!null"
    if isinstance(value, bool):
        return "!!bool"
    if isinstance(value, int):
        return "!!int"
    if isinstance(value, float):
        return "!!float"
    return "!!str" if isinstance(value, str) else "!!timestamp"


@dataclass
class Decoder:
    """Decodes one document.

    Attributes:
        source: The file.
        document: The document.
        dialect: The version of the language.
        findings: What was found wrong, in the order of the document.
        fatal: What ended the decoding early, empty when nothing did.
    """

    source: Source
    document: SourceDocument
    dialect: str
    findings: list[Finding] = field(default_factory=list[Finding])
    fatal: str = ""

    def decode(self, kind: str) -> models.Document:
        """Return the document as the model of its kind; what is wrong is in `findings`."""
        model = KINDS[kind].model()
        try:
            self._fill(self.document.node, model, keys_of(type(model), self.dialect), outermost=True)
        except YAMLError as error:
            self.fatal = _LINE.sub("", error.message)
        return cast("models.Document", model)

    # --- findings -------------------------------------------------------------------------------------------------

    def _find(self, node: Any, text: str) -> None:
        place = self.source.place(node)
        self.findings.append(Finding(text, place, self.document.printed_line(place.line)))

    def _mismatch(self, node: Any, go: str) -> None:
        tag = tag_of(node)
        value = ""
        if node.id == "scalar":
            text: str = node.value
            # Go cuts by bytes.
            raw = text.encode()
            value = f" `{text if len(raw) <= 10 else raw[:7].decode(errors='replace') + '...'}`"
        self._find(node, f"cannot construct {tag}{value} into {go}")

    def _unique(self, node: Any) -> bool:
        groups: dict[tuple[str, str], list[Any]] = {}
        for key, _ in node.value:
            groups.setdefault((key.id, key.value if key.id == "scalar" else ""), []).append(key)
        fine = True
        for (_, shown), keys in groups.items():
            # Each one is told of all before it.
            for index, first in enumerate(keys):
                line = self.document.printed_line(self.source.place(first).line)
                for key in keys[index + 1 :]:
                    fine = False
                    self._find(key, f"mapping key {go_quote(shown)} already defined at line {line}")
        return fine

    # --- mappings -------------------------------------------------------------------------------------------------

    def _fill(self, node: Any, model: models.Element, keys: dict[str, Key], *, outermost: bool = False) -> None:
        go = KEYS[type(model)][0]
        if node.id != "mapping":
            if tag_of(node) != "!!null":
                self._mismatch(node, go)
            return
        if not self._unique(node):
            return
        if not model.places:
            model.places[""] = self.document.place if outermost else self.source.place(node)
        merged: list[Any] = []
        for key_node, value_node in node.value:
            if key_node.id == "scalar" and key_node.value == "<<" and key_node.tag in {"", _PREFIX + "merge"}:
                merged.append(value_node)
                continue
            if key_node.id != "scalar":
                self._mismatch(key_node, "string")
                continue
            name: str = key_node.value
            if outermost and name == "kind":
                continue
            key = keys.get(name)
            if key is None:
                self._find(key_node, f"field {name} not found in type {go}")
            elif key.attribute not in model.places:
                model.places[key.attribute] = self.source.place(key_node)
                with contextlib.suppress(_Refused):
                    setattr(model, key.attribute, self._value(value_node, key, getattr(model, key.attribute)))
        for value_node in merged:
            self._merge(value_node, model, keys, outermost=outermost)

    def _merge(self, node: Any, model: models.Element, keys: dict[str, Key], *, outermost: bool) -> None:
        """Fill in what merged mappings have and the mapping itself has not."""
        for one in node.value if node.id == "sequence" else [node]:
            if one.id != "mapping":
                raise YAMLError("yaml: map merge requires map or sequence of maps as the value")
            self._fill(one, model, keys, outermost=outermost)

    # --- values ---------------------------------------------------------------------------------------------------

    def _value(self, node: Any, key: Key, current: Any) -> Any:
        null = node.id == "scalar" and tag_of(node) == "!!null"
        shape = key.shape
        if null:
            return None if shape in {Shape.OPTIONAL_TEXTS, Shape.INLINE, Shape.OPTIONAL_ELEMENT} else current
        if shape in {Shape.SIZE, Shape.STRATEGY_TYPE, Shape.MODE}:
            return self._word(node, shape)
        if shape in {Shape.TEXT, Shape.FLAG, Shape.COUNT, Shape.DURATION}:
            return self._scalar(node, shape, key.go)
        if shape in {Shape.TEXTS, Shape.OPTIONAL_TEXTS}:
            return self._texts(node, key)
        if shape is Shape.TEXT_MAP:
            return self._text_map(node, key.go)
        if shape is Shape.INLINE:
            return self._inline(node)
        if key.element is None:  # every other shape has one; the table is ours
            raise _REFUSED
        if shape is Shape.ELEMENTS:
            return self._elements(node, key, key.element)
        element = key.element()
        self._fill(node, element, keys_of(key.element, self.dialect))
        return element

    def _elements(self, node: Any, key: Key, element_class: type[models.Element]) -> list[models.Element]:
        if node.id != "sequence":
            self._mismatch(node, key.go)
            raise _REFUSED
        found: list[models.Element] = []
        for item in node.value:
            if item.id == "scalar" and tag_of(item) == "!!null":
                continue
            element = element_class()
            self._fill(item, element, keys_of(element_class, self.dialect))
            found.append(element)
        return found

    def _text(self, node: Any, go: str) -> str:
        if node.id != "scalar":
            self._mismatch(node, go)
            raise _REFUSED
        if node.tag == _PREFIX + "binary":
            value = scalar_value(node)
            return value if isinstance(value, str) else str(node.value)
        # A tag that does not fit ends it, wanted or not.
        scalar_value(node)
        return str(node.value)

    def _scalar(self, node: Any, shape: Shape, go: str) -> Any:
        if shape is Shape.TEXT:
            return self._text(node, go)
        value = scalar_value(node) if node.id == "scalar" else None
        fitting: Any = None
        if shape is Shape.FLAG:
            fitting = value if isinstance(value, bool) else _FLAGS.get(value) if isinstance(value, str) else None
        elif shape is Shape.COUNT:
            fitting = _count(value)
        elif isinstance(value, str):
            fitting = parse_duration(value)
        elif isinstance(value, int) and not isinstance(value, bool) and value == 0:
            fitting = timedelta()
        if fitting is None:
            self._mismatch(node, go)
            raise _REFUSED
        return fitting

    def _texts(self, node: Any, key: Key) -> list[str]:
        if node.id != "sequence":
            self._mismatch(node, key.go)
            raise _REFUSED
        go = "models.MachineID" if key.go == "models.MachineIDList" else "string"
        found: list[str] = []
        for item in node.value:
            if item.id == "scalar" and tag_of(item) == "!!null":
                continue
            try:
                found.append(self._text(item, go))
            except _Refused:
                continue
        return found

    def _text_map(self, node: Any, go: str) -> dict[str, str]:
        if node.id != "mapping":
            self._mismatch(node, go)
            raise _REFUSED
        found: dict[str, str] = {}
        if not self._unique(node):
            return found
        merged: list[Any] = []
        for key_node, value_node in node.value:
            if key_node.id == "scalar" and key_node.value == "<<" and key_node.tag in {"", _PREFIX + "merge"}:
                merged += value_node.value if value_node.id == "sequence" else [value_node]
                continue
            try:
                name = self._text(key_node, "string")
                null = value_node.id == "scalar" and tag_of(value_node) == "!!null"
                found[name] = "" if null else self._text(value_node, "string")
            except _Refused:
                continue
        for one in merged:
            if one.id != "mapping":
                raise YAMLError("yaml: map merge requires map or sequence of maps as the value")
            for name, text in self._text_map(one, go).items():
                found.setdefault(name, text)
        return found

    def _word(self, node: Any, shape: Shape) -> Any:
        text = self._text(node, "string")
        if shape is Shape.STRATEGY_TYPE:
            if text in {"Unset", "Rolling"}:
                return text
            self._find(node, f"invalid update strategy type {text}")
        elif shape is Shape.MODE:
            if text in {"full", "one-time"}:
                return text
            self._find(node, f"unknown mode name {go_quote(text)}")
        else:
            if text in _UNLIMITED:
                return "Unlimited"
            if text == "Static":
                return 0
            digits = text.isascii() and text.isdigit()
            if digits and len(text.lstrip("0")) <= 10 and int(text) <= _LARGEST_COUNT:
                return int(text)
            reason = "value out of range" if digits else "invalid syntax"
            self._find(node, f"invalid machine count {text}: strconv.ParseUint: parsing {go_quote(text)}: {reason}")
        raise _REFUSED

    # --- inline content -------------------------------------------------------------------------------------------

    def _inline(self, node: Any) -> models.Inline:
        if node.id == "scalar":
            tag = tag_of(node)
            if tag != "!!str":
                self._find(node, f"expected string, but got {tag}")
                raise _REFUSED
            return str(node.value)
        if node.id == "mapping":
            return self._mapping(node)
        found: list[dict[str, Any]] = []
        refused = False
        for item in node.value:
            if item.id == "scalar" and tag_of(item) == "!!null":
                found.append({})
            elif item.id != "mapping":
                self._mismatch(item, "map[string]interface {}")
                refused = True
            else:
                found.append(self._mapping(item))
        if refused:
            raise _REFUSED
        return found

    def _mapping(self, node: Any) -> dict[str, Any]:
        """Return a mapping whose own keys are text, and everything in it as YAML has it."""
        from omniherd.yamlform import construct

        if not self._all_unique(node, set()):
            raise _REFUSED
        wrong = [key_node for key_node, _ in node.value if key_node.id != "scalar"]
        for key_node in wrong:
            self._mismatch(key_node, "string")
        if wrong:
            raise _REFUSED
        value = construct(node)
        texts: dict[Any, str] = {scalar_value(key_node): key_node.value for key_node, _ in node.value}
        return {key if isinstance(key, str) else texts.get(key, str(key)): one for key, one in value.items()}

    def _all_unique(self, node: Any, seen: set[int]) -> bool:
        if node.id == "scalar" or id(node) in seen:
            return True
        seen.add(id(node))
        if node.id == "sequence":
            found = [self._all_unique(item, seen) for item in node.value]
            return all(found)
        if not self._unique(node):
            return False
        # Every key that stands twice is to be found, not only the first.
        found = [self._all_unique(value, seen) for _, value in node.value]
        return all(found)


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and (not math.isfinite(value) or not value.is_integer()):
        return None
    return int(value) if 0 <= value <= _LARGEST_COUNT else None

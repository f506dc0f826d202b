"""JSON into a tree that knows where each token stands, with the texts of Go's scanner for what is no JSON."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

__all__ = ["JSONFault", "Key", "Token", "scan"]

_BLANKS = " \t\r\n"
_DEEPEST = 200
_LITERALS = ("true", "false", "null")
_DIGITS = "0123456789"
_ESCAPES = '"\\/bfnrt'
_QUOTED = {"'": "\\'", '"': '"', "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


class JSONFault(Exception):
    """A text is no JSON, or does not fit its message; the text of the error is Go's."""


@dataclass(slots=True, frozen=True)
class Key:
    """A key of an object.

    Attributes:
        text: The key.
        position: Where it stands, `line 1:2`.
    """

    text: str
    position: str


@dataclass(slots=True, frozen=True)
class Token:
    """A value.

    Attributes:
        kind: `object`, `array`, `string`, `number` or `literal`.
        raw: The first token of it as it was written: `{`, `"a"`, `1.5`.
        position: Where it stands, `line 1:2`.
        text: A string's content.
        items: Of an array.
        fields: Of an object, in their order, doubled keys included.
    """

    kind: str
    raw: str
    position: str
    text: str = ""
    items: list[Token] = field(default_factory=list["Token"])
    fields: list[tuple[Key, Token]] = field(default_factory=list[tuple[Key, "Token"]])


def scan(text: str, *, whole: bool) -> Token | None:
    """Read a value.

    Args:
        text: The JSON.
        whole: Whether the value must be all of the text; else what follows it is not looked at, and a text without a
            value is none.

    Raises:
        JSONFault: It is no JSON.
    """
    scanner = _Scanner(text, "unexpected end of JSON input" if whole else "unexpected EOF")
    scanner.skip()
    if not whole and scanner.at == len(text):
        return None
    scanner.begin = scanner.at
    value = scanner.value(0)
    scanner.skip()
    if whole and scanner.at < len(text):
        raise scanner.wrong("after top-level value")
    return value


class _Scanner:
    def __init__(self, text: str, end: str) -> None:
        self.text = text
        self.at = 0
        self.begin = 0
        self._end = end

    def skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in _BLANKS:
            self.at += 1

    def wrong(self, where: str) -> JSONFault:
        if self.at >= len(self.text):
            return JSONFault(self._end)
        character = self.text[self.at]
        # Go looks at bytes, and shows the first of a character as if it were one.
        shown = _QUOTED.get(character)
        if shown is None:
            code = character.encode("utf-8", "replace")[0]
            shown = chr(code) if chr(code).isprintable() else f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
        return JSONFault(f"invalid character '{shown}' {where}")

    def position(self, at: int) -> str:
        before = self.text[self.begin : at]
        line = before.count("\n")
        return f"line {line + 1}:{len(before) - (before.rfind(chr(10)) + 1) + 1}"

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def value(self, depth: int) -> Token:
        if depth > _DEEPEST:
            raise JSONFault("exceeded max depth")
        self.skip()
        first, start = self._peek(), self.at
        if first == "{":
            return self._object(depth)
        if first == "[":
            return self._array(depth)
        if first == '"':
            content = self._string()
            return Token("string", self.text[start : self.at], self.position(start), content)
        if first and first in "-0123456789":
            self._number()
            return Token("number", self.text[start : self.at], self.position(start))
        for literal in _LITERALS:
            if first == literal[0]:
                self._literal(literal)
                return Token("literal", literal, self.position(start))
        raise self.wrong("looking for beginning of value")

    def _object(self, depth: int) -> Token:
        found = Token("object", "{", self.position(self.at))
        self.at += 1
        self.skip()
        if self._peek() == "}":
            self.at += 1
            return found
        while True:
            self.skip()
            if self._peek() != '"':
                raise self.wrong("looking for beginning of object key string")
            start = self.at
            key = Key(self._string(), self.position(start))
            self.skip()
            if self._peek() != ":":
                raise self.wrong("after object key")
            self.at += 1
            found.fields.append((key, self.value(depth + 1)))
            if self._ends("}", "after object key:value pair"):
                return found

    def _array(self, depth: int) -> Token:
        found = Token("array", "[", self.position(self.at))
        self.at += 1
        self.skip()
        if self._peek() == "]":
            self.at += 1
            return found
        while True:
            found.items.append(self.value(depth + 1))
            if self._ends("]", "after array element"):
                return found

    def _ends(self, end: str, where: str) -> bool:
        self.skip()
        after = self._peek()
        if not after or after not in f",{end}":
            raise self.wrong(where)
        self.at += 1
        return after == end

    def _string(self) -> str:
        start = self.at
        self.at += 1
        while (character := self._peek()) != '"':
            if not character or character < " ":
                raise self.wrong("in string literal")
            self.at += 1
            if character == "\\":
                self._escape()
        self.at += 1
        content = str(json.loads(self.text[start : self.at]))
        if any("\ud800" <= character <= "\udfff" for character in content):
            # Half of a pair is no character, and no message can hold it.
            told = f"proto: syntax error ({self.position(start)}): invalid escape code in string"
            raise JSONFault(told)
        return content

    def _escape(self) -> None:
        escape = self._peek()
        if escape == "u":
            self.at += 1
            for _ in range(4):
                if not re.match(r"[0-9a-fA-F]", self._peek()):
                    raise self.wrong("in \\u hexadecimal character escape")
                self.at += 1
        elif escape and escape in _ESCAPES:
            self.at += 1
        else:
            raise self.wrong("in string escape code")

    def _number(self) -> None:
        if self._peek() == "-":
            self.at += 1
        if self._peek() == "0":
            self.at += 1
        else:
            self._digits("in numeric literal")
        if self._peek() == ".":
            self.at += 1
            self._digits("after decimal point in numeric literal")
        if self._peek() in {"e", "E"}:
            self.at += 1
            if self._peek() in {"+", "-"}:
                self.at += 1
            self._digits("in exponent of numeric literal")

    def _digits(self, where: str) -> None:
        if not self._peek() or self._peek() not in _DIGITS:
            raise self.wrong(where)
        while self._peek() and self._peek() in _DIGITS:
            self.at += 1

    def _literal(self, literal: str) -> None:
        for expected in literal:
            if self._peek() != expected:
                raise self.wrong(f"in literal {literal} (expecting '{expected}')")
            self.at += 1

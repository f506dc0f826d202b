"""The documents of a template file: their nodes, where they begin, and which line each key has in omnictl's errors.

omnictl prints every document anew before it decodes it, and counts lines in what it printed: blank lines are gone,
comments stay, and what was wrapped stands on one line. People need the line of their file; the text of the error needs
the other one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from omniherd.template.problems import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from omniherd.errors import YAMLError

__all__ = ["Source", "SourceDocument", "syntax_text"]

_RUNS = re.compile(r"\n+")
_BROKEN = re.compile(r"[^\n]+(?=\n)")
_MARKER = re.compile(r"---(\s|$)")
_PLAIN = re.compile(r"\s*(?:- +)*(?:[^\s#'\"][^#]*?: +)?(?P<value>[^\s'\"|>{\[&*!#%@`].*)")


@dataclass(frozen=True)
class SourceDocument:
    """One document of a file.

    Attributes:
        node: Its root node.
        place: Where omnictl says that it begins: at its `---`, else at its first key.
        printed: The line in what omnictl prints, for each line of the file; both counted from 1.
    """

    node: Any
    place: Place
    printed: dict[int, int]

    def printed_line(self, line: int) -> int:
        """Return the line in omnictl's print for a line of the file."""
        return self.printed.get(line, max(1, line - self.place.line + 1))


class Source:
    """A template file's text.

    Args:
        text: The text.
        name: The file's name, for places.
    """

    def __init__(self, text: str | bytes, name: str = "") -> None:
        self.name = name
        self._text = text
        decoded = text if isinstance(text, str) else text.decode("utf-8", "replace")
        self._lines = ["", *re.split(r"\r\n|\r|\n", decoded.removeprefix("\ufeff"))]

    def place(self, node: Any) -> Place:
        """Return where a node begins."""
        mark = node.start_mark
        # Documents of an overlay have parts of other files.
        return Place(getattr(node, "file", self.name), int(mark.line) + 1, int(mark.column) + 1)

    def documents(self) -> Iterator[SourceDocument]:
        """Yield the documents one by one.

        Raises:
            YAMLError: The syntax is wrong.
        """
        from omniherd.yamlform import compose_all

        after = 0
        for node in compose_all(self._text):
            _fill_flow(node, set(), inside=False)
            start = self.place(node)
            place = self._marker(node, after) or start
            last = int(node.end_mark.line) + 1
            yield SourceDocument(node, place, _Printer(self._lines, place.line, last).lines_of(node))
            after = last - 1 if int(node.end_mark.column) == 0 else last

    def scalar_before(self, line: int) -> str:
        """Return the context of an error in what would go on with the plain scalar of a line, counted from 1."""
        match = _PLAIN.fullmatch(self._lines[line]) if 0 < line < len(self._lines) else None
        return (
            ""
            if match is None
            else f"while scanning a plain scalar at line {line}, column {match.start('value') + 1}: "
        )

    def ends_at(self, line: int) -> bool:
        """Tell whether a line, counted from 0, is the last."""
        return line + 1 >= len(self._lines) - 1

    def _marker(self, node: Any, after: int) -> Place | None:
        line = int(node.start_mark.line) + 1
        number = min(line, len(self._lines) - 1) + 1
        while number > after + 1:
            number -= 1
            if _MARKER.match(self._lines[number]):
                # Directives belong to the document that they stand above.
                while number - 1 > after and self._lines[number - 1].startswith("%"):
                    number -= 1
                return Place(self.name, number, 1)
        return None


def _fill_flow(node: Any, seen: set[int], *, inside: bool) -> None:
    """Make empty scalars in flow collections empty text: printed again they have quotes."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if node.id == "scalar":
        if inside and not node.value and not node.tag:
            node.tag = "!quoted"
        return
    inside = inside or bool(node.flow_style)
    for item in node.value:
        for one in item if node.id == "mapping" else (item,):
            _fill_flow(one, seen, inside=inside)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


class _Printer:
    """Works out the lines of a document that is printed again from its nodes."""

    def __init__(self, lines: list[str], first: int, last: int) -> None:
        self._lines = lines
        self._first = first
        self._last = min(last, len(lines) - 1)
        self._gone: set[int] = set()
        self._extra: dict[int, int] = {}
        self._kept: set[int] = set()

    def lines_of(self, root: Any) -> dict[int, int]:
        self._walk(root, set())
        start = int(root.start_mark.line) + 1
        self._space_feet()
        found: dict[int, int] = {}
        count = self._comments_above() if self._first == start else 0
        for number in range(self._first, self._last + 1):
            text = self._lines[number].strip()
            marker = number < start and self._lines[number].startswith(("---", "%"))
            if number in self._gone or marker or (not text and number not in self._kept):
                found[number] = max(count, 1)
                continue
            count += 1
            found[number] = count
            count += self._extra.get(number, 0)
        return found

    def _comments_above(self) -> int:
        """Count the comments right above the first key of a document without a marker."""
        count = 0
        while self._lines[max(self._first - 1 - count, 0)].lstrip().startswith("#"):
            count += 1
        return count

    def _space_feet(self) -> None:
        """Add the blank line that stands between a comment below something and what follows at the same column."""
        number = self._first + 1
        while number <= self._last:
            above = self._lines[number - 1].split(" #", 1)[0].strip()
            if not self._is_comment(number) or not above or above[0] == "#" or above[-1] == ":":
                number += 1
                continue
            end = number
            while end < self._last and self._is_comment(end + 1):
                end += 1
            after = end + 1
            while after <= self._last and not self._lines[after].strip():
                after += 1
            if end + 1 < after <= self._last and _indent(self._lines[after]) == _indent(self._lines[number]):
                self._extra[end] = self._extra.get(end, 0) + 1
            number = end + 1

    def _is_comment(self, number: int) -> bool:
        text = self._lines[number].lstrip()
        return text.startswith("#") and number not in self._kept and number not in self._gone

    def _walk(self, node: Any, seen: set[int]) -> None:
        from omniherd.yamlform.emit import may_be_simple_key

        if id(node) in seen:
            return
        seen.add(id(node))
        if node.id == "scalar" or node.flow_style:
            self._leaf(node, int(node.start_mark.line) + 1)
        elif node.id == "sequence":
            for item in node.value:
                self._walk(item, seen)
                first = int(item.start_mark.line) + 1
                # A dash alone on its line moves to the line of its item.
                above = first - 1
                while above > self._first and not self._lines[above].strip():
                    above -= 1
                if above >= 1 and self._lines[above].strip() == "-":
                    self._gone.add(above)
        else:
            for key, value in node.value:
                self._leaf(key, int(key.start_mark.line) + 1)
                inline = value.id == "scalar" or value.flow_style
                if inline and int(value.start_mark.line) >= int(key.start_mark.line):
                    number = int(key.start_mark.line) + 1
                    if key.id == "scalar" and not may_be_simple_key(key.value):
                        # Such a key stands behind a question mark, its value on a line of its own.
                        if int(value.start_mark.line) + 1 > number:
                            number = int(value.start_mark.line) + 1
                        else:
                            self._extra[number] = self._extra.get(number, 0) + 1
                    if id(value) not in seen:
                        seen.add(id(value))
                        self._leaf(value, number)
                else:
                    self._walk(value, seen)

    def _leaf(self, node: Any, line: int) -> None:
        style = getattr(node, "style", None)
        first, last = int(node.start_mark.line) + 1, int(node.end_mark.line) + 1
        if node.id == "scalar" and style == "|":
            # The node reaches to what follows; blank lines at its end are its own only when they are in its value.
            text: str = node.value
            count = text.count("\n") + (1 if text and not text.endswith("\n") else 0)
            self._kept.update(range(first + 1, min(first + 1 + count, last + 1)))
        elif node.id == "scalar" and style == ">":
            self._gone.update(range(first + 1, last))
            self._extra[first] = self._extra.get(first, 0) + _breaks(node, in_flow=False)
        elif last > line:
            # The end of a plain scalar is the start of what follows, never further than its last word.
            while last > line and (node.id == "scalar" and not style) and not self._belongs(node, last):
                last -= 1
            self._gone.update(range(line + 1, last + 1))
            self._extra[line] = self._extra.get(line, 0) + _breaks(node, in_flow=False)

    def _belongs(self, node: Any, line: int) -> bool:
        return int(node.end_mark.line) + 1 != line or int(node.end_mark.column) > 0


def _breaks(node: Any, *, in_flow: bool) -> int:
    """Count the lines beyond its first that a scalar or a flow collection is printed on; not those of literal blocks.

    Go's printer doubles the first break of each run, in quotes as in folded blocks; plain text of several lines becomes
    a literal block, or in a flow collection one line in double quotes.
    """
    from omniherd.yamlform.scalars import allows_literal

    if node.id != "scalar":
        parts = node.value if node.id == "sequence" else [one for pair in node.value for one in pair]
        return sum(_breaks(one, in_flow=True) for one in parts)
    text: str = node.value
    if "\n" not in text and node.style != ">":
        return 0
    if node.style == "'":
        return sum(len(run) + 1 for run in _RUNS.findall(text))
    if in_flow or node.style == '"' or not text.strip() or not allows_literal(text):
        return 0
    if node.style == ">":
        doubled = sum(1 for line in _BROKEN.findall(text) if line[0] not in " \t")
        return text.count("\n") + doubled + (not text.endswith("\n"))
    return text.count("\n") + 1


_TAB = "found a tab character that violates indentation"
# What PyYAML says, and what Go's library says of the same.
_PROBLEMS = (
    (re.compile(r"expected (',' or '.'), but got .*"), r"did not find expected \1"),
    (re.compile(r"found undefined alias '(.*)'"), r"unknown anchor '\1' referenced"),
    (re.compile(r"mapping values are not allowed here"), "mapping values are not allowed in this context"),
    (re.compile(r"found character '.*' that cannot start any token"), "found character that cannot start any token"),
    (re.compile(r"sequence entries are not allowed here"), "block sequence entries are not allowed in this context"),
    (re.compile(r"mapping keys are not allowed here"), "mapping keys are not allowed in this context"),
    (re.compile(r"found unexpected document separator"), "found unexpected document indicator"),
    (
        re.compile(r"expected alphabetic or numeric character, .*"),
        "did not find expected alphabetic or numeric character",
    ),
    (re.compile(r"expected a comment or a line break, .*"), "did not find expected comment or line break"),
    (re.compile(r"expected chomping or indentation .*"), "did not find expected comment or line break"),
    (re.compile(r"expected indentation indicator .*"), "found an indentation indicator equal to 0"),
    (re.compile(r"expected the node content, .*"), "did not find expected node content"),
    (re.compile(r"expected '<document start>', .*"), "did not find expected <document start>"),
    (re.compile(r"expected escape sequence of .*"), "did not find expected hexadecimal number"),
    (re.compile(r"found incompatible YAML document .*"), "found incompatible YAML document"),
    (re.compile(r"expected URI, but found .*"), "did not find expected tag URI"),
    (re.compile(r"could not found expected ':'|could not find expected ':'"), "could not find expected ':'"),
    (re.compile(r"found unknown escape character .*"), "found unknown escape character"),
)


def syntax_text(error: YAMLError, source: Source) -> str:
    """Return a syntax error in the words of Go's YAML library, as far as they are known.

    Args:
        error: What `compose_all` raised.
        source: The file.
    """
    cause: Any = error.__context__
    problem = getattr(cause, "problem", None)
    mark = getattr(cause, "problem_mark", None)
    if not isinstance(problem, str) or mark is None:
        position = getattr(cause, "position", None)
        if position is None:
            return error.message
        reason = str(getattr(cause, "reason", ""))
        what = "control characters are not allowed" if "special characters" in reason else "invalid leading UTF-8 octet"
        return f"yaml: offset {position}: {what}"
    kind = type(cause).__name__
    at = found = _Mark(int(mark.line), int(mark.column))
    if "'\\t'" in problem and at == _Mark(0, 0):
        return "yaml: while scanning for the next token at line 1: found character that cannot start any token"
    if "'\\t'" in problem:
        return f"yaml: {source.scalar_before(at.line)}{at.text(kind)}: {_TAB}"
    if ("<stream end>" in problem or problem.endswith("expected ':'")) and at.column and source.ends_at(at.line):
        # At its end Go's scanner goes on to a line that is not there.
        at = _Mark(at.line + 1, 0)
    if "unknown escape" in problem:
        at = _Mark(at.line, at.column - 1)
    context: str = getattr(cause, "context", None) or ""
    context_mark: Any = getattr(cause, "context_mark", None)
    start = found if context_mark is None else _Mark(int(context_mark.line), int(context_mark.column))
    start = at if start == found else start
    if context == "while scanning a directive" and problem.startswith("expected alphabetic"):
        problem = "could not find expected directive name"
    if problem.startswith("expected <block end>"):
        problem = "did not find expected " + ("key" if "mapping" in context else "'-' indicator")
    for pattern, words in _PROBLEMS:
        problem = pattern.sub(words, problem)
    text = "yaml: "
    if context:
        text += f"{context.replace('double-quoted', 'quoted')} at {start.text(kind)}: "
    if not context or start != at:
        text += f"{at.text(kind)}: "
    return text + problem


class _Mark(NamedTuple):
    """A place in a text, counted from 0."""

    line: int
    column: int

    def text(self, kind: str) -> str:
        """Return the place as Go's library writes it for an error of a kind: each counts in a way of its own."""
        line = self.line + (0 if kind == "ParserError" else 1)
        if line == 0:
            return "<unknown position>"
        column = self.column + (2 if kind == "ComposerError" else 1)
        return f"line {line}, column {column}" if column > 1 else f"line {line}"

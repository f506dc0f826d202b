r"""JSONPath in kubectl's dialect: read a template once, apply it to many objects.

| Text | Gives |
|---|---|
| `{.a.b}`, `{['a']['b']}`, `{.a\.b}` | a field; a quoted key and an escaped dot protect odd names |
| `{.a['b','c']}`, `{.a[0,2]}` | several fields or items, in the order written |
| `{.a[0]}`, `{.a[-1:]}`, `{.a[1:9:2]}`, `{.a[*]}` | an item, a slice with a step, all items |
| `{.a.*}`, `{..a}` | all values of a map, the field wherever it occurs below |
| `{.a[?(@.x == "y")]}`, `{.a[?(@.x)]}` | items that compare so (`== != < <= > >=`), items that have the field |
| `{range .a[*]}...{end}` | what stands between, once for each item |
| `{"text\n"}`, `{1}`, `{true}` | a literal; text outside of braces is literal as well |

`@` and `$` name the object that is looked at. A field that is missing is an error, as it is for omnictl.

Some things are sane here that are not in kubectl: the values of a map come sorted by key; a range over nothing is
passed over instead of being tried on nothing; a filter `[?(@[0])]` drops what is no list, where kubectl takes the
failure for a yes.

Example:
    >>> from omniherd.jsonpath import compile
    >>> template = compile("{range .disks[*]}{.name}={.size}{end}")
    >>> list(template.render_lines({"disks": [{"name": "sda", "size": 8}]}))
    ['sda', '=', '8']
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, TypeGuard

from omniherd.errors import JSONPathError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Template", "compile", "text_of"]

_EOF: Final = ""
_LINE_ENDS: Final = "\r\n"
# What ends a word or a field's name; the empty text stands for the end of the template.
_TERMINATORS: Final = frozenset((_EOF, *" \t\r\n.,[]$@{}"))
_QUOTED_KEY: Final = re.compile(r"'([^']*)'")
_SLICE: Final = re.compile(r"(-?[0-9]*)(:-?[0-9]*)?(:-?[0-9]*)?")
_COMPARISON: Final = re.compile(r"([^!<>=]+)([!<>=]+)(.+?)", re.DOTALL)


# --- what a template consists of -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Literal:
    value: str | int | float | bool


@dataclass(frozen=True, slots=True)
class _Word:
    name: str


@dataclass(frozen=True, slots=True)
class _Field:
    name: str


@dataclass(frozen=True, slots=True)
class _Wildcard:
    pass


@dataclass(frozen=True, slots=True)
class _Descent:
    pass


@dataclass(frozen=True, slots=True)
class _Slice:
    start: int
    stop: int | None
    step: int | None
    single: bool  # `[n]`: the end was not written but follows from the start


@dataclass(frozen=True, slots=True)
class _Union:
    members: tuple[_Path, ...]


@dataclass(frozen=True, slots=True)
class _Filter:
    left: _Path
    comparison: str  # empty: the left side has to give something
    right: _Path


_Step: TypeAlias = "_Literal | _Word | _Field | _Wildcard | _Descent | _Slice | _Union | _Filter"
_Path: TypeAlias = "tuple[_Step, ...]"


# --- text -> template ----------------------------------------------------------------------------------------------


def _syntax(message: str) -> NoReturn:
    raise JSONPathError(f"error parsing jsonpath: {message}")


class _Reader:
    """One pass over a template's text. Error texts are those of kubectl's own reader."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def template(self) -> tuple[_Path, ...]:
        actions: list[_Path] = []
        while True:
            begin = self._text.find("{", self._at)
            literal = self._text[self._at : begin] if begin >= 0 else self._text[self._at :]
            if literal:
                actions.append((_Literal(literal),))
            if begin < 0:
                return tuple(actions)
            self._at = begin + 1
            actions.append(self._action())

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        char = self._peek()
        self._at += len(char)
        return char

    def _action(self) -> _Path:
        """Read what stands between braces, the closing one included."""
        steps: list[_Step] = []
        while True:
            if self._text.startswith("[?(", self._at):
                self._at += 3
                steps.append(self._filter())
                continue
            if self._text.startswith("..", self._at):
                self._at += 2
                if steps and isinstance(steps[-1], _Descent):
                    _syntax("invalid multiple recursive descent")
                steps.append(_Descent())
                if _is_word(self._peek()):
                    steps.append(self._field())
                continue
            char = self._next()
            if char == "}":
                return tuple(steps)
            if char == _EOF or char in _LINE_ENDS:
                _syntax("unclosed action")
            if char in " @$":
                continue
            if char == "[":
                steps.extend(self._brackets())
            elif char in "\"'":
                steps.append(self._quoted(char))
            elif char == ".":
                steps.append(self._field())
            elif char in "+-" or _is_digit(char):
                steps.append(self._number(char))
            elif _is_word(char):
                steps.append(self._word(char))
            else:
                shown = f" '{char}'" if char.isprintable() else ""
                _syntax(f"unrecognized character in action: U+{ord(char):04X}{shown}")

    def _word(self, first: str) -> _Step:
        begin = self._at - len(first)
        while self._peek() not in _TERMINATORS:
            self._at += 1
        word = self._text[begin : self._at]
        return _Literal(word == "true") if word in ("true", "false") else _Word(word)

    def _field(self) -> _Step:
        begin = self._at
        while self._peek() not in _TERMINATORS:
            # A backslash protects the character after it from ending the name.
            self._at += 2 if self._peek() == "\\" else 1
        self._at = min(self._at, len(self._text))
        name = self._text[begin : self._at]
        return _Wildcard() if name == "*" else _Field(name.replace("\\", ""))

    def _number(self, first: str) -> _Step:
        begin = self._at - len(first)
        while _is_digit(self._peek()) or self._peek() == ".":
            self._at += 1
        text = self._text[begin : self._at]
        try:
            value = int(text)
            if -(1 << 63) <= value < 1 << 63:
                return _Literal(value)
        except ValueError:
            pass
        try:
            number = float(text)
        except ValueError:
            _syntax(f"cannot parse number {text}")
        if number in (float("inf"), float("-inf")):
            _syntax(f"cannot parse number {text}")
        return _Literal(number)

    def _quoted(self, quote: str) -> _Step:
        begin = self._at
        while True:
            char = self._next()
            if char in (_EOF, "\n", "\r"):
                _syntax("unterminated quoted string")
            if char == quote and self._text[self._at - 2] != "\\":
                return _Literal(_unquoted(self._text[begin : self._at - 1], quote))

    def _brackets(self) -> Iterator[_Step]:
        begin = self._at
        char = self._next()
        while char != "]":
            if char in (_EOF, "\n", "\r"):
                _syntax("unterminated array")
            char = self._next()
        content = self._text[begin : self._at - 1]
        members = content.split(",")
        if len(members) > 1:
            yield _Union(tuple(_path(f"[{member.strip(' ')}]") for member in members))
        elif key := _QUOTED_KEY.fullmatch(content):
            yield from _path(f".{key[1]}")
        else:
            yield _slice(content)

    def _filter(self) -> _Filter:
        begin = self._at
        opened, closed, quote = False, False, ""
        while True:
            char = self._next()
            if char in (_EOF, "\n", "\r"):
                _syntax("unterminated filter")
            if char in "\"'":
                if not opened:
                    opened, quote = True, char
                elif char == quote and self._text[self._at - 2] != "\\":
                    closed = True
            elif char == ")" and opened == closed:
                break
        if self._next() != "]":
            _syntax("unclosed array expect ]")
        content = self._text[begin : self._at - 2]
        comparison = _COMPARISON.fullmatch(content)
        if comparison is None:
            return _Filter(_path(content), "", ())
        return _Filter(_path(comparison[1]), comparison[2], _path(comparison[3]))


def _path(text: str) -> _Path:
    """Read text that stands inside an action as an action of its own."""
    # Only the first action counts: braces in a filter or key end it early, for kubectl as well.
    actions = _Reader("{" + text + "}").template()
    return actions[0]


def _slice(text: str) -> _Slice:
    parts = _SLICE.fullmatch(":" if text == "*" else text)
    if parts is None:
        _syntax(f"invalid array index {text}")
    numbers: list[int | None] = []
    for position, part in enumerate(parts.groups()):
        digits = part[1:] if part and position else part
        if not digits:
            numbers.append(None)
            continue
        if digits == "-" or len(digits) > 20 or not -(1 << 63) <= int(digits) < 1 << 63:
            _syntax(f"array index {digits} is not a number")
        numbers.append(int(digits))
    start, stop, step = numbers
    single = parts[2] is None
    return _Slice(start or 0, (start or 0) + 1 if single else stop, step, single)


def _is_digit(char: str) -> bool:
    return "0" <= char <= "9"


def _is_word(char: str) -> bool:
    return char == "_" or char.isalpha() or char.isdecimal()


_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\'\"])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2}))|([^\\])", re.DOTALL
)
_CONTROLS: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def _unquoted(text: str, quote: str) -> str:
    """Resolve the escapes of a Go string literal."""
    content = bytearray()
    at = 0
    while at < len(text):
        found = _ESCAPE.match(text, at)
        named, byte, short, long, octal, plain = found.groups() if found else (None,) * 6
        code = int(short or long or "0", 16)
        wrong_quote = named is not None and named in "\"'" and named != quote
        if found is None or wrong_quote or plain == quote or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            _syntax(f"unquote string {quote}{text}{quote} error invalid syntax")
        at = found.end()
        if byte or octal:
            content.append(int(byte, 16) if byte else int(octal or "0", 8))
        elif named:
            content += _CONTROLS.get(named, named).encode()
        else:
            content += (plain or chr(code)).encode("utf-8", "replace")
    return content.decode("utf-8", "replace")


# --- template on object --------------------------------------------------------------------------------------------


def _failed(message: str) -> NoReturn:
    raise JSONPathError(f"error finding result for jsonpath: {message}")


def _is_map(value: Any) -> TypeGuard[dict[Any, Any]]:
    return isinstance(value, dict)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _walk(path: _Path, values: list[Any], *, in_range: bool = False) -> list[Any]:
    for step in path:
        values = _apply(step, values, in_range=in_range)
    return values


def _apply(step: _Step, values: list[Any], *, in_range: bool) -> list[Any]:
    match step:
        case _Literal():
            # kubectl gives a text once, but a number once for each value that it follows.
            return [step.value] if isinstance(step.value, str) else [step.value] * len(values)
        case _Word():
            if step.name == "range":
                return values
            if step.name == "end":
                return [] if in_range else _failed("not in range, nothing to end")
            _failed(f"unrecognized identifier {step.name}")
        case _Field():
            found = [value[step.name] for value in values if _is_map(value) and step.name in value]
            # What follows nothing is nothing: no field is missing where there is no object.
            return found if found or not values else _failed(f"{step.name} is not found")
        case _Wildcard():
            return [child for value in values for child in _children(value)]
        case _Descent():
            return [below for value in values for below in _descend(value)]
        case _Slice():
            return [item for value in values if value is not None for item in _sliced(step, value)]
        case _Union():
            return [item for member in step.members for item in _walk(member, values)]
        case _Filter():
            return [item for value in values for item in _filtered(step, value)]


def _children(value: Any) -> list[Any]:
    if _is_map(value):
        return [value[key] for key in sorted(value, key=str)]
    if _is_list(value):
        return value
    if isinstance(value, str):
        # For Go a text is an array of bytes; only a wildcard or a descent that reaches one can tell.
        return list(value.encode("utf-8", "replace"))
    return []


def _descend(value: Any) -> list[Any]:
    """Return the value and everything below that has something below itself, parents first."""
    found: list[Any] = []
    pending = [value]
    while pending:
        current = pending.pop()
        if children := _children(current):
            found.append(current)
            if not isinstance(current, str):
                pending.extend(reversed(children))
    return found


def _sliced(step: _Slice, value: Any) -> list[Any]:
    if not _is_list(value):
        _failed(f"{_type_name(value)} is not array or slice")
    length = len(value)
    start = step.start + length if step.start < 0 else step.start
    stop = length if step.stop is None else step.stop
    if stop < 0 or (stop == 0 and step.single):
        stop += length
    if start == stop:
        return []
    if not 0 <= start < length:
        _failed(f"array index out of bounds: index {start}, length {length}")
    if not 0 <= stop <= length:
        _failed(f"array index out of bounds: index {stop - 1}, length {length}")
    if start > stop:
        _failed(f"starting index {start} is greater than ending index {stop}")
    if step.step is not None and step.step <= 0:
        _failed("step must be > 0")
    return value[start : stop : step.step or 1]


def _filtered(step: _Filter, value: Any) -> list[Any]:
    if not _is_list(value):
        _failed(f"{_shown(value)} is not array or slice and cannot be filtered")
    found: list[Any] = []
    for item in value:
        if not step.comparison:
            try:
                keep = bool(_walk(step.left, [item]))
            except JSONPathError:
                keep = False
        else:
            left = _walk(step.left, [item])
            if not left:
                continue
            if len(left) > 1:
                _failed("can only compare one element at a time")
            right = _walk(step.right, [item])
            if not right:
                continue
            if len(right) > 1:
                _failed("can only compare one element at a time")
            keep = _compare(left[0], step.comparison, right[0])
        if keep:
            found.append(item)
    return found


_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
}


def _compare(left: Any, comparison: str, right: Any) -> bool:
    compare = _COMPARISONS.get(comparison)
    if compare is None:
        _failed(f"unrecognized filter operator {comparison}")
    for value in (left, right):
        if not isinstance(value, bool | int | float | str):
            _failed("invalid type for comparison")
    if type(left) is not type(right):
        _failed("incompatible types for comparison")
    if isinstance(left, bool) and comparison not in ("==", "!="):
        _failed("invalid type for comparison")
    if isinstance(left, str):
        return compare(left.encode("utf-8", "replace"), right.encode("utf-8", "replace"))
    return compare(left, right)


def _type_name(value: Any) -> str:
    """Name a type as Go does; the error texts are written for its readers."""
    if _is_map(value):
        return "map[string]interface {}"
    if isinstance(value, date):
        return "time.Time"
    # A boolean is an integer as well in Python, so the order counts.
    kinds = ((bool, "bool"), (int, "int"), (float, "float64"), (str, "string"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "interface {}")


def _shown(value: Any) -> str:
    """Write a value as Go's `%v` does."""
    if _is_map(value):
        return f"map[{' '.join(f'{key}:{_shown(value[key])}' for key in sorted(value, key=str))}]"
    if _is_list(value):
        return f"[{' '.join(map(_shown, value))}]"
    return text_of(value)


def text_of(value: Any) -> str:
    """Write one result as omnictl prints it.

    Args:
        value: What a template found.

    Returns:
        Text as it is; numbers and booleans plain; `<nil>` for None; times as quoted JSON; maps and lists as JSON with
        an indent of 4.
    """
    from omniherd._core.gojson import dumps, float_text

    if value is None:
        return "<nil>"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        try:
            return float_text(value, low=-4, high=6)
        except ValueError:
            return {"inf": "+Inf", "-inf": "-Inf"}.get(str(value), "NaN")
    try:
        return dumps(value)
    except (TypeError, ValueError) as error:
        _failed(str(error))


@dataclass(frozen=True, slots=True)
class Template:
    """A template that was read; made by `compile`. It keeps no state, one object serves any number of threads.

    Attributes:
        source: The text it was read from.
    """

    source: str
    _actions: tuple[_Path, ...]

    def results(self, value: Any) -> list[list[Any]]:
        """Apply the template to an object.

        Args:
            value: Plain data: None, booleans, numbers, text, times, lists, dicts with text as keys.

        Returns:
            For each action and each literal text, in order, the list of what it found.

        Raises:
            JSONPathError: A field is missing, an index is out of bounds, or a step does not fit what it meets.
        """
        found: list[list[Any]] = []
        try:
            self._run(value, 0, found, in_range=False)
        except RecursionError:
            _failed("nested too deeply")
        return found

    def render_lines(self, value: Any) -> Iterator[str]:
        """Apply the template and yield every result as text, without line breaks after them.

        Args:
            value: As for `results`.

        Yields:
            One text for each result, literals included; printed a line each they are omnictl's output.

        Raises:
            JSONPathError: As for `results`, before anything is yielded.
        """
        lines = [text_of(item) for items in self.results(value) for item in items]
        yield from lines

    def _run(self, value: Any, at: int, found: list[list[Any]], *, in_range: bool) -> None:
        """Run the actions from `at` to the end of the range that they are in, or of the template."""
        while at < len(self._actions):
            action = self._actions[at]
            results = _walk(action, [value], in_range=in_range)
            at += 1
            if _says(action, "end"):
                return
            if not _says(action, "range"):
                found.append(results)
                continue
            for item in results:
                self._run(item, at, found, in_range=True)
            at = self._after_end(at)

    def _after_end(self, at: int) -> int:
        """Return the place after the `end` that closes the range begun just before `at`."""
        depth = 1
        while depth and at < len(self._actions):
            action = self._actions[at]
            depth += _says(action, "range") - _says(action, "end")
            at += 1
        return at


def _says(action: _Path, word: str) -> bool:
    return any(isinstance(step, _Word) and step.name == word for step in action)


def compile(text: str) -> Template:  # noqa: A001 - the name that `re` taught everybody
    """Read a template.

    Args:
        text: The template, for example `{.metadata.id}`; text outside of braces is literal.

    Returns:
        The template, ready to be applied.

    Raises:
        JSONPathError: The text does not parse; the message is omnictl's.

    Example:
        >>> from omniherd.jsonpath import compile
        >>> compile("{.spec.names[0]}").results({"spec": {"names": ["a", "b"]}})
        [['a']]
    """
    try:
        return Template(text, _Reader(text).template())
    except RecursionError:
        _syntax("nested too deeply")

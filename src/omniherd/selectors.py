r"""Label selectors: their text, their terms, the query messages they become, and what they match.

The language is Omni's own: terms joined by commas, all of which must hold.

| Text | Holds when |
|---|---|
| `a`, `!a` | the label is there, is absent |
| `a = b`, `a == b`, `a != b` | it is equal; it is different *or absent* |
| `a in (x, y)`, `a notin (x)` | it is in the set; it is not in the set *or absent* |
| `a < 5`, `a <= 4GiB`, `a > 5`, `a >= 5` | both sides are numbers (with an optional unit of size), and compare so |

Blanks around keys, operators and after commas do not count; inside a value and after it they do. Quotes protect what
would be read as something else, `\` keeps the next character inside them.

Example:
    >>> selector = parse("env = prod, !retired")
    >>> selector.matches({"env": "prod"}), selector.matches({"env": "prod", "retired": ""})
    (True, False)
    >>> str(label("size") > "4GiB")
    'size > 4GiB'
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Literal, cast

from omniherd._core.shapes import is_mapping
from omniherd.errors import SelectorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from omniherd.wire import cosi_resource

__all__ = ["Label", "Operator", "Selector", "Term", "label", "number", "parse"]


class Operator(IntEnum):
    """How a term compares; the numbers are those of `cosi.resource.LabelTerm.Operation`."""

    EXISTS = 0
    EQUAL = 1
    NOT_EXISTS = 2
    IN = 3
    LT = 4
    LTE = 5
    LT_NUMERIC = 6
    LTE_NUMERIC = 7


_SYMBOLS = frozenset("=!(),<>")
_BLANKS = frozenset(" \t\r\n")
_COMPARISONS: dict[str, tuple[Operator, bool]] = {
    "in": (Operator.IN, False),
    "notin": (Operator.IN, True),
    "=": (Operator.EQUAL, False),
    "==": (Operator.EQUAL, False),
    "!=": (Operator.EQUAL, True),
    "<": (Operator.LT_NUMERIC, False),
    "<=": (Operator.LTE_NUMERIC, False),
    # The language has no operator for these two: `greater` is `not less or equal`.
    ">": (Operator.LTE_NUMERIC, True),
    ">=": (Operator.LT_NUMERIC, True),
}
_EXPECTED_OPERATORS = "==, =, !=, >=, >, in, notin, <=, <"
_UNITS = {
    "pi": 1 << 50,
    "ti": 1 << 40,
    "gi": 1 << 30,
    "mi": 1 << 20,
    "ki": 1 << 10,
    "p": 10**15,
    "t": 10**12,
    "g": 10**9,
    "m": 10**6,
    "k": 10**3,
}


def number(text: str) -> int | None:
    """Read a number as selectors compare them: an integer and an optional unit of size.

    Args:
        text: For example `16`, `-1`, `4GiB`, `4 GB`; what follows the unit's first letters does not count.

    Returns:
        The number in units of one, or None when the text is none (`1.5`, `6b`, a value beyond 64 bits).

    Example:
        >>> number("4GiB"), number("4GB"), number("many")
        (4294967296, 4000000000, None)
    """
    text = text.strip()
    digits = 0
    while digits < len(text) and text[digits] in "0123456789-":
        digits += 1
    try:
        value = int(text[:digits])
    except ValueError:
        return None
    if not -(1 << 63) <= value < 1 << 63:
        return None
    unit = text[digits:].strip().lower()
    if not unit:
        return value
    factor = _UNITS.get(unit[:2]) or _UNITS.get(unit[:1])
    if factor is None:
        return None
    # Go multiplies in 64 bits, and an overflow wraps around there as well.
    product = (value * factor) & ((1 << 64) - 1)
    return product - (1 << 64) if product >= 1 << 63 else product


@dataclass(frozen=True, slots=True)
class Term:
    """One condition on one label.

    Attributes:
        key: The label's key.
        operator: How it compares.
        values: What it is compared with: nothing, one value, or a set for `IN`.
        invert: Whether the condition is turned around.
    """

    key: str
    operator: Operator = Operator.EXISTS
    values: tuple[str, ...] = ()
    invert: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels meet the condition, as the server would.

        Args:
            labels: Labels by key.
        """
        value = labels.get(self.key)
        if self.operator is Operator.EXISTS:
            return (value is not None) != self.invert
        if self.operator is Operator.NOT_EXISTS:
            return value is None
        if self.operator is Operator.IN:
            return (value in self.values) != self.invert
        operand = self.values[0] if self.values else ""
        if self.operator is Operator.EQUAL:
            return (value == operand) != self.invert
        if value is None:
            return False
        if self.operator in {Operator.LT, Operator.LTE}:
            below = value < operand or (self.operator is Operator.LTE and value == operand)
            return below != self.invert
        left, right = number(value), number(operand)
        if left is None or right is None:
            return False
        below = left < right or (self.operator is Operator.LTE_NUMERIC and left == right)
        return below != self.invert

    def __str__(self) -> str:
        key = _quote(self.key)
        if self.operator is Operator.EXISTS:
            return f"!{key}" if self.invert else key
        if self.operator is Operator.NOT_EXISTS:
            return f"!{key}"
        if self.operator is Operator.IN:
            word = "notin" if self.invert else "in"
            return f"{key} {word} ({', '.join(_quote(value) for value in self.values)})"
        symbols = {
            (Operator.EQUAL, False): "=",
            (Operator.EQUAL, True): "!=",
            (Operator.LT_NUMERIC, False): "<",
            (Operator.LTE_NUMERIC, False): "<=",
            (Operator.LTE_NUMERIC, True): ">",
            (Operator.LT_NUMERIC, True): ">=",
        }
        symbol = symbols.get((self.operator, self.invert))
        if symbol is None:
            raise SelectorError(
                f"a selector's text cannot say {self.operator.name} of {self.key!r}",
                hint="pass the selector itself, not its text",
            )
        return f"{key} {symbol} {_quote(self.values[0] if self.values else '')}"


def _quote(text: str) -> str:
    """Write a key or value so that it reads back as the same, quoted when it must be."""
    plain = text and text.strip() == text and not _SYMBOLS & set(text) and '"' not in text and "\\" not in text
    if plain and not _BLANKS & set(text) and text not in {"in", "notin"}:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@dataclass(frozen=True, slots=True)
class Selector:
    """Terms of which all must hold; none at all matches everything.

    Attributes:
        terms: The terms.

    Example:
        >>> both = label("env").in_("prod", "staging") & ~label("retired").exists()
        >>> str(both)
        'env in (prod, staging), !retired'
    """

    terms: tuple[Term, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels meet every term, as the server would."""
        return all(term.matches(labels) for term in self.terms)

    def to_query(self) -> cosi_resource.LabelQuery:
        """Return the selector as the message that List and Watch take."""
        from omniherd.wire import cosi_resource

        query = cosi_resource.LabelQuery()
        for term in self.terms:
            query.terms.add(key=term.key, op=int(term.operator), value=term.values, invert=term.invert)
        return query

    @classmethod
    def from_query(cls, query: cosi_resource.LabelQuery) -> Selector:
        """Read a selector from the message.

        Raises:
            SelectorError: A term has an operator that is not known.
        """
        terms: list[Term] = []
        for term in query.terms:
            try:
                operator = Operator(term.op)
            except ValueError:
                raise SelectorError(f"unsupported label query operator: {term.op}") from None
            terms.append(Term(term.key, operator, tuple(term.value), term.invert))
        return cls(tuple(terms))

    @classmethod
    def of(cls, labels: str | Selector | Term | Mapping[str, str] | Iterable[Term] | None) -> Selector:
        """Return whatever a caller may give as a selector.

        Args:
            labels: A selector's text, a selector, a term, several terms, or a mapping of keys to values that must be
                equal; None and empty text for everything.

        Raises:
            SelectorError: The text does not parse.
        """
        if labels is None:
            return cls()
        if isinstance(labels, str):
            return parse(labels)
        if isinstance(labels, Selector):
            return labels
        if isinstance(labels, Term):
            return cls((labels,))
        if is_mapping(labels):
            return cls(tuple(Term(key, Operator.EQUAL, (value,)) for key, value in labels.items()))
        return cls(tuple(cast("Iterable[Term]", labels)))

    def __and__(self, other: Selector) -> Selector:
        return Selector(self.terms + other.terms)

    def __invert__(self) -> Selector:
        if len(self.terms) != 1:
            raise SelectorError(
                "only a selector of one term can be turned around", hint="turn its terms around one by one"
            )
        term = self.terms[0]
        if term.operator is Operator.NOT_EXISTS:
            # The server takes no notice of `invert` on this one.
            return Selector((Term(term.key),))
        return Selector((Term(term.key, term.operator, term.values, not term.invert),))

    def __bool__(self) -> bool:
        # `label("a") == "x" and label("b") == "y"` would silently drop its first half.
        raise TypeError(
            "a selector is neither true nor false: join selectors with `&`, and look at `terms` for emptiness"
        )

    def __str__(self) -> str:
        return ", ".join(map(str, self.terms))


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """A label's key, to build selectors from with Python's operators. Made by `label`.

    Attributes:
        key: The key.
    """

    key: str

    def exists(self) -> Selector:
        """The label is there, whatever its value."""
        return self._selector(Operator.EXISTS)

    def in_(self, *values: str) -> Selector:
        """Its value is one of these; turned around with `~`: is none of them, or absent.

        Raises:
            SelectorError: No value is given.
        """
        if not values:
            raise SelectorError(f"no values for {self.key!r} to be in")
        return self._selector(Operator.IN, *sorted(set(values)))

    def _selector(self, operator: Operator, *values: str | int, invert: bool = False) -> Selector:
        return Selector((Term(self.key, operator, tuple(map(str, values)), invert),))

    def __eq__(self, value: object) -> Selector:  # type: ignore[override]
        return self._selector(Operator.EQUAL, str(value))

    def __ne__(self, value: object) -> Selector:  # type: ignore[override]
        return self._selector(Operator.EQUAL, str(value), invert=True)

    def __lt__(self, value: str | int) -> Selector:
        return self._selector(Operator.LT_NUMERIC, value)

    def __le__(self, value: str | int) -> Selector:
        return self._selector(Operator.LTE_NUMERIC, value)

    def __gt__(self, value: str | int) -> Selector:
        return self._selector(Operator.LTE_NUMERIC, value, invert=True)

    def __ge__(self, value: str | int) -> Selector:
        return self._selector(Operator.LT_NUMERIC, value, invert=True)

    def __hash__(self) -> int:
        return hash(self.key)


def label(key: str) -> Label:
    """Begin a selector on a label.

    Args:
        key: The label's key.

    Example:
        >>> str((label("env") == "prod") & (label("omni.sidero.dev/cores") >= 8))
        'env = prod, omni.sidero.dev/cores >= 8'
    """
    return Label(key)


def parse(text: str) -> Selector:
    """Read a selector from its text.

    Args:
        text: For example `env in (prod, staging), !retired`. Blank text matches everything.

    Raises:
        SelectorError: It does not parse; the text of the error is Omni's.

    Example:
        >>> parse("env = prod").terms
        (Term(key='env', operator=<Operator.EQUAL: 1>, values=('prod',), invert=False),)
    """
    return _Reader(text).read()


_Kind = Literal["end", "word", "symbol", "operator", "bad"]
_Token = tuple[_Kind, str]
_END: _Token = ("end", "")


class _Reader:
    """One pass over a selector's text.

    Blanks end a word until an operator was read: from there to the comma that ends the term they belong to values.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._in_value = False
        self._in_list = False
        self._ahead: _Token | None = None

    def read(self) -> Selector:
        terms: list[Term] = []
        kind, text = self._peek()
        if kind == "end":
            return Selector()
        if not self._starts_term((kind, text)):
            raise SelectorError(f"found '{text}', expected: !, identifier, or 'end of string'")
        while True:
            terms.append(self._term())
            kind, text = self._take()
            if kind == "end":
                return Selector(tuple(terms))
            if (kind, text) != ("symbol", ","):
                raise SelectorError(f"found '{text}', expected: ',' or 'end of string'")
            ahead = self._peek()
            if not self._starts_term(ahead):
                raise SelectorError(f"found '{ahead[1]}', expected: identifier after ','")

    @staticmethod
    def _starts_term(token: _Token) -> bool:
        kind, text = token
        return kind == "word" or (kind == "operator" and text in {"!", "in", "notin"})

    def _term(self) -> Term:
        kind, key = self._take()
        absent = (kind, key) == ("operator", "!")
        if absent:
            kind, key = self._take()
        if not self._is_word((kind, key)):
            raise SelectorError(f"unable to parse term: found '{key}', expected: identifier")
        ahead = self._peek()
        if ahead[0] == "end" or ahead == ("symbol", ","):
            return Term(key, invert=absent)
        if absent:
            # Omni's text ends here as well; it names the kind of the token before, which has no name.
            raise SelectorError("unable to parse term: expected EOF or ',', found ")
        kind, word = self._take()
        comparison = _COMPARISONS.get(word) if kind == "operator" else None
        if comparison is None:
            raise SelectorError(f"unable to parse term: found '{word}', expected: {_EXPECTED_OPERATORS}")
        operator, invert = comparison
        values = self._set() if operator is Operator.IN else (self._value(),)
        return Term(key, operator, values, invert)

    @staticmethod
    def _is_word(token: _Token) -> bool:
        """Tell whether a token is a key or value; `in` and `notin` are, where no operator can stand."""
        return token[0] == "word" or token in {("operator", "in"), ("operator", "notin")}

    def _value(self) -> str:
        ahead = self._peek()
        if ahead[0] == "end" or ahead == ("symbol", ","):
            return ""
        token = self._take()
        if not self._is_word(token):
            raise SelectorError(f"unable to parse term: found '{token[1]}', expected: identifier")
        return token[1]

    def _set(self) -> tuple[str, ...]:
        token = self._take()
        if token != ("symbol", "("):
            raise SelectorError(f"unable to parse term: found '{token[1]}' expected: '('")
        ahead = self._peek()
        if ahead == ("symbol", ")"):
            self._take()
            return ("",)
        if not self._is_word(ahead) and ahead != ("symbol", ","):
            raise SelectorError(f"unable to parse term: found '{ahead[1]}', expected: ',', ')' or identifier")
        found: set[str] = set()
        while True:
            token = self._take()
            if self._is_word(token):
                found.add(token[1])
                ahead = self._peek()
                if ahead == ("symbol", ")"):
                    break
                if ahead != ("symbol", ","):
                    raise SelectorError(f"unable to parse term: found '{ahead[1]}', expected: ',' or ')'")
            elif token == ("symbol", ","):
                if not found:
                    found.add("")
                ahead = self._peek()
                if ahead == ("symbol", ")"):
                    found.add("")
                    break
                if ahead == ("symbol", ","):
                    self._take()
                    found.add("")
            else:
                raise SelectorError(f"unable to parse term: found '{token[1]}', expected: ',', or identifier")
        self._take()
        # Go sorts strings by their bytes.
        return tuple(sorted(found, key=lambda value: value.encode("utf-8", "surrogatepass")))

    def _peek(self) -> _Token:
        if self._ahead is None:
            self._ahead = self._scan()
        return self._ahead

    def _take(self) -> _Token:
        token = self._peek()
        self._ahead = None
        return token

    def _next(self) -> str:
        """Return the next character and step over it; an empty text at the end, which a NUL is as well."""
        if self._at >= len(self._text):
            return ""
        character = self._text[self._at]
        self._at += 1
        return "" if character == "\0" else character

    def _scan(self) -> _Token:
        character = self._next()
        while character in _BLANKS:
            character = self._next()
        if not character:
            return _END
        if character == '"':
            return self._quoted()
        self._at -= 1
        token = self._symbol() if character in _SYMBOLS else self._word()
        if token[0] == "operator":
            self._in_value = True
        elif token == ("symbol", "("):
            self._in_list = True
        elif token == ("symbol", ")"):
            self._in_list = False
        elif token == ("symbol", ",") and not self._in_list:
            self._in_value = False
        return token

    def _quoted(self) -> _Token:
        characters: list[str] = []
        while True:
            character = self._next()
            if not character:
                return ("bad", "unterminated quoted string")
            if character == '"':
                return ("word", "".join(characters))
            if character == "\\":
                character = self._next()
                if not character:
                    return ("bad", "unterminated escape sequence in quoted string")
            characters.append(character)

    def _symbol(self) -> _Token:
        """Read the longest symbol; every one of several characters begins with one of a single character."""
        found = self._next()
        following = self._text[self._at : self._at + 1]
        if found in "=!<>" and following == "=":
            self._at += 1
            found += following
        if self._text[self._at : self._at + 1] == "\0":
            self._at += 1
        return ("symbol" if found in "()," else "operator", found)

    def _word(self) -> _Token:
        begin = self._at
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "\0":
                word = self._text[begin : self._at]
                self._at += 1
                break
            if character in _SYMBOLS or (character in _BLANKS and not self._in_value):
                word = self._text[begin : self._at]
                break
            self._at += 1
        else:
            word = self._text[begin:]
        return ("operator" if word in {"in", "notin"} else "word", word)

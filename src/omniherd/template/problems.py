"""What is wrong with a template: a tree of findings that prints as omnictl does, and a flat list with places.

omnictl nests its findings (a patch of a cluster of a template), and every level counts and indents its own. The tree
keeps that shape for the text; the list is what a person or an editor wants: one finding, one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omniherd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Fault", "Place", "Problem", "TemplateError", "bullets", "fault", "go_quote", "lines", "under"]


@dataclass(frozen=True)
class Place:
    """A place in a file.

    Attributes:
        file: The file's name as it was given, empty for text that came from elsewhere.
        line: The line, counted from 1; 0 when the thing was made by a program.
        column: The column, counted from 1.
    """

    file: str = ""
    line: int = 0
    column: int = 0


@dataclass(frozen=True)
class Problem:
    """One finding.

    Attributes:
        text: What is wrong, with the names of what it stands in.
        file: The template's file, empty when it was made by a program.
        line: The line in the file, counted from 1; 0 for findings about the template as a whole.
        column: The column, counted from 1.
    """

    text: str
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return f"{self.file}: {self.text}" if self.file else self.text
        return f"{self.file or 'template'}:{self.line}:{self.column}: {self.text}"


class TemplateError(InputError):
    r"""A cluster template cannot be read, is not valid, or cannot be turned into resources.

    The text is the one of omnictl, all findings in one. `stage` says how far it came: `"loading"`, `"validating"`,
    `"rendering"` or `"exporting"`.

    Attributes:
        problems: Every finding with its file, line and column, in the order of the text.
        stage: What was being done.

    Example:
        >>> from omniherd import template
        >>> try:
        ...     template.loads("kind: Cluster\nname: lab\n").validate()
        ... except template.TemplateError as error:
        ...     print(error.problems[0])
        template:1:1: cluster "lab": Kubernetes version: version is required
    """

    def __init__(
        self, message: str, *, problems: Sequence[Problem] = (), stage: str = "validating", **options: Any
    ) -> None:
        super().__init__(message, **options)
        self.problems: tuple[Problem, ...] = tuple(problems) or (Problem(message),)
        self.stage = stage


@dataclass(frozen=True)
class Fault:
    """A node of the tree: a text, or a heading over other faults.

    Attributes:
        text: The finding, or the heading.
        inner: What stands below the heading.
        joined: How the inner faults are written: `"bullets"`, `"lines"`, or `"only"` for a single one.
        place: Where it is.
        short: The heading for the flat list, which needs less of it; the text itself when None.
    """

    text: str
    inner: tuple[Fault, ...] = ()
    joined: str = "only"
    place: Place = Place()
    short: str | None = None

    def __str__(self) -> str:
        if not self.inner:
            return self.text
        if self.joined == "bullets":
            body = _bulleted([str(one) for one in self.inner])
        else:
            body = "\n".join(str(one) for one in self.inner)
        return f"{self.text}: {body}" if self.text else body

    def problems(self, above: tuple[str, ...] = (), place: Place = Place()) -> Iterator[Problem]:
        """Yield the findings of the tree one by one, each with the nearest place that is known."""
        here = self.place if self.place.line else place
        heading = self.text if self.short is None else self.short
        chain = (*above, heading) if heading else above
        if not self.inner:
            yield Problem(": ".join(chain), here.file, here.line, here.column)
            return
        for one in self.inner:
            yield from one.problems(chain, here)


def fault(text: str, place: Place = Place()) -> Fault:
    """Return a finding."""
    return Fault(text, place=place)


def bullets(faults: Sequence[Fault], text: str = "", *, place: Place = Place(), short: str | None = None) -> Fault:
    """Return faults as a bulleted list below a heading."""
    return Fault(text, tuple(faults), "bullets", place, short)


def lines(faults: Sequence[Fault], *, short: str = "") -> Fault:
    """Return faults as one that is written line by line, without bullets."""
    return Fault("", tuple(faults), "lines", short=short)


def under(text: str, inner: Fault, *, place: Place = Place(), short: str | None = None) -> Fault:
    """Return a fault below a heading, on the same line."""
    return Fault(text, (inner,), "only", place, short)


def _bulleted(texts: Sequence[str]) -> str:
    count = "1 error" if len(texts) == 1 else f"{len(texts)} errors"
    return f"{count} occurred:\n\t" + "\n\t".join(f"* {text}" for text in texts) + "\n\n"


_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def go_quote(text: str) -> str:
    r"""Quote text as Go's `%q` does.

    Example:
        >>> print(go_quote('a "b"\n'))
        "a \"b\"\n"
    """
    parts: list[str] = []
    for character in text:
        if character in '"\\':
            parts.append("\\" + character)
        elif character in _ESCAPES:
            parts.append(_ESCAPES[character])
        elif character.isprintable():
            parts.append(character)
        else:
            code = ord(character)
            parts.append(f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(parts) + '"'

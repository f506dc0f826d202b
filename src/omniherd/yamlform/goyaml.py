"""Read YAML as Go's library does, with the place of everything that is wrong.

PyYAML's parser follows libyaml, of which Go's parser is a port: they read the same documents. What differs is what a
plain scalar means (`omniherd.yamlform.scalars`), and that Go refuses a key that stands twice.
"""

from __future__ import annotations

import base64
import binascii
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from omniherd.errors import YAMLError
from omniherd.yamlform.scalars import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yaml.nodes import Node

__all__ = ["Scalar", "compose_all", "construct", "load", "load_all"]

_PREFIX = "tag:yaml.org,2002:"
_QUOTED = "!quoted"


def compose_all(text: str | bytes) -> Iterator[Node]:
    """Yield the node of each document; scalars keep their source text and everything its line and column.

    Args:
        text: A stream of YAML documents.

    Raises:
        YAMLError: The syntax is wrong; `details` has `line` and `column`, counted from 1.
    """
    import yaml

    loader: Any = None
    try:
        loader = _loader_class()(text)
        while loader.check_node():
            yield loader.get_node()
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _syntax_error(error) from None
    finally:
        if loader is not None:
            loader.dispose()


@cache
def _loader_class() -> Any:
    """Return a loader that leaves the tag of untagged scalars open: empty for plain ones, `_QUOTED` for others."""
    import yaml
    from yaml.composer import Composer
    from yaml.parser import Parser
    from yaml.reader import Reader
    from yaml.resolver import BaseResolver
    from yaml.scanner import Scanner

    class Resolver(BaseResolver):
        def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:  # noqa: ARG002 - what PyYAML calls it with
            if kind is yaml.ScalarNode:
                return "" if implicit[0] else _QUOTED
            return ""

    # PyYAML's own parser, not its C one: the words and places of syntax errors are translated from its.
    class Loader(Reader, Scanner, Parser, Composer, Resolver):
        def __init__(self, stream: Any) -> None:
            Reader.__init__(self, stream)
            Scanner.__init__(self)
            Parser.__init__(self)
            Composer.__init__(self)
            Resolver.__init__(self)

    return Loader


def _syntax_error(error: Exception) -> YAMLError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
    if mark is None:
        return YAMLError(f"yaml: {problem}")
    line, column = int(mark.line) + 1, int(mark.column) + 1
    return YAMLError(f"yaml: line {line}: {problem}", details={"line": line, "column": column})


class Scalar(NamedTuple):
    """A plain scalar that is no text, with its source: Go reads `1.30` into a text field as it stands.

    Attributes:
        value: What it stands for.
        text: How it is written.
    """

    value: Any
    text: str


def construct(node: Node, *, source: bool = False) -> Any:
    """Return the value of a node: mappings as dicts, sequences as lists, scalars as what Go reads them as.

    Args:
        node: A node from `compose_all`.
        source: Whether values that are no text come as `Scalar`, with their source text.

    Raises:
        YAMLError: A key stands twice, a key is no scalar, or an explicit tag does not fit.
    """
    return _Constructor(source=source).value(node)


def load_all(text: str | bytes) -> list[Any]:
    r"""Return the values of all documents of a stream.

    Raises:
        YAMLError: See `compose_all` and `construct`.

    Example:
        >>> load_all("a: 014\n---\n- on\n")
        [{'a': 12}, ['on']]
    """
    return [construct(node) for node in compose_all(text)]


def load(text: str | bytes) -> Any:
    """Return the value of the first document, None for an empty stream.

    Raises:
        YAMLError: See `compose_all` and `construct`.
    """
    for node in compose_all(text):
        return construct(node)
    return None


def _fail(node: Node, text: str) -> YAMLError:
    line = int(node.start_mark.line) + 1
    return YAMLError(f"yaml: line {line}: {text}", details={"line": line, "column": int(node.start_mark.column) + 1})


class _Constructor:
    """Builds values; aliases give the same object again, and a node that holds itself is refused."""

    def __init__(self, *, source: bool) -> None:
        self._source = source
        self._built: dict[int, Any] = {}
        self._open: set[int] = set()

    def value(self, node: Node) -> Any:
        key = id(node)
        if key in self._built:
            return self._built[key]
        if key in self._open:
            raise _fail(node, f"anchor '{getattr(node, 'anchor', '') or ''}' value contains itself")
        self._open.add(key)
        built = self._build(node)
        self._open.discard(key)
        self._built[key] = built
        return built

    def _build(self, node: Any) -> Any:
        if node.id == "mapping":
            return self._mapping(node)
        if node.id == "sequence":
            return [self.value(item) for item in node.value]
        value = scalar(node)
        return value if not self._source or value is None or isinstance(value, str) else Scalar(value, node.value)

    def _mapping(self, node: Any) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        merged: list[dict[Any, Any]] = []
        for key_node, value_node in node.value:
            if _is_merge(key_node):
                merged += self._merged(value_node)
                continue
            key = scalar(key_node) if key_node.id == "scalar" else self.value(key_node)
            if isinstance(key, (dict, list)):
                raise _fail(key_node, "a key of a mapping must be a scalar")
            if key in found and any(key == other and type(key) is type(other) for other in found):
                first = next(one for one, _ in node.value if one.id == "scalar" and scalar(one) == key)
                raise _fail(
                    key_node,
                    f'mapping key "{key_node.value}" already defined at line {int(first.start_mark.line) + 1}',
                )
            found[key] = self.value(value_node)
        for mapping in merged:
            for key, value in mapping.items():
                found.setdefault(key, value)
        return found

    def _merged(self, node: Any) -> list[dict[Any, Any]]:
        nodes = node.value if node.id == "sequence" else [node]
        values = [self.value(one) for one in nodes]
        if not all(isinstance(value, dict) for value in values):
            raise _fail(node, "map merge requires map or sequence of maps as the value")
        return values


def _is_merge(node: Any) -> bool:
    return node.id == "scalar" and node.value == "<<" and node.tag in {"", _PREFIX + "merge"}


_TYPES: dict[str, type] = {"int": int, "float": float, "bool": bool, "null": type(None)}


def scalar(node: Any) -> Any:
    """Return what a scalar node stands for, explicit tags included.

    Args:
        node: A scalar node from `compose_all`.

    Raises:
        YAMLError: The text does not fit the tag.
    """
    tag: str = node.tag or ""
    if not tag:
        return resolve(node.value)
    kind = tag.removeprefix(_PREFIX)
    if kind == "binary":
        try:
            data = base64.b64decode("".join(node.value.split()), validate=True)
        except binascii.Error as error:
            raise _fail(node, f"!!binary value contains invalid base64 data: {error}") from None
        # To Go both are a string of bytes.
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data
    wanted = _TYPES.get(kind)
    if wanted is None:
        return node.value
    value = resolve(node.value)
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise _fail(node, f"cannot construct !!str `{node.value}` as a !!{kind}")
    return value

"""Content that stands in the template itself, written as the text that Omni gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omniherd.errors import InputError

if TYPE_CHECKING:
    from omniherd.template.models import Inline

__all__ = ["inline_text"]


def inline_text(content: Inline) -> str:
    r"""Return inline content as YAML text: text as it stands, documents written with sorted keys and indent 4.

    Args:
        content: One document, several, or text.

    Raises:
        InputError: A program put something in that YAML has no form for.

    Example:
        >>> inline_text([{"b": 1, "a": True}, {"c": "on"}])
        'a: true\nb: 1\n---\nc: "on"\n'
    """
    from omniherd.yamlform import dump

    if isinstance(content, str):
        return content
    documents: list[Mapping[str, Any]] = [content] if isinstance(content, Mapping) else list(content)
    try:
        return "---\n".join(dump(document) for document in documents)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"inline content cannot be written as YAML: {error}") from None

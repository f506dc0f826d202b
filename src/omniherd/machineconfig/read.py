"""Read a machine configuration."""

from __future__ import annotations

from typing import Any

from omniherd.errors import InputError
from omniherd.yamlform import load_all

__all__ = ["read"]


def read(text: str | bytes) -> list[dict[str, Any]]:
    r"""Return the documents of a machine configuration's text.

    Args:
        text: The configuration, one YAML document or several.

    Raises:
        InputError: There is no document, or one is no mapping.
        YAMLError: The text is no YAML.

    Example:
        >>> read("version: v1alpha1\nmachine:\n  type: worker\n")
        [{'version': 'v1alpha1', 'machine': {'type': 'worker'}}]
    """
    documents: list[Any] = [document for document in load_all(text) if document is not None]
    if not documents:
        raise InputError("the machine configuration is empty")
    if not all(isinstance(document, dict) for document in documents):
        raise InputError("a document of the machine configuration is no mapping")
    return documents

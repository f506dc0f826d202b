"""Read a machine configuration as Talos' library would read it and write it again."""

from __future__ import annotations

from typing import Any

from omniherd._core.shapes import is_mapping
from omniherd.errors import InputError
from omniherd.machineconfig.difference import identity
from omniherd.machineconfig.fields import shape_of_kind
from omniherd.machineconfig.forms import is_sequence
from omniherd.machineconfig.normal import normal, plain

__all__ = ["read"]

# A configuration has a few thousand values. Aliases of aliases of aliases make billions out of a few lines.
_MOST_VALUES = 1_000_000
_MAIN_KEYS = frozenset(("version", "machine", "cluster", "debug", "persist"))


def read(text: str | bytes, *, keep_unknown: bool = False) -> list[dict[str, Any]]:
    r"""Return the documents of a machine configuration, in the form in which Talos' library writes them.

    Fields that are empty are left out or there, as the library has it, so that two configurations that mean the same
    are the same.

    Args:
        text: The configuration, one YAML document or several.
        keep_unknown: Whether fields and kinds of a Talos later than 1.14 stay as they are. By default they are refused,
            as Omni refuses patches that hold them.

    Returns:
        The documents, the main one, which has no `kind`, first.

    Raises:
        InputError: There is no document, one stands twice, is of no known kind, has a field that is not known or a
            value that does not fit its field, or aliases make it grow beyond reason.
        YAMLError: The text is no YAML.

    Example:
        >>> read("machine:\n  type: worker\n  sysctls: {vm.swappiness: 010}\n")[0]["machine"]
        {'type': 'worker', 'token': '', 'certSANs': [], 'sysctls': {'vm.swappiness': '010'}}
    """
    from omniherd.yamlform import compose_all, construct

    documents: list[dict[str, Any]] = []
    for node in compose_all(text):
        source = construct(node, source=True)
        if source is None:
            continue
        if not is_mapping(source):
            raise InputError("a document of the machine configuration is no mapping")
        if _count(source, {}) > _MOST_VALUES:
            raise InputError("the machine configuration holds too many aliases")
        document = _document(dict(source), keep_unknown=keep_unknown)
        if any(identity(other) == identity(document) for other in documents):
            name = " ".join(str(value) for key, value in identity(document).items() if key != "apiVersion")
            raise InputError(f"the machine configuration has two documents {name}")
        documents.append(document)
    if not documents:
        raise InputError("the machine configuration is empty")
    return sorted(documents, key=lambda document: bool(document.get("kind")))


def _document(source: dict[Any, Any], *, keep_unknown: bool) -> dict[str, Any]:
    kind = source.get("kind")
    if not kind and not _MAIN_KEYS & set(source):
        raise InputError("a document of the machine configuration has no kind")
    if kind and not isinstance(kind, str):
        raise InputError("kind: a text is expected")
    shape = shape_of_kind(kind or "")
    if shape is None and not keep_unknown:
        raise InputError(f"documents of the kind {kind} are not known", hint="a newer omniherd may know them")
    document: dict[str, Any] = plain(source) if shape is None else normal(source, shape, keep_unknown=keep_unknown)
    return document


def _count(source: Any, counted: dict[int, int]) -> int:
    """Return how many values there are when every alias is written out."""
    inner = source.values() if is_mapping(source) else source if is_sequence(source) else None
    if inner is None:
        return 1
    if id(source) not in counted:
        counted[id(source)] = 1 + sum(_count(value, counted) for value in inner)
    return counted[id(source)]

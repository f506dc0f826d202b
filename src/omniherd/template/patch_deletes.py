"""`$patch: delete` in config patches: parts that take something out of the configuration instead of setting it."""

from __future__ import annotations

from typing import Any

__all__ = ["DeleteRefused", "take_out_deletes"]


class DeleteRefused(ValueError):
    """A delete stands where it cannot, or does not say what it is for."""


# Nothing but these in a document makes it an empty one.
_IDENTITY_KEYS = frozenset(("version", "kind", "name"))


def take_out_deletes(root: Any) -> tuple[Any, int]:
    """Remove the parts of a document that delete.

    Args:
        root: The document's root node, which is changed.

    Returns:
        The node that is left, None when nothing is; and how many deletes there were.

    Raises:
        DeleteRefused: A delete is malformed.
    """
    walk = _Walk(root)
    if walk.process(root, "document", ()):
        return None, walk.count
    return (None if _is_empty(root) else root), walk.count


class _Walk:
    def __init__(self, root: Any) -> None:
        self.root = root
        self.count = 0
        self._seen: set[int] = set()

    def process(self, node: Any, parent: str, path: tuple[str, ...]) -> bool:
        """Go through a node; tell whether it is to be removed from its parent."""
        if node.id == "scalar" or id(node) in self._seen:
            return False
        # What an alias points at has been looked at where it stands.
        self._seen.add(id(node))
        if node.id == "sequence":
            return self._sequence(node, path)
        index = 0
        while index < len(node.value):
            key, value = node.value[index]
            name = key.value if key.id == "scalar" else ""
            if name == "$patch" and value.id == "scalar" and value.value == "delete":
                self._delete(node, parent, path)
                return True
            if self.process(value, "mapping", (*path, name)):
                del node.value[index]
                if not node.value:
                    return True
                continue
            index += 1
        return False

    def _sequence(self, node: Any, path: tuple[str, ...]) -> bool:
        index = 0
        while index < len(node.value):
            if self.process(node.value[index], "sequence", (*path, f"[{index}]")):
                del node.value[index]
                if not node.value:
                    return True
                continue
            index += 1
        return False

    def _delete(self, node: Any, parent: str, path: tuple[str, ...]) -> None:
        shown = ".".join(path)
        if parent != "sequence":
            if any(part.startswith("[") for part in path):
                raise DeleteRefused(f"cannot delete an inner key in '{shown}'")
        elif all(key.value == "$patch" and value.value == "delete" for key, value in node.value):
            raise DeleteRefused(f"no key:val found in sequence node for path {shown}")
        self._select(shown, required=not path)
        self.count += 1

    def _select(self, shown: str, *, required: bool) -> None:
        """Look whether the document says what it is."""
        version, kind = self._value("apiVersion", required=required), self._value("kind", required=required)
        if bool(version) != bool(kind):
            raise DeleteRefused(f"kind and apiVersion must be both set for path {shown}")

    def _value(self, name: str, *, required: bool) -> str:
        if self.root.id != "mapping":
            raise DeleteRefused("expected a mapping node")
        for key, value in self.root.value:
            if key.id == "scalar" and key.value == name:
                return value.value if value.id == "scalar" else ""
        if required:
            raise DeleteRefused(f"missing {name} in document for which $patch: delete is used")
        return ""


def _is_empty(node: Any) -> bool:
    return node.id == "mapping" and all(
        key.id == "scalar" and value.id == "scalar" and key.value in _IDENTITY_KEYS for key, value in node.value
    )

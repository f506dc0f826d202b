"""Near-identical clusters: a base that several overlays make clusters of, with values and changes of their own.

A base is plain YAML, a template with `${…}` in its texts where clusters differ. An overlay is a file whose first
document has the kind `Overlay`; its other documents change those of the base. Everything happens on parsed documents,
so that a value can never break the YAML around it, and every finding keeps its file and line.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omniherd.errors import YAMLError
from omniherd.template.documents import Source, SourceDocument, syntax_text
from omniherd.template.files import FileRefused, Files
from omniherd.template.problems import Place, Problem, TemplateError, go_quote

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["KIND", "base_of", "is_overlay", "overlay_documents"]

KIND = "Overlay"
_KEYS = ("kind", "base", "name", "values")
_NAMED_LISTS = ("patches", "manifests", "healthchecks")
_VALUE = re.compile(r"\$(\$)?\{(?P<name>[^{}]*)\}")
_CLUSTER = "cluster"
_DEEPEST = 10


def is_overlay(documents: Sequence[SourceDocument]) -> bool:
    """Tell whether the documents of a file are an overlay and its changes."""
    return bool(documents) and _text(_get(documents[0].node, "kind")) == KIND


def base_of(document: SourceDocument) -> str:
    """Return the path of an overlay's base as it is written."""
    return _text(_get(document.node, "base"))


def overlay_documents(source: Source, documents: Sequence[SourceDocument], files: Files) -> list[SourceDocument]:
    """Return the documents of the template that an overlay stands for.

    Args:
        source: The overlay's file.
        documents: Its documents.
        files: Where its base may lie.

    Raises:
        TemplateError: The overlay is not valid, its base cannot be read, or a value is missing.
    """
    return _Overlay(source, documents, files, files.folder, 0).documents({}, set())


class _Overlay:
    def __init__(
        self, source: Source, documents: Sequence[SourceDocument], files: Files, folder: str, depth: int
    ) -> None:
        self._source = source
        self._head = documents[0].node
        self._changes = documents[1:]
        self._files = files
        self._folder = folder
        self._depth = depth
        self._problems: list[Problem] = []
        self._used: set[str] = set()
        # An anchor's node stands in several places, and is filled once.
        self._filled_nodes: dict[int, Any] = {}

    def documents(self, above: dict[str, Any], used: set[str]) -> list[SourceDocument]:
        """Return the documents of the base with values put in and changes made.

        Args:
            above: Values of overlays that stand on this one, which go before its own.
            used: Takes the names of the values that the base asks for.
        """
        self._check_head()
        name, values = _get(self._head, "name"), _get(self._head, "values")
        own: dict[str, Any] = {}
        if values is not None and values.id == "mapping":
            own = {str(key.value): value for key, value in values.value}
        known = dict(own)
        if name is not None:
            known[_CLUSTER] = name
        base = self._base({**known, **above}, used)
        for value in sorted(own.keys() - used):
            self._wrong(own[value], f"value {go_quote(value)} is not used in the base")
        for change in self._changes:
            self._change(base, change)
        if name is not None:
            for document in base:
                if _text(_get(document.node, "kind")) == "Cluster":
                    _set(document.node, "name", name)
        if self._problems:
            # Several places of the base may lack the same value.
            problems = list(dict.fromkeys(self._problems))
            text = f"error in overlay: {problems[0].text}"
            raise TemplateError(text, problems=problems, stage="loading")
        return base

    # --- the head -------------------------------------------------------------------------------------------------

    def _wrong(self, node: Any, text: str) -> None:
        place = self._source.place(node)
        self._problems.append(Problem(text, place.file, place.line, place.column))

    def _check_head(self) -> None:
        seen: set[str] = set()
        for key, value in self._head.value:
            if key.value not in _KEYS:
                self._wrong(key, f"field {key.value} is not one of an overlay: {', '.join(_KEYS)}")
            elif key.value in seen:
                self._wrong(key, f"mapping key {go_quote(key.value)} already defined")
            elif value.id != ("mapping" if key.value == "values" else "scalar"):
                self._wrong(value, f"{key.value} is {'a mapping' if key.value == 'values' else 'text'}")
            seen.add(str(key.value))
        if not base_of(SourceDocument(self._head, Place(), {})):
            self._wrong(self._head, "an overlay needs a base")

    def _base(self, known: dict[str, Any], used: set[str]) -> list[SourceDocument]:
        node = _get(self._head, "base")
        written = _text(node)
        if not written:
            return []
        path = os.path.normpath(Path(self._folder) / written)
        relative = os.path.relpath(path, self._files.folder)
        try:
            text = self._files.read(relative)
        except FileRefused as error:
            self._wrong(node, f"failed to read the base: {error}")
            return []
        if self._depth == _DEEPEST:
            self._wrong(node, "bases stand on each other without end")
            return []
        source = Source(text, path)
        try:
            found = list(source.documents())
        except YAMLError as error:
            wrong = syntax_text(error, source)
            line, column = int(error.details.get("line", 0)), int(error.details.get("column", 0))
            raise TemplateError(
                f"error decoding template: {wrong}", problems=[Problem(wrong, path, line, column)], stage="loading"
            ) from None
        for document in found:
            _sign(document.node, path)
        folder = str(Path(path).parent)
        if is_overlay(found):
            return _Overlay(source, found, self._files, folder, self._depth + 1).documents(known, used)
        self._used = used
        for document in found:
            self._substitute(document.node, known)
            _move_files(document.node, os.path.relpath(folder, self._files.folder), set())
        return found

    # --- values ---------------------------------------------------------------------------------------------------

    def _substitute(self, node: Any, known: dict[str, Any]) -> Any:
        """Put values into the texts below a node; return what stands in its place."""
        if id(node) in self._filled_nodes:
            return self._filled_nodes[id(node)]
        self._filled_nodes[id(node)] = node
        if node.id == "scalar":
            filled = self._filled_nodes[id(node)] = self._filled(node, known)
            return filled
        if node.id == "sequence":
            node.value = [self._substitute(item, known) for item in node.value]
        else:
            node.value = [(key, self._substitute(value, known)) for key, value in node.value]
        return node

    def _filled(self, node: Any, known: dict[str, Any]) -> Any:
        text: str = node.value
        if "${" not in text:
            return node
        whole = _VALUE.fullmatch(text)
        if whole is not None and not whole[1]:
            found = self._known(node, whole["name"], known)
            return node if found is None else found
        parts: list[str] = []
        end = 0
        for match in _VALUE.finditer(text):
            parts.append(text[end : match.start()])
            end = match.end()
            if match[1]:
                parts.append(f"${{{match['name']}}}")
                continue
            found = self._known(node, match["name"], known)
            if found is not None and found.id != "scalar":
                self._wrong(node, f"value {go_quote(match['name'])} is no text and stands inside of one")
            elif found is not None:
                parts.append(found.value)
        node.value = "".join([*parts, text[end:]])
        if not node.tag:
            # Text with a value in it stays text, whatever it looks like.
            node.tag = "!quoted" if getattr(node, "style", None) else node.tag
        return node

    def _known(self, node: Any, name: str, known: dict[str, Any]) -> Any:
        self._used.add(name)
        if name not in known:
            self._wrong(node, f"value {go_quote(name)} is not set")
            return None
        return known[name]

    # --- changes --------------------------------------------------------------------------------------------------

    def _change(self, base: list[SourceDocument], change: SourceDocument) -> None:
        if change.node.id != "mapping":
            base.append(change)
            return
        identity = _identity(change.node)
        for document in base:
            if document.node.id == "mapping" and _identity(document.node) == identity:
                _merge(document.node, change.node)
                return
        base.append(change)


def _identity(node: Any) -> tuple[str, str]:
    """Return what makes a document the same as one of the base: its kind, and its name where there are several."""
    kind = _text(_get(node, "kind"))
    name = _text(_get(node, "name"))
    return kind, {"Workers": name or "workers", "Machine": name}.get(kind, "")


def _merge(base: Any, change: Any) -> None:
    """Put the keys of a mapping over those of another: mappings go into each other, null takes a key away."""
    for key, value in change.value:
        name = key.value
        old = _get(base, name)
        if value.id == "scalar" and not getattr(value, "style", None) and value.value in {"", "~", "null"}:
            base.value = [(one, inner) for one, inner in base.value if one.value != name]
        elif old is not None and old.id == value.id == "mapping":
            _merge(old, value)
        elif old is not None and old.id == value.id == "sequence" and name in _NAMED_LISTS:
            _merge_list(old, value)
        else:
            _set(base, name, value, key)


def _merge_list(base: Any, change: Any) -> None:
    """Put elements over those of the same name, and the others behind them."""
    for item in change.value:
        name = _element_name(item)
        for index, old in enumerate(base.value):
            if name and _element_name(old) == name:
                if old.id == item.id == "mapping":
                    _merge(old, item)
                else:
                    base.value[index] = item
                break
        else:
            base.value.append(item)


def _element_name(node: Any) -> str:
    if node.id != "mapping":
        return ""
    return next((text for key in ("name", "idOverride", "file") if (text := _text(_get(node, key)))), "")


# --- nodes ------------------------------------------------------------------------------------------------------------


def _get(node: Any, name: str) -> Any:
    if node is None or node.id != "mapping":
        return None
    return next((value for key, value in node.value if key.id == "scalar" and key.value == name), None)


def _set(node: Any, name: str, value: Any, key: Any = None) -> None:
    for index, (old, _) in enumerate(node.value):
        if old.id == "scalar" and old.value == name:
            node.value[index] = (old, value)
            return
    if key is None:
        import yaml

        key = yaml.ScalarNode("", name, value.start_mark, value.end_mark)
    node.value.append((key, value))


def _text(node: Any) -> str:
    return "" if node is None or node.id != "scalar" else str(node.value)


def _sign(node: Any, file: str) -> None:
    """Note the file that a node and those below it stand in: a template's may come from several."""
    if getattr(node, "file", None) == file:
        return
    node.file = file
    if node.id != "scalar":
        for item in node.value:
            for one in item if node.id == "mapping" else (item,):
                _sign(one, file)


def _move_files(node: Any, folder: str, seen: set[int]) -> None:
    """Let files that a base names be found from the overlay's folder, and go by the names that they had."""
    if id(node) in seen or node.id == "scalar":
        return
    seen.add(id(node))
    if node.id == "sequence":
        for item in node.value:
            _move_files(item, folder, seen)
        return
    for key, value in node.value:
        # A key may be a list or a mapping: validation says so later, with its line.
        name = _text(key)
        if name in _NAMED_LISTS and value.id == "sequence":
            for item in value.value:
                if id(item) not in seen:
                    seen.add(id(item))
                    _move_file(item, folder)
        elif name not in {"inline", "job"}:
            _move_files(value, folder, seen)


def _move_file(item: Any, folder: str) -> None:
    file = _get(item, "file")
    written = _text(file)
    if not written or folder == ".":
        return
    import copy

    if not _text(_get(item, "name")):
        _set(item, "name", copy.copy(file))
    # An absolute path stays what it is.
    file.value = written if written.startswith("/") else str(Path(folder) / written)

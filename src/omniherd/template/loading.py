"""Template files read: documents into models, with every finding and its place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from omniherd._core.files import reason
from omniherd.errors import InputError, YAMLError
from omniherd.template.decoding import Decoder
from omniherd.template.documents import Source, SourceDocument, syntax_text
from omniherd.template.files import FileRefused, Files
from omniherd.template.language import DIALECTS, KINDS, NEWEST, OLDEST
from omniherd.template.overlays import is_overlay, overlay_documents
from omniherd.template.problems import Place, Problem, TemplateError, go_quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from omniherd.template.models import Document

__all__ = ["Dialect", "read_documents", "read_file"]

Dialect: TypeAlias = Literal["1.9", "1.10", "auto"]
"""Which version of the language is read: Omni 1.9's, what comes after it, or whichever the template needs."""

_KIND_NUMBERS = {"scalar": 8, "sequence": 2, "mapping": 4}


def read_file(path: str | Path, allowed_dir: str | Path | None) -> tuple[bytes, Files]:
    """Return a template file's content, and where the files that it names may lie.

    Args:
        path: The file.
        allowed_dir: The folder that its files must lie in, relative to the template's folder; None allows all.

    Raises:
        TemplateError: The file or the folder cannot be read.
    """
    name = os.fspath(path)
    files = Files.beside(Path(name).parent, allowed_dir)
    try:
        files.check()
        text = Path(name).read_bytes()
    except FileRefused as error:
        raise TemplateError(str(error), stage="opening") from None
    except IsADirectoryError:
        wrong = f"error decoding template: yaml: offset 0: input error: read {name}: is a directory"
        raise TemplateError(wrong, stage="loading") from None
    except OSError as error:
        raise TemplateError(f"open {name}: {reason(error)}", stage="opening") from None
    except ValueError as error:
        raise TemplateError(f"open {name}: {error}", stage="opening") from None
    return text, files


def read_documents(text: str | bytes, name: str, dialect: Dialect, files: Files) -> tuple[list[Document], str]:
    """Read the documents of a template.

    Args:
        text: The file's content.
        name: The file's name, for findings.
        dialect: The version of the language; `auto` takes the older one unless the template has something newer.
        files: Where the base of an overlay is looked for.

    Returns:
        The models, and the version of the language that they were read in.

    Raises:
        InputError: There is no such dialect.
        TemplateError: The content is no template. The text is about the first document that is wrong, as omnictl's;
            `problems` has the findings of all.
    """
    if dialect != "auto":
        if dialect not in DIALECTS:
            raise InputError(f"unknown dialect {go_quote(dialect)}: the dialects are {', '.join(DIALECTS)} and auto")
        return _read(text, name, dialect, files), dialect
    try:
        return _read(text, name, OLDEST, files), OLDEST
    except TemplateError as older:
        try:
            return _read(text, name, NEWEST, files), NEWEST
        except TemplateError:
            raise older from None


def _read(text: str | bytes, name: str, dialect: str, files: Files) -> list[Document]:
    source = Source(text, name)
    found: list[Document] = []
    problems: list[Problem] = []
    message = ""
    try:
        for document in _documents(source, files):
            first, wrong = _document(source, document, dialect, found)
            problems += wrong
            message = message or first
    except YAMLError as error:
        words = f"error decoding template: {syntax_text(error, source)}"
        line, column = int(error.details.get("line", 0)), int(error.details.get("column", 0))
        problems.append(Problem(words, name, line, column))
        message = message or words
    except RecursionError:
        problems.append(Problem("the documents are nested too deeply", name))
        message = message or problems[-1].text
    if problems:
        raise TemplateError(message, problems=problems, stage="loading")
    return found


def _documents(source: Source, files: Files) -> Iterator[SourceDocument]:
    """Yield the documents of a template one by one, those of an overlay put together."""
    documents = source.documents()
    first = next(documents, None)
    if first is None:
        return
    if is_overlay([first]):
        yield from overlay_documents(source, [first, *documents], files)
        return
    yield first
    yield from documents


def _document(
    source: Source, document: SourceDocument, dialect: str, found: list[Document]
) -> tuple[str, list[Problem]]:
    """Decode a document into `found`; return omnictl's text and the findings when something is wrong."""
    place = document.place
    where = f"line {place.line}:{place.column}"
    kind, wrong = _kind(document.node)
    if wrong:
        return f"error in document at {where}: {wrong}", [_problem(wrong, place)]
    decoder = Decoder(source, document, dialect)
    model = decoder.decode(kind)
    if decoder.fatal:
        # Go gives up at once, and says no line.
        wrong = decoder.fatal.removeprefix("yaml: ")
        return f"error decoding document at {where}: {decoder.fatal}", [_problem(wrong, place)]
    if not decoder.findings:
        found.append(model)
        return "", []
    texts = [f"line {finding.line}: {finding.text}" for finding in decoder.findings]
    # The branch after v1.9.3 goes on the same line.
    joined = " " + "\n  ".join(texts) if dialect == NEWEST else "\n  " + "\n  ".join(texts)
    message = f"error decoding document at {where}: yaml: construct errors:{joined}"
    return message, [_problem(finding.text, finding.place) for finding in decoder.findings]


def _problem(text: str, place: Place) -> Problem:
    return Problem(text, place.file, place.line, place.column)


def _kind(node: Any) -> tuple[str, str]:
    """Return a document's kind, or what is wrong with it."""
    if node.id != "mapping":
        return "", f"unexpected node kind {_KIND_NUMBERS[node.id]}, expecting mapping"
    for key, value in node.value:
        if key.id != "scalar":
            return "", f"unexpected node kind {_KIND_NUMBERS[key.id]}"
        if key.value != "kind":
            continue
        if value.id != "scalar":
            return "", f"unexpected value type for kind field {_KIND_NUMBERS[value.id]}"
        if value.value not in KINDS:
            return "", f"unknown model kind {go_quote(value.value)}"
        return str(value.value), ""
    return "", "kind field not found"

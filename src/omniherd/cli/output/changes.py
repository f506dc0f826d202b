"""What a write changes, as lines: the YAML before and after, what the server keeps itself left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omniherd.resource import Resource

__all__ = ["changes", "created", "removed", "same_wish", "updated"]

_RED, _GREEN, _RESET = "\x1b[31m", "\x1b[32m", "\x1b[0m"
# Lines of the metadata that the server writes, whatever a document says.
_KEPT = ("    version:", "    created:", "    updated:")


def created(resource: Resource[Any]) -> str:
    """Return what is said of a resource that is created."""
    return f"Creating resource '{resource.id}'\n\n{resource.to_yaml()}\n\n"


def updated(before: Resource[Any], after: Resource[Any], *, colour: bool = False) -> str:
    """Return what is said of a resource that is updated: every line, those that change marked `-` and `+`.

    Args:
        before: As it is stored.
        after: As it is sent.
        colour: Whether changed lines are coloured; for terminals.
    """
    if same_wish(before, after):
        return f"Resource '{after.id}' is unchanged\n"
    return f"Updating resource '{after.id}'\n\n{changes(before, after, colour=colour)}\n\n"


def removed(resource: Resource[Any], *, colour: bool = False) -> str:
    """Return what is said of a resource that is deleted: its lines, marked `-`.

    Args:
        resource: As it is stored.
        colour: Whether the lines are coloured; for terminals.
    """
    lines = "".join(f"{_marked('-', _RED, line, colour)}\n" for line in _lines(resource))
    return f"Deleting resource '{resource.id}'\n\n{lines}\n\n"


def changes(before: Resource[Any], after: Resource[Any], *, colour: bool = False) -> str:
    """Return the YAML of a resource with the lines that change, each line after a mark of two characters."""
    from difflib import SequenceMatcher

    old, new = _lines(before), _lines(after)
    out: list[str] = []
    for tag, old_from, old_to, new_from, new_to in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            out += [f"  {line}" for line in old[old_from:old_to]]
            continue
        out += [_marked("-", _RED, line, colour) for line in old[old_from:old_to]]
        out += [_marked("+", _GREEN, line, colour) for line in new[new_from:new_to]]
    return "".join(f"{line}\n" for line in out)


def _marked(mark: str, shade: str, line: str, colour: bool) -> str:
    return f"{shade}{mark} {line}{_RESET}" if colour else f"{mark} {line}"


def _lines(resource: Resource[Any]) -> list[str]:
    metadata, parting, spec = resource.to_yaml().partition("\nspec:")
    kept = [line for line in metadata.split("\n") if not line.startswith(_KEPT)]
    return kept + (parting[1:] + spec).rstrip("\n").split("\n")


def same_wish(stored: Resource[Any], wanted: Resource[Any]) -> bool:
    """Return whether a stored resource already is what a document wants."""
    return (
        stored.labels == wanted.labels
        and stored.annotations == wanted.annotations
        and list(stored.finalizers) == list(wanted.finalizers)
        and stored.phase == wanted.phase
        and stored.owner == wanted.owner
        and stored.spec == wanted.spec
    )

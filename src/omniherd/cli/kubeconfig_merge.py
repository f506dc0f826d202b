"""Two kubeconfig files become one. Pure: texts in, text out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, cast

from omniherd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Merged", "free_name", "merge_kubeconfig"]

# The lists of the file: key, key of an entry's content, what people call it.
_CLUSTERS = ("clusters", "cluster", "cluster")
_USERS = ("users", "user", "auth info")
_CONTEXTS = ("contexts", "context", "context")


class Merged(NamedTuple):
    """What a merge gave.

    Attributes:
        text: The file, as YAML.
        renamed: What got another name: what it is, the name before, the name after.
    """

    text: str
    renamed: tuple[tuple[str, str, str], ...]


def merge_kubeconfig(
    ours: str, theirs: str, *, overwrite: Callable[[str, str], bool], context_name: str = ""
) -> Merged:
    """Add the clusters, users and contexts of one file to another; the added context becomes the current one.

    Entries that are equal are shared. Different ones of the same name are overwritten, or get the next free of
    `name-1`, `name-2`; then users and contexts that are called after them follow. What a file holds besides is kept.

    Args:
        ours: The file as it is; may be empty.
        theirs: The file to add.
        overwrite: Asked with what it is and its name, whether an entry that differs is to be overwritten.
        context_name: A name for the added context.

    Raises:
        ConfigError: One of them is no kubeconfig.
        YAMLError: One of them is no YAML.
    """
    target, added = _load(ours), _load(theirs)
    renamed: list[tuple[str, str, str]] = []

    def place(kind: tuple[str, str, str], name: str, wanted: str, content: Any) -> str:
        key, inner, title = kind
        entries = _entries(target, kind)
        there = entries.get(wanted)
        if there is not None and _plain(there) != _plain(content) and not overwrite(title, wanted):
            wanted = free_name(wanted, entries)
        if wanted != name:
            renamed.append((title, name, wanted))
        entries[wanted] = content
        target[key] = [{inner: entries[known], "name": known} for known in sorted(entries)]
        return wanted

    clusters = {name: place(_CLUSTERS, name, name, content) for name, content in _entries(added, _CLUSTERS).items()}
    users = {
        name: place(_USERS, name, _follow(name, clusters), content) for name, content in _entries(added, _USERS).items()
    }
    current = str(added.get("current-context") or "")
    for name, content in _entries(added, _CONTEXTS).items():
        moved = dict(content)
        for key, names in (("cluster", clusters), ("user", users)):
            if key in moved:
                moved[key] = names.get(moved[key], moved[key])
        placed = place(_CONTEXTS, name, context_name or _follow(name, users), moved)
        if name == current or not current:
            target["current-context"] = placed
    target.setdefault("apiVersion", "v1")
    target.setdefault("kind", "Config")
    return Merged(_dump(target), tuple(renamed))


def free_name(name: str, taken: Any) -> str:
    """Return the first of `name-1`, `name-2`, … that is free.

    Example:
        >>> free_name("lab", {"lab", "lab-1"})
        'lab-2'
    """
    number = 1
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"


def _follow(name: str, names: dict[str, str]) -> str:
    for before, after in names.items():
        if before != after and before in name:
            return name.replace(before, after)
    return name


def _load(text: str) -> dict[str, Any]:
    from omniherd.yamlform import load

    found = load(text)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError("the kubeconfig file is not a mapping")
    return cast("dict[str, Any]", found)


def _entries(config: dict[str, Any], kind: tuple[str, str, str]) -> dict[str, dict[str, Any]]:
    key, inner, title = kind
    found: dict[str, dict[str, Any]] = {}
    listed: Any = config.get(key) or []
    if not _is_list(listed):
        raise ConfigError(f"`{key}` of the kubeconfig file is not a list")
    for entry in listed:
        name: Any = cast("dict[str, Any]", entry).get("name") if isinstance(entry, dict) else None
        content: Any = cast("dict[str, Any]", entry).get(inner) if isinstance(entry, dict) else None
        if not isinstance(name, str) or not isinstance(content or {}, dict):
            raise ConfigError(f"the kubeconfig file has a {title} without name or content")
        found[name] = content or {}
    return found


def _plain(value: Any) -> Any:
    """Return a value without what is empty, which to Kubernetes's clients is the same as absent."""
    if isinstance(value, dict):
        pairs = ((key, _plain(inner)) for key, inner in cast("dict[str, Any]", value).items())
        return {key: inner for key, inner in pairs if inner}
    if _is_list(value):
        return [_plain(inner) for inner in value]
    return value


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _dump(config: dict[str, Any]) -> str:
    # Kubernetes's clients write lists without indentation, which is PyYAML's way too.
    import yaml

    return yaml.safe_dump(config, default_flow_style=False, sort_keys=True, width=1 << 20, allow_unicode=True)

"""Two talosconfig files become one. Pure: texts in, text out."""

from __future__ import annotations

from typing import Any, cast

from omniherd.cli.kubeconfig_merge import Merged, free_name
from omniherd.errors import ConfigError

__all__ = ["merge_talosconfig"]

# The order in which Talos's own clients write the keys of a context.
_KEYS = ("target", "endpoints", "nodes", "ca", "crt", "key", "auth", "cluster")


def merge_talosconfig(ours: str, theirs: str) -> Merged:
    """Add the contexts of one file to another.

    A context whose name is taken gets the next free of `name-1`, `name-2`; the other file's current context becomes
    the current one. What a file holds besides is kept.

    Args:
        ours: The file as it is; may be empty.
        theirs: The file to add.

    Raises:
        ConfigError: One of them is no talosconfig.
        YAMLError: One of them is no YAML.
    """
    from omniherd.yamlform import dump

    target, added = _load(ours), _load(theirs)
    contexts = _contexts(target)
    renamed: list[tuple[str, str, str]] = []
    current = added.get("context")
    for name, content in _contexts(added).items():
        placed = free_name(name, contexts) if name in contexts else name
        if placed != name:
            renamed.append(("talosconfig context", name, placed))
        contexts[placed] = content
        if name == current:
            target["context"] = placed
    rest = {key: value for key, value in target.items() if key not in {"context", "contexts"}}
    merged = {
        "context": target.get("context") or "",
        "contexts": {name: _ordered(contexts[name]) for name in sorted(contexts)},
        **rest,
    }
    return Merged(dump(merged, sort=False), tuple(renamed))


def _load(text: str) -> dict[str, Any]:
    from omniherd.yamlform import load

    found = load(text)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError("the talosconfig file is not a mapping")
    return cast("dict[str, Any]", found)


def _contexts(config: dict[str, Any]) -> dict[str, Any]:
    found: Any = config.get("contexts") or {}
    if not isinstance(found, dict):
        raise ConfigError("`contexts` of the talosconfig file is not a mapping")
    return dict(cast("dict[str, Any]", found))


def _ordered(context: Any) -> Any:
    if not isinstance(context, dict):
        return context
    held = cast("dict[str, Any]", context)
    return {
        key: held[key] for key in (*(key for key in _KEYS if key in held), *(key for key in held if key not in _KEYS))
    }

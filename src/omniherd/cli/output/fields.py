"""Table columns straight from a spec's message: most are one plain field, and need neither YAML nor JSONPath."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["path_of", "shown"]


def path_of(template: str) -> tuple[str, ...] | None:
    """Return the keys of a JSONPath template that only goes down by names, None for every other.

    Example:
        >>> path_of("{.machines.total}")
        ('machines', 'total')
        >>> path_of("{.items[0]}")
    """
    if not (template.startswith("{.") and template.endswith("}")):
        return None
    keys = tuple(template[2:-1].split("."))
    return keys if all(key.isidentifier() and key.isascii() for key in keys) else None


def shown(spec: Message, path: tuple[str, ...]) -> str | None:
    """Return what a cell shows of a field, None where that takes a look at the YAML form.

    Args:
        spec: The spec.
        path: Keys of the YAML form: names of fields in lower case, without underscores.
    """
    value: Any = spec
    for key in path:
        fields = getattr(value, "DESCRIPTOR", None)
        field = None if fields is None else _field(fields, key)
        # What may be absent is absent or null in YAML, as its Go type wills; lists and maps are JSON.
        if field is None or _many(field) or field.containing_oneof is not None:
            return None
        if field.message_type is not None and not value.HasField(field.name):
            return None
        value = getattr(value, field.name)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        return str(value)
    return None


def _field(message: Any, key: str) -> Any:
    return next((field for field in message.fields if field.name.replace("_", "").lower() == key), None)


def _many(field: Any) -> bool:
    # Old versions of protobuf know only `label`, new ones warn of it.
    found = getattr(field, "is_repeated", None)
    return bool(field.label == field.LABEL_REPEATED if found is None else found)

"""Bring a document into the form in which Talos' library writes it, with the empty values that it has."""

from __future__ import annotations

from typing import Any, NamedTuple

from omniherd._core.durations import duration_text, parse_duration
from omniherd._core.shapes import is_mapping
from omniherd.errors import InputError
from omniherd.machineconfig.fields import empty_text, fields_of
from omniherd.machineconfig.forms import Unfit, form, is_sequence, source_text
from omniherd.yamlform.goyaml import Scalar

__all__ = ["key_text", "normal", "plain"]

_OLD_TRUE = frozenset(("y", "Y", "yes", "on"))
_OLD_FALSE = frozenset(("n", "N", "no", "off"))
_ZEROS: dict[str, Any] = {"string": "", "bool": False, "int": 0, "duration": "0s"}
# What Talos takes off the beginning of a manifest's text; blanks stay.
_MANIFEST_MARGIN = "\t\n\v\f\r"


class _Written(NamedTuple):
    value: Any
    empty: bool


def normal(source: Any, shape: str, *, keep_unknown: bool = True) -> Any:
    """Return a value in the form in which Talos writes it.

    Args:
        source: The value, best as `omniherd.yamlform.construct` gives it with the source of its scalars.
        shape: What it is for, see `omniherd.machineconfig.fields`.
        keep_unknown: Whether fields that are not known stay as they are, or are refused.

    Raises:
        InputError: A value does not fit its field; the message says which, and does not show the value.
    """
    return _Writer(keep_unknown=keep_unknown).write(source, shape, ()).value


def plain(source: Any) -> Any:
    """Return a value without the source of its scalars."""
    if is_mapping(source):
        return {key_text(key): plain(value) for key, value in source.items()}
    if is_sequence(source):
        return [plain(item) for item in source]
    return source.value if isinstance(source, Scalar) else source


def key_text(key: Any) -> str:
    """Return a key of a mapping as text, as it is for fields that hold texts by name."""
    return str(key).lower() if isinstance(key, bool) else "null" if key is None else str(key)


def _refuse(path: tuple[str, ...], expected: str) -> InputError:
    return InputError(f"{'.'.join(path) or 'the document'}: {expected}")


class _Writer:
    """Walks through a value and its shape."""

    def __init__(self, *, keep_unknown: bool) -> None:
        self._keep_unknown = keep_unknown

    def write(self, source: Any, shape: str, path: tuple[str, ...]) -> _Written:
        if shape.startswith("*"):
            return (
                _Written(None, True) if source is None else _Written(self.write(source, shape[1:], path).value, False)
            )
        if shape.startswith("[]"):
            return self._list(source, shape[2:], path)
        if shape.startswith("{}"):
            return self._mapping(source, shape[2:], path)
        if shape.startswith("@"):
            return self._struct(source, shape, path)
        if shape == "interface":
            return _Written(plain(source), source is None)
        zero = empty_text(shape) if shape.startswith("~") else _ZEROS[shape]
        value = zero if source is None else _scalar(source, shape, path)
        return _Written(value, value == zero)

    def _list(self, source: Any, shape: str, path: tuple[str, ...]) -> _Written:
        if source is None:
            return _Written([], True)
        if not is_sequence(source):
            raise _refuse(path, "a list is expected")
        # Go drops items that are null, unless they are pointers.
        may_be_null = shape.startswith(("*", "[]", "{}")) or shape == "interface"
        values = [
            self.write(item, shape, (*path, str(index))).value
            for index, item in enumerate(source)
            if item is not None or may_be_null
        ]
        return _Written(values, not values)

    def _mapping(self, source: Any, shape: str, path: tuple[str, ...]) -> _Written:
        if source is None:
            return _Written({}, True)
        if not is_mapping(source):
            raise _refuse(path, "a mapping is expected")
        values: dict[str, Any] = {}
        for key, value in source.items():
            name = key_text(key)
            values[name] = self.write(value, shape, (*path, name)).value
        return _Written(values, not values)

    def _struct(self, source: Any, shape: str, path: tuple[str, ...]) -> _Written:
        if source is not None and not is_mapping(source):
            raise _refuse(path, "a mapping is expected")
        given: dict[Any, Any] = {} if source is None else dict(source)
        written: dict[str, Any] = {}
        empty = True
        for field in fields_of(shape):
            if field.name == "*":
                return _Written(plain(given), not given)
            one = self.write(given.pop(field.name, None), field.shape, (*path, field.name))
            if not (field.omit and one.empty):
                written[field.name] = one.value
            empty = empty and one.empty
        if shape == "@block.EncryptionSpec":
            empty = written.get("provider") == "none" and not written.get("keys")
        elif shape == "@v1alpha1.ClusterInlineManifest":
            written["contents"] = written["contents"].lstrip(_MANIFEST_MARGIN)
        if given and not self._keep_unknown:
            raise _refuse((*path, key_text(next(iter(given)))), "there is no such field")
        unknown = plain(given)
        return _Written(written | unknown, empty and not unknown)


def _scalar(source: Any, shape: str, path: tuple[str, ...]) -> Any:
    if shape.startswith("~"):
        try:
            return form(shape, source)
        except (Unfit, InputError) as error:
            raise _refuse(path, str(error)) from None
    text = source_text(source)
    value: Any = source.value if isinstance(source, Scalar) else source
    if shape == "bool":
        if text in _OLD_TRUE or text in _OLD_FALSE:
            return text in _OLD_TRUE
        if isinstance(value, bool):
            return value
        raise _refuse(path, "true or false is expected")
    if shape == "int":
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if type(value) is int:
            return value
        raise _refuse(path, "a whole number is expected")
    if shape == "duration":
        duration = parse_duration(text or "")
        if duration is None:
            raise _refuse(path, "a duration like 1h30m is expected")
        return duration_text(duration)
    if text is None:
        raise _refuse(path, "a text is expected")
    return text

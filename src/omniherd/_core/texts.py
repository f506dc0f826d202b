"""Labels and annotations as Python's own mappings behave."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

__all__ = ["Texts"]


class Texts(MutableMapping[str, str]):
    """A live view of a message's map of texts.

    Protobuf's own maps make an entry of every key that is looked up, so that a question such as
    `labels["env"] == "prod"` would put an empty label on a resource, and the next update would send it.

    Args:
        target: The map.

    Example:
        >>> from omniherd.wire import cosi_resource
        >>> texts = Texts(cosi_resource.Metadata(labels={"env": "prod"}).labels)
        >>> "site" in texts, texts["env"], texts
        (False, 'prod', {'env': 'prod'})
    """

    __slots__ = ("_target",)

    def __init__(self, target: MutableMapping[str, str]) -> None:
        self._target = target

    def __getitem__(self, key: str) -> str:
        if key not in self._target:
            raise KeyError(key)
        return self._target[key]

    def __setitem__(self, key: str, value: str) -> None:
        self._target[key] = value

    def __delitem__(self, key: str) -> None:
        if key not in self._target:
            raise KeyError(key)
        del self._target[key]

    def __contains__(self, key: object) -> bool:
        return key in self._target

    def __iter__(self) -> Iterator[str]:
        return iter(self._target)

    def __len__(self) -> int:
        return len(self._target)

    def __repr__(self) -> str:
        return repr(dict(self._target))

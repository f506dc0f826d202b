"""The requests of the State service, from what a caller says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from omniherd.resource import Resource
    from omniherd.selectors import Selector, Term
    from omniherd.wire import cosi_resource

    # Whatever a caller may select by.
    Labels = str | Selector | Term | Mapping[str, str] | Iterable[Term] | None

__all__ = ["MAX_ID", "Labels", "check_id", "label_queries", "list_options", "resource_text", "text_of"]

# The server repeats ids in its error texts, and grpc drops answers whose metadata is over 16 KB: an id of that length
# would turn every error into one about the connection.
MAX_ID = 4096


def check_id(id_: str) -> None:
    """Refuse an id that cannot travel.

    Raises:
        InputError: It is empty, no text, or longer than `MAX_ID` bytes.
    """
    if not isinstance(id_, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(f"a resource id is a string, not {type(id_).__name__}")
    if not id_:
        raise InputError("the resource id is empty")
    if len(id_) > MAX_ID // 4 and len(id_.encode()) > MAX_ID:
        raise InputError(f"the resource id is longer than {MAX_ID} bytes")


def resource_text(namespace: str, type_name: str, id_: str) -> str:
    """Return what errors call a resource: `Type(namespace/id)`."""
    return f"{type_name}({namespace}/{id_})"


def text_of(resource: Resource[Any]) -> str:
    """Return what errors call a resource: `Type(namespace/id)`."""
    return resource_text(resource.namespace, resource.type, resource.id)


def label_queries(labels: Labels) -> list[cosi_resource.LabelQuery]:
    """Return a selector as the server takes it: no query at all for nothing to select by.

    Raises:
        SelectorError: The text is no selector.
    """
    if labels is None:
        return []
    from omniherd.selectors import Selector

    selector = Selector.of(labels)
    return [selector.to_query()] if selector.terms else []


def list_options(labels: Labels, id_regexp: str | None) -> cosi_resource.ListOptions | None:
    """Return the options of a List, None when everything is wanted."""
    queries = label_queries(labels)
    if not queries and not id_regexp:
        return None
    from omniherd.wire import cosi_resource

    return cosi_resource.ListOptions(
        label_query=queries, id_query=cosi_resource.IDQuery(regexp=id_regexp) if id_regexp else None
    )

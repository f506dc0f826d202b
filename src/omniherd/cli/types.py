"""Which resource type a word means, asked of the server: it knows types that this program does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from omniherd.errors import AmbiguousType, NotFound, UnknownType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from omniherd import Omni
    from omniherd.resource import Resource

__all__ = ["Definition", "choose", "resolve_type"]

_DEFINITIONS = "ResourceDefinitions.meta.cosi.dev"


class Definition(NamedTuple):
    """What the server says of a type.

    Attributes:
        type: Its full name.
        display: Its name in tables.
        namespace: Where it lives unless said otherwise.
        names: Every word that means it, in lower case; the first is its id.
        columns: Extra table columns: title and path into the spec.
    """

    type: str
    display: str
    namespace: str
    names: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, resource: Resource[Any]) -> Definition:
        """Read the definition's resource."""
        spec = resource.spec
        return cls(
            spec.resource_type,
            spec.display_type,
            spec.default_namespace,
            (resource.id, *spec.aliases, *spec.all_aliases),
            tuple((column.name, column.json_path) for column in spec.print_columns),
        )


def choose(word: str, definitions: Iterable[Definition]) -> Definition:
    """Return the one that a word means, ignoring case.

    Raises:
        UnknownType: None of them.
        AmbiguousType: Several of them.
    """
    wanted = word.lower()
    found = [definition for definition in definitions if wanted in definition.names]
    if len(found) == 1:
        return found[0]
    if found:
        ids = sorted(definition.names[0] for definition in found)
        raise AmbiguousType(
            f'resource type "{word}" is ambiguous: [{" ".join(ids)}]', hint="use one of the names in the brackets"
        )
    raise UnknownType(f'resource "{word}" is not registered')


def resolve_type(omni: Omni, word: str) -> Definition:
    """Return the definition of the type that a word means on this server.

    A word that means exactly one of the types known here costs one small question; any other is judged by the list of
    all definitions.

    Raises:
        UnknownType: It means none.
        AmbiguousType: It means several.
        APIError: The server does not tell.
    """
    from omniherd.resource import resource_class

    try:
        name = resource_class(word).type_name.lower()
    except (UnknownType, AmbiguousType):
        name = word.lower()
    try:
        return Definition.of(omni.get(_DEFINITIONS, name, namespace="meta"))
    except NotFound:
        return choose(word, (Definition.of(found) for found in omni.list(_DEFINITIONS, namespace="meta")))

"""Take stock: every resource type that this identity may read, namespace by namespace."""

from collections import Counter

from omniherd import Omni
from omniherd.errors import APIError
from omniherd.resources import ResourceDefinition


def main() -> None:
    """Print a table of namespaces, types and counts."""
    counts: Counter[tuple[str, str]] = Counter()
    refused: list[str] = []
    with Omni.connect() as omni:
        for definition in omni.list(ResourceDefinition):
            type_name, namespace = definition.spec.resource_type, definition.spec.default_namespace
            try:
                found = omni.list(type_name, namespace=namespace)
            except APIError as error:
                # Some types are closed to everybody, some are computed and cannot be listed.
                refused.append(f"{type_name} ({error.code})")
                continue
            if found:
                counts[namespace, type_name] = len(found)

    for (namespace, type_name), count in sorted(counts.items()):
        print(f"{namespace:12} {type_name:55} {count:5}")
    print(f"{sum(counts.values())} resources of {len(counts)} types; {len(refused)} types cannot be listed")


if __name__ == "__main__":
    main()

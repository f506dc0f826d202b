"""Take stock: every resource type that this identity may read, namespace by namespace."""

import asyncio
from collections import Counter

from omniherd import AsyncOmni
from omniherd.errors import APIError
from omniherd.resources import ResourceDefinition

AT_ONCE = 16


async def main() -> None:
    """Print a table of namespaces, types and counts; sixteen types are listed at a time."""
    counts: Counter[tuple[str, str]] = Counter()
    refused: list[str] = []
    gate = asyncio.Semaphore(AT_ONCE)

    async def take(omni: AsyncOmni, definition: ResourceDefinition) -> None:
        type_name, namespace = definition.spec.resource_type, definition.spec.default_namespace
        async with gate:
            try:
                found = await omni.list(type_name, namespace=namespace)
            except APIError as error:
                # Some types are closed to everybody, some are computed and cannot be listed.
                refused.append(f"{type_name} ({error.code})")
                return
        if found:
            counts[namespace, type_name] = len(found)

    async with AsyncOmni.connect() as omni:
        definitions = await omni.list(ResourceDefinition)
        await asyncio.gather(*(take(omni, definition) for definition in definitions))

    for (namespace, type_name), count in sorted(counts.items()):
        print(f"{namespace:12} {type_name:55} {count:5}")
    print(f"{sum(counts.values())} resources of {len(counts)} types; {len(refused)} types cannot be listed")


if __name__ == "__main__":
    asyncio.run(main())

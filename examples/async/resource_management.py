"""Delete one resource by id, and many by label."""

import asyncio

from omniherd import AsyncOmni
from omniherd.errors import NotFound
from omniherd.resources import ConfigPatch

PREFIX = "900-example-management"


async def create(omni: AsyncOmni, number: int) -> None:
    """Make one patch, for test or for production."""
    patch = ConfigPatch(
        f"{PREFIX}-{number}",
        labels={"example": "management", "environment": "test" if number % 2 else "prod"},
        spec={"data": "machine:\n  time:\n    disabled: false\n"},
    )
    await omni.create(patch)


async def main() -> None:
    """Make six patches, delete one by id and three by their label, then the rest."""
    async with AsyncOmni.connect() as omni:
        await asyncio.gather(*(create(omni, number) for number in range(6)))

        # Tear down, wait until whoever holds a finalizer lets go, and see it gone.
        await omni.delete(ConfigPatch, f"{PREFIX}-0")
        try:
            await omni.get(ConfigPatch, f"{PREFIX}-0")
        except NotFound as error:
            print(f"gone: {error}")

        # Many at once; an empty selector is refused, so that a missing variable cannot empty a fleet.
        result = await omni.delete_many(ConfigPatch, labels="example = management, environment = test")
        print(f"deleted {len(result.deleted)}, failed {len(result.failed)}")

        result = await omni.delete_many(ConfigPatch, labels="example = management")
        print(f"deleted {len(result.deleted)}, failed {len(result.failed)}")


if __name__ == "__main__":
    asyncio.run(main())

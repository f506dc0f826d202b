"""Follow machine classes as they change; each event carries the new resource and, for updates, the old one.

A task beside the watch makes the changes that this script then reports. The watch survives lost connections: it goes on
from the last bookmark that the server gave it.
"""

import asyncio

from omniherd import AsyncOmni
from omniherd.resources import MachineClass

ID = "example-monitoring"


async def make_changes(omni: AsyncOmni) -> None:
    """Create, change and delete one machine class."""
    await omni.create(MachineClass(ID, spec={"match_labels": ["site = lab"]}))
    async with omni.edit(MachineClass, ID) as machine_class:
        machine_class.spec.match_labels.append("gpu = true")
    await omni.delete(MachineClass, ID)


async def main() -> None:
    """Print what happens to one resource until it is gone."""
    changes = None
    async with AsyncOmni.connect() as omni:
        async for event in omni.watch(MachineClass):
            if event.kind == "bootstrapped":
                # Everything that existed has been reported; from here on it is news.
                print("caught up")
                changes = asyncio.create_task(make_changes(omni))
                continue
            if event.resource.id != ID:
                continue
            if event.kind == "created":
                print(f"created with {list(event.resource.spec.match_labels)}")
            elif event.kind == "updated" and event.old is not None:
                before, after = list(event.old.spec.match_labels), list(event.resource.spec.match_labels)
                print(f"updated to version {event.resource.version} ({event.resource.phase}): {before} -> {after}")
            elif event.kind == "destroyed":
                print("destroyed")
                break
        if changes is not None:
            await changes


if __name__ == "__main__":
    asyncio.run(main())

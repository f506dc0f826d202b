"""Find by label, and label in bulk.

A selector is Omni's own language: terms joined by commas, `key`, `!key`, `key = value`, `key in (a, b)`, `key > 4GiB`.
"""

import asyncio

from omniherd import AsyncOmni
from omniherd.resources import Cluster, MachineLabel, MachineStatus
from omniherd.selectors import label


async def mark(omni: AsyncOmni, machine: str) -> None:
    """Label a machine."""
    async with omni.edit(MachineLabel, machine) as labels:
        labels.labels["example"] = "reserved"


async def unmark(omni: AsyncOmni, machine: str) -> None:
    """Take the label away."""
    async with omni.edit(MachineLabel, machine) as labels:
        del labels.labels["example"]


async def main() -> None:
    """Print what selectors find, then mark every free machine and take the mark away again."""
    async with AsyncOmni.connect() as omni:
        for selector in ("env = prod", "env in (staging, test), !retired", "env != prod"):
            print(f"{selector:32} -> {[cluster.id for cluster in await omni.list(Cluster, labels=selector)]}")

        # The same as objects, which quote values by themselves.
        big = label("omni.sidero.dev/cores") > 8
        print(f"{big!s:32} -> {len(await omni.list(MachineStatus, labels=big))} machines")

        # Labels of a machine are written to MachineLabels; the server shows them on MachineStatuses.
        free = await omni.list(MachineStatus, labels="omni.sidero.dev/available")
        await asyncio.gather(*(mark(omni, status.id) for status in free))
        reserved = await omni.list(MachineLabel, labels="example = reserved")
        print(f"reserved {len(reserved)} of {len(free)} free machines")
        await asyncio.gather(*(unmark(omni, machine.id) for machine in reserved))


if __name__ == "__main__":
    asyncio.run(main())

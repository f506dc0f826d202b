"""Write typed specs: create, update with conflicts handled, create-or-update, and what the server refuses."""

import asyncio

from omniherd import AsyncOmni
from omniherd.errors import AlreadyExists, InvalidArgument, VersionConflict
from omniherd.resources import Cluster, MachineClass

ID = "example-writing"


async def main() -> None:
    """Walk through the ways to write."""
    async with AsyncOmni.connect() as omni:
        created = await omni.create(MachineClass(ID, labels={"example": ""}, spec={"match_labels": ["site = lab"]}))
        print(f"created version {created.version}")

        try:
            await omni.create(created)
        except AlreadyExists as error:
            print(f"refused: {error}")

        # Read, change, write. If somebody else was faster, the change is made again on the newer version.
        async with omni.edit(MachineClass, ID) as machine_class:
            machine_class.spec.match_labels.append("gpu = true")
            machine_class.labels["reviewed"] = "yes"

        # Without `edit`, a stale copy is refused and nothing is lost.
        try:
            await omni.update(created)
        except VersionConflict as error:
            print(f"refused: {error}")

        # Create it or bring it to this state, whichever is needed; labels of others are kept.
        applied = await omni.apply(MachineClass(ID, labels={"example": ""}, spec={"match_labels": ["site = fra"]}))
        print(f"applied as version {applied.version}: {list(applied.spec.match_labels)}")

        # The server's validators speak through the exception.
        spec = {"talos_version": "1.13.5", "kubernetes_version": "1.36.1"}
        try:
            await omni.create(Cluster("example writing", spec=spec))
        except InvalidArgument as error:
            print(f"refused: {str(error).strip().splitlines()[-1].strip()}")

        await omni.delete(MachineClass, ID)


if __name__ == "__main__":
    asyncio.run(main())

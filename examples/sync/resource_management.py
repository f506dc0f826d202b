"""Delete one resource by id, and many by label."""

from omniherd import Omni
from omniherd.errors import NotFound
from omniherd.resources import ConfigPatch

PREFIX = "900-example-management"


def main() -> None:
    """Make six patches, delete one by id and three by their label, then the rest."""
    with Omni.connect() as omni:
        for number in range(6):
            environment = "test" if number % 2 else "prod"
            omni.create(
                ConfigPatch(
                    f"{PREFIX}-{number}",
                    labels={"example": "management", "environment": environment},
                    spec={"data": "machine:\n  time:\n    disabled: false\n"},
                )
            )

        # Tear down, wait until whoever holds a finalizer lets go, and see it gone.
        omni.delete(ConfigPatch, f"{PREFIX}-0")
        try:
            omni.get(ConfigPatch, f"{PREFIX}-0")
        except NotFound as error:
            print(f"gone: {error}")

        # Many at once; an empty selector is refused, so that a missing variable cannot empty a fleet.
        result = omni.delete_many(ConfigPatch, labels="example = management, environment = test")
        print(f"deleted {len(result.deleted)}, failed {len(result.failed)}")

        result = omni.delete_many(ConfigPatch, labels="example = management")
        print(f"deleted {len(result.deleted)}, failed {len(result.failed)}")


if __name__ == "__main__":
    main()

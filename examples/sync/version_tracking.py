"""Record how one resource changes over time: version, when, and what."""

from omniherd import Omni
from omniherd.resources import MachineClass

ID = "example-versions"


def main() -> None:
    """Change a machine class three times and print its history, which the server keeps for a while."""
    with Omni.connect() as omni:
        omni.create(MachineClass(ID, spec={"match_labels": ["site = lab"]}))
        for gpu in ("a100", "h100", "b200"):
            with omni.edit(MachineClass, ID) as machine_class:
                machine_class.spec.match_labels[:] = ["site = lab", f"gpu = {gpu}"]

        # A watch with `tail` starts in the past: the last events of the type, oldest first.
        for event in omni.watch(MachineClass, bootstrap=False, tail=4):
            machine_class = event.resource
            moment = machine_class.updated or machine_class.created
            print(
                f"version {machine_class.version}: {list(machine_class.spec.match_labels)}", "dated" if moment else ""
            )
            if machine_class.id == ID and machine_class.version == 4:
                break
        omni.delete(MachineClass, ID)


if __name__ == "__main__":
    main()

"""Find by label, and label in bulk.

A selector is Omni's own language: terms joined by commas, `key`, `!key`, `key = value`, `key in (a, b)`, `key > 4GiB`.
"""

from omniherd import Omni
from omniherd.resources import Cluster, MachineLabel, MachineStatus
from omniherd.selectors import label


def main() -> None:
    """Print what selectors find, then mark every free machine and take the mark away again."""
    with Omni.connect() as omni:
        for selector in ("env = prod", "env in (staging, test), !retired", "env != prod"):
            print(f"{selector:32} -> {[cluster.id for cluster in omni.list(Cluster, labels=selector)]}")

        # The same as objects, which quote values by themselves.
        big = label("omni.sidero.dev/cores") > 8
        print(f"{big!s:32} -> {len(omni.list(MachineStatus, labels=big))} machines")

        # Labels of a machine are written to MachineLabels; the server shows them on MachineStatuses.
        free = omni.list(MachineStatus, labels="omni.sidero.dev/available")
        for status in free:
            with omni.edit(MachineLabel, status.id) as labels:
                labels.labels["example"] = "reserved"
        reserved = omni.list(MachineLabel, labels="example = reserved")
        print(f"reserved {len(reserved)} of {len(free)} free machines")
        for machine in reserved:
            with omni.edit(MachineLabel, machine.id) as labels:
                del labels.labels["example"]


if __name__ == "__main__":
    main()

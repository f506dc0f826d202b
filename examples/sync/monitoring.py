"""Follow machine classes as they change; each event carries the new resource and, for updates, the old one.

A second thread makes the changes that this script then reports. The watch survives lost connections: it goes on from
the last bookmark that the server gave it.
"""

import threading

from omniherd import Omni
from omniherd.resources import MachineClass

ID = "example-monitoring"


def make_changes(omni: Omni) -> None:
    """Create, change and delete one machine class."""
    omni.create(MachineClass(ID, spec={"match_labels": ["site = lab"]}))
    with omni.edit(MachineClass, ID) as machine_class:
        machine_class.spec.match_labels.append("gpu = true")
    omni.delete(MachineClass, ID)


def main() -> None:
    """Print what happens to one resource until it is gone."""
    with Omni.connect() as omni:
        changes = threading.Thread(target=make_changes, args=(omni,))
        for event in omni.watch(MachineClass):
            if event.kind == "bootstrapped":
                # Everything that existed has been reported; from here on it is news.
                print("caught up")
                changes.start()
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
        changes.join()


if __name__ == "__main__":
    main()

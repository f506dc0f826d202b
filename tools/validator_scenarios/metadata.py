"""Ids, labels and annotations: what is too long, empty or unprintable."""

from __future__ import annotations

from .steps import Step, T, create, times, update

SCENARIOS: dict[str, list[Step]] = {}

SCENARIOS["metadata"] = [
    create("MachineLabels", ""),
    create("MachineLabels", times("x", 1025 - len(T), T)),
    create("MachineLabels", times("x", 1024 - len(T), T)),
    create("MachineLabels", times("é", 506, T)),
    create("MachineLabels", T + "a\nb"),
    create("MachineLabels", T + "a\x7fb"),
    create("MachineLabels", T + "a\u0085b"),
    *(
        step_
        for kind in ("labels", "annotations")
        for step_ in (
            create("MachineLabels", **{kind: {"@many": 257}}),
            create("MachineLabels", **{kind: {"": "x"}}),
            create("MachineLabels", **{kind: {"@x1025": ""}}),
            create("MachineLabels", **{kind: {"a\tb": ""}}),
            create("MachineLabels", **{kind: {'q"\u00e9\u200b\u0001': ""}}),
            create("MachineLabels", **{kind: {"a": times("x", 16385)}}),
            create("MachineLabels", **{kind: {"a": "b\nc"}}),
        )
    ),
    create("MachineLabels", "", labels={"": ""}, annotations={"": ""}),
    create("MachineLabels", T + "y", labels={"@many": 256}),
    update("MachineLabels", T + "y", labels={"@many": 257}),
    update("MachineLabels", T + "y", labels={"a\nb": ""}),
    update("MachineLabels", T + "y", annotations={"a": "b\nc"}),
    update("MachineLabels", T + "y", phase="tearingDown", labels={"": ""}),
    update("MachineLabels", T + "absent", labels={"": ""}),
    update("MachineLabels", T + "absent"),
    create("MachineLabels", "", as_="Reader"),
    create("MachineClasses", "", labels={"": ""}),
]

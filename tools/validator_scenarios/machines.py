"""Machines' classes, requests for machines, what is set on one, and the media that they start from."""

from __future__ import annotations

from .steps import CLUSTER, VERSIONS, L, Step, T, create, specs, teardown, times, update

SCENARIOS: dict[str, list[Step]] = {}

SCENARIOS["machine-classes"] = [
    *specs(
        "MachineClasses",
        {},
        {"match_labels": [""]},
        {"match_labels": ["a ="]},
        {"match_labels": ["a in (b"]},
        {"match_labels": ["= b"]},
        {"match_labels": ["a = b", "c !!"]},
        {"match_labels": [L + "no-manual-allocation"]},
        {"match_labels": ["a", L + "no-manual-allocation = x"]},
        {"match_labels": ["a = b"], "auto_provision": {"provider_id": "x"}},
        {"auto_provision": {}},
        {"auto_provision": {"provider_id": "absent"}},
        {"auto_provision": {"provider_id": "absent", "kernel_args": {"@list": ["a", 65]}}},
    ),
    create("MachineClasses", T + "k", spec={"match_labels": ["a = b"]}),
    update("MachineClasses", T + "k", spec={}),
    update("MachineClasses", T + "k", spec={"match_labels": ["x ="]}),
    update("MachineClasses", T + "k", spec={}, labels={"": ""}),
    update("MachineClasses", T + "k", phase="tearingDown", spec={}),
    teardown("MachineClasses", T + "k"),
]

EXTENSIONS = ["siderolabs/hello-world-service"]

SCENARIOS["machine-requests"] = [
    *specs(
        "MachineRequestSets",
        {},
        {"provider_id": "absent"},
        {"provider_id": "absent", "kernel_args": {"@list": ["a", 65]}},
    ),
    update("MachineRequestSets", T + "absent"),
    *specs("MachineRequests", {}, {"talos_version": "x"}),
]

SCENARIOS["machines"] = [
    *specs(
        "KernelArgs",
        {"args": {"@list": ["a", 65]}},
        {"args": ["a", times("x", 257)]},
        {"args": ["a\nb"]},
        {"args": ["a", "b", "\u0001"]},
        {"args": {"@list": ["a", 64]}},
        {},
    ),
    update("KernelArgs", T + "4", spec={"args": ["\n"]}),
    update("KernelArgs", T + "4", spec={"args": ["\n"]}, phase="tearingDown"),
    *specs(
        "InfraMachineConfigs",
        {"requested_reboot_id": times("x", 129)},
        {"power_off_request_id": "a\nb"},
        {"extra_kernel_args": times("x", 4097)},
        {"requested_reboot_id": "\n", "power_off_request_id": "\n", "extra_kernel_args": "\n"},
        {"acceptance_status": "ACCEPTED"},
    ),
    update("InfraMachineConfigs", T + "4", spec={"acceptance_status": "REJECTED"}),
    update("InfraMachineConfigs", T + "4", spec={"requested_reboot_id": "\n"}),
    update("InfraMachineConfigs", T + "4", spec={"acceptance_status": "ACCEPTED", "requested_reboot_id": "\n"}),
    update("InfraMachineConfigs", T + "4", spec={"acceptance_status": "ACCEPTED", "requested_reboot_id": "a"}),
    *specs(
        "ExtensionsConfigurations",
        {},
        {"extensions": EXTENSIONS},
    ),
    create("ExtensionsConfigurations", T + "e", labels={CLUSTER: ""}, spec={"extensions": EXTENSIONS}),
    create("ExtensionsConfigurations", T + "e", labels={CLUSTER: T + "absent"}, spec={"extensions": EXTENSIONS}),
    create("Clusters", T + "c", spec=VERSIONS),
    *(
        create("ExtensionsConfigurations", T + "e", labels={CLUSTER: T + "c"}, spec={"extensions": extensions})
        for extensions in (
            ["nope"],
            ["siderolabs/nope", "siderolabs/nope"],
            [""],
            {"@list": ["nope", 257]},
            ["siderolabs/hello-world-service", "hello-world-service"],
            ["siderolabs/iscsi-tools", "iscsi-tools"],
            ["iscsi-tools"],
        )
    ),
    create("GRPCTunnelConfigs", T + "g"),
]

SCENARIOS["installation-media"] = [
    *specs(
        "InstallationMediaConfigs",
        {},
        {"architecture": "AMD64"},
        {"architecture": "AMD64", "sbc": {"overlay": "x"}, "cloud": {"platform": "y"}},
        {"architecture": "AMD64", "sbc": {}},
        {"architecture": "AMD64", "cloud": {}},
        {"architecture": "AMD64", "sbc": {"overlay": "absent"}},
        {"architecture": "AMD64", "cloud": {"platform": "absent"}},
        {"architecture": "AMD64", "cloud": {"platform": "aws"}},
        {"architecture": "ARM64", "sbc": {"overlay": "rpi_generic"}},
        {"architecture": "AMD64", "kernel_args": times("x", 4097)},
        {"architecture": "AMD64", "kernel_args": "a\nb"},
        {"architecture": "AMD64", "talos_version": "1.0.0"},
        {"architecture": "AMD64", "talos_version": "v1.0.0"},
        {"architecture": "AMD64", "talos_version": "x"},
        {"architecture": "AMD64", "talos_version": "1.11.0", "embedded_machine_config": "x"},
        {"architecture": "AMD64", "talos_version": "1.13.4", "embedded_machine_config": "x"},
        {"architecture": "AMD64", "embedded_machine_config": "x"},
        {"architecture": "AMD64", "talos_version": "1.13.4", "install_extensions": ["nope"]},
        {"architecture": "AMD64", "install_extensions": ["nope"]},
    ),
    update("InstallationMediaConfigs", T + "1", spec={}),
    update("InstallationMediaConfigs", T + "1", spec={}, phase="tearingDown"),
]

"""The emulator's management calls beyond what is recorded: schemas, schematics, assets, manifests."""

import hashlib

import pytest

from omniherd import Omni
from omniherd.emulator import Emulator
from omniherd.emulator.records import StateError
from omniherd.emulator.services.json_schema import parse_schema, validate
from omniherd.errors import InvalidArgument, NotFound, PermissionDenied, UnknownError
from omniherd.resources import AccessPolicy
from omniherd.wire import management


@pytest.fixture(scope="module")
def omni(emulator):
    with emulator.connect() as client:
        yield client


# Schema, data, causes of what does not fit with the places in the data.
SCHEMAS = [
    ('{"type":["string","null"]}', None, []),
    ('{"type":"integer"}', 1.0, []),
    ('{"type":"integer"}', 1.5, [("", "got number, want integer")]),
    ('{"type":"boolean"}', 1, [("", "got number, want boolean")]),
    ('{"enum":["a",2]}', "b", [("", "value must be one of 'a', 2")]),
    ('{"enum":["a"]}', "b", [("", "value must be 'a'")]),
    ('{"const":1}', True, [("", "value must be 1")]),
    ('{"minimum":3,"maximum":4}', 2, [("", "minimum: got 2, want 3")]),
    ('{"exclusiveMinimum":2}', 2, [("", "exclusiveMinimum: got 2, want 2")]),
    ('{"multipleOf":0.5}', 1.25, [("", "multipleOf: got 1.25, want 0.5")]),
    ('{"minLength":2}', "a", [("", "minLength: got 1, want 2")]),
    ('{"pattern":"^x"}', "y", [("", "'y' does not match pattern '^x'")]),
    (
        '{"maxItems":1,"uniqueItems":true}',
        [1, 1],
        [("", "maxItems: got 2, want 1"), ("", "items at 0 and 1 are equal")],
    ),
    ('{"items":{"type":"string"}}', ["a", 1], [("1", "got number, want string")]),
    ('{"prefixItems":[{"type":"null"}],"items":false}', [None, 1], [("1", "false schema")]),
    ('{"contains":{"const":1}}', [2], [("", "no items match contains schema")]),
    ('{"required":["a","b"]}', {"a": 1}, [("", "missing b")]),
    (
        '{"properties":{"a":{}},"patternProperties":{"^x":{}},"additionalProperties":false}',
        {"a": 1, "xy": 1, "c": 1},
        [("", "additional properties 'c' not allowed")],
    ),
    ('{"additionalProperties":{"type":"null"}}', {"a": 1}, [("a", "got number, want null")]),
    ('{"propertyNames":{"maxLength":1}}', {"ab": 1}, [("", "invalid propertyName 'ab'")]),
    ('{"dependentRequired":{"a":["b"]}}', {"a": 1}, [("", "properties 'b' required, if 'a' exists")]),
    ('{"anyOf":[{"type":"null"},{"type":"string"}]}', 1, [("", "'anyOf' failed")]),
    ('{"oneOf":[{"type":"number"},{"minimum":0}]}', 1, [("", "'oneOf' failed, subschemas 0, 1 matched")]),
    ('{"not":{"type":"number"}}', 1, [("", "'not' failed")]),
    ('{"if":{"type":"number"},"then":{"minimum":2},"else":{"maxLength":1}}', 1, [("", "minimum: got 1, want 2")]),
    (
        '{"$ref":"#/$defs/a","$defs":{"a":{"properties":{"b":{"$ref":"#/$defs/a"}},"required":["c"]}}}',
        {"c": 1, "b": {}},
        [("", "validation failed with 'file:///untitled-schema.json#/$defs/a'")],
    ),
    ("true", 1, []),
]


@pytest.mark.parametrize(("schema", "data", "causes"), SCHEMAS)
def test_what_does_not_fit_a_schema(schema, data, causes):
    found = validate(parse_schema(schema), data)
    told = [("/".join(one.data), one.cause or f"missing {', '.join(one.missing)}") for one in found]
    assert told == causes


@pytest.mark.parametrize(
    ("schema", "code", "text"),
    [
        ('{"unevaluatedProperties":false}', "UNIMPLEMENTED", "unevaluatedProperties"),
        ('{"$ref":"http://example.org/x"}', "UNIMPLEMENTED", "does not load"),
        ('{"$ref":"#/$defs/none"}', "UNKNOWN", "not found"),
        ('{"pattern":"("}', "UNKNOWN", "missing closing"),
        ('{"minimum":"x"}', "UNKNOWN", "at '/minimum': got string, want number"),
        ('{"properties":{"a":3}}', "UNKNOWN", "at '/properties/a': got number, want boolean or object"),
        ("[1]", "UNKNOWN", "got array, want boolean or object"),
        ("x", "UNKNOWN", "invalid character 'x' looking for beginning of value"),
    ],
)
def test_schemas_that_are_none(schema, code, text):
    with pytest.raises(StateError, match=text.replace("(", r"\(")) as caught:
        validate(parse_schema(schema), "x")
    assert caught.value.code == code


def test_every_fault_is_told_once(omni):
    schema = '{"properties":{"a":{"properties":{"b":{"type":"null"},"c":{"type":"null"}},"required":["d"]}}}'
    found = omni.management.validate_json_schema("a: {b: 1, c: 1}", schema)
    assert [(one.data_path, one.cause) for one in found] == [
        ("/a", "validation failed"),
        ("/a/b", "got number, want null"),
        ("/a/c", "got number, want null"),
        ("/a/d", "property is required"),
    ]


def raw(emulator, name, request):
    """Make a call that the client has no words for."""
    from omniherd._core.pool import message
    from omniherd.wire.calls import CALLS

    path = f"/management.ManagementService/{name}"
    with emulator.connect() as client:
        data = client.channel.unary(path, request.SerializeToString())
    return message(CALLS[path].response).FromString(data)


def test_schematics_hold_all_that_is_asked_for(emulator):
    request = management.CreateSchematicRequest(
        extensions=["siderolabs/b", "siderolabs/a", "siderolabs/b"],
        extra_kernel_args=["console=ttyS0"],
        talos_version="1.13.5",
        siderolink_grpc_tunnel_mode="ENABLED",
        join_token="token",
        bootloader="BOOT_GRUB",
        embedded_machine_config="machine: {}\n",
    )
    request.meta_values[10] = "x"
    request.meta_values[12] = "machineLabels:\n  site: fra\n"
    request.overlay.name = "rpi"
    request.overlay.image = "siderolabs/sbc-raspberrypi"
    request.overlay.options = "serial: true"
    answer = raw(emulator, "CreateSchematic", request)
    assert answer.grpc_tunnel_enabled
    assert answer.schematic_id == hashlib.sha256(answer.schematic_yml.encode()).hexdigest()
    assert answer.schematic_yml == (
        "overlay:\n    image: siderolabs/sbc-raspberrypi\n    name: rpi\n    options:\n        serial: true\n"
        "customization:\n    extraKernelArgs:\n"
        "        - siderolink.api=grpc://127.0.0.1:8090?grpc_tunnel=true&jointoken=token\n"
        "        - talos.events.sink=[fdae:41e4:649b:9303::1]:8091\n"
        "        - talos.logging.kernel=tcp://[fdae:41e4:649b:9303::1]:8092\n"
        "        - console=ttyS0\n"
        "    meta:\n        - key: 12\n          value: |\n            machineLabels:\n              site: fra\n"
        "        - key: 10\n          value: x\n"
        "    systemExtensions:\n        officialExtensions:\n"
        "            - siderolabs/a\n            - siderolabs/b\n"
        "    bootloader: grub\n    embeddedMachineConfiguration: |\n        machine: {}\n"
    )
    same = raw(
        emulator,
        "CreateSchematicFromRaw",
        management.CreateSchematicFromRawRequest(raw_schematic=answer.schematic_yml.encode()),
    )
    assert same.schematic_id == answer.schematic_id


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({6: "x"}, "reserved by Talos"),
        ({12: "{}"}, "machine labels are empty"),
        ({12: "{"}, "failed to parse machine labels"),
    ],
)
def test_meta_values_that_are_refused(emulator, values, text):
    with pytest.raises(InvalidArgument, match=text):
        raw(emulator, "CreateSchematic", management.CreateSchematicRequest(meta_values=values))


@pytest.mark.parametrize("text", [b"", b"nope: 1\n", b"customization:\n  nope: 1\n"])
def test_raw_schematics_that_are_none(emulator, text):
    with pytest.raises(UnknownError, match="failed to unmarshal raw schematic"):
        raw(emulator, "CreateSchematicFromRaw", management.CreateSchematicFromRawRequest(raw_schematic=text))


@pytest.mark.parametrize(
    ("kind", "more", "url"),
    [
        ("PXE", {}, "http://pxe.127.0.0.1:9999/pxe/abc/v1.13.5/metal-amd64"),
        ("ISO", {"secure_boot": True}, "http://127.0.0.1:9999/image/abc/v1.13.5/metal-amd64-secureboot.iso"),
        ("DISK", {"format": "raw.xz"}, "http://127.0.0.1:9999/image/abc/v1.13.5/metal-amd64.raw.xz"),
    ],
)
def test_addresses_of_boot_assets(kind, more, url):
    request = management.BootAssetURLRequest(
        boot_asset_kind=f"BOOT_ASSET_KIND_{kind}",
        platform="metal",
        architecture="amd64",
        schematic_id="abc",
        talos_version="v1.13.5",
        **more,
    )
    with Emulator(seed_fleet=False, version="1.10") as emulator:
        answer = raw(emulator, "GetBootAssetURL", request)
        assert answer.url == url
        assert len(answer.storage_key) == 64
        request.schematic_id = "../x"
        with pytest.raises(InvalidArgument, match="invalid schematic ID"):
            raw(emulator, "GetBootAssetURL", request)


def test_nothing_is_out_of_step_in_the_emulated_clusters(omni):
    assert list(omni.management.sync_manifests("prod", dry_run=False)) == []


def test_a_policy_opens_the_calls_about_one_cluster(emulator, omni):
    policy = AccessPolicy("access-policy")
    rule = policy.spec.rules.add(role="Operator")
    rule.users.append("guest@serviceaccount.omni.sidero.dev")
    rule.clusters.append("staging")
    omni.create(policy)
    key = emulator.add_service_account("guest", "None")
    machines = {name: omni.machines.find(name).id for name in ("ams-cp-1", "fra-cp-1", "spare-1")}
    calls = {
        "kubeconfig": lambda it, cluster, _: it.kubeconfig(cluster),
        "talosconfig": lambda it, cluster, _: it.talosconfig(cluster),
        "checks": lambda it, cluster, _: it.kubernetes_upgrade_pre_checks(cluster, "1.36.0"),
        "manifests": lambda it, cluster, _: list(it.sync_manifests(cluster)),
        "bundle": lambda it, cluster, _: it.support_bundle(cluster),
        "logs": lambda it, _, machine: list(it.machine_logs(machine)),
        "power": lambda it, _, machine: it.power_off(machine),
    }
    try:
        with Omni.connect(emulator.endpoint, service_account_key=key) as guest:
            for call in calls.values():
                call(guest.management, "staging", machines["ams-cp-1"])
                with pytest.raises(PermissionDenied, match='insufficient role: "None"'):
                    call(guest.management, "prod", machines["fra-cp-1"])
            with pytest.raises(PermissionDenied):
                list(guest.management.machine_logs(machines["spare-1"]))
    finally:
        omni.delete(AccessPolicy, "access-policy")
        emulator.power_on(machines["ams-cp-1"])


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ("", "EOF"),
        ("-x", "invalid character 'x' in numeric literal"),
        ("é", "invalid character 'Ã' looking for beginning of value"),
        ("1.12.7", "invalid character after top-level value"),
    ],
)
def test_schemas_that_are_no_json(emulator, schema, text):
    with pytest.raises(UnknownError) as refused:
        raw(emulator, "ValidateJSONSchema", management.ValidateJsonSchemaRequest(data="1", schema=schema))
    assert str(refused.value) == text


def test_a_role_is_looked_at_before_the_user(emulator):
    with pytest.raises(UnknownError) as refused:
        raw(emulator, "UpdateUser", management.UpdateUserRequest(email="nobody@example.com", role='"'))
    assert str(refused.value) == 'unknown role to parse: "\\""'


def test_the_name_of_a_machine_without_logs_is_quoted(omni):
    with pytest.raises(NotFound) as refused:
        list(omni.management.machine_logs('a"b'))
    assert 'failed to get log store for machine "a\\"b": log store not found: a"b' in str(refused.value)

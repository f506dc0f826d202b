"""Machine configurations: made, compared and cleaned."""

from __future__ import annotations

import doctest
import importlib
import json
from pathlib import Path

import pytest

from omniherd.errors import InputError
from omniherd.machineconfig import Contract, KeyPair, Secrets, difference, generate, merge, read, sanitize
from omniherd.yamlform import dump, load

DATA = Path(__file__).parents[1] / "data" / "machineconfig"
CASES = load((DATA / "cases.yaml").read_text())
ANSWERS = json.loads((DATA / "answers.json").read_text())

PEM = "LS0tLS1CRUdJTi0tLS0t"
PAIR = KeyPair(PEM, "a2V5")
SECRETS = Secrets(
    cluster_id="cluster-id",
    cluster_secret="cluster-secret",
    bootstrap_token="abcdef.0123456789abcdef",
    machine_token="ghijkl.0123456789abcdef",
    secretbox_encryption_secret="secretbox",
    etcd=PAIR,
    kubernetes=PAIR,
    aggregator=PAIR,
    service_account_key="YWNjb3VudA==",
    talos=PAIR,
)


def made(role="controlplane", version="1.13.0", **options):
    return generate("lab", role, talos_version=version, kubernetes_version="1.36.0", secrets=SECRETS, **options)


@pytest.fixture(params=CASES, ids=[case["name"] for case in CASES])
def case(request):
    """A configuration, and what the official libraries make of it."""
    return request.param | ANSWERS["cases"][request.param["name"]]


def by_identity(documents):
    return sorted(documents, key=lambda one: (one.get("kind", ""), one.get("name", "")))


@pytest.mark.parametrize("name", sorted(ANSWERS["contracts"]))
def test_every_version_of_talos_begins_with_what_the_library_makes(name):
    version, role = name.split()
    secrets = Secrets.from_yaml(ANSWERS["secrets"])
    made = generate("lab", role, talos_version=version, kubernetes_version="1.36.0", secrets=secrets)
    assert made == ANSWERS["contracts"][name]


def test_a_configuration_is_read_as_the_library_does(case):
    assert read(case["text"]) == case["read"]


def test_what_was_read_is_read_as_the_same_again(case):
    assert read("---\n".join(dump(document) for document in case["read"])) == case["read"]


def test_secrets_are_those_that_the_library_finds(case):
    if case["role"] == "controlplane":
        assert Secrets.of(read(case["text"])).to_yaml() == case["secrets"]


def test_patches_are_those_that_the_library_makes(case):
    secrets = Secrets.from_yaml(case["secrets"])
    versions = {"talos_version": case["talos"], "kubernetes_version": case["kubernetes"]}
    before = generate(case["cluster"], case["role"], secrets=secrets, **versions)
    patches = [by_identity(patch) for patch in difference(before, read(case["text"]))]
    assert patches == case["patches"]
    clean = ["---\n".join(dump(document, indent=2) for document in sanitize(patch)) for patch in patches]
    assert clean == case["sanitized"]


def test_join_documents_are_merged_as_the_library_does(case):
    assert by_identity(merge(read(case["text"]), ANSWERS["join"])) == by_identity(case["joined"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the machine configuration is empty"),
        ("- a", "a document of the machine configuration is no mapping"),
        ("name: a", "a document of the machine configuration has no kind"),
        ("machine: {}\n---\ncluster: {}\n", "the machine configuration has two documents v1alpha1"),
        ("machine: {certSANs: {a: hush}}", r"machine\.certSANs: a list is expected"),
        ("machine: {sysctls: [hush]}", r"machine\.sysctls: a mapping is expected"),
        ("machine: {token: [hush]}", r"machine\.token: a text is expected"),
        ("machine: {install: {wipe: hush}}", r"machine\.install\.wipe: true or false is expected"),
        ("machine: {time: {bootTimeout: hush}}", r"machine\.time\.bootTimeout: a duration like 1h30m is expected"),
        ("machine: {ca: {crt: hush!}}", r"machine\.ca: a certificate or key .* is no base64"),
        ("machine: {files: [{permissions: hush}]}", r"machine\.files\.0\.permissions: a number is expected"),
        ("machine: {disks: [{partitions: [{size: hush}]}]}", r"partitions\.0\.size: a size is expected"),
        ("kind: LinkConfig\n---\nkind: KmsgLogConfig\n---\nkind: LinkConfig\n", "two documents LinkConfig"),
        ("kind: DHCPv4Config\nclientIdentifier: [hush]\n", "clientIdentifier: a text is expected"),
        ("kind: ResolverConfig\nnameservers: [{address: hush}]\n", "an address is expected"),
        ("kind: LinkConfig\nroutes: [{destination: hush}]\n", "an address with the length of its network"),
        ("kind: BondConfig\nhardwareAddr: hush\n", "hardwareAddr: a hardware address"),
        ("kind: NetworkRuleConfig\nportSelector: {ports: [hush]}\n", "a port or a range of ports is expected"),
    ],
)
def test_what_does_not_fit_is_said_without_showing_it(text, message):
    with pytest.raises(InputError, match=message) as caught:
        read(text)
    assert "hush" not in str(caught.value)


def test_what_a_newer_talos_has_stays_as_it_is_when_asked_for():
    text = "machine: {teleport: {to: [moon]}}\n---\napiVersion: v1alpha1\nkind: MoonConfig\nphase: 3\n"
    with pytest.raises(InputError, match=r"machine\.teleport: there is no such field"):
        read(text)
    with pytest.raises(InputError, match="documents of the kind MoonConfig are not known"):
        read(text.partition("---")[2])
    documents = read(text, keep_unknown=True)
    assert documents[0]["machine"]["teleport"] == {"to": ["moon"]}
    assert documents[1] == {"apiVersion": "v1alpha1", "kind": "MoonConfig", "phase": 3}


def test_merging_adds_lists_and_leaves_what_the_patch_does_not_say():
    before = read("machine: {certSANs: [a], sysctls: {a: '1'}, kubelet: {image: x, extraArgs: {v: 1}}}")
    patch = read("machine: {certSANs: [b], sysctls: {b: '2'}, kubelet: {extraArgs: {v: 2}}}\ndebug: true\n")
    main = merge(before, patch)[0]
    assert main["machine"]["certSANs"] == ["a", "b"]
    assert main["machine"]["sysctls"] == {"a": "1", "b": "2"}
    assert main["machine"]["kubelet"] == {"image": "x", "extraArgs": {"v": "2"}}
    assert main["debug"] is True
    assert "debug" not in before[0] or before[0]["debug"] is False


def test_networks_of_a_cluster_are_replaced_not_added():
    before = read("cluster: {network: {podSubnets: [192.0.2.0/25], serviceSubnets: [192.0.2.128/25]}}")
    after = merge(before, read("cluster: {network: {podSubnets: [198.51.100.0/24]}}"))
    assert after[0]["cluster"]["network"]["podSubnets"] == ["198.51.100.0/24"]
    assert after[0]["cluster"]["network"]["serviceSubnets"] == ["192.0.2.128/25"]


def test_a_merge_that_would_be_wrong_is_refused():
    interfaces = read("machine: {network: {interfaces: [{interface: eth0}]}}")
    with pytest.raises(InputError, match=r"machine\.network\.interfaces: its items are merged by name"):
        merge(interfaces, interfaces)
    with pytest.raises(InputError, match="a patch that deletes"):
        merge(interfaces, [{"machine": {"network": {"$patch": "delete"}}}])


def test_a_main_document_cannot_be_taken_away():
    with pytest.raises(InputError, match="no main document"):
        difference(made(), made()[1:])


@pytest.mark.parametrize("name", ["contract", "difference", "generate", "merge", "read", "sanitize", "secrets"])
def test_the_examples_run(name):
    assert doctest.testmod(importlib.import_module(f"omniherd.machineconfig.{name}")).failed == 0


def test_contracts_compare_as_versions_do():
    assert Contract.of("v1.9.5") < Contract.of("1.10")
    with pytest.raises(InputError, match='"latest" is no version of Talos'):
        Contract.of("latest")


def test_a_worker_holds_no_private_key():
    main = made("worker")[0]
    assert main["machine"]["ca"] == {"crt": PEM, "key": ""}
    assert main["cluster"]["ca"] == {"crt": PEM, "key": ""}
    assert not {"etcd", "aggregatorCA", "serviceAccount", "secretboxEncryptionSecret"} & set(main["cluster"])


def test_no_secret_shows_in_repr():
    assert repr(SECRETS) == "Secrets(...)"
    assert repr(PAIR) == "KeyPair(...)"
    assert repr([SECRETS.etcd]) == "[KeyPair(...)]"


@pytest.mark.parametrize("version", ["1.2", "1.8", "1.13", "1.14"])
def test_secrets_come_back_out_of_a_control_planes_configuration(version):
    found = Secrets.of(made(version=version))
    assert found == (SECRETS if version != "1.2" else Secrets(**{**vars(SECRETS), "secretbox_encryption_secret": ""}))


def test_secrets_come_back_out_of_their_yaml():
    assert Secrets.from_yaml(SECRETS.to_yaml()) == SECRETS
    assert Secrets.from_yaml(Secrets().to_yaml()) == Secrets()


def test_a_key_that_is_no_base64_is_refused_without_showing_it():
    with pytest.raises(InputError) as caught:
        Secrets.of([{"machine": {"ca": {"crt": PEM, "key": "hush!"}}, "cluster": {}}])
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_is_the_same_makes_no_patch():
    assert difference(made(), made()) == []


def test_a_document_that_is_gone_is_deleted_and_a_new_one_is_added():
    new = {"apiVersion": "v1alpha1", "kind": "SideroLinkConfig", "apiUrl": "https://omni.example.org"}
    main, hostname = made()
    assert difference([main, hostname], [main, new]) == [
        [{"apiVersion": "v1alpha1", "kind": "HostnameConfig", "$patch": "delete"}, new]
    ]


def test_one_is_not_true():
    assert difference([{"version": "v1alpha1", "debug": True}], [{"version": "v1alpha1", "debug": 1}]) == [
        [{"version": "v1alpha1", "debug": 1}]
    ]


def test_a_list_that_changed_goes_in_two_steps():
    before, after = made(), made()
    after[0]["cluster"]["network"]["podSubnets"] = ["10.8.0.0/16"]
    first, second = difference(before, after)
    assert first == [{"version": "v1alpha1", "cluster": {"network": {"podSubnets": {"$patch": "delete"}}}}]
    assert second == [{"version": "v1alpha1", "cluster": {"network": {"podSubnets": ["10.8.0.0/16"]}}}]


def test_sanitizing_leaves_its_input_alone():
    patch = {"machine": {"token": "x", "install": {"extensions": [], "disk": "/dev/sda"}}}
    assert sanitize([patch]) == [{"machine": {"install": {"disk": "/dev/sda"}}}]
    assert patch["machine"]["token"] == "x"


@pytest.mark.parametrize(
    ("roles", "kept"),
    [
        (
            ["os:admin", "os:reader"],
            {"allowedRoles": ["os:reader"]},
        ),
        (["os:admin"], {}),
        ([], {"allowedRoles": []}),
    ],
)
def test_pods_do_not_become_administrators(roles, kept):
    def patch(value):
        return [{"machine": {"features": {"kubernetesTalosAPIAccess": value}}}]

    assert sanitize(patch({"allowedRoles": roles})) == patch(kept)


def test_one_is_not_true_inside_a_list_either():
    assert len(difference([{"version": "v1alpha1", "a": [1]}], [{"version": "v1alpha1", "a": [True]}])) == 2
    assert difference([{"version": "v1alpha1", "a": [{"b": 1}]}], [{"version": "v1alpha1", "a": [{"b": 1}]}]) == []


def test_the_main_document_comes_first():
    documents = read("apiVersion: v1alpha1\nkind: HostnameConfig\nauto: stable\n---\nmachine: {}\n")
    assert [document.get("kind") for document in documents] == [None, "HostnameConfig"]


@pytest.mark.parametrize(("token", "found"), [("a.b", "a.b"), ("a.b.c", "."), ("ab", "."), ("", ".")])
def test_a_token_has_two_parts(token, found):
    assert Secrets.of([{"machine": {"token": "x"}, "cluster": {"token": token}}]).bootstrap_token == found


@pytest.mark.parametrize("contents", ["  a: 1\n", " \n  a: 1\n"])
def test_a_manifest_keeps_its_blanks_but_not_the_lines_before_them(contents):
    text = dump({"cluster": {"inlineManifests": [{"name": "a", "contents": f"\n\t\n{contents}"}]}})
    assert read(text)[0]["cluster"]["inlineManifests"][0]["contents"] == contents


@pytest.mark.parametrize(
    ("size", "written"),
    [("5", 5), ("100GB", "100 GB"), ("10000000000", "10 GB"), ("1.5 TiB", 1649267441664), ("1,000", "1.0 kB")],
)
def test_sizes_of_partitions_are_written_as_people_do_when_nothing_is_lost(size, written):
    partition = read(f"machine: {{disks: [{{partitions: [{{size: '{size}'}}]}}]}}")[0]["machine"]["disks"][0]
    assert partition["partitions"] == [{"size": written}]


def test_merging_sets_an_empty_value_only_where_a_field_may_be_absent():
    before = read("apiVersion: v1alpha1\nkind: BondConfig\nname: bond0\nmtu: 1500\nminLinks: 2\n")
    patch = [{"apiVersion": "v1alpha1", "kind": "BondConfig", "name": "bond0", "mtu": 0, "minLinks": 0}]
    (merged,) = merge(before, patch)
    assert merged["minLinks"] == 0
    assert merged["mtu"] == 1500


def test_what_is_merged_is_in_the_form_of_the_library():
    patch = [{"version": "v1alpha1", "machine": {"sysctls": {"a": 1}, "nodeLabels": {}, "files": [{"path": "/a"}]}}]
    machine = merge(read("machine: {type: worker}"), patch)[0]["machine"]
    assert machine["sysctls"] == {"a": "1"}
    assert machine["files"] == [{"content": "", "permissions": 0, "path": "/a", "op": ""}]
    assert "nodeLabels" not in machine


def test_aliases_that_grow_beyond_reason_are_refused():
    lines = "".join(f"    b{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
    with pytest.raises(InputError, match="too many aliases"):
        read(f"machine:\n  pods:\n  - a: &a0 [x, x]\n{lines}")
    assert read("machine:\n  pods: [&a {b: c}, *a]\n")[0]["machine"]["pods"] == [{"b": "c"}, {"b": "c"}]


def test_an_address_keeps_nothing_of_the_one_before():
    link = "apiVersion: v1alpha1\nkind: SideroLinkConfig\napiUrl: {}\n"
    before = read(link.format("https://elsewhere.example.org:8090/old/path?jointoken=old"))
    after = merge(before, read(link.format("https://omni.example.org?jointoken=new")))
    assert after[0]["apiUrl"] == "https://omni.example.org?jointoken=new"

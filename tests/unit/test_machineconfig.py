"""Machine configurations: made, compared and cleaned."""

from __future__ import annotations

import doctest
import importlib

import pytest

from omniherd.errors import InputError
from omniherd.machineconfig import Contract, KeyPair, Secrets, difference, generate, sanitize

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


@pytest.mark.parametrize("name", ["contract", "difference", "generate", "read", "sanitize", "secrets"])
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

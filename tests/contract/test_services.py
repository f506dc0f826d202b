"""The services beyond resources, on the emulator and on a real server; see conftest.

What the emulator has no answer for is skipped there, saying so; a real server must answer.
"""

import contextlib
import json
import os
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from omniherd import AsyncOmni, Login, Omni
from omniherd.credentials import ServiceAccount, resolve
from omniherd.errors import (
    AlreadyExists,
    ConfigError,
    InvalidArgument,
    NotFound,
    OmniError,
    PermissionDenied,
    Unauthenticated,
    Unimplemented,
    UnknownError,
    WaitTimeout,
)
from omniherd.resources import DefaultJoinToken, GRPCTunnelConfig, InfraProvider, JoinToken, MachineLabel
from omniherd.signing import PGPKey

PREFIX = "omniherd-test-"
NOBODY = "omniherd-test-no-such-cluster"
ABSENT = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def name(omni):
    """A name of this test's own; accounts, people and providers that bear it are removed afterwards."""
    mine = f"{PREFIX}{uuid.uuid4().hex[:8]}"
    yield mine
    for left in omni.management.list_service_accounts():
        if left.name.startswith(mine):
            omni.management.destroy_service_account(left.name)
    for person in omni.management.list_users():
        if person.email.startswith(mine):
            with contextlib.suppress(OmniError):
                omni.management.destroy_user(person.email)
    for provider in omni.list(InfraProvider, id_regexp=f"^{mine}"):
        omni.delete(InfraProvider, provider.id, timeout=20)


@pytest.fixture
def may_be_missing(request):
    """Skip, aloud, when it is the emulator that does not have a call."""

    @contextlib.contextmanager
    def guard():
        try:
            yield
        except Unimplemented as error:
            if request.node.callspec.params["server"] != "emulator":
                raise
            pytest.skip(f"the emulator does not answer: {error}")

    return guard


def as_account(server, account):
    endpoint = server.get("endpoint") or os.environ["OMNI_ENDPOINT"]
    return Omni.connect(**{**server, "endpoint": endpoint, "service_account_key": account.encode()})


# --- accounts ---------------------------------------------------------------------------------------------------------


def test_a_service_account_lives(omni, server, name):
    account = omni.management.create_service_account(name, "Reader", lifetime=timedelta(hours=1))
    assert ServiceAccount.decode(account.encode()).key.fingerprint == account.key.fingerprint
    with as_account(server, account) as other:
        me = other.get("currentusers", "current").spec
        assert (me.identity, me.role) == (f"{name}@serviceaccount.omni.sidero.dev", "Reader")
        with pytest.raises(PermissionDenied):
            other.management.create_join_token("x")
    with pytest.raises(AlreadyExists):
        omni.management.create_service_account(name, "Reader")
    renewed = omni.management.renew_service_account(name, lifetime=600)
    with as_account(server, renewed) as other:
        other.list("clusters")
    [listed] = [one for one in omni.management.list_service_accounts() if one.name == name]
    assert listed.role == "Reader"
    assert {key.id: key.expires for key in listed.keys} == {
        key.fingerprint: key.expires.replace(microsecond=0) for key in (account.key, renewed.key)
    }
    omni.management.destroy_service_account(name)
    with as_account(server, account) as other, pytest.raises(Unauthenticated):
        other.list("clusters")
    with pytest.raises(NotFound):
        omni.management.destroy_service_account(name)
    with pytest.raises(UnknownError, match="doesn't exist"):
        omni.management.renew_service_account(name)


def test_refusals_of_accounts(omni, name):
    with pytest.raises(UnknownError, match="unknown role to parse"):
        omni.management.create_service_account(name, "reader")
    with pytest.raises(UnknownError, match="key lifetime is too long"):
        omni.management.create_service_account(name, "Reader", lifetime=timedelta(days=366))
    with pytest.raises(UnknownError, match="must be prefixed"):
        omni.management.create_service_account(name, "InfraProvider")


def test_an_infra_provider_lives(omni, server, name):
    account = omni.management.create_infra_provider(name, lifetime=600)
    with as_account(server, account) as other:
        assert other.get("currentusers", "current").spec.role == "InfraProvider"
    assert omni.get(InfraProvider, name)
    with pytest.raises(AlreadyExists):
        omni.management.create_infra_provider(name)
    omni.delete(InfraProvider, name, timeout=20)


def test_a_person_lives(omni, name):
    email = f"{name}@example.com"
    id_ = omni.management.create_user(email.upper(), "Reader")
    [listed] = [one for one in omni.management.list_users() if one.email == email]
    assert (listed.id, listed.role) == (id_, "Reader")
    with pytest.raises(UnknownError, match="already exists"):
        omni.management.create_user(email, "Reader")
    omni.management.update_user(email, "Operator")
    assert [one.role for one in omni.management.list_users() if one.email == email] == ["Operator"]
    omni.management.destroy_user(email)
    for call in (omni.management.destroy_user, lambda one: omni.management.update_user(one, "Reader")):
        with pytest.raises(NotFound):
            call(email)
    with pytest.raises(InvalidArgument, match="not a valid email"):
        omni.management.create_user(name, "Reader")


def test_a_login_begins(omni, server, name, tmp_path):
    """To its end it needs an identity provider; see tests/unit/test_services_login.py."""
    endpoint = omni.connection.endpoint.url
    config = tmp_path / "config"
    config.write_text(
        f"contexts:\n    lab:\n        url: {endpoint}\n        auth:\n            siderov1:\n"
        f"                identity: {name}@example.com\ncontext: lab\n"
    )
    connection = resolve(omniconfig=config, keys_dir=tmp_path / "keys", environ={"HOME": str(tmp_path)})
    insecure = server.get("insecure_skip_tls_verify", False)
    seen = []
    with Login(connection, insecure_skip_tls_verify=insecure) as login, pytest.raises(WaitTimeout):
        login.run(seen.append, timeout=0.5)
    # A server may have its pages at another address than its API.
    [address] = seen
    assert address.startswith(("http://", "https://"))
    assert address.endswith(f"/authenticate?flow=cli&public-key-id={login.key.fingerprint}")
    assert (tmp_path / "keys" / f"lab-{name}@example.com.pgp").exists()
    with pytest.raises(ConfigError):
        Login(omni.connection)


def test_keys_are_not_confirmed_without_a_token(omni, name):
    key = PGPKey.generate("", "", f"{name}@example.com", 600)
    told = omni.auth.register_public_key(key, f"{name}@example.com")
    assert told.public_key_id == key.fingerprint
    with pytest.raises(UnknownError, match="missing verified email"):
        omni.auth.confirm(told.public_key_id, "")
    with pytest.raises(Unauthenticated, match="invalid jwt"):
        omni.auth.confirm(told.public_key_id, "no.token")
    with pytest.raises(WaitTimeout):
        omni.auth.await_confirmation(told.public_key_id, timeout=0.3)


# --- join tokens ------------------------------------------------------------------------------------------------------


def test_a_join_token_lives(omni):
    token = omni.management.create_join_token("omniherd-test-a", expires=timedelta(hours=1))
    try:
        assert omni.get(JoinToken, token).spec.name == "omniherd-test-a"
        omni.management.rename_join_token(token, "omniherd-test-b")
        omni.management.revoke_join_token(token)
        stored = omni.get(JoinToken, token).spec
        assert (stored.name, stored.revoked) == ("omniherd-test-b", True)
        omni.management.revoke_join_token(token, revoked=False)
        assert not omni.get(JoinToken, token).spec.revoked
        told = omni.management.machine_join_config(join_token=token, grpc_tunnel=True)
        assert f"grpc_tunnel=true&jointoken={token}" in told.kernel_args[0]
        assert told.config.count("kind: ") == 3
    finally:
        omni.management.delete_join_token(token)
    with pytest.raises(NotFound):
        omni.get(JoinToken, token)


def test_the_default_join_token_names_one_that_exists(omni):
    before = omni.get(DefaultJoinToken, "default").spec.token_id
    with pytest.raises(NotFound):
        omni.management.set_default_join_token("omniherd-test-none")
    assert omni.get(DefaultJoinToken, "default").spec.token_id == before


# --- files for clients ------------------------------------------------------------------------------------------------


def test_files_for_clients(omni):
    management = omni.management
    identity = omni.get("currentusers", "current").spec.identity
    assert f"identity: {identity}" in management.omniconfig()
    text = management.kubeconfig(NOBODY)
    assert "kubectl" in text
    assert f"--oidc-extra-scope=cluster:{NOBODY}" in text
    assert f"cluster: {NOBODY}" in management.talosconfig(NOBODY)
    assert "cluster:" not in management.talosconfig()
    with pytest.raises(InvalidArgument, match='invalid grant type "x"'):
        management.kubeconfig(NOBODY, grant_type="x")
    with pytest.raises(UnknownError, match="failed to get cluster UUID"):
        management.service_account_kubeconfig(NOBODY, user="ci", lifetime=60)
    for refused in (
        lambda: management.kubeconfig(NOBODY, break_glass=True),
        lambda: management.talosconfig(NOBODY, raw=True),
        lambda: management.talosconfig(NOBODY, break_glass=True),
    ):
        with pytest.raises(PermissionDenied, match="not allowed"):
            refused()


# --- checks -----------------------------------------------------------------------------------------------------------


def test_configurations_are_judged(omni):
    omni.management.validate_config("machine:\n  network:\n    hostname: a\n")
    with pytest.raises(InvalidArgument, match="config not found"):
        omni.management.validate_config("")
    with pytest.raises(InvalidArgument, match="unknown keys"):
        omni.management.validate_config("machine:\n  foo: 1\n")


def test_schemas_are_checked(omni, may_be_missing):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["b"]}
    with may_be_missing():
        errors = omni.management.validate_json_schema("a: x", schema)
    assert {(error.data_path, error.cause) for error in errors} == {
        ("/a", "got string, want integer"),
        ("/b", "property is required"),
    }
    assert omni.management.validate_json_schema({"a": 1, "b": 2}, schema) == []
    with pytest.raises(UnknownError):
        omni.management.validate_json_schema("{}", "{")


# --- clusters and machines that are not there -------------------------------------------------------------------------


ABSENCES = [
    (lambda m: m.kubernetes_upgrade_pre_checks(NOBODY, "1.36.1"), UnknownError, "KubernetesUpgradeStatuses"),
    (lambda m: list(m.sync_manifests(NOBODY)), UnknownError, "kubeconfig for cluster"),
    (lambda m: list(m.machine_logs(ABSENT)), NotFound, "log store not found"),
    (lambda m: list(m.machine_logs("")), InvalidArgument, "machine id is required"),
    (lambda m: m.power_on(ABSENT), NotFound, "machine not found"),
    (lambda m: m.power_off(ABSENT), NotFound, "machine not found"),
    (lambda m: m.maintenance_upgrade(ABSENT, "1.13.5"), NotFound, "machine not found"),
    (lambda m: m.maintenance_upgrade(ABSENT, ""), InvalidArgument, "talos version is required"),
    (lambda m: list(m.maintenance_lifecycle(ABSENT, "install")), InvalidArgument, "disk is required for INSTALL"),
    (lambda m: list(m.maintenance_lifecycle(ABSENT, "upgrade")), InvalidArgument, "version is required for UPGRADE"),
    (lambda m: list(m.maintenance_lifecycle(ABSENT, "install", disk="/dev/sda")), NotFound, "machine not found"),
    (lambda m: m.reset_node_unique_token(ABSENT), NotFound, "machine not found"),
]


@pytest.mark.parametrize(("call", "error", "text"), ABSENCES)
def test_what_is_not_there(omni, may_be_missing, call, error, text):
    with pytest.raises(error, match=text), may_be_missing():
        call(omni.management)


def test_a_support_bundle_of_nothing_says_so(omni, may_be_missing, tmp_path):
    seen = []
    with may_be_missing():
        bundle = omni.management.support_bundle(NOBODY, progress=seen.append, path=tmp_path / "a.zip")
    assert "kubeconfig for cluster" in bundle.errors[0].error
    assert tuple(seen) == bundle.errors
    assert (tmp_path / "a.zip").read_bytes() == bundle.data
    assert bundle.data.startswith(b"PK")


# --- images -----------------------------------------------------------------------------------------------------------


def test_schematics(omni, may_be_missing):
    with may_be_missing():
        made = omni.management.create_schematic(
            talos_version="1.13.5", labels={"site": "omniherd-test"}, extra_kernel_args=["console=ttyS0"]
        )
    assert len(made.id) == 64
    assert "console=ttyS0" in made.yaml
    assert "machineLabels" in made.yaml
    again = omni.management.create_schematic(
        talos_version="1.13.5", labels={"site": "omniherd-test"}, extra_kernel_args=["console=ttyS0"]
    )
    assert again.id == made.id
    raw = omni.management.create_schematic_from_raw("customization: {}\n", talos_version="1.13.5")
    assert len(raw.id) == 64
    with pytest.raises(InvalidArgument, match="invalid Talos version"):
        omni.management.create_schematic(talos_version="x")
    with pytest.raises(UnknownError, match="InstallationMedias"):
        omni.management.create_schematic(talos_version="1.13.5", media_id="nope")


# --- the audit log ----------------------------------------------------------------------------------------------------


def test_the_audit_log(omni, name, may_be_missing):
    begin = datetime.now(UTC) - timedelta(seconds=2)
    omni.create(InfraProvider(name))
    omni.delete(InfraProvider, name, timeout=20)
    with may_be_missing():
        events = list(omni.management.audit_log(resource_id=name))
    assert events[0]["event_type"] == "create"
    assert {"destroy", "teardown"} & {event["event_type"] for event in events}
    assert {event["resource_type"] for event in events} == {InfraProvider.type_name}
    session = events[0]["event_data"]["session"]
    assert session["email"] == omni.get("currentusers", "current").spec.identity
    assert list(omni.management.audit_log(resource_id=name, since=begin)) == events
    assert list(omni.management.audit_log(resource_id=name, since=begin + timedelta(days=1))) == []
    lines = list(omni.management.audit_log_lines(resource_id=name, event_type="create"))
    assert [json.loads(line) for line in lines] == events[:1]
    assert all(line.endswith(b"\n") for line in lines)
    backwards = list(omni.management.audit_log(resource_id=name, order_by="date", descending=True))
    assert [event["event_ts"] for event in backwards] == sorted((one["event_ts"] for one in events), reverse=True)
    today = datetime.now(UTC).date()
    assert list(omni.management.audit_log(resource_id=name, start=today, end=today)) == []


# --- machines ---------------------------------------------------------------------------------------------------------


def test_labels_of_a_machine(omni):
    machine = str(uuid.uuid4())
    try:
        assert omni.machines.set_labels(machine, {"omniherd-test-a": "1", "b": ""}) == {"omniherd-test-a": "1", "b": ""}
        assert omni.machines.set_labels(machine, {"b": None, "c": "3"}) == {"omniherd-test-a": "1", "c": "3"}
        assert omni.machines.labels(machine) == {"omniherd-test-a": "1", "c": "3"}
    finally:
        omni.delete(MachineLabel, machine)


def test_machines_that_are_not_there(omni):
    for call in (
        lambda: omni.machines.lock(ABSENT),
        lambda: omni.machines.unlock(ABSENT),
        lambda: omni.machines.lock_cluster(NOBODY),
        lambda: omni.machines.unlock_cluster(NOBODY),
        lambda: omni.machines.remove_from_cluster(ABSENT, timeout=5),
        lambda: omni.machines.set_grpc_tunnel(ABSENT, True),
        lambda: omni.machines.find("omniherd-test-no-such-host"),
    ):
        with pytest.raises(NotFound):
            call()
    omni.machines.set_grpc_tunnel(ABSENT, None)
    with pytest.raises(NotFound):
        omni.get(GRPCTunnelConfig, ABSENT)


# --- Talos ------------------------------------------------------------------------------------------------------------


def test_talos_of_what_is_not_there(omni, may_be_missing):
    with pytest.raises(NotFound, match="endpoint not found"), may_be_missing():
        omni.talos(NOBODY).version()
    with pytest.raises(NotFound, match="endpoint not found"), may_be_missing():
        list(omni.talos(NOBODY).dmesg())
    with pytest.raises(NotFound, match="endpoint not found"), may_be_missing():
        omni.talos(NOBODY).list("Members.cluster.talos.dev", namespace="cluster")
    with pytest.raises(NotFound, match="node not found"), may_be_missing():
        omni.talos(nodes="omniherd-test-no-such-host").version()
    replies = omni.talos(nodes=["omniherd-test-a", "omniherd-test-b"]).version()
    assert [reply.node for reply in replies] == ["omniherd-test-a", "omniherd-test-b"]
    assert all(isinstance(reply.error, NotFound) for reply in replies)


def test_oidc_of_a_request_that_is_not_there(omni, may_be_missing):
    with pytest.raises(PermissionDenied, match="request not found"), may_be_missing():
        omni.oidc.authenticate("omniherd-test-none")


# --- tasks ------------------------------------------------------------------------------------------------------------


async def test_the_asynchronous_side(server):
    async with AsyncOmni.connect(**server) as omni:
        assert "contexts:" in await omni.management.omniconfig()
        assert isinstance(await omni.management.list_users(), list)
        with pytest.raises(NotFound):
            await omni.machines.find("omniherd-test-no-such-host")

"""Service accounts, infra providers, people and join tokens, on the emulator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from omniherd import Omni
from omniherd.credentials import ServiceAccount
from omniherd.errors import AlreadyExists, NotFound, PermissionDenied, UnknownError
from omniherd.resources import DefaultJoinToken, InfraProvider, JoinToken
from omniherd.services import moment
from omniherd.signing import PGPKey, PublicKey


def test_a_service_account_is_ready_to_use(omni, emulator):
    account = omni.management.create_service_account("svc-ready", "Reader", lifetime=timedelta(hours=2))
    again = ServiceAccount.decode(account.encode())
    assert (again.name, again.key.fingerprint) == ("svc-ready", account.key.fingerprint)
    assert account.key.email == "svc-ready@serviceaccount.omni.sidero.dev"
    for one in emulator.store.list("default", "PublicKeys.omni.sidero.dev"):
        assert PublicKey.from_bytes(one.decode().public_key).fingerprint == one.id
    with Omni.connect(emulator.endpoint, service_account_key=account.encode()) as other:
        assert other.list("clusters")
        with pytest.raises(PermissionDenied):
            other.management.list_users()


def test_a_renewed_account_keeps_its_old_key(omni, emulator):
    first = omni.management.create_service_account("svc-renew", "Reader")
    second = omni.management.renew_service_account("svc-renew@serviceaccount.omni.sidero.dev", lifetime=600)
    assert first.key.fingerprint != second.key.fingerprint
    for account in (first, second):
        with Omni.connect(emulator.endpoint, service_account_key=account.encode()) as other:
            other.list("clusters")
    listed = {one.name: one for one in omni.management.list_service_accounts()}["svc-renew"]
    assert {key.id for key in listed.keys} == {first.key.fingerprint, second.key.fingerprint}
    assert second.key.expires in {key.expires for key in listed.keys}
    omni.management.destroy_service_account("svc-renew")
    with pytest.raises(NotFound):
        omni.management.destroy_service_account("svc-renew")


def test_a_key_of_ones_own(omni):
    key = PGPKey.generate("", "", "any@example.com", 600)
    assert omni.management.create_service_account("svc-own", "Reader", key=key).key is key
    with pytest.raises(AlreadyExists):
        omni.management.create_service_account("svc-own", "Reader")


def test_an_infra_provider_comes_with_its_account(omni):
    account = omni.management.create_infra_provider("svc-lab")
    assert account.name == "infra-provider:svc-lab"
    assert omni.get(InfraProvider, "svc-lab")
    with pytest.raises(AlreadyExists):
        omni.management.create_infra_provider("svc-lab")
    # The first one is still there: what failed was not it.
    assert omni.get(InfraProvider, "svc-lab")


def test_an_infra_provider_whose_account_is_refused_is_taken_back(omni, monkeypatch):
    omni.management.create_service_account("infra-provider:svc-taken", "InfraProvider")
    with pytest.raises(AlreadyExists):
        omni.management.create_infra_provider("svc-taken")
    with pytest.raises(NotFound):
        omni.get(InfraProvider, "svc-taken")


def test_people(omni):
    id_ = omni.management.create_user("Svc-One@Example.com", "Reader")
    mine = {one.email: one for one in omni.management.list_users()}["svc-one@example.com"]
    assert (mine.id, mine.role, mine.labels) == (id_, "Reader", {})
    omni.management.update_user("svc-one@example.com", "Operator")
    assert {one.email: one.role for one in omni.management.list_users()}["svc-one@example.com"] == "Operator"
    with pytest.raises(UnknownError, match="already exists"):
        omni.management.create_user("svc-one@example.com", "Reader")
    omni.management.destroy_user("svc-one@example.com")
    with pytest.raises(NotFound):
        omni.management.destroy_user("svc-one@example.com")


def test_join_tokens(omni):
    token = omni.management.create_join_token("svc", expires=timedelta(hours=1))
    stored = omni.get(JoinToken, token).spec
    end = moment(stored.expiration_time)
    assert stored.name == "svc"
    assert timedelta(minutes=59) < end - datetime.now(UTC) <= timedelta(hours=1)
    omni.management.rename_join_token(token, "svc2")
    omni.management.revoke_join_token(token)
    assert (omni.get(JoinToken, token).spec.name, omni.get(JoinToken, token).spec.revoked) == ("svc2", True)
    omni.management.revoke_join_token(token, revoked=False)
    assert not omni.get(JoinToken, token).spec.revoked
    before = omni.get(DefaultJoinToken, "default").spec.token_id
    omni.management.set_default_join_token(token)
    assert omni.get(DefaultJoinToken, "default").spec.token_id == token
    assert f"jointoken={token}" in omni.management.machine_join_config().kernel_args[0]
    with pytest.raises(NotFound):
        omni.management.set_default_join_token("no-such-token")
    omni.management.set_default_join_token(before)
    omni.management.delete_join_token(token)
    with pytest.raises(NotFound):
        omni.get(JoinToken, token)


async def test_accounts_people_and_tokens_by_tasks(emulator):
    async with emulator.connect_async() as omni:
        management = omni.management
        account = await management.create_service_account("svc-task", "Reader", lifetime=600)
        renewed = await management.renew_service_account("svc-task", lifetime=600)
        [listed] = [one for one in await management.list_service_accounts() if one.name == "svc-task"]
        assert {key.id for key in listed.keys} == {account.key.fingerprint, renewed.key.fingerprint}
        await management.destroy_service_account("svc-task")
        await management.create_infra_provider("svc-task", lifetime=600)
        await omni.delete(InfraProvider, "svc-task")

        await management.create_user("svc-task@example.com", "Reader")
        await management.update_user("svc-task@example.com", "Operator")
        assert "svc-task@example.com" in [one.email for one in await management.list_users()]
        await management.destroy_user("svc-task@example.com")

        before = (await omni.get(DefaultJoinToken, "default")).spec.token_id
        token = await management.create_join_token("svc-task", expires=600)
        await management.rename_join_token(token, "svc-task2")
        await management.revoke_join_token(token)
        await management.revoke_join_token(token, revoked=False)
        await management.set_default_join_token(token)
        await management.set_default_join_token(before)
        await management.delete_join_token(token)

"""Service accounts and people: the part of ManagementService that says who may call."""
# ruff: noqa: ASYNC109 - a timeout here is a gRPC deadline

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from omniherd._async.channel import DEFAULT, Timeout
from omniherd._async.service import AsyncService
from omniherd.services import KeyInfo, ServiceAccountInfo, UserInfo, moment

if TYPE_CHECKING:
    from omniherd._core.service_requests import Lifetime
    from omniherd.credentials import ServiceAccount
    from omniherd.signing import PGPKey

__all__ = ["ACCOUNT_LIFETIME", "AsyncAccounts"]

ACCOUNT_LIFETIME = timedelta(days=365)
"""How long a service account's key lives by default: as long as the server allows."""


class AsyncAccounts(AsyncService):
    """Calls about service accounts, infra providers and people. All of them need the role Admin."""

    service: ClassVar[str] = "management.ManagementService"

    # --- service accounts ---------------------------------------------------------------------------------------

    async def create_service_account(
        self,
        name: str,
        role: str = "",
        *,
        use_user_role: bool = False,
        lifetime: Lifetime = ACCOUNT_LIFETIME,
        key: PGPKey | None = None,
        timeout: Timeout = DEFAULT,
    ) -> ServiceAccount:
        """Make a service account with a new key, and return both, ready to use.

        `encode()` of what is returned is the text for `OMNI_SERVICE_ACCOUNT_KEY`. The server never sees the private
        key, so nobody can give it back once it is lost.

        Args:
            name: Lower case; `infra-provider:x` for an infra provider's (see `create_infra_provider`).
            role: None, Reader, Operator or Admin.
            use_user_role: Let the server ignore `role`; it then gives the role Admin, whoever calls.
            lifetime: From now to the key's expiry, as a duration or in seconds; at most 365 days.
            key: A key of your own instead of a new one.
            timeout: Seconds, instead of the client's.

        Raises:
            InputError: The name is empty or has capital letters, or no role is given.
            AlreadyExists: There is an account of that name, or the key belongs to one.
            UnknownError: There is no such role, or the key lives too long.
            PermissionDenied: The caller is no Admin.

        Example:
            >>> account = await omni.management.create_service_account("ci", "Reader")
            >>> os.environ["OMNI_SERVICE_ACCOUNT_KEY"] = account.encode()
        """
        from omniherd._core.service_requests import account_name, new_account
        from omniherd.errors import InputError
        from omniherd.wire import management

        if not role and not use_user_role:
            raise InputError("a service account needs a role", hint="None, Reader, Operator or Admin")
        account = new_account(account_name(name), lifetime, key)
        request = management.CreateServiceAccountRequest(
            name=account.name,
            role=role,
            use_user_role=use_user_role,
            armored_pgp_public_key=account.key.public_armored,
        )
        await self._call("CreateServiceAccount", request, timeout=timeout)
        return account

    async def renew_service_account(
        self,
        name: str,
        *,
        lifetime: Lifetime = ACCOUNT_LIFETIME,
        key: PGPKey | None = None,
        timeout: Timeout = DEFAULT,
    ) -> ServiceAccount:
        """Give a service account one more key. Older ones go on working until they expire.

        Args:
            name: The account's name or identity.
            lifetime: From now to the key's expiry, as a duration or in seconds; at most 365 days.
            key: A key of your own instead of a new one.
            timeout: Seconds, instead of the client's.

        Raises:
            InputError: The name is none.
            UnknownError: There is no such account, or the key belongs to one already.
            PermissionDenied: The caller is no Admin.
        """
        from omniherd._core.service_requests import account_name, new_account
        from omniherd.wire import management

        account = new_account(account_name(name), lifetime, key)
        request = management.RenewServiceAccountRequest(
            name=account.name, armored_pgp_public_key=account.key.public_armored
        )
        await self._call("RenewServiceAccount", request, timeout=timeout)
        return account

    async def list_service_accounts(self, *, timeout: Timeout = DEFAULT) -> list[ServiceAccountInfo]:
        """Return the service accounts. Those of infra providers are not among them; the server leaves them out."""
        from omniherd._core.pool import message

        answer = await self._call("ListServiceAccounts", message("google.protobuf.Empty")(), timeout=timeout, safe=True)
        return [
            ServiceAccountInfo(
                account.name,
                account.role,
                tuple(
                    KeyInfo(key.id, key.armored, moment(key.expiration), moment(key.created), moment(key.last_used))
                    for key in account.pgp_public_keys
                ),
                account.last_active,
            )
            for account in answer.service_accounts
        ]

    async def destroy_service_account(self, name: str, *, timeout: Timeout = DEFAULT) -> None:
        """Remove a service account and its keys. Watches that it has running go on.

        Args:
            name: The account's name or identity.
            timeout: Seconds, instead of the client's.

        Raises:
            NotFound: There is none of that name.
            InvalidArgument: It is the caller's own.
            PermissionDenied: The caller is no Admin.
        """
        from omniherd._core.service_requests import account_name
        from omniherd.wire import management

        request = management.DestroyServiceAccountRequest(name=account_name(name))
        await self._call("DestroyServiceAccount", request, timeout=timeout)

    # --- infra providers ----------------------------------------------------------------------------------------

    async def create_infra_provider(
        self, name: str, *, lifetime: Lifetime = ACCOUNT_LIFETIME, timeout: Timeout = DEFAULT
    ) -> ServiceAccount:
        """Make an infra provider: its resource, then its service account of the same name.

        Args:
            name: The provider's id, without the prefix of its account.
            lifetime: From now to the key's expiry, as a duration or in seconds; at most 365 days.
            timeout: Seconds for each of the two calls, instead of the client's.

        Raises:
            AlreadyExists: There is one of that name.
            APIError: The account was refused; the resource is removed again.
        """
        from omniherd._core.service_requests import account_name
        from omniherd.credentials import INFRA_PROVIDER_PREFIX
        from omniherd.errors import OmniError
        from omniherd.resources import InfraProvider

        account = account_name(INFRA_PROVIDER_PREFIX + name)
        await self._omni.create(InfraProvider(name), timeout=timeout)
        try:
            return await self.create_service_account(account, "InfraProvider", lifetime=lifetime, timeout=timeout)
        except OmniError:
            with contextlib.suppress(OmniError):
                await self._omni.delete(InfraProvider, name)
            raise

    # --- people -------------------------------------------------------------------------------------------------

    async def create_user(self, email: str, role: str, *, timeout: Timeout = DEFAULT) -> str:
        """Let a person in, and return the user's id.

        Args:
            email: The address by which the identity provider knows the person; the server makes it lower case.
            role: None, Reader, Operator or Admin.
            timeout: Seconds, instead of the client's.

        Raises:
            InvalidArgument: It is no e-mail address.
            UnknownError: The person is there already, or there is no such role.
            PermissionDenied: The caller is no Admin.
        """
        from omniherd.wire import management

        answer = await self._call("CreateUser", management.CreateUserRequest(email=email, role=role), timeout=timeout)
        user_id: str = answer.user_id
        return user_id

    async def update_user(self, email: str, role: str, *, timeout: Timeout = DEFAULT) -> None:
        """Give a person another role.

        Raises:
            NotFound: There is no such person.
            InvalidArgument: It is the caller.
            UnknownError: There is no such role.
            PermissionDenied: The caller is no Admin.
        """
        from omniherd.wire import management

        await self._call("UpdateUser", management.UpdateUserRequest(email=email, role=role), timeout=timeout)

    async def list_users(self, *, timeout: Timeout = DEFAULT) -> list[UserInfo]:
        """Return the people who may log in, without service accounts."""
        from omniherd._core.pool import message

        answer = await self._call("ListUsers", message("google.protobuf.Empty")(), timeout=timeout, safe=True)
        return [
            UserInfo(user.id, user.email, user.role, dict(user.saml_labels), user.last_active) for user in answer.users
        ]

    async def destroy_user(self, email: str, *, timeout: Timeout = DEFAULT) -> None:
        """Shut a person out.

        Raises:
            NotFound: There is no such person.
            InvalidArgument: It is a service account, or the caller.
            PermissionDenied: The caller is no Admin.
        """
        from omniherd.wire import management

        await self._call("DestroyUser", management.DestroyUserRequest(email=email), timeout=timeout)

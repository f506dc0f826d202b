"""Names that several parts of the emulator share."""

from __future__ import annotations

__all__ = [
    "IDENTITY",
    "PROVIDER_PREFIX",
    "PROVIDER_SUFFIX",
    "PUBLIC_KEY",
    "SERVICE_ACCOUNT_LABEL",
    "SERVICE_ACCOUNT_SUFFIX",
    "USER",
    "USER_ID_LABEL",
]

SERVICE_ACCOUNT_SUFFIX = "@serviceaccount.omni.sidero.dev"
PROVIDER_SUFFIX = "@infra-provider.serviceaccount.omni.sidero.dev"
PROVIDER_PREFIX = "infra-provider:"

IDENTITY = "Identities.omni.sidero.dev"
USER = "Users.omni.sidero.dev"
PUBLIC_KEY = "PublicKeys.omni.sidero.dev"
SERVICE_ACCOUNT_LABEL = "type-service-account"
USER_ID_LABEL = "user-id"

"""The page on which people confirm the key that a program of theirs has made."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from omniherd.emulator.names import IDENTITY, PUBLIC_KEY
from omniherd.emulator.records import StateError
from omniherd.emulator.web.pages import page

if TYPE_CHECKING:
    from omniherd.emulator.auth_service import AuthService
    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Store
    from omniherd.emulator.web.http import Answer, Request

__all__ = ["LoginPage"]

PATH = "/authenticate"
_FIELD = "public-key-id"


class LoginPage:
    """The page. Whoever opens it is taken for the key's owner: there is no identity provider to ask.

    Args:
        store: Where keys and people are.
        auth: What confirms a key.
    """

    def __init__(self, store: Store, auth: AuthService) -> None:
        self._store = store
        self._auth = auth

    async def answer(self, request: Request) -> Answer:
        """Show the page, or confirm the key."""
        asked = request.form() if request.method == "POST" else request.query
        key = self._store.find("default", PUBLIC_KEY, asked.get(_FIELD, ""))
        if key is None:
            return page("Unknown key", "No program has registered this key. Start the login again.", status=404)
        spec = key.decode()
        email = spec.identity.email
        if request.method == "POST":
            try:
                self._auth.confirm_key(key.id, email)
            except StateError as error:
                return page("Not confirmed", error.message, status=403)
            return page("Key confirmed", f"{email} is logged in. You can close this page.", facts=_facts(key))
        if self._store.find("default", IDENTITY, email) is None:
            text = f"There is no user {email} on this server. Somebody has to create one first."
            return page("Unknown user", text, facts=_facts(key), status=403)
        if spec.confirmed:
            return page("Key confirmed", "This key was confirmed before. You can close this page.", facts=_facts(key))
        return page(
            "Confirm your key",
            "A program wants to use this server in your name. Confirm only a login that you have just begun.",
            facts=_facts(key),
            form=(PATH, {_FIELD: key.id}, "Confirm"),
        )


def _facts(key: Stored) -> dict[str, str]:
    spec = key.decode()
    until = datetime.fromtimestamp(spec.expiration.seconds, UTC)
    return {
        "User": spec.identity.email,
        "Role": spec.role,
        "Key": key.id,
        "Valid until": f"{until:%Y-%m-%d %H:%M} UTC",
    }

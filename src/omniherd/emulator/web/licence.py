"""The page on which somebody accepts the licence, where a new server sends everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniherd.emulator.eula import EULA
from omniherd.emulator.forms import encode
from omniherd.emulator.records import Stored
from omniherd.emulator.web.pages import page

if TYPE_CHECKING:
    from omniherd.emulator.store import Store
    from omniherd.emulator.validators import Validators
    from omniherd.emulator.web.http import Answer, Request

__all__ = ["LicencePage"]

PATH = "/eula"


class LicencePage:
    """The page.

    Args:
        store: Where the acceptance goes.
        validators: What it has to say.
    """

    def __init__(self, store: Store, validators: Validators) -> None:
        self._store = store
        self._validators = validators

    async def answer(self, request: Request) -> Answer:
        """Show the page, or accept the licence."""
        if self._store.find("default", EULA, "eula") is not None:
            return page("Licence accepted", "The licence is accepted. You can close this page.")
        if request.method != "POST":
            return page(
                "Accept the licence",
                "Somebody has to accept the End User License Agreement before this server does anything.",
                form=(PATH, {}, "Accept"),
                inputs={"name": "Your name", "email": "Your e-mail address"},
            )
        asked = request.form()
        spec = {"accepted_by_name": asked.get("name", ""), "accepted_by_email": asked.get("email", "")}
        acceptance = Stored("default", EULA, "eula", "1", spec=encode(EULA, spec))
        faults = self._validators.judge("create", None, acceptance)
        if faults:
            return page("Not accepted", "; ".join(faults), status=400)
        self._store.create(acceptance)
        return page("Licence accepted", "The licence is accepted. You can close this page.")

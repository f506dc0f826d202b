"""Requests of the services, from what a caller says. No I/O."""

from __future__ import annotations

import platform
import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from omniherd.credentials import (
    INFRA_PROVIDER_PREFIX,
    ServiceAccount,
    service_account_identity,
    service_account_name,
)
from omniherd.errors import InputError
from omniherd.signing import PGPKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "Lifetime",
    "account_name",
    "audit_request",
    "day",
    "duration",
    "enum_value",
    "expiration",
    "image_labels",
    "new_account",
    "since_filter",
    "time_message",
]

Lifetime = timedelta | float

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_UNSET = ("_UNSPECIFIED", "_UNSET")
# Where an image keeps the labels that its machines start with.
LABELS_META_KEY = 12


def account_name(name: str) -> str:
    """Return the name that the server wants, for a name or an identity.

    Raises:
        InputError: It is empty, or has capital letters: the server would keep the key and refuse the account.
    """
    known = service_account_name(name)
    plain = name if known is None else known
    if not plain.removeprefix(INFRA_PROVIDER_PREFIX):
        raise InputError("a service account needs a name")
    if plain != plain.lower():
        raise InputError(f"the name of a service account must be lower case, not {plain!r}")
    return plain


def new_account(name: str, lifetime: Lifetime, key: PGPKey | None) -> ServiceAccount:
    """Return an account with its key: the given one, or a new one."""
    if key is None:
        # The comment is where omnictl says what made the key.
        comment = f"{platform.system()}/{platform.machine()}".lower()
        key = PGPKey.generate(name.rpartition(":")[2], comment, service_account_identity(name), lifetime)
    return ServiceAccount(name, key)


def enum_value(full_name: str, prefix: str, word: str) -> int:
    """Return the number of an enum's value by its short name in any case: `destroy` for `..._DESTROY`.

    Raises:
        InputError: There is no such value.
    """
    from omniherd._core.pool import enum_descriptor

    values = enum_descriptor(full_name).values_by_name
    found = values.get(prefix + word.upper().replace("-", "_"))
    if found is None:
        known = ", ".join(sorted(name.removeprefix(prefix).lower() for name in values if not name.endswith(_UNSET)))
        raise InputError(f"{word!r} is none of {known}")
    return int(found.number)


def duration(length: Lifetime) -> Any:
    """Return a protobuf duration.

    Raises:
        InputError: It is not positive.
    """
    from omniherd._core.pool import message

    whole = length if isinstance(length, timedelta) else timedelta(seconds=length)
    if whole <= timedelta(0):
        raise InputError(f"a duration must be positive, not {whole}")
    made: Any = message("google.protobuf.Duration")
    return made(seconds=whole // timedelta(seconds=1), nanos=whole.microseconds * 1000)


def expiration(expires: datetime | Lifetime | None, now: datetime | None = None) -> datetime | None:
    """Return when something ends, for a moment or for a length of time from now.

    Raises:
        InputError: The moment bears no time zone, or the length is not positive.
    """
    if expires is None:
        return None
    if isinstance(expires, datetime):
        if expires.tzinfo is None:
            raise InputError("a moment needs a time zone", hint="give datetime.now(timezone.utc) + timedelta(...)")
        return expires
    length = expires if isinstance(expires, timedelta) else timedelta(seconds=expires)
    if length <= timedelta(0):
        raise InputError(f"a lifetime must be positive, not {length.total_seconds():g} seconds")
    return (now or datetime.now(UTC)) + length


def time_message(moment: datetime) -> Any:
    """Return a protobuf timestamp."""
    from omniherd._core.pool import message

    passed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    made: Any = message("google.protobuf.Timestamp")
    return made(seconds=passed // timedelta(seconds=1), nanos=passed.microseconds * 1000)


def day(value: date | str | None) -> str:
    """Return a day as the audit log wants it.

    Raises:
        InputError: It is a moment, or no `YYYY-MM-DD`.
    """
    if value is None or value == "":
        return ""
    if isinstance(value, datetime):
        raise InputError("the audit log is cut by days", hint="give a date, or `since=` for a moment")
    text = value if isinstance(value, str) else value.isoformat()
    if not _DAY.fullmatch(text):
        raise InputError(f"{text!r} is no day", hint="write it as 2026-11-24")
    return text


def audit_request(
    *,
    start: date | str | None,
    end: date | str | None,
    since: datetime | None,
    after_id: int,
    order_by: str | None,
    descending: bool | None,
    event_type: str | None,
    filters: Mapping[str, str],
    follow: bool,
) -> Any:
    """Return the request for the audit log.

    Raises:
        InputError: A day, a moment, an order or an event type is none.
    """
    from omniherd.wire import management

    request = management.ReadAuditLogRequest(start_time=day(start), end_time=day(end), follow=follow, from_id=after_id)
    for name, value in filters.items():
        setattr(request, name, value)
    if order_by:
        request.order_by_field = enum_value("management.AuditLogOrderByField", "AUDIT_LOG_ORDER_BY_FIELD_", order_by)
    if descending is not None:
        word = "desc" if descending else "asc"
        request.order_by_dir = enum_value("management.AuditLogOrderByDir", "AUDIT_LOG_ORDER_BY_DIR_", word)
    if event_type:
        request.event_type = enum_value("management.AuditLogEventType", "AUDIT_LOG_EVENT_TYPE_", event_type)
    if since is not None:
        request.start_ts_ms = milliseconds(since)
    return request


def since_filter(event: Mapping[str, Any], since: datetime | None) -> bool:
    """Whether an event is recent enough; servers up to 1.9.3 do not look at the moment that they are given."""
    return since is None or int(event.get("event_ts", 0)) >= milliseconds(since)


def milliseconds(moment: datetime) -> int:
    """Return Unix milliseconds.

    Raises:
        InputError: The moment bears no time zone.
    """
    if moment.tzinfo is None:
        raise InputError("a moment needs a time zone", hint="give datetime.now(timezone.utc) - timedelta(...)")
    return int(moment.timestamp() * 1000)


def image_labels(labels: Mapping[str, str]) -> dict[int, str]:
    r"""Return the meta value that gives the machines of an image their first labels.

    Example:
        >>> image_labels({"site": "fra"})
        {12: 'machineLabels:\n    site: fra\n'}
    """
    from omniherd.yamlform import dump

    # As omnictl writes it: an image's id is the digest of what is in it, and the same labels make the same image.
    return {LABELS_META_KEY: dump({"machineLabels": dict(labels)})}


def texts(values: Iterable[str] | str) -> list[str]:
    """Return a list of texts; one text counts as a list of one, not as its letters."""
    return [values] if isinstance(values, str) else list(values)

"""`omni.management`: every method of ManagementService."""
# ruff: noqa: ASYNC109 - a timeout here is a gRPC deadline

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from omniherd._async.accounts import AsyncAccounts
from omniherd._async.channel import DEFAULT, Timeout
from omniherd._async.cluster_calls import AsyncClusterCalls
from omniherd._async.images import AsyncImages
from omniherd._async.join_tokens import AsyncJoinTokens
from omniherd._async.machine_calls import AsyncMachineCalls
from omniherd.services import SchemaError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

    from omniherd._async.service import AsyncAnswers

__all__ = ["AsyncManagement"]


class AsyncManagement(AsyncAccounts, AsyncJoinTokens, AsyncClusterCalls, AsyncMachineCalls, AsyncImages):
    """Omni's management calls; `omni.management`.

    Besides what stands here: accounts and people, join tokens, clusters, machines, images.

    Example:
        >>> for account in await omni.management.list_service_accounts():
        ...     print(account.name, account.role, [key.expires for key in account.keys])
    """

    async def omniconfig(self, *, timeout: Timeout = DEFAULT) -> str:
        """Return an omniconfig for the caller, as YAML text: one context `default` with the server's URL."""
        from omniherd._core.pool import message

        answer = await self._call("Omniconfig", message("google.protobuf.Empty")(), timeout=timeout, safe=True)
        text: str = answer.omniconfig.decode()
        return text

    # --- checks -------------------------------------------------------------------------------------------------

    async def validate_config(self, config: str, *, timeout: Timeout = DEFAULT) -> None:
        """Let the server judge a machine configuration, or a part of one such as a config patch.

        Args:
            config: The YAML.
            timeout: Seconds, instead of the client's.

        Raises:
            InvalidArgument: It is not acceptable; the text says why, `details["errors"]` lists several reasons.

        Example:
            >>> await omni.management.validate_config("machine: {network: {hostname: a}}")
        """
        from omniherd.wire import management

        request = management.ValidateConfigRequest(config=config)
        await self._call("ValidateConfig", request, timeout=timeout, safe=True)

    async def validate_json_schema(
        self, data: str | Mapping[str, Any], schema: str | Mapping[str, Any], *, timeout: Timeout = DEFAULT
    ) -> list[SchemaError]:
        """Let the server compare a document with a JSON schema, as it does with infra providers' data.

        Args:
            data: The document as YAML or JSON text, or as a mapping.
            schema: The schema as JSON text, or as a mapping; up to 1 MB.
            timeout: Seconds, instead of the client's.

        Returns:
            What does not fit; nothing when all does.

        Raises:
            UnknownError: The text is no YAML, the schema is none, or too big.
        """
        from omniherd.wire import management

        request = management.ValidateJsonSchemaRequest(
            data=data if isinstance(data, str) else json.dumps(data),
            schema=schema if isinstance(schema, str) else json.dumps(schema),
        )
        answer = await self._call("ValidateJSONSchema", request, timeout=timeout, safe=True)
        return [_schema_error(error) for error in answer.errors]

    # --- the audit log ------------------------------------------------------------------------------------------

    def audit_log(
        self,
        *,
        start: date | str | None = None,
        end: date | str | None = None,
        since: datetime | None = None,
        after_id: int = 0,
        order_by: str | None = None,
        descending: bool | None = None,
        search: str = "",
        event_type: str | None = None,
        resource_type: str = "",
        resource_id: str = "",
        cluster: str = "",
        actor: str = "",
        follow: bool = False,
        timeout: float | None = None,
    ) -> AsyncAnswers[dict[str, Any]]:
        """Yield the events of the audit log, oldest first.

        An event is `event_type`, `resource_type`, `resource_id`, `event_ts` (Unix milliseconds) and `event_data` with
        the caller's `session`. The session's `user_agent` is that of the server's own proxy.

        Args:
            start: The first day, a date or `YYYY-MM-DD`, in the server's time zone.
            end: The first day that is left out: with `start` on the same day there is nothing. None for until now.
            since: The earliest moment. Servers up to 1.9.3 send everything; what is older is then left out here.
            after_id: Go on after the event of this number. Ignored by servers up to 1.9.3.
            order_by: `date`, `event_type`, `resource_type`, `resource_id`, `cluster_id` or `actor`.
            descending: Turn the order around.
            search: A text that occurs in the event.
            event_type: `create`, `update`, `update_with_conflicts`, `destroy`, `teardown`, `talos_access`,
                `k8s_access` or `audit_log_access`.
            resource_type: A full type name.
            resource_id: Id of the resource.
            cluster: The cluster's id.
            actor: Full e-mail address or identity of who did it.
            follow: Go on with new events until closed. Servers up to 1.9.3 end the stream all the same.
            timeout: Seconds until the stream is cut off, None for never.

        Raises:
            InputError: A day, an order or an event type is none.
            PermissionDenied: The caller is no Admin.

        Example:
            >>> async for event in omni.management.audit_log(event_type="destroy", start="2026-11-24"):
            ...     print(event["resource_type"], event["resource_id"])
        """
        from omniherd._core.service_requests import audit_request, since_filter

        request = audit_request(
            start=start,
            end=end,
            since=since,
            after_id=after_id,
            order_by=order_by,
            descending=descending,
            event_type=event_type,
            filters={
                "search": search,
                "resource_type": resource_type,
                "resource_id": resource_id,
                "cluster_id": cluster,
                "actor": actor,
            },
            follow=follow,
        )

        def event(answer: Any) -> dict[str, Any] | None:
            found = cast("dict[str, Any]", json.loads(answer.audit_log))
            return found if since_filter(found, since) else None

        return self._stream("ReadAuditLog", request, event, timeout=timeout)

    def audit_log_lines(
        self,
        *,
        start: date | str | None = None,
        end: date | str | None = None,
        order_by: str | None = None,
        descending: bool | None = None,
        search: str = "",
        event_type: str | None = None,
        resource_type: str = "",
        resource_id: str = "",
        cluster: str = "",
        actor: str = "",
        follow: bool = False,
        timeout: float | None = None,
    ) -> AsyncAnswers[bytes]:
        """Yield the audit log as the server wrote it: JSON objects, each with its line end. See `audit_log`."""
        from omniherd._core.service_requests import audit_request

        request = audit_request(
            start=start,
            end=end,
            since=None,
            after_id=0,
            order_by=order_by,
            descending=descending,
            event_type=event_type,
            filters={
                "search": search,
                "resource_type": resource_type,
                "resource_id": resource_id,
                "cluster_id": cluster,
                "actor": actor,
            },
            follow=follow,
        )

        def line(answer: Any) -> bytes:
            data: bytes = answer.audit_log
            return data

        return self._stream("ReadAuditLog", request, line, timeout=timeout)


def _schema_error(error: Any) -> SchemaError:
    return SchemaError(
        error.data_path, error.schema_path, error.cause, tuple(_schema_error(inner) for inner in error.errors)
    )

"""Everything that omniherd raises, one tree.

```
OmniError
├── ConfigError              the omniconfig file, the environment, a key: nothing was sent
│   ├── ContextNotFound
│   └── CredentialError
│       └── KeyExpired
├── InputError               what the caller wrote cannot be understood: nothing was sent
│   ├── SelectorError
│   ├── JSONPathError
│   ├── YAMLError
│   ├── UnknownType
│   ├── AmbiguousType
│   └── PlanOutdated         a saved plan's resources are not what they were
├── APIError                 the server answered, or the connection failed
│   ├── NotFound
│   ├── AlreadyExists
│   ├── FailedPrecondition
│   │   ├── Conflict
│   │   │   ├── VersionConflict
│   │   │   └── FinalizersPending
│   │   └── WatchExpired
│   ├── InvalidArgument
│   │   └── PhaseConflict
│   ├── PermissionDenied
│   │   └── OwnerConflict
│   ├── Unauthenticated
│   ├── Unavailable
│   ├── DeadlineExceeded
│   ├── ResourceExhausted
│   ├── Unimplemented
│   ├── Canceled
│   ├── InternalError
│   ├── UnknownError
│   └── WatchError
├── WaitTimeout              a wait of ours ended before its condition came true
│   └── DeleteTimeout
└── ForkError                a client was used in a forked child
```

The class says what kind of failure it is, `str(error)` is what happened (the server's own words where it spoke),
`hint` is what a person can do about it. gRPC's exception is reachable as `__cause__` only.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "APIError",
    "AlreadyExists",
    "AmbiguousType",
    "Canceled",
    "ConfigError",
    "Conflict",
    "ContextNotFound",
    "CredentialError",
    "DeadlineExceeded",
    "DeleteTimeout",
    "FailedPrecondition",
    "FinalizersPending",
    "ForkError",
    "InputError",
    "InternalError",
    "InvalidArgument",
    "JSONPathError",
    "KeyExpired",
    "NotFound",
    "OmniError",
    "OwnerConflict",
    "PermissionDenied",
    "PhaseConflict",
    "PlanOutdated",
    "ResourceExhausted",
    "SelectorError",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "UnknownError",
    "UnknownType",
    "VersionConflict",
    "WaitTimeout",
    "WatchError",
    "WatchExpired",
    "YAMLError",
]


class OmniError(Exception):
    """The root of every error that omniherd raises.

    Attributes:
        message: What happened; `str(error)` is the same text.
        code: The gRPC status name (`"NOT_FOUND"`) when a call failed, else None.
        resource: The resource concerned as `Type(namespace/id)`, when one is known.
        details: Anything machine-readable that belongs to the error, by name.
        retryable: Whether the same call may succeed when repeated unchanged, and repeating it is safe.
        hint: What a person can do about it, one sentence, or None.

    Example:
        >>> from omniherd.errors import NotFound, OmniError
        >>> try:
        ...     raise NotFound("resource Clusters.omni.sidero.dev(default/lab@undefined) doesn't exist")
        ... except OmniError as error:
        ...     print(error.code, error.retryable)
        NOT_FOUND False
    """

    default_code: str | None = None
    default_retryable: bool = False
    default_hint: str | None = None

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        resource: str | None = None,
        details: dict[str, Any] | None = None,
        retryable: bool | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else self.default_code
        self.resource = resource
        self.details: dict[str, Any] = details if details is not None else {}
        self.retryable = retryable if retryable is not None else self.default_retryable
        self.hint = hint if hint is not None else self.default_hint

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle by their positional arguments alone; the keyword-only ones would be lost between processes.
        return (_rebuild, (type(self), self.message, self.__dict__.copy()))


def _rebuild(kind: type[OmniError], message: str, state: dict[str, Any]) -> OmniError:
    error = kind(message)
    error.__dict__.update(state)
    return error


class ConfigError(OmniError):
    """The configuration (a file, a variable, an argument) is missing something or says something impossible."""


class ContextNotFound(ConfigError):
    """The omniconfig file has no context of that name."""

    default_hint = "`omniherd config contexts` lists the contexts of the file"


class CredentialError(ConfigError):
    """A key or token cannot be used: it is malformed, missing or not meant for this."""


class KeyExpired(CredentialError):
    """The signing key is past its expiry; the server would refuse every call."""

    default_hint = "renew the key: `serviceaccount renew` for an account, a new login for a person"


class InputError(OmniError):
    """What the caller wrote cannot be understood; nothing was sent."""


class SelectorError(InputError):
    """A label selector's text does not parse."""


class JSONPathError(InputError):
    """A JSONPath template does not parse, or does not apply to the object."""


class YAMLError(InputError):
    """A YAML document does not parse, or does not fit the type it is for."""


class UnknownType(InputError):
    """No resource type of that name or alias is known."""

    default_hint = "`omniherd get resourcedefinitions` lists the types of the server"


class AmbiguousType(InputError):
    """Several resource types answer to that alias."""


class PlanOutdated(InputError):
    """A saved plan is not for the world as it is now; `details["moved"]` says what is different."""


class APIError(OmniError):
    """A call failed: the server refused it, or it did not get through."""


class NotFound(APIError):
    """The resource, or what it belongs to, does not exist."""

    default_code = "NOT_FOUND"


class AlreadyExists(APIError):
    """A resource with that id is there already."""

    default_code = "ALREADY_EXISTS"


class FailedPrecondition(APIError):
    """The server is not in the state that the call needs."""

    default_code = "FAILED_PRECONDITION"


class Conflict(FailedPrecondition):
    """The resource changed, or is held, in a way that forbids the call."""


class VersionConflict(Conflict):
    """The resource has a newer version than the one that was edited."""

    default_hint = "read the resource again and repeat the change; `edit` does that by itself"


class FinalizersPending(Conflict):
    """The resource cannot be destroyed while somebody holds a finalizer on it.

    `details["finalizers"]` lists the holders that the server named.
    """


class WatchExpired(FailedPrecondition):
    """The bookmark is too old, or from another run of the server: events in between are lost.

    Start again with the current contents (`bootstrap=True`), or let the watch do it with `on_expired="restart"`.
    """

    default_hint = "start the watch again without the bookmark"


class InvalidArgument(APIError):
    """The server's validators refuse the request."""

    default_code = "INVALID_ARGUMENT"


class PhaseConflict(InvalidArgument):
    """The resource is not in the phase that the update expects."""


class PermissionDenied(APIError):
    """The identity is known, and may not do that."""

    default_code = "PERMISSION_DENIED"


class OwnerConflict(PermissionDenied):
    """The resource is owned by a controller (or by nobody) and the call named another owner."""


class Unauthenticated(APIError):
    """The signature was refused: wrong key, expired key, unknown identity, or a clock off by over five minutes."""

    default_code = "UNAUTHENTICATED"
    default_hint = "check that the key is registered and not expired, and that this machine's clock is right"


class Unavailable(APIError):
    """The server cannot be reached, or broke the connection."""

    default_code = "UNAVAILABLE"
    default_retryable = True


class DeadlineExceeded(APIError):
    """No answer came within the deadline; the call may or may not have had its effect."""

    default_code = "DEADLINE_EXCEEDED"


class ResourceExhausted(APIError):
    """A limit of the server or of the connection was hit, a message's size for example."""

    default_code = "RESOURCE_EXHAUSTED"


class Unimplemented(APIError):
    """The server does not offer that call, or not for that resource type."""

    default_code = "UNIMPLEMENTED"


class Canceled(APIError):
    """The call was cancelled on this side or the other."""

    default_code = "CANCELLED"


class InternalError(APIError):
    """The server failed in a way that it did not foresee."""

    default_code = "INTERNAL"


class UnknownError(APIError):
    """The server answered with an error that has no code of its own; Omni does so for odd input."""

    default_code = "UNKNOWN"


class WatchError(APIError):
    """The server reported a broken watch (an ERRORED event), a reader that was too slow for example."""


class WaitTimeout(OmniError):
    """A condition did not come true in time. `details["last"]` is the last resource seen, or None."""


class DeleteTimeout(WaitTimeout):
    """A deletion was begun and did not end in time; the resource is tearing down.

    `details["finalizers"]` lists who still holds it.
    """


class ForkError(OmniError):
    """A client was used in a forked child process; gRPC connections do not survive a fork."""

    default_hint = "create the client after the fork, or use the `spawn` start method"

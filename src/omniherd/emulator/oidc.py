"""The OIDC provider that kubectl logs in at: requests, codes and tokens, in memory as on the real server."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from omniherd._core.pool import message
from omniherd.emulator.access import rank
from omniherd.emulator.names import IDENTITY, USER
from omniherd.emulator.policies import MASTERS
from omniherd.emulator.records import StateError
from omniherd.emulator.tokens import encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from omniherd.emulator.policies import Policies
    from omniherd.emulator.server import Incoming, Method
    from omniherd.emulator.store import Store
    from omniherd.emulator.tokens import TokenSigner

__all__ = ["CALLBACK", "LOGIN", "LoginRequest", "OIDCFault", "OIDCProvider"]

CALLBACK = "/oidc/authorize/callback"
LOGIN = "/omni/oidc-login/"

_CLIENT = "native"
_OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
_CLUSTER = "cluster:"
_SCOPES = frozenset({"openid", "profile", "email", "phone", "address", "offline_access"})
# Twelve hours, and five minutes for the clock at either end.
_LIFETIME = 43_800
_ACCESS_LIFETIME = 600
_ASK = " If you have any questions, you may contact the administrator of the application."


class OIDCFault(Exception):
    """A request that the provider refuses.

    Args:
        text: What is wrong; where the client is told in JSON, the description.
        error: The protocol's name of it.
        status: The HTTP status.
        location: Where the client is told by a redirect instead.
    """

    def __init__(self, text: str, *, error: str = "", status: int = 400, location: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.error = error
        self.status = status
        self.location = location


@dataclass(slots=True)
class LoginRequest:
    """A client that waits for a login.

    Attributes:
        id: Its id.
        redirect: Where it wants the code.
        scopes: What it asks for.
        state: What it wants back with the code.
        nonce: What it wants in the token.
        challenge: The digest of its secret, empty for none.
        identity: Who has logged in, empty for nobody yet.
        moment: When, in seconds since 1970.
    """

    id: str
    redirect: str
    scopes: tuple[str, ...]
    state: str
    nonce: str
    challenge: str
    identity: str = ""
    moment: int = 0


class OIDCProvider:
    """The provider.

    Args:
        store: People and the clock.
        policies: What access policies give them.
        signer: Who signs tokens.
        issuer: The address of the server's pages.
    """

    def __init__(self, store: Store, policies: Policies, signer: TokenSigner, issuer: Callable[[], str]) -> None:
        self._store = store
        self._policies = policies
        self._signer = signer
        self._site = issuer
        self._requests: dict[str, LoginRequest] = {}
        self._codes: dict[str, str] = {}
        self._access: dict[str, tuple[int, LoginRequest]] = {}

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        return {"/oidc.OIDCService/Authenticate": self.authenticate}

    async def authenticate(self, call: Incoming, request: Any) -> Any:
        """Answer Authenticate: the caller logs the client in as itself."""
        try:
            location, code = self.log_in(request.auth_request_id, call.principal.identity)
        except OIDCFault as fault:
            raise StateError("PERMISSION_DENIED", f"failed to authenticate request: {fault.text}") from None
        return message("oidc.AuthenticateResponse")(redirect_url=location, auth_code=code)

    # --- the steps of a login ---------------------------------------------------------------------------------------

    def authorize(self, asked: Mapping[str, str]) -> str:
        """Begin a login; return the path of the page to go to.

        Args:
            asked: The parameters of the client's request.

        Raises:
            OIDCFault: It cannot be.
        """
        if not asked.get("client_id"):
            raise OIDCFault("auth request is missing client_id")
        redirect = asked.get("redirect_uri", "")
        if not redirect:
            raise OIDCFault("auth request is missing redirect_uri")
        if asked["client_id"] != _CLIENT:
            raise OIDCFault("unable to retrieve client by id")
        if not _may_redirect(redirect):
            raise OIDCFault("The requested redirect_uri is missing in the client configuration." + _ASK)
        state = asked.get("state", "")
        if not asked.get("scope", "").split():
            text = "The scope of your request is missing. Please ensure some scopes are requested." + _ASK
            raise _told(redirect, "invalid_request", text, state)
        kind = asked.get("response_type", "")
        if not kind:
            raise _told(redirect, "invalid_request", "The response type is missing in your request." + _ASK, state)
        if kind != "code":
            text = "The requested response type is missing in the client configuration." + _ASK
            raise _told(redirect, "unauthorized_client", text, state)
        scopes = tuple(scope for scope in asked["scope"].split() if scope in _SCOPES or scope.startswith(_CLUSTER))
        id_ = str(uuid.uuid4())
        challenge, nonce = asked.get("code_challenge", ""), asked.get("nonce", "")
        if challenge and asked.get("code_challenge_method") != "S256":
            challenge = _digest(challenge)
        self._requests[id_] = LoginRequest(id_, redirect, scopes, state, nonce, challenge)
        return LOGIN + id_

    def find(self, id_: str) -> LoginRequest:
        """Return a client that waits.

        Raises:
            OIDCFault: There is none, or it has its token.
        """
        found = self._requests.get(id_)
        if found is None:
            raise OIDCFault("request not found")
        return found

    def log_in(self, id_: str, identity: str) -> tuple[str, str]:
        """Log somebody in; return where the client gets its code, or the code for people to type in.

        Raises:
            OIDCFault: Nobody waits.
        """
        request = self.find(id_)
        request.identity, request.moment = identity, self._store.now()[0]
        if request.redirect != _OUT_OF_BAND:
            return f"{self._site()}{CALLBACK}?id={id_}", ""
        code = secrets.token_hex(3)
        self._codes[code] = id_
        return "", code

    def callback(self, id_: str) -> str:
        """Return where a browser goes on to: the client, with a code or with the reason why there is none.

        Raises:
            OIDCFault: Nobody waits.
        """
        if not id_:
            raise OIDCFault("auth request callback is missing id")
        request = self.find(id_)
        if not request.identity:
            text = "Unfortunately, the user may be not logged in and/or additional interaction is required."
            raise _told(request.redirect, "interaction_required", text, request.state)
        code = secrets.token_urlsafe(48)
        self._codes[code] = id_
        return _with(request.redirect, {"code": code}, request.state)

    def token(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Give a client the tokens for its code.

        Raises:
            OIDCFault: The code is none, or not this client's.
        """
        grant = form.get("grant_type", "")
        if not grant:
            raise OIDCFault("grant_type missing", error="invalid_request")
        if grant != "authorization_code":
            name = "refresh_token" if grant == "refresh_token" else grant
            raise OIDCFault(f"{name} not supported", error="unsupported_grant_type")
        code = form.get("code", "")
        request = self._requests.get(self._codes.get(code, ""))
        if request is None:
            raise OIDCFault("invalid code", error="invalid_grant")
        if form.get("client_id") != _CLIENT:
            raise OIDCFault("", error="invalid_client", status=401)
        if request.challenge and _digest(form.get("code_verifier", "")) != request.challenge:
            raise OIDCFault("invalid code_verifier", error="invalid_grant")
        if form.get("redirect_uri") != request.redirect:
            raise OIDCFault("redirect_uri does not correspond", error="invalid_grant")
        return self._tokens(request, code)

    def _tokens(self, request: LoginRequest, code: str) -> dict[str, Any]:
        now = self._store.now()[0]
        access = secrets.token_urlsafe(96)
        claims: dict[str, Any] = {
            "amr": ["pop"],
            "at_hash": _half(access),
            "aud": [_CLIENT],
            "auth_time": request.moment,
            "azp": _CLIENT,
            "c_hash": _half(code),
            "client_id": _CLIENT,
            "exp": now + _LIFETIME,
            "iat": now,
            "iss": f"{self._site()}/oidc",
            **self._about(request),
        }
        if request.nonce:
            claims["nonce"] = request.nonce
        token = self._signer.sign(claims)
        del self._requests[request.id]
        self._codes = {key: id_ for key, id_ in self._codes.items() if id_ != request.id}
        self._access[access] = (now + _ACCESS_LIFETIME, request)
        return {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": _ACCESS_LIFETIME - 1,
            "id_token": token,
            "scope": " ".join(request.scopes),
        }

    def userinfo(self, access: str) -> dict[str, Any]:
        """Return what is known of who has an access token.

        Raises:
            OIDCFault: It is none, or has expired.
        """
        until, request = self._access.get(access, (0, None))
        if request is None or until <= self._store.now()[0]:
            raise OIDCFault("access token invalid", status=401)
        return self._about(request)

    def _about(self, request: LoginRequest) -> dict[str, Any]:
        """Return the claims that scopes give: who it is, on which cluster, in which groups."""
        found: dict[str, Any] = {}
        for scope in request.scopes:
            if scope.startswith(_CLUSTER):
                found["cluster"] = scope.removeprefix(_CLUSTER)
                found["groups"] = self._groups(request.identity, found["cluster"])
        if "openid" in request.scopes:
            found["sub"] = request.identity
        return dict(sorted(found.items()))

    def _groups(self, identity: str, cluster: str) -> list[str] | None:
        stored = self._store.find("default", IDENTITY, identity)
        user = None if stored is None else self._store.find("default", USER, stored.decode().user_id)
        groups = self._policies.groups(identity, cluster)
        role = "None" if user is None else str(user.decode().role)
        if rank(role) >= rank("Operator"):
            groups = [*groups, MASTERS]
        return list(dict.fromkeys(groups)) or None

    # --- what clients look up ---------------------------------------------------------------------------------------

    def keys(self) -> dict[str, Any]:
        """Return the keys that tokens are checked with."""
        return {"keys": [self._signer.public()]}

    def discovery(self) -> dict[str, Any]:
        """Return where everything is."""
        issuer = f"{self._site()}/oidc"
        methods = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]
        return {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/oauth/token",
            "introspection_endpoint": f"{issuer}/oauth/introspect",
            "userinfo_endpoint": f"{issuer}/userinfo",
            "revocation_endpoint": f"{issuer}/revoke",
            "end_session_endpoint": f"{issuer}/end_session",
            "device_authorization_endpoint": f"{issuer}/device_authorization",
            "jwks_uri": f"{issuer}/keys",
            "scopes_supported": ["openid", "profile", "email", "phone", "address", "offline_access"],
            "response_types_supported": ["code", "id_token", "id_token token"],
            "grant_types_supported": [
                "authorization_code",
                "implicit",
                "urn:ietf:params:oauth:grant-type:jwt-bearer",
            ],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "request_object_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": methods,
            "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
            "revocation_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_signing_alg_values_supported": ["RS256"],
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
            "introspection_endpoint_auth_signing_alg_values_supported": ["RS256"],
            "claims_supported": _CLAIMS.split(),
            "code_challenge_methods_supported": ["S256"],
            "request_parameter_supported": True,
            "request_uri_parameter_supported": False,
        }


_CLAIMS = (
    "sub aud exp iat iss auth_time nonce acr amr c_hash at_hash act scopes client_id azp preferred_username name "
    "family_name given_name locale email email_verified phone_number phone_number_verified"
)


def _may_redirect(url: str) -> bool:
    """Whether a client on the caller's own machine waits there, on whatever port."""
    if url == _OUT_OF_BAND:
        return True
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
    return loopback and parts.scheme == "http" and not (parts.path or parts.query or parts.fragment)


def _with(url: str, values: Mapping[str, str], state: str) -> str:
    return f"{url}?{urlencode({**values, 'state': state} if state else values)}"


def _told(redirect: str, error: str, text: str, state: str) -> OIDCFault:
    location = _with(redirect, {"error": error, "error_description": text}, state)
    return OIDCFault(text, error=error, status=302, location=location)


def _digest(text: str) -> str:
    return encoded(hashlib.sha256(text.encode()).digest())


def _half(text: str) -> str:
    """Return the left half of a digest, as tokens bear it of what came with them."""
    return encoded(hashlib.sha256(text.encode()).digest()[:16])

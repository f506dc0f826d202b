"""The emulator's HTTP side: the JSON gateway, the login page, and OIDC for Kubernetes clients.

It runs in the loop that serves gRPC and is made of the standard library: on a loopback address there is little to
HTTP/1.1, and a connection can be handed on to gRPC when both share a port.
"""

from omniherd.emulator.web.front import Front
from omniherd.emulator.web.site import Site

__all__ = ["Front", "Site"]

"""Calls to a foreign cluster over TLS, with the certificates of its talosconfig."""

import base64

import grpc
import yaml

from omniherd._core.pool import message
from omniherd.wire.calls import CALLS

APPLY = "/machine.MachineService/ApplyConfiguration"


def pair_of(talosconfig):
    """Return the authority, the certificate and the key of a talosconfig."""
    config = yaml.safe_load(talosconfig)
    context = config["contexts"][config["context"]]
    return [base64.b64decode(context[name]) for name in ("ca", "crt", "key")]


def call(cluster, path, request=None, pair=None, **metadata):
    """Call a method over TLS; return its answers."""
    authority, certificate, key = pair or pair_of(cluster.talosconfig)
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    with grpc.secure_channel(cluster.endpoint, credentials) as channel:
        method = channel.unary_stream(
            path,
            request_serializer=lambda given: message(CALLS[path].request)(**given).SerializeToString(),
            response_deserializer=message(CALLS[path].response).FromString,
        )
        return list(method(request or {}, metadata=list(metadata.items()), timeout=20))

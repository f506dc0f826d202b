"""`omniherd cluster secret rotate`: new certificate authorities for clusters."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

from omniherd.cli.connection import Settings, connected, refuse_read_only
from omniherd.cli.failures import told
from omniherd.cli.flags import BOOL, Duration, command, option
from omniherd.errors import WaitTimeout

if TYPE_CHECKING:
    from omniherd import Omni
    from omniherd.services import SecretRotation

__all__ = ["rotate_kubernetes_ca", "rotate_talos_ca", "rotation_status"]

_NAME = option("-n", "--name", metavar="NAME", help="the cluster")
_WAIT = option("-w", "--wait", type=BOOL, default=True, metavar="", help="follow it to its end; true by default")
_LIMIT = option(
    "-t", "--wait-timeout", type=Duration(), default=300.0, metavar="DURATION", help="limit, 5m by default; 0 for none"
)


@command(required=("name",))
@_NAME
@_WAIT
@_LIMIT
def rotate_talos_ca(**values: Any) -> None:
    """Give the Talos API of a cluster's machines a new certificate authority."""
    _rotate(values, "talos", "Talos CA")


@command(required=("name",))
@_NAME
@_WAIT
@_LIMIT
def rotate_kubernetes_ca(**values: Any) -> None:
    """Give a cluster's Kubernetes a new certificate authority."""
    _rotate(values, "kubernetes", "Kubernetes CA")


@command(required=("name",))
@_NAME
@option("-o", "--output", metavar="FORMAT", help="table, json or yaml; documents show it as it is now")
@_WAIT
@_LIMIT
def rotation_status(**values: Any) -> None:
    """Print how far the rotation of a certificate authority is, and follow it to its end."""
    from omniherd.cli.output.records import check_format, write_record

    settings = Settings(values)
    form = check_format(values["output"])
    with connected(settings) as omni, told():
        rotation = omni.clusters.rotation(values["name"])
        if form == "table":
            _show(omni, values, rotation)
        else:
            write_record(form, {"cluster": values["name"], **rotation._asdict()})


def _rotate(values: dict[str, Any], which: Literal["talos", "kubernetes"], title: str) -> None:
    settings = Settings(values)
    refuse_read_only(settings, f"to rotate the {title}")
    cluster = values["name"]
    with connected(settings) as omni, told():
        running = omni.clusters.rotate_ca(cluster, which)
        if running is not None:
            _show(omni, values, running)
            return
        sys.stdout.write(f'starting to rotate {title} for the cluster "{cluster}"\n')
        sys.stdout.flush()
        if values["wait"]:
            _follow(omni, values, f"{which.upper()}_CA", begin=True)


def _show(omni: Omni, values: dict[str, Any], rotation: SecretRotation) -> None:
    cluster = values["name"]
    if rotation.phase == "OK":
        sys.stdout.write(f'no ongoing secret rotation for the cluster "{cluster}"\n')
    elif values["wait"]:
        _follow(omni, values, rotation.component, begin=False)
    else:
        sys.stdout.write(
            f'rotation for "{rotation.component}" is in progress("{rotation.phase}") for the cluster "{cluster}"\n'
        )


def _follow(omni: Omni, values: dict[str, Any], component: str, *, begin: bool) -> None:
    _say(f"rotation for {component} is in progress ...")
    try:
        for step in omni.clusters.rotation_steps(values["name"], begin=begin, timeout=values["wait_timeout"] or None):
            if step.phase != "OK":
                _say(f"{step.status}: {step.step}" + (f" ({step.error})" if step.error else ""))
    except WaitTimeout:
        _say(f"timed out waiting rotation for {component} to complete")
        raise WaitTimeout("context deadline exceeded") from None
    _say(f"rotation for {component} is completed")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()

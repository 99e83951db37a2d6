"""The CNI configuration list that connects a node's pods, for each kind of network. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from netemu.podnet import backends, flannel

NAME, BRIDGE = "netemu", "cni0"


def plan(
    subnets: Iterable[IPv4Network | IPv6Network], settings: backends.Settings, mtu: int
) -> dict[str, Any]:
    """For the pods of these subnets, on a node with such settings. `mtu` of their links, 0: the kernel's."""
    if settings.backend == backends.FLANNEL:
        first = _delegating(settings, tuple(subnets))
    else:
        first = _kind(settings, tuple(subnets)) | ({"mtu": mtu} if mtu else {})
    return {**_VERSIONS, "name": NAME, "plugins": [first, *_CHAINED]}


# Plugins of other makers may not know 1.1.0 yet.
_VERSIONS = {"cniVersion": "1.0.0", "cniVersions": ["1.0.0", "1.1.0"]}

# Ports of the node and rates, for pods that ask for them; others are passed through.
_CHAINED: tuple[dict[str, Any], ...] = (
    {"type": "portmap", "snat": True, "capabilities": {"portMappings": True}},
    {"type": "bandwidth", "capabilities": {"bandwidth": True}},
)


def _kind(settings: backends.Settings, subnets: tuple[IPv4Network | IPv6Network, ...]) -> dict[str, Any]:
    ranges = [[{"subnet": str(subnet)}] for subnet in subnets]
    ipam: dict[str, Any] = {"type": "host-local", "ranges": ranges}
    if settings.pods == backends.ROUTED:
        return {"type": "ptp", "ipam": ipam | {"routes": _everywhere(subnets)}}
    return {"type": "bridge", "bridge": BRIDGE, **_GATEWAY, "ipam": ipam}


# hairpinMode: a pod that reaches itself through a Service comes back through the port it left by.
# viaGateway: the node is a pod's one neighbour, a permanent one. Pods that resolved each other would fill the
# kernel's neighbour table, which is one for all namespaces: with a thousand pods packets get lost.
_GATEWAY = {"isGateway": True, "isDefaultGateway": True, "hairpinMode": True, "viaGateway": True}


def _delegating(
    settings: backends.Settings, subnets: tuple[IPv4Network | IPv6Network, ...]
) -> dict[str, Any]:
    """flannel's plugin, which asks the daemon's file for addresses and MTU, and another plugin to connect."""
    found: dict[str, Any] = {"type": "flannel", "subnetFile": flannel.SUBNET_FILE}
    if settings.pods == backends.ROUTED:
        return found | {"delegate": {"type": "ptp"}, "ipam": {"routes": _everywhere(subnets)}}
    return found | {"delegate": {"bridge": BRIDGE, **_GATEWAY}}


def _everywhere(subnets: tuple[IPv4Network | IPv6Network, ...]) -> list[dict[str, str]]:
    return [{"dst": "0.0.0.0/0" if subnet.version == 4 else "::/0"} for subnet in subnets]

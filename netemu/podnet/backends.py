"""The ways to join the pods of different nodes, by name, and what each costs a packet. Knows no node."""

from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

HOST_GW, VXLAN, BGP, NONE, FLANNEL = ALL = ("host-gw", "vxlan", "bgp", "none", "flannel")
BRIDGED, ROUTED = KINDS = ("bridged", "routed")

# RFC 7348, 5: what a tunnel adds to an IP packet: Ethernet 14, VXLAN 8, UDP 8, and the outer IP header.
ENCAPSULATION = {4: 50, 6: 70}


class Session(NamedTuple):
    """With a BGP neighbour, called `name`, between these addresses; `asn` is the AS of the other."""

    name: str
    local: IPv4Address | IPv6Address
    peer: IPv4Address | IPv6Address
    asn: int


class Router(NamedTuple):
    """A BGP speaker: its number (RFC 4271, 4.2: printed as an IPv4 address), its AS, whom it speaks to."""

    identifier: IPv4Address
    asn: int
    sessions: tuple[Session, ...] = ()


class Settings(NamedTuple):
    """How one node's pods are connected. `mtu` 0: what the way between nodes leaves.

    `direct_routing`: no tunnel to nodes on the same link. `router`: the node's own part in BGP.
    """

    backend: str = HOST_GW
    pods: str = BRIDGED
    mtu: int = 0
    direct_routing: bool = False
    router: Router | None = None


def overhead(backend: str, families: tuple[int, ...]) -> int:
    """Bytes of the underlay's MTU which pods cannot use. A family's tunnel goes over the same family."""
    return max(ENCAPSULATION[family] for family in families) if backend in (VXLAN, FLANNEL) else 0

"""The ways to join the pods of different nodes, by name, and what each costs a packet. Knows no node."""

HOST_GW, VXLAN, BGP, NONE, FLANNEL = ALL = ("host-gw", "vxlan", "bgp", "none", "flannel")
BRIDGED, ROUTED = KINDS = ("bridged", "routed")

# RFC 7348, 5: what a tunnel adds to an IP packet: Ethernet 14, VXLAN 8, UDP 8, and the outer IP header.
ENCAPSULATION = {4: 50, 6: 70}


def overhead(backend: str, families: tuple[int, ...]) -> int:
    """Bytes of the underlay's MTU which pods cannot use. A family's tunnel goes over the same family."""
    return max(ENCAPSULATION[family] for family in families) if backend in (VXLAN, FLANNEL) else 0

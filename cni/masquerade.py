"""ipMasq: what leaves a container's subnet carries the host's address.

    postrouting (srcnat):  ip saddr @containers4  and not  ip saddr . ip daddr @inside4  ->  masquerade

One element for each address of a container; one for each subnet, which is never removed.
"""

from cni import elements
from netemu.wire import cni, nfnetlink

TABLE = "inet netemu-cni-masquerade"
_SKELETON = f"""\
add table {TABLE} {{ comment "what containers send out of their subnet carries the host's address"; }}
add set {TABLE} containers4 {{ type ipv4_addr; }}
add set {TABLE} containers6 {{ type ipv6_addr; }}
add set {TABLE} inside4 {{ type ipv4_addr . ipv4_addr; flags interval; }}
add set {TABLE} inside6 {{ type ipv6_addr . ipv6_addr; flags interval; }}
add chain {TABLE} postrouting {{ type nat hook postrouting priority srcnat; }}
flush chain {TABLE} postrouting
add rule {TABLE} postrouting ip daddr 224.0.0.0/4 return
add rule {TABLE} postrouting ip6 daddr ff00::/8 return
add rule {TABLE} postrouting ip saddr @containers4 ip saddr . ip daddr != @inside4 masquerade
add rule {TABLE} postrouting ip6 saddr @containers6 ip6 saddr . ip6 daddr != @inside6 masquerade
"""
PLACES = ((TABLE, "containers4"), (TABLE, "containers6"))


def add(call: cni.Call, configuration: "cni.Document", ips: "tuple[cni.Address, ...]") -> None:
    """One atomic transaction."""
    mark = elements.mark(configuration, call.container_id, call.ifname)
    wanted = [
        nfnetlink.Element(TABLE, f"containers{ip.address.version}", ip.address.ip.packed, comment=mark)
        for ip in ips
    ]
    if wanted:
        elements.put(call, _SKELETON, wanted, shared=[same_subnet(TABLE, "inside", ip) for ip in ips])


def same_subnet(table: str, name: str, ip: cni.Address) -> nfnetlink.Element:
    """The element "from this subnet to this subnet" of a set `name`4 or `name`6."""
    network = ip.address.network
    first, last = network.network_address.packed, network.broadcast_address.packed
    return nfnetlink.Element(table, f"{name}{network.version}", first + first, end=last + last)


def delete(call: cni.Call, configuration: "cni.Document") -> None:
    """Remove the container's elements; none is fine."""
    mark = elements.mark(configuration, call.container_id, call.ifname)
    elements.take(call, PLACES, lambda comment: comment == mark)


def collect(call: cni.Call, configuration: "cni.Document") -> None:
    """GC: remove the elements of this network's attachments that are not valid any more."""
    elements.take(call, PLACES, elements.stale(configuration))


def missing(call: cni.Call, configuration: "cni.Document", ips: "tuple[cni.Address, ...]") -> str:
    """The first of these addresses that is not masqueraded, or ""."""
    mark = elements.mark(configuration, call.container_id, call.ifname)
    have = {element.key for element in elements.held(PLACES, mark)}
    return next((str(ip.address.ip) for ip in ips if ip.address.ip.packed not in have), "")

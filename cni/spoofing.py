"""macspoofchk: a container's frames carry the container's own MAC address, or go nowhere.

bridge prerouting:  iifname @checked  and not  iifname . ether saddr @allowed  ->  drop
"""

from cni import elements
from netemu.wire import cni, nfnetlink

TABLE = "bridge netemu-cni-macspoofchk"
_SKELETON = f"""\
add table {TABLE} {{ comment "containers send with their own MAC address only"; }}
add set {TABLE} checked {{ type ifname; }}
add set {TABLE} allowed {{ type ifname . ether_addr; }}
add chain {TABLE} prerouting {{ type filter hook prerouting priority dstnat; }}
flush chain {TABLE} prerouting
add rule {TABLE} prerouting iifname @checked iifname . ether saddr != @allowed drop
"""
PLACES = ((TABLE, "checked"), (TABLE, "allowed"))
_NAME = 16  # IFNAMSIZ


def add(call: cni.Call, configuration: "cni.Document", port: str, mac: str) -> None:
    """Check what comes in by a port of the bridge."""
    mark = elements.mark(configuration, call.container_id, call.ifname)
    name = port.encode().ljust(_NAME, b"\0")
    address = nfnetlink.field(bytes.fromhex(mac.replace(":", "")))
    wanted = [
        nfnetlink.Element(TABLE, "checked", name, comment=mark),
        nfnetlink.Element(TABLE, "allowed", name + address, comment=mark),
    ]
    elements.put(call, _SKELETON, wanted)


def delete(call: cni.Call, configuration: "cni.Document") -> None:
    """Remove the container's elements; none is fine."""
    mark = elements.mark(configuration, call.container_id, call.ifname)
    elements.take(call, PLACES, lambda comment: comment == mark)


def collect(call: cni.Call, configuration: "cni.Document") -> None:
    """GC: remove the elements of this network's attachments that are not valid any more."""
    elements.take(call, PLACES, elements.stale(configuration))

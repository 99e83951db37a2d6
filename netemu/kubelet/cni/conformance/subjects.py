"""How a plugin is asked to show what it can: its part, and the least configuration in which it works. Pure.

Addresses are documentation's and of a private range; `uplink` and `spare` are links that the stage has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from netemu.base import errors

Document = dict[str, Any]

INTERFACE, IPAM, CHAINED = "interface", "ipam", "chained"
SUBNETS = ("10.99.0.0/24", "fd99::/64")
ADDRESSES: Document = {
    "type": "host-local",
    "ranges": [[{"subnet": subnet}] for subnet in SUBNETS],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
}
# What a chained plugin is put behind: a container with an interface.
BASE: Document = {"type": "bridge", "bridge": "base0", "isGateway": True, "ipam": ADDRESSES}


class Subject(NamedTuple):
    """`part` is INTERFACE (it makes one), IPAM, or CHAINED (it changes what another has made).

    `offers`: the capability arguments it is given. `ifname`: the interface it is asked for.
    """

    kind: str
    part: str
    plugin: Document
    offers: Mapping[str, Any] = {}
    ifname: str = "eth0"

    @property
    def addresses(self) -> bool:
        """Whether addresses come out of ranges, so that one can run out of them."""
        return (self.plugin.get("ipam") or {}).get("type") == "host-local"


_PORTS = {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}
_RATES = {f"{way}{what}": 10**8 for way in ("ingress", "egress") for what in ("Rate", "Burst")}

# type -> (part, its own options, capability arguments)
_KNOWN: Mapping[str, tuple[str, Document, Document]] = {
    "bridge": (INTERFACE, {"bridge": "ct0", "isGateway": True, "ipam": ADDRESSES}, {}),
    "ptp": (INTERFACE, {"ipam": ADDRESSES}, {}),
    "macvlan": (INTERFACE, {"master": "uplink", "ipam": ADDRESSES}, {}),
    "ipvlan": (INTERFACE, {"master": "uplink", "ipam": ADDRESSES}, {}),
    "vlan": (INTERFACE, {"master": "uplink", "vlanId": 5, "ipam": ADDRESSES}, {}),
    "dummy": (INTERFACE, {"ipam": ADDRESSES}, {}),
    "tap": (INTERFACE, {"ipam": ADDRESSES}, {}),
    "host-device": (INTERFACE, {"device": "spare"}, {}),
    "loopback": (INTERFACE, {}, {}),
    "flannel": (INTERFACE, {"delegate": {"bridge": "ct0", "isDefaultGateway": True}}, {}),
    "host-local": (IPAM, {"ipam": ADDRESSES}, {}),
    "static": (
        IPAM,
        {"ipam": {"type": "static", "addresses": [{"address": "10.99.0.9/24", "gateway": "10.99.0.1"}]}},
        {},
    ),
    "portmap": (CHAINED, {"snat": True}, _PORTS),
    "bandwidth": (CHAINED, {}, {"bandwidth": _RATES}),
    "tuning": (CHAINED, {"sysctl": {"net.core.somaxconn": "512"}}, {}),
    "firewall": (CHAINED, {"backend": "iptables"}, {}),
    "sbr": (CHAINED, {}, {}),
    "vrf": (CHAINED, {"vrfname": "blue"}, {}),
}


def subject(kind: str, config: Document | None = None, part: str = "") -> Subject:
    """For a plugin of that type; `config` takes the place of the table's. Rejected when there is neither."""
    found = _KNOWN.get(kind)
    if config is None:
        if found is None:
            raise errors.Rejected(
                f"{kind} is no plugin that netemu has a configuration for",
                hint="say one with --config FILE (and --part interface, ipam or chained)",
            )
        config = {**found[1], **({"capabilities": dict.fromkeys(found[2], True)} if found[2] else {})}
    part = part or (found[0] if found else INTERFACE if config.get("ipam") else CHAINED)
    plugin = {key: value for key, value in config.items() if key not in ("cniVersion", "name")}
    if part == IPAM:
        plugin = {"type": "conformance", **plugin, "ipam": {**(plugin.get("ipam") or {}), "type": kind}}
    else:
        plugin["type"] = kind
    return Subject(kind, part, plugin, found[2] if found else {}, "lo" if kind == "loopback" else "eth0")

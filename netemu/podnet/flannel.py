"""flannel's conventions: how a node says where its tunnel ends, and what its daemon tells the CNI plugin.

Read in flannel's pkg/backend/vxlan and pkg/subnet/kube; the daemon and netemu understand each other's nodes.
Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

VNI, PORT = 1, 8472  # the daemon's defaults; the port is the kernel's from before IANA gave 4789
LINKS = {4: f"flannel.{VNI}", 6: f"flannel-v6.{VNI}"}
SUBNET_FILE = "/run/flannel/subnet.env"

_PREFIX = "flannel.alpha.coreos.com/"
_TYPE, _MANAGED = _PREFIX + "backend-type", _PREFIX + "kube-subnet-manager"
_DATA = {4: _PREFIX + "backend-data", 6: _PREFIX + "backend-v6-data"}
_PUBLIC = {4: _PREFIX + "public-ip", 6: _PREFIX + "public-ipv6"}
_OVERWRITE = {4: _PREFIX + "public-ip-overwrite", 6: _PREFIX + "public-ipv6-overwrite"}
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class Lease(NamedTuple):
    """The end of a node's tunnel for one family: frames for `mac` go to the machine `public`."""

    vni: int
    mac: str
    public: IPv4Address | IPv6Address

    @property
    def version(self) -> int:
        return self.public.version


def leases(annotations: Mapping[str, str]) -> tuple[Lease, ...]:
    """Of a node that flannel's daemon, or netemu, has joined by VXLAN. What makes no sense is left out."""
    if annotations.get(_MANAGED) != "true" or annotations.get(_TYPE) != "vxlan":
        return ()
    found = (_lease(version, annotations) for version in (4, 6))
    return tuple(lease for lease in found if lease is not None)


def _lease(version: int, annotations: Mapping[str, str]) -> Lease | None:
    try:
        data = json.loads(annotations[_DATA[version]])
        vni, mac = data.get("VNI", VNI), data["VtepMAC"].lower()
        public = ip_address(annotations[_PUBLIC[version]])
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
    if public.version != version or type(vni) is not int or not _MAC.fullmatch(mac):
        return None
    return Lease(vni, mac, public)


def notes(found: Iterable[Lease]) -> dict[str, str]:
    """The annotations by which a node says where its tunnels end, letter by letter as the daemon does."""
    said = {_TYPE: "vxlan", _MANAGED: "true"}
    for lease in found:
        data = {"VNI": lease.vni, "VtepMAC": lease.mac}
        said[_DATA[lease.version]] = json.dumps(data, separators=(",", ":"))
        said[_PUBLIC[lease.version]] = str(lease.public)
    return said


def overwritten(lease: Lease, annotations: Mapping[str, str]) -> Lease:
    """The lease as a node's annotations want it: behind another address than its own, if they say so."""
    try:
        public = ip_address(annotations.get(_OVERWRITE[lease.version], ""))
    except ValueError:
        return lease
    return lease._replace(public=public) if public.version == lease.version else lease


def subnet_env(
    cluster: Iterable[IPv4Network | IPv6Network], own: Iterable[IPv4Network | IPv6Network], mtu: int
) -> str:
    """The file /run/flannel/subnet.env, which the CNI plugin `flannel` reads.

    A subnet is written as its gateway. IPMASQ false: netemu masquerades, the plugin need not.
    """
    names = {4: "FLANNEL_{}", 6: "FLANNEL_IPV6_{}"}
    subnets = list(own)
    families = {subnet.version for subnet in subnets}
    lines = [f"{names[net.version].format('NETWORK')}={net}" for net in cluster if net.version in families]
    lines += [f"{names[net.version].format('SUBNET')}={net[1]}/{net.prefixlen}" for net in subnets]
    return "\n".join([*sorted(lines), f"FLANNEL_MTU={mtu}", "FLANNEL_IPMASQ=false", ""])

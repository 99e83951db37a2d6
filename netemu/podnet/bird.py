"""A BGP speaker's configuration, in the words of BIRD 2. Pure.

Each node tells the router of its link which pods it has (RFC 4271, external: an AS a node), and learns from
it where the others are: on the same link by the other node itself (a third party's next hop), else by the
router.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network

from netemu.podnet import backends

CONFIGURATION, CONTROL = "/run/netemu/bird/bird.conf", "/run/netemu/bird/bird.ctl"

# Seconds. A neighbour that is silent is given up after the hold time (RFC 4271, 4.2: not less than 3).
_TIMES = "hold time 9; keepalive time 3; connect delay time 1; connect retry time 2; error wait time 1, 8;"


def config(
    router: backends.Router,
    own: Iterable[IPv4Network | IPv6Network],
    cluster: Iterable[IPv4Network | IPv6Network],
) -> str:
    """For one speaker with these pods; of others it believes what lies inside the cluster's ranges."""
    subnets, ranges = tuple(own), tuple(cluster)
    return "\n".join(_lines(router, subnets, ranges)) + "\n"


def _lines(
    router: backends.Router,
    own: tuple[IPv4Network | IPv6Network, ...],
    cluster: tuple[IPv4Network | IPv6Network, ...],
) -> Iterator[str]:
    yield "# Written by netemu; changes to it are lost."
    yield "log stderr { warning, error, auth, fatal, bug };"
    yield f"router id {router.identifier};"
    yield "graceful restart wait 20;"
    yield "protocol device { scan time 2; }"
    for version in sorted({net.version for net in cluster}):
        name = f"ipv{version}"
        announced = [f"  route {net} unreachable;" for net in own if net.version == version]
        if announced:
            # For the neighbours only: the node's own way to its pods is the kernel's.
            yield f"protocol static own{version} {{\n  {name};"
            yield from (*announced, "}")
        # One way to a subnet at a time: `merge paths` (ECMP) stays off.
        # After a crash what it had learned stays until it has learned anew (RFC 4724).
        yield f"protocol kernel kernel{version} {{\n  graceful restart on;"
        yield f"  {name} {{ import none; export where source = RTS_BGP; }};\n}}"
        believed = ", ".join(f"{net}+" for net in cluster if net.version == version)
        for session in router.sessions:
            if session.local.version == version:
                yield from _session(router, session, name, believed)


def _session(router: backends.Router, session: backends.Session, family: str, believed: str) -> Iterator[str]:
    yield f'protocol bgp {session.name}_{family} {{\n  description "{session.name}";'
    yield f"  local {session.local} as {router.asn};\n  neighbor {session.peer} as {session.asn};"
    yield f"  {_TIMES}\n  graceful restart on;"
    yield f"  {family} {{"
    yield f"    import where net ~ [ {believed} ];"
    yield "    export where source ~ [ RTS_STATIC, RTS_BGP ];\n  };"
    yield "}"

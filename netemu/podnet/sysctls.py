"""Every setting of a network namespace that netemu writes, where, and why: one table, which the docs render.

Of nodes they are those of a production node. The host's own are never written. Pure.
"""

from __future__ import annotations

from typing import NamedTuple

NODE, ROUTER, OUTSIDE = "node", "router", "outside"


class Sysctl(NamedTuple):
    """`where`: the kinds of places that get it. Without the `essential` ones a lab is not what it says.

    {link} in a key stands for a place's link to the fabric: it is older than the namespace's defaults.
    """

    key: str
    value: str
    where: tuple[str, ...]
    why: str
    essential: bool = True


_ALL, _FORWARDING = (NODE, ROUTER, OUTSIDE), (NODE, ROUTER)

# Written in this order.
TABLE = (
    Sysctl("net.ipv6.conf.all.disable_ipv6", "0", _ALL, "the host's default may be off"),
    Sysctl("net.ipv6.conf.default.disable_ipv6", "0", _ALL, "the same for links to come"),
    Sysctl("net.ipv6.conf.default.accept_dad", "0", _ALL,
           "addresses are unique by plan; detection of duplicates takes a second in which they do not work"),
    Sysctl("net.ipv6.conf.{link}.accept_dad", "0", (NODE, OUTSIDE),
           "while a link-local address is under detection no neighbour is asked for: packets are lost"),
    Sysctl("net.ipv6.conf.default.dad_transmits", "0", (NODE,),
           "where detection stays on, its probes would flood the bridge for every new pod", essential=False),
    Sysctl("net.ipv6.conf.default.accept_ra", "0", _ALL,
           "routes come from the plan, not from whoever advertises some", essential=False),
    Sysctl("net.ipv4.ping_group_range", "0 2147483647", _ALL, "any user may ping", essential=False),
    Sysctl("net.ipv4.ip_forward", "1", _FORWARDING, "a node is the router of its pods"),
    Sysctl("net.ipv6.conf.all.forwarding", "1", _FORWARDING, "the same for IPv6"),
    Sysctl("net.ipv4.conf.all.rp_filter", "0", (ROUTER,),
           "inherited from the host otherwise; what leaves by one segment may return by another"),
    Sysctl("net.ipv4.conf.default.rp_filter", "0", (ROUTER,), "the same for links to come"),
    Sysctl("net.ipv4.conf.all.rp_filter", "2", (NODE,),
           "loose: a reply may come another way (Services, tunnels, direct routing), but from somewhere "
           "known; the larger of this and the link's own counts, so 2 beats an inherited 1"),
    Sysctl("net.ipv4.conf.default.rp_filter", "2", (NODE,), "the same for links to come"),
    Sysctl("net.ipv4.conf.all.send_redirects", "0", (NODE,),
           "a packet for a node port leaves by the link it came in; a redirect would send the next past the "
           "translation", essential=False),
    Sysctl("net.ipv4.conf.default.send_redirects", "0", (NODE,), "the same for links to come",
           essential=False),
    Sysctl("net.ipv4.conf.{link}.send_redirects", "0", (NODE,), "one of both suffices to send them",
           essential=False),
    Sysctl("net.ipv4.conf.default.proxy_arp", "0", (NODE,),
           "a pod's gateway is an address of the node, on the bridge or on each routed pod's link; to answer "
           "for others would hide wrong routes"),
    Sysctl("net.ipv6.conf.default.proxy_ndp", "0", (NODE,), "the same for IPv6", essential=False),
    Sysctl("net.bridge.bridge-nf-call-iptables", "1", (NODE,),
           "a Service's reply between two ports of a bridge must go through the translation"),
    Sysctl("net.bridge.bridge-nf-call-ip6tables", "1", (NODE,), "the same for IPv6"),
    Sysctl("net.ipv4.ip_local_port_range", "32768 60999", (NODE,), "keeps clear of node ports",
           essential=False),
    Sysctl("net.ipv4.neigh.default.gc_thresh3", "8192", (NODE,),
           "room for every pod of a node. Kernels up to now have one table and one limit for all namespaces, "
           "which a lab does not touch: its nodes and plugins make permanent neighbours, which do not count",
           essential=False),
    Sysctl("net.ipv6.neigh.default.gc_thresh3", "8192", (NODE,), "the same for IPv6", essential=False),
)  # fmt: skip


def of(where: str, link: str | None = None) -> tuple[Sysctl, ...]:
    """Those of a kind of place: of the namespace, or with `link` of that link only."""
    return tuple(
        row._replace(key=row.key.replace("{link}", link or ""))
        for row in TABLE
        if where in row.where and ("{link}" in row.key) == (link is not None)
    )


def markdown() -> str:
    """The table as the docs show it."""
    lines = ["| setting | value | where | why |", "|---|---|---|---|"]
    lines += [
        f"| `{row.key.replace('{link}', 'eth0')}` | {row.value} | {', '.join(row.where)} | {row.why} |"
        for row in TABLE
    ]
    return "\n".join(lines) + "\n"

"""From a lab's description to the operations that make its network. Pure: the same lab, the same plan.

outside ── eth0 ══ outside ┐
                           fabric (router) ── nodes (bridge) ══ NODE ── eth0, one per node
                                           ╶─ nodes-2 (bridge) …              with segments: 2
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from netemu.kernel import operations as ops
from netemu.lab import addressing, config, layout
from netemu.podnet import sysctls

NODE_LINK = "eth0"
# Nodes that know all others on their link beforehand: more would be a second's work for a lab of 250.
_ACQUAINTED = 32


_KINDS = {
    layout.FABRIC: sysctls.ROUTER,
    layout.OUTSIDE: sysctls.OUTSIDE,
    config.CONTROL_PLANE: sysctls.NODE,
    config.WORKER: sysctls.NODE,
}
SYSCTLS = {place: sysctls.of(kind) for place, kind in _KINDS.items()}
_LINK_SYSCTLS = {place: sysctls.of(kind, NODE_LINK) for place, kind in _KINDS.items()}


@dataclass(frozen=True)
class Step:
    """Operations in one place, in order. Refusals of those in `optional` are no reason to stop."""

    place: str
    operations: tuple[ops.Operation, ...]
    optional: frozenset[ops.Operation] = frozenset()


def places(lab: config.LabConfig) -> tuple[str, ...]:
    """All namespaces of a lab, in the order they are made."""
    return (layout.FABRIC, layout.OUTSIDE, *(node.name for node in lab.nodes))


def network(lab: config.LabConfig, netns: dict[str, str]) -> tuple[Step, ...]:
    """All links, addresses, routes and sysctls of a new lab. `netns` are the places' namespace files."""
    nodes = lab.nodes
    return (
        _fabric(lab, netns),
        _outside(lab),
        *(_node(lab, node, _acquaintances(node, nodes)) for node in nodes),
    )


def _acquaintances(node: config.Node, nodes: tuple[config.Node, ...]) -> tuple[config.Node, ...]:
    """On its link: all others, or in a large lab those with whom everybody speaks."""
    near = tuple(other for other in nodes if other.segment == node.segment and other != node)
    if len(near) < _ACQUAINTED or node.role == config.CONTROL_PLANE:
        return near
    return tuple(other for other in near if other.role == config.CONTROL_PLANE)


def port(node: config.Node) -> str:
    """The fabric's end of a node's link: the node's name, shortened to fit a link's 15 letters."""
    return node.name.replace("control-plane-", "cp-")


def bridge(segment: int) -> str:
    """The fabric's bridge that a segment of nodes is: nodes, nodes-2, …"""
    return "nodes" if segment == 0 else f"nodes-{segment + 1}"


def mac(interfaces: tuple[addressing.Interface, ...]) -> str:
    """A locally administered address (RFC 9542, 2.1) that says whose it is: 02:00 and the IPv4 address.

    Where there is none, 02:06 and of the IPv6 address what tells links and machines apart.
    """
    ips = {interface.version: interface.ip.packed for interface in interfaces}
    tail = b"\0" + ips[4] if 4 in ips else bytes((6, ips[6][9], *ips[6][13:]))
    return "02:" + tail.hex(":")


def _sysctls(role: str) -> tuple[ops.SetSysctl, ...]:
    return tuple(ops.SetSysctl(sysctl.key, sysctl.value) for sysctl in SYSCTLS[role])


def _optional(role: str) -> frozenset[ops.Operation]:
    rows = (*SYSCTLS[role], *_LINK_SYSCTLS[role])
    return frozenset(ops.SetSysctl(row.key, row.value) for row in rows if not row.essential)


def _fabric(lab: config.LabConfig, netns: dict[str, str]) -> Step:
    operations: list[ops.Operation] = [
        *_sysctls(layout.FABRIC),
        ops.SetUp("lo"),
        *(operation for segment in lab.segments for operation in _segment(lab, segment)),
        ops.AddVeth(layout.OUTSIDE, NODE_LINK, netns[layout.OUTSIDE]),
        ops.SetMAC(layout.OUTSIDE, mac(lab.outside_router)),
        ops.SetMTU(layout.OUTSIDE, lab.mtu),
        *(ops.AddAddress(layout.OUTSIDE, ip) for ip in lab.outside_router),
        ops.SetUp(layout.OUTSIDE),
        *_known(layout.OUTSIDE, lab.outside_client),
    ]
    for node in lab.nodes:
        operations += [
            ops.AddVeth(port(node), NODE_LINK, netns[node.name]),
            ops.SetMTU(port(node), lab.mtu),
            ops.SetMaster(port(node), bridge(node.segment)),
            ops.SetUp(port(node)),
            *_known(bridge(node.segment), node.interfaces),
        ]
    return Step(layout.FABRIC, tuple(operations), _optional(layout.FABRIC))


def _segment(lab: config.LabConfig, segment: config.Segment) -> Iterator[ops.Operation]:
    name = bridge(segment.number)
    yield from (ops.AddBridge(name, mac(segment.router)), ops.SetMTU(name, lab.mtu))
    yield from (ops.AddAddress(name, ip) for ip in segment.router)
    yield ops.SetUp(name)


def _outside(lab: config.LabConfig) -> Step:
    """It knows the way to the nodes and nothing of pods and Services, as the world around a cluster does."""
    routers = {router.version: router.ip for router in lab.outside_router}
    operations: tuple[ops.Operation, ...] = (
        *_sysctls(layout.OUTSIDE),
        ops.SetUp("lo"),
        *_link(layout.OUTSIDE, lab.outside_client, lab.mtu),
        *_known(NODE_LINK, lab.outside_router),
        *(ops.AddRoute(network, via=routers[network.version]) for network in lab.ranges.nodes),
    )
    return Step(layout.OUTSIDE, operations, _optional(layout.OUTSIDE))


def _known(link: str, interfaces: tuple[addressing.Interface, ...]) -> Iterator[ops.Operation]:
    """Whoever is there by these addresses. The kernel has one table of neighbours for all namespaces, of
    1,024 by default, beyond which packets are lost without a word; permanent entries do not count.
    """
    yield from (ops.AddNeighbour(link, interface.ip, mac(interfaces)) for interface in interfaces)


def _node(lab: config.LabConfig, node: config.Node, others: tuple[config.Node, ...]) -> Step:
    """`others`: whom it knows from the start."""
    routers = lab.segments[node.segment].router
    operations: tuple[ops.Operation, ...] = (
        *_sysctls(node.role),
        ops.SetUp("lo"),
        *_link(node.role, node.interfaces, lab.mtu),
        *_known(NODE_LINK, routers),
        *(known for other in others for known in _known(NODE_LINK, other.interfaces)),
        *(ops.AddRoute(addressing.everywhere(router.version), via=router.ip) for router in routers),
    )
    return Step(node.name, operations, _optional(node.role))


def _link(role: str, interfaces: tuple[addressing.Interface, ...], mtu: int) -> Iterator[ops.Operation]:
    """eth0 of a node or of the outside client, whose other end is in the fabric."""
    yield from (ops.SetSysctl(row.key, row.value) for row in _LINK_SYSCTLS[role])
    yield from (ops.SetMAC(NODE_LINK, mac(interfaces)), ops.SetMTU(NODE_LINK, mtu))
    yield from itertools.chain((ops.AddAddress(NODE_LINK, ip) for ip in interfaces), (ops.SetUp(NODE_LINK),))

"""The planned network, tried on fakes: everything fits together, every pair of places can find each other."""

from ipaddress import ip_network

import pytest

from netemu.kernel import linux, network
from netemu.kernel import operations as ops
from netemu.lab import config, layout, plan


def build(lab: config.LabConfig) -> dict[str, network.FakeNetwork]:
    paths = {place: f"/ns/{place}" for place in plan.places(lab)}
    shared: dict[str, network.FakeNetwork] = {}
    nets = {place: network.FakeNetwork(shared) for place in paths}
    shared.update({paths[place]: nets[place] for place in nets})
    for step in plan.network(lab, paths):
        for operation in step.operations:
            try:
                nets[step.place].apply([operation])
            except linux.KernelError:
                assert operation in step.optional
    return nets


@pytest.mark.parametrize("nodes", [1, 3, 250])
def test_the_plan_is_accepted_in_its_order(nodes: int) -> None:
    lab = config.default("x", nodes)
    nets = build(lab)
    ports = {
        name for name, link in nets[layout.FABRIC].observe().links.items() if link.master == plan.bridge(0)
    }
    assert len(ports) == nodes
    for node in lab.nodes:
        state = nets[node.name].observe()
        assert state.links["eth0"].up
        assert {address.ip for address in state.addresses} == set(node.interfaces)
        assert {str(route.via) for route in state.routes if route.dst.prefixlen == 0} == {
            "172.18.0.1",
            "fd00:18::1",
        }


def test_the_same_lab_gives_the_same_plan() -> None:
    paths = {place: place for place in plan.places(config.default())}
    assert plan.network(config.default(), paths) == plan.network(config.default(), paths)


@pytest.mark.parametrize(("nodes", "segments"), [(5, 1), (5, 2), (60, 1)])
def test_neighbours_know_each_other_by_the_addresses_they_have(nodes: int, segments: int) -> None:
    lab = config.parse({"nodes": nodes, "network": {"backend": "vxlan", "segments": segments}})
    nets = build(lab)
    states = {place: net.observe() for place, net in nets.items()}
    macs = {
        address.ip.ip: state.links[address.link].mac
        for state in states.values()
        for address in state.addresses
    }
    for place, state in states.items():
        for neighbour in state.neighbours:
            assert macs[neighbour.ip] == neighbour.mac, (place, neighbour)
    for node in lab.nodes:
        known = {neighbour.ip for neighbour in states[node.name].neighbours}
        near = [one for one in lab.nodes if one.segment == node.segment and one != node]
        if nodes == 60 and node.role == config.WORKER:
            near = [one for one in near if one.role == config.CONTROL_PLANE]
        everybody = {interface.ip for one in near for interface in one.interfaces}
        assert known == everybody | {router.ip for router in lab.segments[node.segment].router}
    assert {n.ip for n in states[layout.OUTSIDE].neighbours} == {i.ip for i in lab.outside_router}
    in_fabric = {interface.ip for node in lab.nodes for interface in node.interfaces}
    assert {n.ip for n in states[layout.FABRIC].neighbours} == in_fabric | {i.ip for i in lab.outside_client}


def test_outside_reaches_nodes_only() -> None:
    """A cluster's pods and Services are nobody's business beyond it."""
    lab = config.default()
    routes = {route.dst for route in build(lab)[layout.OUTSIDE].observe().routes}
    assert routes == {*lab.ranges.nodes, ip_network("203.0.113.0/24"), ip_network("2001:db8:113::/64")}
    fabric = {route.dst for route in build(lab)[layout.FABRIC].observe().routes}
    assert not any(
        pods.overlaps(dst) for pods in lab.ranges.pods for dst in fabric if dst.version == pods.version
    )


def test_mtu_holds_on_every_link() -> None:
    lab = config.parse({"mtu": 1400})
    for place, net in build(lab).items():
        for name, link in net.observe().links.items():
            assert link.mtu == 1400 or name == "lo", (place, name)


def test_macs_are_unique_and_local() -> None:
    macs = [
        link.mac
        for net in build(config.default("x", 50)).values()
        for link in net.observe().links.values()
        if link.name in ("eth0", plan.bridge(0))
    ]
    assert len(macs) == len(set(macs)) == 52
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs)


def test_every_sysctl_says_why_and_is_set() -> None:
    lab = config.default()
    paths = {place: place for place in plan.places(lab)}
    for step in plan.network(lab, paths):
        keys = {op.key for op in step.operations if isinstance(op, ops.SetSysctl)}
        role = next((node.role for node in lab.nodes if node.name == step.place), step.place)
        assert {k for k in keys if ".eth0." not in k} == {sysctl.key for sysctl in plan.SYSCTLS[role]}
        assert all(sysctl.why for sysctl in plan.SYSCTLS[role])


def test_link_names_fit() -> None:
    lab = config.default("x", 250)
    assert max(len(plan.port(node)) for node in lab.nodes) < 16

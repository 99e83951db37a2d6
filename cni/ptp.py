"""ptp: a veth pair between the container and the host, which routes; there is no bridge.

    host:       gateway/32 on the veth, a route to the container's address
    container:  address, a route to the gateway, the rest of its subnet by the gateway

Options of the reference plugin (containernetworking/plugins, main/ptp). Both ends are each other's permanent
neighbours, for the kernel's neighbour table has one limit for all namespaces.
"""

import posix as os

from cni import delegate, frame
from netemu.kernel import rtnl
from netemu.wire import addresses, cni, rtnetlink


def add(call: cni.Call, configuration: "cni.Document") -> cni.Result:
    """Address, link, routes on both sides; nothing remains when one of them fails."""
    from cni import links

    mtu, masquerades = links.mtu(configuration), links.masquerades(configuration)
    if not (configuration.get("ipam") or {}).get("type"):
        raise cni.Failure(cni.INVALID_CONFIGURATION, "ptp needs an IPAM plugin")
    with frame.Netns(call.netns) as netns:
        plan = delegate.ipam(call, configuration, "ADD")
        try:
            if plan is None or not plan.ips:
                raise cni.Failure(cni.INVALID_CONFIGURATION, "IPAM plugin returned missing IP config")
            plan = _planned(plan, configuration)
            if masquerades:
                from cni import masquerade

                masquerade.add(call, configuration, plan.ips)
            return _connect(call, netns, mtu, plan)
        except BaseException:
            _give_back(call, configuration)
            raise


def _planned(plan: cni.Result, configuration: "cni.Document") -> cni.Result:
    for ip in plan.ips:
        if ip.gateway is None:
            raise cni.Failure(cni.INVALID_CONFIGURATION, f"IPAM gave no gateway for {ip.address}")
    dns = cni.dns(configuration["dns"]) if configuration.get("dns") else plan.dns
    return plan._replace(ips=tuple(ip._replace(interface=1) for ip in plan.ips), dns=dns)


def _connect(call: cni.Call, netns: int, mtu: int, plan: cni.Result) -> cni.Result:
    from cni import links

    near = "veth" + os.urandom(4).hex()
    near_mac = (b"\x0a\x5a" + os.urandom(4)).hex(":")
    far_mac = links.hardware(plan.ips[0].address)
    with rtnl.Rtnl() as host:
        try:
            host.run([rtnetlink.new_veth(near, call.ifname, netns, mac=near_mac, peer_mac=far_mac, mtu=mtu)])
            links.forward(host, {ip.address.version for ip in plan.ips})
            links.quiet(near)
            with rtnl.Inside(netns), rtnl.Rtnl() as inside:
                _container(call, inside, plan, near_mac)
            _host(host, near, plan, far_mac)
        except BaseException as problem:
            host.send([rtnetlink.del_link(near)])
            if isinstance(problem, OSError):
                raise links.told(call, problem) from None
            raise
    interfaces = cni.Interface(near, near_mac), cni.Interface(call.ifname, far_mac, mtu, call.netns)
    return plan._replace(interfaces=interfaces)


def _container(call: cni.Call, inside: rtnl.Rtnl, plan: cni.Result, near_mac: str) -> None:
    from cni import links

    link = inside.link(call.ifname)
    assert link is not None
    links.quiet(call.ifname, use=any(ip.address.version == 6 for ip in plan.ips))
    messages = [rtnetlink.set_link(index=link.index, up=True)]
    for ip in plan.ips:
        messages += [
            rtnetlink.new_address(link.index, ip.address, prefix_route=False),
            rtnetlink.new_neighbour(link.index, ip.gateway, near_mac),
            *links.subnet_by_gateway(link.index, ip),
        ]
    inside.run(messages + [links.route(link.index, route, plan) for route in plan.routes])


def _host(host: rtnl.Rtnl, near: str, plan: cni.Result, far_mac: str) -> None:
    link = host.link(near)
    assert link is not None
    messages = [rtnetlink.set_link(index=link.index, up=True)]
    for ip in plan.ips:
        messages += [
            rtnetlink.new_address(link.index, addresses.ip_interface((ip.gateway, ip.gateway.max_prefixlen))),
            rtnetlink.new_neighbour(link.index, ip.address.ip, far_mac),
            rtnetlink.new_route(addresses.ip_network(ip.address.ip), link.index),
        ]
    host.run(messages)


def _give_back(call: cni.Call, configuration: "cni.Document") -> None:
    if configuration.get("ipMasq"):
        from cni import masquerade

        masquerade.delete(call, configuration)
    delegate.ipam(call, configuration, "DEL")


def delete(call: cni.Call, configuration: "cni.Document") -> None:
    """Link (its routes and neighbours go with it), rules, address; whatever is gone already is fine."""
    from cni import parting

    parting.delete_container_link(call)
    _give_back(call, configuration)


def check(call: cni.Call, configuration: "cni.Document") -> None:
    """CHECK_FAILED when a link, address, route, neighbour or rule of ADD is not there any more."""
    from cni import checks

    wanted = checks.previous(configuration)
    delegate.ipam(call, configuration, "CHECK")
    with frame.Netns(call.netns) as netns:
        checks.mine(call, wanted)
        checks.host(wanted)
        checks.container(call, netns, wanted, neighbours=tuple(ip for ip in wanted.ips if ip.gateway))
    if configuration.get("ipMasq"):
        from cni import masquerade

        lost = masquerade.missing(call, configuration, wanted.ips)
        if lost:
            raise cni.Failure(frame.CHECK_FAILED, f"{lost} is not masqueraded any more")


def collect(call: cni.Call, configuration: "cni.Document") -> None:
    """GC: addresses and rules of attachments that are gone; no link outlives its namespace."""
    if configuration.get("ipMasq"):
        from cni import masquerade

        masquerade.collect(call, configuration)
    forward(call, configuration)


def forward(call: cni.Call, configuration: "cni.Document") -> None:
    """STATUS concerns the addresses only."""
    delegate.ipam(call, configuration, call.command)


ABOUT = "CNI ptp plugin of netemu"
HANDLERS = {"ADD": add, "DEL": delete, "CHECK": check, "GC": collect, "STATUS": forward}

"""bridge: a veth pair between the container and a bridge of the host, which can be its gateway.

Options and errors of the reference plugin (containernetworking/plugins, main/bridge). Differences, and why:
a container's MAC address is made from its IPv4 address, and it and its gateway are each other's permanent
neighbours, because the kernel's neighbour table has one limit for all namespaces; DAD, router solicitation
and link-local addresses of ports are off, because each floods the whole bridge.
"""

import errno

from cni import delegate, frame
from netemu.kernel import rtnl
from netemu.wire import cni, rtnetlink


def add(call: cni.Call, configuration: "cni.Document") -> cni.Result:
    """Address, link, routes; nothing remains when one of them fails."""
    from cni import plans, wiring  # DEL, called as often, needs neither

    wish = plans.options(call, configuration)
    layer3 = bool((configuration.get("ipam") or {}).get("type"))
    with frame.Netns(call.netns) as netns:
        ipam = delegate.ipam(call, configuration, "ADD") if layer3 else cni.Result()
        try:
            plan = plans.planned(ipam, wish, configuration)
            if wish.masquerade:
                from cni import masquerade

                masquerade.add(call, configuration, plan.ips)
            return wiring.connect(call, configuration, netns, wish, plan)
        except BaseException:
            _give_back(call, configuration)
            raise


def _give_back(call: cni.Call, configuration: "cni.Document") -> None:
    """Addresses, and the rules made for them."""
    if configuration.get("ipMasq"):
        from cni import masquerade

        masquerade.delete(call, configuration)
    if configuration.get("macspoofchk"):
        from cni import spoofing

        spoofing.delete(call, configuration)
    if (configuration.get("ipam") or {}).get("type"):
        delegate.ipam(call, configuration, "DEL")


def delete(call: cni.Call, configuration: "cni.Document") -> None:
    """Neighbours, link, rules, address; whatever is gone already is fine."""
    previous = (configuration.get("prevResult") or {}).get("ips") or ()
    held = [ip["address"].partition("/")[0] for ip in previous]
    with frame.NetnsIfAny(call.netns) as netns:
        if netns is None:
            _forget(configuration, [ip for ip in held if _is_ours(call, configuration, ip)])
        else:
            with rtnl.Inside(netns), rtnl.Rtnl() as inside:
                link = inside.link(call.ifname)
                if link is not None and not held:
                    held = _addresses(inside, link.index)
            if link is not None:
                _forget(configuration, held)
                from cni import parting

                with rtnl.Inside(netns):
                    parting.delete_links(call, (link.index,))
    _give_back(call, configuration)


def _is_ours(call: cni.Call, configuration: "cni.Document", ip: str) -> bool:
    """Whether an address is still this container's: a late, repeated DEL may find it with another."""
    if (configuration.get("ipam") or {}).get("type") != "host-local":
        return True
    from cni import hostlocal

    return hostlocal.holds(call, configuration, ip)


def _forget(configuration: "cni.Document", addresses: list[str]) -> None:
    """The host's permanent neighbours at these addresses."""
    if not addresses:
        return
    with rtnl.Rtnl() as host:
        bridge = host.link(configuration.get("bridge") or "cni0")
        if bridge is not None:
            gone = [rtnetlink.del_neighbour(bridge.index, rtnl.bare(ip)) for ip in addresses]
            host.run(gone, ignore=(errno.ENOENT,))


def _addresses(inside: rtnl.Rtnl, index: int) -> list[str]:
    found = [a.interface for a in inside.dump(rtnetlink.dump_addresses()) if a.index == index]
    return [str(interface.ip) for interface in found if not interface.is_link_local]


def check(call: cni.Call, configuration: "cni.Document") -> None:
    """CHECK_FAILED when a link, address, route, neighbour or rule of ADD is not there any more."""
    from cni import checks, plans

    wanted, wish = checks.previous(configuration), plans.options(call, configuration)
    if (configuration.get("ipam") or {}).get("type"):
        delegate.ipam(call, configuration, "CHECK")
    gateways = tuple(ip for ip in wanted.ips if ip.gateway) if wish.gateway else ()
    with frame.Netns(call.netns) as netns:
        checks.mine(call, wanted)
        checks.host(wanted)
        if wish.shown:
            checks.container(call, netns, wanted, neighbours=gateways)
    if wish.gateway:
        _check_neighbours(call, wish.bridge, wanted)
    if wish.masquerade:
        from cni import masquerade

        lost = masquerade.missing(call, configuration, wanted.ips)
        if lost:
            raise cni.Failure(frame.CHECK_FAILED, f"{lost} is not masqueraded any more")


def _check_neighbours(call: cni.Call, bridge: str, wanted: cni.Result) -> None:
    from cni import checks

    with rtnl.Rtnl() as host:
        link = host.link(bridge)
        known = checks.permanent(host, link.index) if link is not None else {}
    mac = checks.mine(call, wanted).mac
    for ip in wanted.ips:
        if known.get(str(ip.address.ip)) != mac:
            raise cni.Failure(frame.CHECK_FAILED, f"{bridge} has lost its neighbour {ip.address.ip}")


def collect(call: cni.Call, configuration: "cni.Document") -> None:
    """GC: addresses and rules of attachments that are gone; no link outlives its namespace."""
    if configuration.get("ipMasq"):
        from cni import masquerade

        masquerade.collect(call, configuration)
    if configuration.get("macspoofchk"):
        from cni import spoofing

        spoofing.collect(call, configuration)
    forward(call, configuration)


def forward(call: cni.Call, configuration: "cni.Document") -> None:
    """STATUS concerns the addresses only."""
    if (configuration.get("ipam") or {}).get("type"):
        delegate.ipam(call, configuration, call.command)


ABOUT = "CNI bridge plugin of netemu"
HANDLERS = {"ADD": add, "DEL": delete, "CHECK": check, "GC": collect, "STATUS": forward}

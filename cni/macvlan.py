"""macvlan: the container is a further host on the wire of a link of this host, with its own MAC address.

Options of the reference plugin (containernetworking/plugins, main/macvlan); `master` defaults to the link of
the default route. Without IPAM the link is made and no address given.
"""

from cni import delegate, frame, links, parting
from netemu.kernel import rtnl
from netemu.wire import cni, records, rtnetlink

Options = records.record("Options", "master mode mtu mac in_container")


def options(call: cni.Call, configuration: "cni.Document") -> Options:
    """What the configuration and the call ask for."""
    mode = configuration.get("mode") or "bridge"
    if mode not in rtnetlink.MACVLAN_MODES:
        raise cni.Failure(cni.INVALID_CONFIGURATION, f'unknown macvlan mode: "{mode}"')
    if configuration.get("bcqueuelen"):
        raise cni.Failure(cni.UNSUPPORTED_FIELD, "bcqueuelen is not supported by netemu's macvlan plugin")
    return Options(
        master=configuration.get("master") or "",
        mode=mode,
        mtu=links.mtu(configuration),
        mac=links.wanted_mac(call, configuration),
        in_container=links.flag(configuration, "linkInContainer"),
    )


def add(call: cni.Call, configuration: "cni.Document") -> cni.Result:
    """Link, address, routes; nothing remains when one of them fails."""
    wish = options(call, configuration)
    layer3 = bool((configuration.get("ipam") or {}).get("type"))
    with frame.Netns(call.netns) as netns:
        _make(call, netns, wish)
        try:
            plan = delegate.ipam(call, configuration, "ADD") if layer3 else cni.Result()
            if layer3 and (plan is None or not plan.ips):
                raise cni.Failure(cni.INVALID_CONFIGURATION, "IPAM plugin returned missing IP config")
            assert plan is not None
            plan = plan._replace(ips=tuple(ip._replace(interface=0) for ip in plan.ips))
            if configuration.get("dns"):
                plan = plan._replace(dns=cni.dns(configuration["dns"]))
            mac = _address(call, netns, plan)
        except BaseException as problem:
            delete(call, configuration)
            if isinstance(problem, OSError):
                raise links.told(call, problem) from None
            raise
    return plan._replace(interfaces=(cni.Interface(call.ifname, mac, wish.mtu, call.netns),))


def _make(call: cni.Call, netns: int, wish: Options) -> None:
    def work() -> None:
        with rtnl.Rtnl() as socket:
            master = _master(socket, wish.master)
            if wish.mtu > master.mtu:
                text = f"invalid MTU {wish.mtu}, it must be between 0 and the master's {master.mtu}"
                raise cni.Failure(cni.INVALID_CONFIGURATION, text)
            socket.run(
                [
                    rtnetlink.new_macvlan(
                        call.ifname, master.index, wish.mode, netns, mac=wish.mac, mtu=wish.mtu
                    )
                ]
            )

    try:
        if wish.in_container:
            with rtnl.Inside(netns):
                work()
        else:
            work()
    except OSError as problem:
        raise links.told(call, problem) from None


def _master(socket: rtnl.Rtnl, name: str) -> rtnetlink.Link:
    if name:
        link = socket.link(name)
    else:
        routes = [r for r in socket.dump(rtnetlink.dump_routes()) if r.dst.prefixlen == 0 and r.index]
        link = socket.by_index(min(routes, key=lambda r: r.metric).index) if routes else None
    if link is None:
        text = f'failed to lookup master "{name}"' if name else "no default route, and no master is given"
        raise cni.Failure(cni.INVALID_CONFIGURATION, text)
    return link


def _address(call: cni.Call, netns: int, plan: cni.Result) -> str:
    """Addresses and routes in the container; its MAC address."""
    with rtnl.Inside(netns), rtnl.Rtnl() as inside:
        link = inside.link(call.ifname)
        assert link is not None
        if plan.ips:
            links.write(f"/proc/sys/net/ipv4/conf/{call.ifname}/arp_notify", "1")
        messages = [rtnetlink.set_link(index=link.index, up=True)]
        messages += [rtnetlink.new_address(link.index, ip.address) for ip in plan.ips]
        inside.run(messages + [links.route(link.index, route, plan) for route in plan.routes])
    return link.mac


def delete(call: cni.Call, configuration: "cni.Document") -> None:
    """Link and address; whatever is gone already is fine."""
    parting.delete_container_link(call)
    if (configuration.get("ipam") or {}).get("type"):
        delegate.ipam(call, configuration, "DEL")


def check(call: cni.Call, configuration: "cni.Document") -> None:
    """CHECK_FAILED when the link, an address or a route of ADD is not there any more."""
    from cni import checks

    wanted = checks.previous(configuration)
    options(call, configuration)
    if (configuration.get("ipam") or {}).get("type"):
        delegate.ipam(call, configuration, "CHECK")
    with frame.Netns(call.netns) as netns:
        checks.container(call, netns, wanted)


def forward(call: cni.Call, configuration: "cni.Document") -> None:
    """GC and STATUS concern the addresses only."""
    if (configuration.get("ipam") or {}).get("type"):
        delegate.ipam(call, configuration, call.command)


ABOUT = "CNI macvlan plugin of netemu"
HANDLERS = {"ADD": add, "DEL": delete, "CHECK": check, "GC": forward, "STATUS": forward}

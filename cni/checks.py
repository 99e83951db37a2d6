"""CHECK: whether the kernel still has what ADD answered with. Each function raises CHECK_FAILED otherwise."""

from cni import frame
from netemu.kernel import rtnl
from netemu.wire import cni, rtnetlink


def previous(configuration: "cni.Document") -> cni.Result:
    """The result of ADD, without which there is nothing to check."""
    if not configuration.get("prevResult"):
        raise cni.Failure(cni.INVALID_CONFIGURATION, "required prevResult missing")
    return cni.result(configuration["prevResult"])


def mine(call: cni.Call, wanted: cni.Result) -> cni.Interface:
    """The container's interface in the result."""
    for interface in wanted.interfaces:
        if interface.name == call.ifname and interface.sandbox == call.netns:
            return interface
    text = f"prevResult has no interface {call.ifname} in {call.netns}"
    raise cni.Failure(cni.INVALID_CONFIGURATION, text)


def host(wanted: cni.Result) -> None:
    """The links on the host."""
    with rtnl.Rtnl() as socket:
        for interface in wanted.interfaces:
            if not interface.sandbox:
                same(socket, interface)


def container(
    call: cni.Call, netns: int, wanted: cni.Result, *, neighbours: "tuple[cni.Address, ...]" = ()
) -> None:
    """The link in the container with its addresses and routes; `neighbours`: gateways it knows for good."""
    interface = mine(call, wanted)
    with rtnl.Inside(netns), rtnl.Rtnl() as inside:
        link = same(inside, interface)
        if not link.flags & rtnetlink.IFF_UP:
            raise cni.Failure(frame.CHECK_FAILED, f"{call.ifname} is down")
        have = inside.dump(rtnetlink.dump_addresses())
        held = {str(a.interface) for a in have if a.index == link.index}
        dumped = inside.dump(rtnetlink.dump_routes())
        routes = {(str(r.dst), str(r.via)) for r in dumped if r.index == link.index}
        known = permanent(inside, link.index) if neighbours else {}
    for ip in wanted.ips:
        if str(ip.address) not in held:
            raise cni.Failure(frame.CHECK_FAILED, f"{call.ifname} has lost address {ip.address}")
    for route in wanted.routes:
        gateways = {via for dst, via in routes if dst == str(route.dst)}
        if not gateways or (route.gw is not None and str(route.gw) not in gateways):
            raise cni.Failure(frame.CHECK_FAILED, f"{call.ifname} has lost the route to {route.dst}")
    for ip in neighbours:
        if str(ip.gateway) not in known:
            raise cni.Failure(frame.CHECK_FAILED, f"{call.ifname} has lost its neighbour {ip.gateway}")


def permanent(socket: rtnl.Rtnl, index: int) -> dict[str, str]:
    """MAC address by IP address of a link's permanent neighbours."""
    found = socket.dump(rtnetlink.dump_neighbours())
    return {str(n.ip): n.mac for n in found if n.index == index and n.state & rtnetlink.NUD_PERMANENT}


def same(socket: rtnl.Rtnl, wanted: cni.Interface) -> rtnetlink.Link:
    """A link by the result's name and MAC address."""
    link = socket.link(wanted.name)
    if link is None:
        raise cni.Failure(frame.CHECK_FAILED, f"link {wanted.name} is gone")
    if wanted.mac and link.mac != wanted.mac.lower():
        raise cni.Failure(frame.CHECK_FAILED, f"link {wanted.name} has MAC {link.mac}, not {wanted.mac}")
    return link

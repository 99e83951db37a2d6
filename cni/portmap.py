"""portmap: ports of the host lead to a container that other plugins of the chain have connected.

Options of the reference plugin (containernetworking/plugins, meta/portmap), by nftables whichever `backend`
is asked for. Rules are the same for all containers; each has its elements in their maps: see hostports.
"""

import errno

from cni import elements, frame, hostports, links
from netemu.kernel import nfnl, rtnl
from netemu.wire import cni, nfnetlink, rtnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def add(call: cni.Call, configuration: "cni.Document") -> cni.Result:
    """Open the ports; the result is the chain's. TRY_AGAIN while another container has one of them."""
    result = frame.chained(configuration)
    wish = hostports.options(configuration)
    if not wish.mappings:
        return result
    addresses = _container(result)
    if not addresses:
        raise cni.Failure(cni.INVALID_CONFIGURATION, "got no container IPs")
    try:
        for ip in addresses:
            _open(call, configuration, wish, ip)
    except BaseException:
        delete(call, configuration)
        raise
    _forget(wish)
    return result


def _open(call: cni.Call, configuration: "cni.Document", wish: hostports.Options, ip: cni.Address) -> None:
    version = ip.address.version
    mark = elements.mark(configuration, call.container_id, call.ifname)
    wanted = hostports.elements(wish, version, ip.address.ip, mark)
    if not wanted:
        return

    def taken(element: nfnetlink.Element, other: str) -> cni.Failure | None:
        if element.set not in ("hostports", "hostips"):
            return None
        port = hostports.text(element)
        return cni.Failure(cni.TRY_AGAIN, f"port {port} of the host is in use by {other or 'somebody else'}")

    shared = []
    if wish.snat and not wish.everything:
        from cni import masquerade

        shared = [masquerade.same_subnet(wanted[0].table, "subnets", ip)._replace(set="subnets")]
    elements.put(call, hostports.skeleton(wish, version), wanted, shared=shared, taken=taken)
    if wish.snat and version == 4:
        _route_localnet(ip)


def _route_localnet(ip: cni.Address) -> None:
    """Let this host's own 127.0.0.1:PORT leave by the link to the container (the source is masqueraded)."""
    with rtnl.Rtnl() as host:
        code, found = host.send([rtnetlink.get_route(ip.address.ip)])[0]
        link = host.by_index(rtnetlink.out_of(found[0])) if code == 0 and found else None
    if link is not None and link.name != "lo":
        links.write(f"/proc/sys/net/ipv4/conf/{link.name}/route_localnet", "1")


def delete(call: cni.Call, configuration: "cni.Document") -> None:
    """Close the ports; none open is fine."""
    wish = hostports.options(configuration)
    mark = elements.mark(configuration, call.container_id, call.ifname)
    gone = elements.take(call, hostports.places(wish), lambda comment: comment == mark)
    ports = [int.from_bytes(e.key[-4:-2], "big") for e in gone if e.data and e.key[-8] == nfnetlink.UDP]
    _forget_ports(set(ports))


def _forget(wish: hostports.Options) -> None:
    """A client of UDP that asked before the port led here would be answered by nobody for ever."""
    _forget_ports({m.host_port for m in wish.mappings if m.protocol == nfnetlink.UDP})


def _forget_ports(ports: "set[int]") -> None:
    if not ports:
        return
    socket = nfnl.Nfnl()
    try:
        for family in (nfnetlink.IPV4, nfnetlink.IPV6):
            flows = [nfnetlink.flow(body) for body in socket.ask(nfnetlink.dump_flows(family))]
            for flow in flows:
                if flow is not None and flow.protocol == nfnetlink.UDP and flow.port in ports:
                    _forget_flow(socket, flow)
    finally:
        socket.close()


def _forget_flow(socket: nfnl.Nfnl, flow: nfnetlink.Flow) -> None:
    try:
        list(socket.ask(nfnetlink.delete_flow(flow)))
    except OSError as problem:
        if problem.errno != errno.ENOENT:
            raise


def check(call: cni.Call, configuration: "cni.Document") -> None:
    """CHECK_FAILED when an element is not there any more, or leads elsewhere."""
    result = frame.chained(configuration)
    wish = hostports.options(configuration)
    if not wish.mappings:
        return
    mark = elements.mark(configuration, call.container_id, call.ifname)
    have = set(elements.held(hostports.places(wish), mark))
    for ip in _container(result):
        for wanted in hostports.elements(wish, ip.address.version, ip.address.ip, mark):
            if wanted not in have:
                text = f"{wanted.set} of table {wanted.table} lacks what leads to {ip.address.ip}"
                raise cni.Failure(frame.CHECK_FAILED, text)


def collect(call: cni.Call, configuration: "cni.Document") -> None:
    """GC: close the ports of this network's attachments that are not valid any more."""
    wish = hostports.options(configuration)
    elements.take(call, hostports.places(wish), elements.stale(configuration))


def _container(result: cni.Result) -> "Iterable[cni.Address]":
    """The container's first address of each family."""
    found: dict[int, cni.Address] = {}
    for ip in result.ips:
        at = ip.interface
        if at is not None and at < len(result.interfaces) and not result.interfaces[at].sandbox:
            continue
        found.setdefault(ip.address.version, ip)
    return tuple(found.values())


ABOUT = "CNI portmap plugin of netemu"
HANDLERS = {"ADD": add, "DEL": delete, "CHECK": check, "GC": collect}

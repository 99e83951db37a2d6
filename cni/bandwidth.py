"""bandwidth: a token bucket on a container's traffic, in either direction.

    to the container (ingress):    tbf on the host's end of its veth
    from the container (egress):   what arrives by that end goes through a link of its own (ifb), with a tbf

Options of the reference plugin (containernetworking/plugins, meta/bandwidth): rates in bits a second and
bursts in bits, in the configuration or, before it, by the capability `bandwidth`. At most 25 ms of packets
wait.
"""

import errno

from cni import elements, frame, links, parting
from netemu.kernel import rtnl
from netemu.wire import cni, records, rtnetlink, traffic

_LATENCY = 0.025  # seconds a packet may wait
_MOST = 4294967295  # bits: what the reference plugin takes for a burst
_KEYS = ("ingressRate", "ingressBurst", "egressRate", "egressBurst")

# Bytes a second and bytes; rate 0: not shaped.
Shape = records.record("Shape", "rate burst")


def shapes(configuration: "cni.Document") -> "tuple[Shape, Shape]":
    """Of what comes to the container, and of what it sends."""
    for name in ("unshapedSubnets", "shapedSubnets"):
        if configuration.get(name):
            raise cni.Failure(cni.UNSUPPORTED_FIELD, f"{name} is not supported by netemu's bandwidth plugin")
    found = (configuration.get("runtimeConfig") or {}).get("bandwidth") or configuration
    if not isinstance(found, dict):
        raise cni.Failure(cni.INVALID_CONFIGURATION, "bandwidth must be an object")
    values = [found.get(key) or 0 for key in _KEYS]
    for key, value in zip(_KEYS, values, strict=True):
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise cni.Failure(cni.INVALID_CONFIGURATION, f"{key} must be a number of bits, not {value!r}")
    return _shape("ingress", values[0], values[1]), _shape("egress", values[2], values[3])


def _shape(what: str, rate: int, burst: int) -> Shape:
    if bool(rate) != bool(burst):
        raise cni.Failure(
            cni.INVALID_CONFIGURATION, f"{what}: if rate is set, burst must also be set, and vice versa"
        )
    if burst > _MOST:
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"{what} burst cannot be more than 4GB")
    if rate and rate < 8:
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"{what} rate must be at least one byte a second")
    return Shape(rate // 8, burst // 8)


def bucket(index: int, shape: Shape) -> bytes:
    """The message that puts a token bucket on a link."""
    waiting = min(int(shape.rate * _LATENCY) + shape.burst, 0xFFFFFFFF)
    return traffic.new_tbf(index, rate=shape.rate, burst=shape.burst, limit=waiting)


def ifb_name(call: cni.Call, configuration: "cni.Document") -> str:
    """The link through which goes what this container sends: the same at DEL as at ADD."""
    from binascii import crc32

    text = elements.mark(configuration, call.container_id, call.ifname).encode()
    return f"bwp{crc32(text):08x}{crc32(text[::-1]) & 0xFFFF:04x}"


def add(call: cni.Call, configuration: "cni.Document") -> cni.Result:
    """Shape; the result is the chain's, with the ifb link if there is one."""
    result = frame.chained(configuration)
    inward, outward = shapes(configuration)
    if not inward.rate and not outward.rate:
        return result
    with frame.Netns(call.netns) as netns, rtnl.Rtnl() as host:
        port = _port(call, netns, host)
        try:
            if inward.rate:
                host.run([bucket(port.index, inward)])
            if outward.rate:
                ifb = _redirect(call, configuration, host, port, outward)
                result = result._replace(interfaces=(*result.interfaces, cni.Interface(ifb.name, ifb.mac)))
        except BaseException as problem:
            delete(call, configuration)
            if isinstance(problem, OSError):
                raise links.told(call, problem) from None
            raise
    return result


def _redirect(
    call: cni.Call, configuration: "cni.Document", host: rtnl.Rtnl, port: rtnetlink.Link, shape: Shape
) -> rtnetlink.Link:
    name = ifb_name(call, configuration)
    mark = elements.mark(configuration, call.container_id, call.ifname)
    host.run([rtnetlink.new_ifb(name, mtu=port.mtu, txqlen=1000), rtnetlink.set_alias(name, mark)])
    ifb = host.link(name)
    assert ifb is not None
    host.run([traffic.new_ingress(port.index)], ignore=(errno.EEXIST,))
    host.run([traffic.new_redirect(port.index, ifb.index), bucket(ifb.index, shape)])
    return ifb


def _port(call: cni.Call, netns: int, host: rtnl.Rtnl) -> rtnetlink.Link:
    """The host's end of the container's veth."""
    with rtnl.Inside(netns), rtnl.Rtnl() as inside:
        link = inside.link(call.ifname)
    port = host.by_index(link.tied) if link is not None and link.kind == "veth" else None
    if port is None or port.kind != "veth":
        text = f"{call.ifname} is no veth whose other end is on this host"
        raise cni.Failure(cni.INVALID_CONFIGURATION, text)
    return port


def delete(call: cni.Call, configuration: "cni.Document") -> None:
    """Remove the ifb link; the rest goes with the veth. None is fine."""
    with rtnl.Rtnl() as host:
        ifb = host.link(ifb_name(call, configuration))
    if ifb is not None:
        parting.delete_links(call, (ifb.index,))


def check(call: cni.Call, configuration: "cni.Document") -> None:
    """CHECK_FAILED unless both directions are shaped as configured."""
    frame.chained(configuration)
    inward, outward = shapes(configuration)
    with frame.Netns(call.netns) as netns, rtnl.Rtnl() as host:
        places: list[tuple[rtnetlink.Link | None, Shape]] = []
        if inward.rate:
            places.append((_port(call, netns, host), inward))
        if outward.rate:
            places.append((host.link(ifb_name(call, configuration)), outward))
        rates = {q.index: q.rate for q in host.dump(traffic.dump_qdiscs(), traffic.parse) if q.kind == "tbf"}
    for link, shape in places:
        if link is None or rates.get(link.index) != shape.rate:
            name = link.name if link is not None else ifb_name(call, configuration)
            raise cni.Failure(frame.CHECK_FAILED, f"{name} does not shape to {shape.rate * 8} bits a second")


def collect(call: cni.Call, configuration: "cni.Document") -> None:
    """GC: remove the ifb links of this network's attachments that are not valid any more."""
    stale = elements.stale(configuration)
    with rtnl.Rtnl() as host:
        found = [link for link in host.dump(rtnetlink.dump_links()) if link.name.startswith("bwp")]
    parting.delete_links(call, [link.index for link in found if stale(link.alias)])


ABOUT = "CNI bandwidth plugin of netemu"
HANDLERS = {"ADD": add, "DEL": delete, "CHECK": check, "GC": collect}

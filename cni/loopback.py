"""loopback: brings a container's lo up. Options: none."""

from cni import frame
from netemu.kernel import rtnl
from netemu.wire import addresses, cni, rtnetlink


def add(call: cni.Call, configuration: "cni.Document") -> cni.Result:
    """lo up; the result has it, or is what an earlier plugin of the chain gave."""
    link = _set(call, up=True)
    previous = configuration.get("prevResult")
    if previous:
        return cni.result(previous)
    ips = tuple(cni.Address(addresses.ip_interface(text), None, 0) for text in ("127.0.0.1/8", "::1/128"))
    return cni.Result((cni.Interface(call.ifname, link.mac, 0, call.netns),), ips)


def delete(call: cni.Call, _configuration: "cni.Document") -> None:
    """lo down; a namespace that is gone needs nothing."""
    with frame.NetnsIfAny(call.netns) as netns:
        there = netns is not None
    if there:
        _set(call, up=False)


def check(call: cni.Call, _configuration: "cni.Document") -> None:
    """The link must be there and up."""
    if not _set(call, up=None).flags & rtnetlink.IFF_UP:
        raise cni.Failure(frame.CHECK_FAILED, f"loopback interface {call.ifname} is down")


def _set(call: cni.Call, *, up: bool | None) -> rtnetlink.Link:
    with frame.Netns(call.netns) as netns, rtnl.Inside(netns), rtnl.Rtnl() as socket:
        if up is not None:
            socket.run([rtnetlink.set_link(call.ifname, up=up)])
        link = socket.link(call.ifname)
    if link is None:
        raise cni.Failure(frame.CHECK_FAILED, f"{call.ifname} not found in {call.netns}")
    return link


ABOUT = "CNI loopback plugin of netemu"
HANDLERS = {"ADD": add, "DEL": delete, "CHECK": check}

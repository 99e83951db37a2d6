"""tuning: sysctls of the container's network namespace, and properties of its interface, put back at DEL.

Options of the reference plugin (containernetworking/plugins, meta/tuning): sysctl, mac, mtu, promisc,
allmulti, txQLen, dataDir. What an interface had before is kept in
<dataDir>/<container id>_<ifname>.json, as there. `allowlist.conf` (a pattern a line, for `key=value`) limits
which sysctls a configuration may set.
"""

from cni import checks, elements, frame, keeping, links
from netemu.kernel import rtnl
from netemu.wire import cni, documents, rtnetlink

_DATA = "/run/cni/tuning"
_ALLOWLIST = "/etc/cni/tuning/allowlist.conf"
_KEYS = ("mac", "promisc", "mtu", "allmulti", "txQLen")


def wishes(call: cni.Call, configuration: "cni.Document") -> "cni.Document":
    """Which properties of the interface shall have which value; those not mentioned stay."""
    found: cni.Document = {}
    mac = links.wanted_mac(call, configuration) or configuration.get("mac")
    if mac:
        found["mac"] = links.mac(mac)
    if links.mtu(configuration):
        found["mtu"] = configuration["mtu"]
    if links.flag(configuration, "promisc"):
        found["promisc"] = True
    if configuration.get("allmulti") is not None:
        found["allmulti"] = links.flag(configuration, "allmulti")
    length = configuration.get("txQLen")
    if length is not None:
        if not isinstance(length, int) or isinstance(length, bool) or length < 0:
            raise cni.Failure(cni.INVALID_CONFIGURATION, f"invalid txQLen {length!r}")
        found["txQLen"] = length
    return found


def sysctls(call: cni.Call, configuration: "cni.Document") -> list[tuple[str, str]]:
    """(file, value) of each sysctl. Only those below net are a network namespace's own."""
    wanted = configuration.get("sysctl") or {}
    if not isinstance(wanted, dict):
        raise cni.Failure(cni.INVALID_CONFIGURATION, "sysctl must be an object")
    found = []
    for key, value in wanted.items():
        if not isinstance(value, str):
            raise cni.Failure(cni.INVALID_CONFIGURATION, f"sysctl {key}: the value must be a string")
        parts = _path(key).replace("IFNAME", call.ifname).split("/")
        if parts[0] != "net" or len(parts) < 2 or {"", ".", ".."} & set(parts):
            raise cni.Failure(cni.INVALID_CONFIGURATION, f"invalid net sysctl key: {key!r}")
        found.append(("/proc/sys/" + "/".join(parts), value))
    _allowed(wanted)
    return found


def _path(key: str) -> str:
    """As sysctl(8): with dots for slashes, unless the first separator is a slash."""
    dot, slash = key.find("."), key.find("/")
    if dot >= 0 and (slash < 0 or dot < slash):
        return key.translate(str.maketrans("./", "/."))
    return key


def _allowed(wanted: "cni.Document") -> None:
    try:
        with open(_ALLOWLIST, encoding="utf-8") as file:
            patterns = [line.strip() for line in file if line.strip()]
    except FileNotFoundError:
        return
    import re

    for key, value in wanted.items():
        if not any(re.match(pattern, f"{key}={value}") for pattern in patterns):
            raise cni.Failure(cni.INVALID_CONFIGURATION, f"Sysctl {key} is not allowed. Only the following "
                              f"patterns are allowed: {patterns}")  # fmt: skip


def add(call: cni.Call, configuration: "cni.Document") -> cni.Result:
    """Set; the result is the chain's, with the interface's new MAC address and MTU."""
    result = frame.chained(configuration)
    wish, settings = wishes(call, configuration), sysctls(call, configuration)
    try:
        with frame.Netns(call.netns) as netns, rtnl.Inside(netns), rtnl.Rtnl() as inside:
            link = _link(inside, call) if wish else None
            if link is not None:
                _remember(call, configuration, _state(link, wish))
            for path, value in settings:
                _set(path, value)
            if link is not None:
                gone = _neighbours(inside, link.index) if "mac" in wish else []
                inside.run(_messages(link.index, wish) + gone)
        if link is not None and "mac" in wish:
            _tell_host(result, link.mac, wish["mac"])
    except BaseException:
        delete(call, configuration)
        raise
    mine = [i.name == call.ifname and i.sandbox == call.netns for i in result.interfaces]
    changed = {key: wish[key] for key in ("mac", "mtu") if key in wish}
    interfaces = (i._replace(**changed) if own else i for i, own in zip(result.interfaces, mine, strict=True))
    return result._replace(interfaces=tuple(interfaces))


def _neighbours(inside: rtnl.Rtnl, index: int) -> list[bytes]:
    """Messages that make a link's permanent neighbours again: they do not survive a change of its own MAC."""
    known = inside.dump(rtnetlink.dump_neighbours())
    mine = (one for one in known if one.index == index and one.state & rtnetlink.NUD_PERMANENT)
    return [rtnetlink.new_neighbour(index, one.ip, one.mac) for one in mine]


def _tell_host(result: cni.Result, old: str, new: str) -> None:
    """The host's links that know the container for good, by its old MAC address, learn the new one."""
    with rtnl.Rtnl() as host:
        ends = [host.link(interface.name) for interface in result.interfaces if not interface.sandbox]
        near = {end.index: end for end in ends if end is not None}
        known = host.dump(rtnetlink.dump_neighbours())
        stale = (n for n in known if n.index in near and n.mac == old and n.state & rtnetlink.NUD_PERMANENT)
        messages = [rtnetlink.new_neighbour(one.index, one.ip, new) for one in stale]
        host.run(messages + [rtnetlink.new_station(i, new) for i, end in near.items() if end.master])


def _set(path: str, value: str) -> None:
    try:
        links.write(path, value)
    except OSError as problem:
        code = cni.INVALID_CONFIGURATION if isinstance(problem, FileNotFoundError) else cni.IO_FAILURE
        raise cni.Failure(code, f"failed to set {path} to {value!r}", str(problem)) from None


def _link(inside: rtnl.Rtnl, call: cni.Call) -> rtnetlink.Link:
    link = inside.link(call.ifname)
    if link is None:
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"there is no interface {call.ifname} in the container")
    return link


def _state(link: rtnetlink.Link, wish: "cni.Document") -> "cni.Document":
    """What the interface has of the properties that are about to change."""
    have = {
        "mac": link.mac,
        "mtu": link.mtu,
        "promisc": bool(link.flags & rtnetlink.IFF_PROMISC),
        "allmulti": bool(link.flags & rtnetlink.IFF_ALLMULTI),
        "txQLen": link.txqlen,
    }
    return {key: have[key] for key in _KEYS if key in wish}


def _messages(index: int, wish: "cni.Document") -> list[bytes]:
    names = {"promisc": "promiscuous", "txQLen": "txqlen"}
    changes = {names.get(key, key): value for key, value in wish.items()}
    # One change a message: a driver that refuses one need not lose the others.
    return [rtnetlink.set_link(index=index, **{key: value}) for key, value in changes.items()]


def _kept(call: cni.Call, configuration: "cni.Document") -> tuple[str, str]:
    """Directory and name of the file with what the interface had."""
    return keeping.place(configuration, _DATA), f"{call.container_id}_{call.ifname}.json"


def _remember(call: cni.Call, configuration: "cni.Document", state: "cni.Document") -> None:
    place = _kept(call, configuration)
    if keeping.read(*place):
        return  # an ADD that was repeated: what was there before the first one counts
    mark = elements.mark(configuration, call.container_id, call.ifname)
    keeping.write(*place, documents.dump(state | {"netemu": mark}))


def delete(call: cni.Call, configuration: "cni.Document") -> None:
    """Put the interface's properties back, if it is still there. Sysctls end with their namespace."""
    place = _kept(call, configuration)
    text = keeping.read(*place)
    if not text:
        return
    state = documents.load(text)
    with frame.NetnsIfAny(call.netns) as netns:
        if netns is not None:
            with rtnl.Inside(netns), rtnl.Rtnl() as inside:
                link = inside.link(call.ifname)
                if link is not None:
                    inside.run(_messages(link.index, {key: state[key] for key in _KEYS if key in state}))
    keeping.remove(*place)


def check(call: cni.Call, configuration: "cni.Document") -> None:
    """CHECK_FAILED when a property or a sysctl has another value."""
    checks.previous(configuration)
    wish, settings = wishes(call, configuration), sysctls(call, configuration)
    with frame.Netns(call.netns) as netns, rtnl.Inside(netns), rtnl.Rtnl() as inside:
        have = _state(_link(inside, call), wish)
        for path, value in settings:
            with open(path, encoding="utf-8") as file:
                found = file.read().strip()
            if found.split() != value.split():
                raise cni.Failure(frame.CHECK_FAILED, f"{path} is {found!r}, not {value!r}")
    for key, value in wish.items():
        if have[key] != value:
            raise cni.Failure(frame.CHECK_FAILED, f"{call.ifname}: {key} is {have[key]}, not {value}")


def collect(call: cni.Call, configuration: "cni.Document") -> None:
    """GC: forget what interfaces had whose attachments are not valid any more."""
    stale, directory = elements.stale(configuration), keeping.place(configuration, _DATA)
    for name in keeping.names(directory):
        state = documents.load(keeping.read(directory, name) or "{}")
        if stale(str(state.get("netemu", ""))):
            keeping.remove(directory, name)


ABOUT = "CNI tuning plugin of netemu"
HANDLERS = {"ADD": add, "DEL": delete, "CHECK": check, "GC": collect}

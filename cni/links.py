"""What all plugins that make links share: sysctls, routes and errors of a container's interface.

Knows no plugin in particular and holds no socket.
"""

import errno
import posix as os

from cni import keeping
from netemu.kernel import rtnl
from netemu.wire import addresses, cni, rtnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def told(call: cni.Call, problem: OSError) -> cni.Failure:
    """What the specification wants to hear of a refusal while `call.ifname` was made."""
    if problem.errno == errno.EEXIST:
        text = f"container veth name provided ({call.ifname}) already exists, or its address or route does"
        return cni.Failure(cni.INVALID_CONFIGURATION, text, str(problem))
    return cni.Failure(cni.IO_FAILURE, f"failed to connect {call.ifname}", str(problem))


def hardware(address: "rtnetlink.Interface") -> str:
    """A MAC address that names its IP address: locally administered, the same after every restart."""
    packed = address.ip.packed
    if len(packed) == 4:
        return (b"\x0a\x58" + packed).hex(":")
    folded = bytes(a ^ b for a, b in zip(packed[8:12], packed[12:], strict=True))
    return (b"\x0a\x59" + folded).hex(":")


def wanted_mac(call: cni.Call, configuration: "cni.Document") -> str:
    """The MAC address asked for: by the capability `mac`, else args.cni.mac, else MAC= in CNI_ARGS."""
    found = (
        (configuration.get("runtimeConfig") or {}).get("mac")
        or ((configuration.get("args") or {}).get("cni") or {}).get("mac")
        or call.args.get("MAC", "")
    )
    return mac(found) if found else ""


def mac(text: object) -> str:
    """A unicast MAC address in lower case. INVALID_CONFIGURATION for what is none."""
    parts = text.lower().split(":") if isinstance(text, str) else []
    if len(parts) != 6 or any(len(p) != 2 or not set(p) <= set("0123456789abcdef") for p in parts):
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"invalid MAC address {text!r}")
    if int(parts[0], 16) & 1:
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"{text} is a multicast address")
    return ":".join(parts)


def mtu(configuration: "cni.Document") -> int:
    """The option `mtu`, 0 when not given. INVALID_CONFIGURATION for what is no size of a packet."""
    found = configuration.get("mtu") or 0
    if not isinstance(found, int) or isinstance(found, bool) or not (found == 0 or 68 <= found <= 65535):
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"invalid mtu {found!r}", "68 to 65535")
    return found


def masquerades(configuration: "cni.Document") -> bool:
    """The options ipMasq and ipMasqBackend; either backend is served by nftables."""
    backend = configuration.get("ipMasqBackend")
    if backend not in (None, "", "iptables", "nftables"):
        raise cni.Failure(cni.INVALID_CONFIGURATION, f'unknown ipMasqBackend "{backend}"')
    return flag(configuration, "ipMasq")


def flag(configuration: "cni.Document", name: str, *, default: bool = False) -> bool:
    """An option that is true or false. INVALID_CONFIGURATION for anything else."""
    found = configuration.get(name)
    if found is None:
        return default
    if not isinstance(found, bool):
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"{name} must be true or false, not {found!r}")
    return found


def route(index: int, route: cni.Route, plan: cni.Result) -> bytes:
    """A route of the result out of a link; without a gateway of its own by that of its family."""
    same = [ip for ip in plan.ips if ip.address.version == route.dst.version]
    via = route.gw or next((ip.gateway for ip in same if ip.gateway), None)
    onlink = via is not None and not any(via in ip.address.network for ip in same)
    return rtnetlink.new_route(
        route.dst,
        index,
        via=via,
        metric=route.priority or 0,
        table=route.table or rtnetlink.RT_TABLE_MAIN,
        mtu=route.mtu or 0,
        advmss=route.advmss or 0,
        onlink=onlink,
    )


def subnet_by_gateway(index: int, ip: cni.Address) -> list[bytes]:
    """Routes that make the gateway the only neighbour of a container: it alone is reached directly."""
    messages = [rtnetlink.new_route(addresses.ip_network(ip.gateway), index, source=ip.address.ip)]
    subnet = ip.address.network
    if subnet.prefixlen < subnet.max_prefixlen:
        messages.append(rtnetlink.new_route(subnet, index, via=ip.gateway, source=ip.address.ip))
    return messages


def has_ipv6() -> bool:
    """Whether the kernel has IPv6 at all."""
    return keeping.exists("/proc/sys/net/ipv6")


_REPEAT = str(3_600_000)  # ms; a frame through a veth does not get lost


def quiet(ifname: str, *, dad: bool = False, use: bool = False, redirects: "bool | None" = None) -> None:
    """No duplicate address detection, no router solicitation, no report of a group told twice.

    Each is a frame to every port of the bridge: with them the hundredth container costs more than the first.
    `use`: and IPv6 is not to be disabled. `redirects` False: nor is another way taken because a router says
    so; IPv4 wants that of the namespace and of the link (`rtnetlink.set_link`). A kernel without IPv6 has
    nothing to be quiet about.
    """
    wanted = [("accept_ra", "0"), ("mldv2_unsolicited_report_interval", _REPEAT)]
    wanted += [] if dad else [("accept_dad", "0")]
    wanted += [("disable_ipv6", "0")] if use else []
    if redirects is False:
        write("/proc/sys/net/ipv4/conf/all/accept_redirects", "0")
        wanted += [("accept_redirects", "0")]
    # All namespaces share one list of the names below /proc/sys/net: it is searched once here, not each time.
    try:
        directory = os.open(f"/proc/sys/net/ipv6/conf/{ifname}", os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        for name, value in wanted:
            write(name, value, directory=directory)
    finally:
        os.close(directory)


def write(path: str, value: str, *, directory: "int | None" = None) -> None:
    """Set a sysctl unless it has the value: /proc/sys may be mounted read-only where all is set already."""
    refused = None
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        raise
    except OSError as problem:
        fd, refused = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory), problem
    try:
        if os.read(fd, 64).strip() == value.encode():
            return
        if refused:
            raise refused
        os.pwrite(fd, value.encode(), 0)
    finally:
        os.close(fd)


_FORWARDING = {4: "/proc/sys/net/ipv4/ip_forward", 6: "/proc/sys/net/ipv6/conf/all/forwarding"}


def forward(host: rtnl.Rtnl, versions: "Iterable[int]") -> None:
    """Make the host a router of those families, if it is none."""
    asked = sorted(versions)
    answers = host.send([rtnetlink.get_forwarding(version) for version in asked])
    for version, (code, found) in zip(asked, answers, strict=True):
        if code or not found or not rtnetlink.forwards(found[0]):
            write(_FORWARDING[version], "1")

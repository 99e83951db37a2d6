"""What this kernel and machine can do, tried out where nobody sees it. Knows how to try; not who needs it.

Links and rules are tried in a network namespace made for it, mounts in a forked child's mount namespace.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import NamedTuple

from netemu.base import errors
from netemu.kernel import firewall, linux, mounts, netns, network, process
from netemu.kernel import operations as ops


class Probe(NamedTuple):
    """`detail` is the version found, or why it does not work."""

    ok: bool
    detail: str


def names() -> tuple[str, ...]:
    return tuple(_PROBES)


def probe(name: str) -> Probe:
    """Try one feature of `names()`. Never raises for a missing feature; KeyError for a name not known."""
    attempt = _PROBES[name]
    try:
        return Probe(True, attempt() or "")
    except errors.NetemuError as failure:
        return Probe(False, failure.message)
    except OSError as failure:
        return Probe(False, failure.strerror or str(failure))


def _links(*operations: ops.Operation) -> Callable[[], str | None]:
    def attempt() -> None:
        fd = netns.open_new()
        try:
            with network.LinuxNetwork(fd) as there:
                there.apply(operations)
        finally:
            os.close(fd)

    return attempt


def _rules(text: str) -> Callable[[], str | None]:
    def attempt() -> None:
        fd = netns.open_new()
        try:
            firewall.LibNftables(fd).apply(text)
        finally:
            os.close(fd)

    return attempt


def _in_child(what: Callable[[], None]) -> Callable[[], str | None]:
    """`what` happens in a child with its own mounts; its complaint comes back through a pipe."""

    def attempt() -> None:
        reader, writer = os.pipe()

        def child() -> int:
            try:
                linux.unshare(linux.CLONE_NEWNS)
                mounts.private()
                what()
            except OSError as refusal:
                os.write(writer, str(refusal.strerror or refusal).encode())
                return 1
            return 0

        pid = process.fork(child)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            complaint = file.read().decode()
        _, status = os.waitpid(pid, 0)
        if status:
            raise errors.Rejected(complaint or f"ended with status {status}")

    return attempt


def _overlay() -> None:
    place = tempfile.gettempdir()
    mounts.tmpfs(place)
    for name in ("upper", "work", "merged"):
        os.mkdir(f"{place}/{name}")
    mounts.overlay("/etc", f"{place}/upper", f"{place}/work", f"{place}/merged")


def _read_only() -> None:
    place = tempfile.gettempdir()
    mounts.tmpfs(place)
    mounts.read_only_recursive(place)


def _unshare(flags: int) -> Callable[[], str | None]:
    return _in_child(lambda: linux.unshare(flags))


def _bridge_filter() -> str | None:
    if not os.path.exists("/proc/sys/net/bridge/bridge-nf-call-iptables"):
        raise errors.Rejected("bridged packets do not reach nftables: module br_netfilter is not loaded")
    return None


def _root() -> str | None:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        effective = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    missing = [
        name for name, bit in (("CAP_SYS_ADMIN", 21), ("CAP_NET_ADMIN", 12)) if not effective >> bit & 1
    ]
    if missing:
        raise errors.Rejected("this process lacks " + " and ".join(missing))
    return f"uid {os.geteuid()}"


def _python() -> str | None:
    if sys.hexversion < 0x030B0000:
        raise errors.Rejected(f"Python {sys.version.split()[0]} is older than 3.11")
    return sys.version.split()[0]


def _system_python() -> str | None:
    found = shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin")
    if found is None:
        raise errors.Rejected("no python3 in /usr/bin or /usr/local/bin to run CNI executables with")
    return found


def _nft_binding() -> str | None:
    module = firewall.binding()
    module.Nftables()
    return getattr(module, "__file__", None)


_PROBES: dict[str, Callable[[], str | None]] = {
    "privileges": _root,
    "python": _python,
    "system python": _system_python,
    "nftables binding": _nft_binding,
    "namespaces": _unshare(
        linux.CLONE_NEWNET | linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC
    ),
    "veth": _links(ops.AddVeth("a", "b")),
    "bridge": _links(ops.AddBridge("a")),
    "vxlan": _links(ops.AddVxlan("a", 1, IPv4Address("192.0.2.1"))),
    "nftables": _rules(
        "add table inet t\n"
        "add chain inet t c { type nat hook prerouting priority -100 ; }\n"
        "add map inet t m { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service ; }\n"
        "add rule inet t c meta mark set numgen random mod 2\n"
        "add rule inet t c fib daddr type local counter\n"
        "add rule inet t c ct state new dnat ip to ip daddr . meta l4proto . th dport map @m\n"
    ),
    "bridge filter": _bridge_filter,
    "overlay": _in_child(_overlay),
    "read-only mounts": _in_child(_read_only),
}

"""Queueing disciplines and filters as rtnetlink messages: what shapes a link's traffic.

A codec only, beside wire.rtnetlink: token buckets, and the redirection of what arrives to another link.
Layouts: linux/rtnetlink.h, pkt_sched.h, pkt_cls.h, tc_act/tc_mirred.h. Standard library only.
"""

import struct

from netemu.wire import netlink, records

_NEWQDISC, _GETQDISC, _NEWTFILTER = 36, 38, 44
_LITTLE = struct.pack("=H", 1) == b"\1\0"
TCA_KIND, TCA_OPTIONS = 1, 2
_ROOT, _INGRESS, _INGRESS_HANDLE = 0xFFFFFFFF, 0xFFFFFFF1, 0xFFFF0000
_TRAFFIC = struct.Struct("=BxxxiIII")  # family, index, handle, parent, info
_RATE = struct.Struct("=BBHhHI")  # cell log, link layer, overhead, cell align, packet unit, bytes a second
_TBF_PARMS, _TBF_RATE64, _TBF_BURST = 1, 4, 6
_U32_SEL, _U32_ACT = 5, 7
_MIRRED_PARMS = 2
# rate: bytes a second; burst, limit: bytes; of a token bucket filter, else 0.
Qdisc = records.record("Qdisc", "index kind parent rate limit")


def new_tbf(index: int, *, rate: int, burst: int, limit: int) -> bytes:
    """A token bucket filter as a link's root: bytes a second, bytes at once, bytes that may wait."""
    ethernet = 1  # with a link layer the kernel wants no table of transmission times
    speed = _RATE.pack(0, ethernet, 0, 0, 0, min(rate, 0xFFFFFFFF))
    parms = speed + _RATE.pack(0, 0, 0, 0, 0, 0) + struct.pack("=III", limit, 0, 0)
    options = netlink.attribute(_TBF_PARMS, parms) + netlink.u32(_TBF_BURST, burst)
    if rate > 0xFFFFFFFF:
        options += netlink.attribute(_TBF_RATE64, rate.to_bytes(8, "little" if _LITTLE else "big"))
    body = (
        _TRAFFIC.pack(0, index, 0x10000, _ROOT, 0)
        + netlink.text(TCA_KIND, "tbf")
        + netlink.attribute(TCA_OPTIONS, options)
    )
    return netlink.message(_NEWQDISC, netlink.ACK | netlink.CREATE | netlink.REPLACE, body)


def new_ingress(index: int) -> bytes:
    """Where filters on what arrives by a link hang. EEXIST if it is there."""
    body = _TRAFFIC.pack(0, index, _INGRESS_HANDLE, _INGRESS, 0) + netlink.text(TCA_KIND, "ingress")
    return netlink.message(_NEWQDISC, netlink.ACK | netlink.CREATE | netlink.EXCL, body)


def new_redirect(index: int, to: int) -> bytes:
    """All that arrives by link `index` leaves by link `to` instead. Needs `new_ingress`."""
    stolen, redirect, all_protocols, priority = 4, 1, 0x0300, 1
    parms = struct.pack("=IIiiiiI", 0, 0, stolen, 0, 0, redirect, to)
    action = netlink.text(TCA_KIND, "mirred") + netlink.attribute(
        TCA_OPTIONS, netlink.attribute(_MIRRED_PARMS, parms)
    )
    everything = struct.pack("=BBBBHHhhI", 1, 0, 1, 0, 0, 0, 0, 0, 0) + struct.pack("=IIii", 0, 0, 0, 0)
    options = netlink.attribute(_U32_SEL, everything) + netlink.attribute(
        _U32_ACT, netlink.attribute(1, action)
    )
    info = priority << 16 | (all_protocols if _LITTLE else 0x0003)
    body = _TRAFFIC.pack(0, index, 0, _INGRESS_HANDLE, info) + netlink.text(TCA_KIND, "u32")
    return netlink.message(
        _NEWTFILTER,
        netlink.ACK | netlink.CREATE | netlink.EXCL,
        body + netlink.attribute(TCA_OPTIONS, options),
    )


def dump_qdiscs() -> bytes:
    """All queueing disciplines of the namespace."""
    return netlink.message(_GETQDISC, netlink.DUMP, _TRAFFIC.pack(0, 0, 0, 0, 0))


def parse(reply: "netlink.Reply") -> Qdisc | None:
    """The value in an answer to `dump_qdiscs`."""
    if reply.type != _NEWQDISC or len(reply.body) < _TRAFFIC.size:
        return None
    _, index, _, parent, _ = _TRAFFIC.unpack_from(reply.body)
    found = dict(netlink.split(reply.body, _TRAFFIC.size))
    kind = found.get(TCA_KIND, b"").rstrip(b"\0").decode()
    rate = limit = 0
    options = dict(netlink.split(found.get(TCA_OPTIONS, b""), 0)) if kind == "tbf" else {}
    if len(options.get(_TBF_PARMS, b"")) >= 2 * _RATE.size + 4:
        rate = _RATE.unpack_from(options[_TBF_PARMS])[5]
        limit = struct.unpack_from("=I", options[_TBF_PARMS], 2 * _RATE.size)[0]
    if _TBF_RATE64 in options:
        rate = struct.unpack("=Q", options[_TBF_RATE64])[0]
    return Qdisc(index, kind, parent, rate, limit)

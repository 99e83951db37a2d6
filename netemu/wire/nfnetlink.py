"""nfnetlink messages as bytes, and back: elements of nf_tables sets and maps, and tracked connections.

A codec only: it knows no socket and no rule. Tables, chains and sets are text for nft(8), made once on a
host; what comes and goes with every container is an element, and one costs 0.1 ms here and 5 ms by a program.
Layouts: linux/netfilter/nfnetlink.h, nf_tables.h, nfnetlink_conntrack.h (attributes in network byte order).
Standard library only, for CNI executables import this.
"""

import struct

from netemu.wire import netlink, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

INET, IPV4, BRIDGE, IPV6 = 1, 2, 7, 10  # families of tables (NFPROTO_*)
FAMILIES = {"inet": INET, "ip": IPV4, "bridge": BRIDGE, "ip6": IPV6}
UDP = 17

_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NFTABLES, _CTNETLINK = 10, 1
_NEWSETELEM, _GETSETELEM, _DELSETELEM = 12, 13, 14
_CT_GET, _CT_DELETE = 1, 2
_NESTED = 0x8000

_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_LIST_ELEMENT = 1
_ELEMENT_KEY, _ELEMENT_DATA, _ELEMENT_USERDATA, _ELEMENT_KEY_END = 1, 2, 6, 10
_DATA_VALUE = 1
_USERDATA_COMMENT = 0

_CT_ORIGINAL, _TUPLE_IP, _TUPLE_PROTO = 1, 1, 2
_PROTO_NUMBER, _PROTO_DESTINATION = 1, 3
_CT_DESTINATIONS = {IPV4: 2, IPV6: 4}  # CTA_IP_V4_DST, CTA_IP_V6_DST

_HEADER = struct.Struct("=LHHLL")  # length, type, flags, sequence, port
_FAMILY = struct.Struct(">BBH")  # family, version, resource

# table: "ip name" as nft has it; key, data, end as bytes, in an element's padded form; `end` closes a range.
Element = records.record("Element", "table set key data comment end", defaults=(b"", "", b""))
# protocol as a number; destination as bytes; `original` names it to the kernel.
Flow = records.record("Flow", "family protocol destination port original")


def field(value: bytes) -> bytes:
    """One field of a concatenation: padded to 32 bits."""
    return value + b"\0" * (-len(value) % 4)


def add_elements(elements: "Iterable[Element]", *, exclusive: bool = False) -> list[bytes]:
    """One message an element; with `exclusive` EEXIST for one that is there, else only if its data differ."""
    flags = netlink.ACK | netlink.CREATE | (netlink.EXCL if exclusive else 0)
    return [_element(_NEWSETELEM, flags, each) for each in elements]


def delete_elements(elements: "Iterable[Element]") -> list[bytes]:
    """ENOENT for one that is not there."""
    return [_element(_DELSETELEM, netlink.ACK, each._replace(data=b"", comment="")) for each in elements]


def get_element(element: Element) -> bytes:
    """Ask for one element by its key."""
    return _element(_GETSETELEM, netlink.ACK, element._replace(data=b"", comment=""))


def dump_elements(table: str, name: str) -> bytes:
    """Ask for all elements of a set or map. ENOENT when there is no such table or set."""
    return _message(_NFTABLES, _GETSETELEM, netlink.DUMP, _family(table), _where(table, name))


def batch(messages: "Sequence[bytes]") -> list[bytes]:
    """One transaction of nf_tables: all of it or nothing."""
    resource = struct.pack(">BBH", 0, 0, _NFTABLES)
    begin, end = (
        _HEADER.pack(_HEADER.size + len(resource), kind, netlink.REQUEST, 0, 0) + resource
        for kind in (_BATCH_BEGIN, _BATCH_END)
    )
    return [begin, *messages, end]


def elements(table: str, name: str, body: bytes) -> "Iterator[Element]":
    """The elements in one answer to `dump_elements` or `get_element` (after netlink's header)."""
    outer = dict(netlink.split(body, _FAMILY.size))
    for kind, item in netlink.split(outer.get(_LIST_ELEMENTS, b""), 0):
        if kind == _LIST_ELEMENT:
            parts = dict(netlink.split(item, 0))
            yield Element(
                table,
                name,
                _value(parts.get(_ELEMENT_KEY, b"")),
                _value(parts.get(_ELEMENT_DATA, b"")),
                _comment(parts.get(_ELEMENT_USERDATA, b"")),
                _value(parts.get(_ELEMENT_KEY_END, b"")),
            )


def dump_flows(family: int) -> bytes:
    """Ask for all tracked connections of a family."""
    return _message(_CTNETLINK, _CT_GET, netlink.DUMP, family, b"")


def delete_flow(flow: Flow) -> bytes:
    """Forget a connection. ENOENT when it ended meanwhile."""
    return _message(
        _CTNETLINK,
        _CT_DELETE,
        netlink.ACK,
        flow.family,
        netlink.attribute(_CT_ORIGINAL | _NESTED, flow.original),
    )


def flow(body: bytes) -> Flow | None:
    """One answer to `dump_flows` (after netlink's header); None for one without ports."""
    family = body[0]
    original = dict(netlink.split(body, _FAMILY.size)).get(_CT_ORIGINAL, b"")
    parts = dict(netlink.split(original, 0))
    proto = dict(netlink.split(parts.get(_TUPLE_PROTO, b""), 0))
    destination = dict(netlink.split(parts.get(_TUPLE_IP, b""), 0)).get(_CT_DESTINATIONS.get(family, 0))
    if destination is None or _PROTO_DESTINATION not in proto:
        return None
    port = int.from_bytes(proto[_PROTO_DESTINATION], "big")
    return Flow(family, proto[_PROTO_NUMBER][0], destination, port, original)


def _element(kind: int, flags: int, element: Element) -> bytes:
    parts = _nested(_ELEMENT_KEY, netlink.attribute(_DATA_VALUE, element.key))
    if element.end:
        parts += _nested(_ELEMENT_KEY_END, netlink.attribute(_DATA_VALUE, element.end))
    if element.data:
        parts += _nested(_ELEMENT_DATA, netlink.attribute(_DATA_VALUE, element.data))
    if element.comment:
        text = element.comment.encode() + b"\0"
        parts += netlink.attribute(_ELEMENT_USERDATA, bytes([_USERDATA_COMMENT, len(text)]) + text)
    body = _where(element.table, element.set) + _nested(_LIST_ELEMENTS, _nested(_LIST_ELEMENT, parts))
    return _message(_NFTABLES, kind, flags, _family(element.table), body)


def _family(table: str) -> int:
    return FAMILIES[table.partition(" ")[0]]


def _where(table: str, name: str) -> bytes:
    return netlink.text(_LIST_TABLE, table.partition(" ")[2]) + netlink.text(_LIST_SET, name)


def _value(nested: bytes) -> bytes:
    return dict(netlink.split(nested, 0)).get(_DATA_VALUE, b"")


def _comment(data: bytes) -> str:
    """nft's own user data: type, length, value."""
    at = 0
    while at + 2 <= len(data):
        kind, length = data[at], data[at + 1]
        if kind == _USERDATA_COMMENT:
            return data[at + 2 : at + 2 + length].rstrip(b"\0").decode(errors="replace")
        at += 2 + length
    return ""


def _message(subsystem: int, kind: int, flags: int, family: int, body: bytes) -> bytes:
    length = _HEADER.size + _FAMILY.size + len(body)
    head = _HEADER.pack(length, subsystem << 8 | kind, flags | netlink.REQUEST, 0, 0)
    return head + _FAMILY.pack(family, 0, 0) + body


def _nested(kind: int, payload: bytes) -> bytes:
    return netlink.attribute(kind | _NESTED, payload)

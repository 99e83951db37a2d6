"""IP addresses, interfaces and networks as values, with ipaddress's names, for programs that live briefly.

Importing ipaddress takes a CNI executable five of its twenty milliseconds. What is here means the same,
prints the same and equals the same; what is not here (netmasks for prefix lengths, zones) is refused. Pure.
ValueError, in one line, for what is no address.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BITS = {4: 32, 6: 128}
_DIGITS = frozenset("0123456789")
_HEX = frozenset("0123456789abcdefABCDEF")


class Address:
    """An IPv4 or IPv6 address."""

    __slots__ = ("number", "version")

    def __init__(self, version: int, number: int) -> None:
        if not 0 <= number < 1 << _BITS[version]:
            raise ValueError(f"{number} is no IPv{version} address")
        self.version = version
        self.number = number

    @property
    def packed(self) -> bytes:
        return self.number.to_bytes(_BITS[self.version] // 8, "big")

    @property
    def max_prefixlen(self) -> int:
        return _BITS[self.version]

    @property
    def is_unspecified(self) -> bool:
        return self.number == 0

    @property
    def is_link_local(self) -> bool:
        return self.number >> 16 == 0xA9FE if self.version == 4 else self.number >> 118 == 0x3FA

    def __int__(self) -> int:
        return self.number

    def __add__(self, offset: int) -> "Address":
        return Address(self.version, self.number + offset)

    def __sub__(self, offset: int) -> "Address":
        return Address(self.version, self.number - offset)

    def __str__(self) -> str:
        return _text4(self.number) if self.version == 4 else _text6(self.number)

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return getattr(other, "packed", None) == self.packed

    def __hash__(self) -> int:
        return hash((self.version, self.number))

    def __lt__(self, other: "Address") -> bool:
        return (self.version, self.number) < (other.version, int(other))

    def __le__(self, other: "Address") -> bool:
        return (self.version, self.number) <= (other.version, int(other))


class Network:
    """All addresses with a prefix in common."""

    __slots__ = ("network_address", "prefixlen")

    def __init__(self, first: Address, prefixlen: int) -> None:
        self.network_address = first
        self.prefixlen = prefixlen

    @property
    def version(self) -> int:
        return self.network_address.version

    @property
    def max_prefixlen(self) -> int:
        return _BITS[self.version]

    @property
    def broadcast_address(self) -> Address:
        """The last one, whatever the family."""
        return Address(self.version, self.network_address.number | self._hosts())

    def _hosts(self) -> int:
        return (1 << self.max_prefixlen - self.prefixlen) - 1

    def overlaps(self, other: "Network") -> bool:
        return other.network_address in self or self.network_address in other

    def __contains__(self, address: Address) -> bool:
        return address.version == self.version and int(address) | self._hosts() == int(self.broadcast_address)

    def __str__(self) -> str:
        return f"{self.network_address}/{self.prefixlen}"

    def __repr__(self) -> str:
        return f"Network({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        first = getattr(other, "network_address", None)
        return first == self.network_address and getattr(other, "prefixlen", None) == self.prefixlen

    def __hash__(self) -> int:
        return hash((self.network_address, self.prefixlen))


class Interface:
    """An address and the prefix length of the network it is in."""

    __slots__ = ("ip", "prefixlen")

    def __init__(self, ip: Address, prefixlen: int) -> None:
        self.ip = ip
        self.prefixlen = prefixlen

    @property
    def version(self) -> int:
        return self.ip.version

    @property
    def network(self) -> Network:
        hosts = (1 << self.ip.max_prefixlen - self.prefixlen) - 1
        return Network(Address(self.version, self.ip.number & ~hosts), self.prefixlen)

    @property
    def is_link_local(self) -> bool:
        return self.ip.is_link_local

    def __str__(self) -> str:
        return f"{self.ip}/{self.prefixlen}"

    def __repr__(self) -> str:
        return f"Interface({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return getattr(other, "ip", None) == self.ip and getattr(other, "network", None) == self.network

    def __hash__(self) -> int:
        return hash((self.ip, self.prefixlen))


def ip_address(value: "str | bytes | Any") -> Address:
    """Of a text, or of 4 or 16 bytes."""
    if isinstance(value, bytes):
        return Address({4: 4, 16: 6}[len(value)], int.from_bytes(value, "big"))
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no IP address")
    return Address(6, _number6(value)) if ":" in value else Address(4, _number4(value))


def ip_interface(value: "str | tuple[Address, int] | Any") -> Interface:
    """Of "address/length", "address", or an address and a length."""
    if isinstance(value, tuple):
        return Interface(*value)
    ip, length = _split(value)
    return Interface(ip, length)


def ip_network(value: "str | Address | Any", *, strict: bool = True) -> Network:
    """Of "address/length" or an address alone. `strict`: no bit may be set behind the prefix."""
    if isinstance(value, Address):
        return Network(value, value.max_prefixlen)
    ip, length = _split(value)
    network = Interface(ip, length).network
    if strict and network.network_address != ip:
        raise ValueError(f"{value} has host bits set")
    return network


def _split(value: "Any") -> tuple[Address, int]:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no IP network")
    text, slash, length = value.partition("/")
    ip = ip_address(text)
    if not slash:
        return ip, ip.max_prefixlen
    if not (length and _DIGITS.issuperset(length) and len(length) <= 3 and int(length) <= ip.max_prefixlen):
        raise ValueError(f"{value!r} has no valid prefix length")
    return ip, int(length)


def _number4(text: str) -> int:
    parts = text.split(".")
    number = 0
    for part in parts:
        small = part and len(part) <= 3 and _DIGITS.issuperset(part) and (part == "0" or part[0] != "0")
        if len(parts) != 4 or not small or int(part) > 255:
            raise ValueError(f"{text!r} is no IP address")
        number = number << 8 | int(part)
    return number


def _number6(text: str) -> int:
    head, gap, tail = text.partition("::")
    groups = [_groups(part, text) for part in (head, tail)]
    missing = 8 - len(groups[0]) - len(groups[1])
    if (missing < 1 if gap else missing != 0) or "::" in tail or tail.startswith(":"):
        raise ValueError(f"{text!r} is no IP address")
    number = 0
    for group in (*groups[0], *([0] * missing), *groups[1]):
        number = number << 16 | group
    return number


def _groups(part: str, text: str) -> list[int]:
    found: list[int] = []
    pieces = part.split(":") if part else []
    for index, piece in enumerate(pieces):
        if "." in piece and index == len(pieces) - 1 and text.endswith(piece):
            last = _number4(piece)
            found += [last >> 16, last & 0xFFFF]
        elif 1 <= len(piece) <= 4 and _HEX.issuperset(piece):
            found.append(int(piece, 16))
        else:
            raise ValueError(f"{text!r} is no IP address")
    return found


def _text4(number: int) -> str:
    return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _text6(number: int) -> str:
    """RFC 5952: the first of the longest runs of two or more zero groups becomes "::"."""
    groups = [f"{number >> shift & 0xFFFF:x}" for shift in range(112, -1, -16)]
    best, length, start = 0, 1, 0
    for index in range(9):
        if index < 8 and groups[index] == "0":
            continue
        if index - start > length:
            best, length = start, index - start
        start = index + 1
    if length < 2:
        return ":".join(groups)
    return f"{':'.join(groups[:best])}::{':'.join(groups[best + length :])}"

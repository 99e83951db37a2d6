"""Which addresses an IPAM configuration offers, and in which order. Pure: knows no file and no lease."""

from netemu.wire import addresses, cni, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


# subnet: a network; start, end (inclusive) and gateway: addresses in it.
Range = records.record("Range", "subnet start end gateway")


def parse(configuration: "cni.Document") -> "tuple[tuple[Range, ...], ...]":
    """The range sets, each of one family: an address is taken from every set.

    Runtime's ipRanges come first, then the flat `subnet` form, then `ranges`, as in the reference plugin.
    """
    ipam = configuration.get("ipam") or {}
    documents = list((configuration.get("runtimeConfig") or {}).get("ipRanges") or ())
    if ipam.get("subnet"):
        documents.append([ipam])
    documents += ipam.get("ranges") or ()
    if not documents:
        raise cni.Failure(cni.INVALID_CONFIGURATION, "no IP ranges specified")
    try:
        sets = tuple(tuple(_range(document) for document in one) for one in documents)
    except (KeyError, TypeError, AttributeError) as problem:
        raise cni.Failure(cni.INVALID_CONFIGURATION, "invalid range set", repr(problem)) from None
    everything = [r for one in sets for r in one]
    for i, a in enumerate(everything):
        for b in everything[:i]:
            same = a.subnet.version == b.subnet.version
            if same and int(a.start) <= int(b.end) and int(b.start) <= int(a.end):
                raise cni.Failure(cni.INVALID_CONFIGURATION, f"range {a.subnet} overlaps with {b.subnet}")
    for one in sets:
        if len({r.subnet.version for r in one}) != 1:
            raise cni.Failure(cni.INVALID_CONFIGURATION, "a range set must hold addresses of one family")
    return sets


def _range(document: "cni.Document") -> Range:
    text = document["subnet"]
    try:
        subnet = addresses.ip_network(text)
        if subnet.prefixlen > subnet.max_prefixlen - 2:
            raise ValueError("too small to allocate from")
        first = subnet.network_address + 1
        last = subnet.broadcast_address - (1 if subnet.version == 4 else 0)
        start = _address(document, "rangeStart", first)
        end = _address(document, "rangeEnd", last)
        gateway = _address(document, "gateway", first)
        for address in (start, end):
            if address not in subnet:
                raise ValueError(f"{address} is not in it")
        if int(start) > int(end):
            raise ValueError(f"rangeStart {start} is after rangeEnd {end}")
    except (ValueError, TypeError) as problem:
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"invalid range {text}", str(problem)) from None
    return Range(subnet, start, end, gateway)


def _address(document: "cni.Document", key: str, default: addresses.Address) -> addresses.Address:
    return addresses.ip_address(document[key]) if document.get(key) else default


def candidates(
    ranges: "tuple[Range, ...]", last: "addresses.Address | None"
) -> "Iterator[tuple[addresses.Address, Range]]":
    """Every usable address of a set once: round robin, from the one after `last`. Gateways are left out."""
    at = next((i for i, r in enumerate(ranges) if last is not None and r.start <= last <= r.end), None)
    if at is None:
        order = [(r, r.start, r.end) for r in ranges]
    else:
        first = ranges[at]
        assert last is not None
        order = [(first, last + 1, first.end)] if last < first.end else []
        order += [(r, r.start, r.end) for r in (*ranges[at + 1 :], *ranges[:at])]
        order.append((first, first.start, last))
    for r, address, end in order:
        for offset in range(int(end) - int(address) + 1):
            if (candidate := address + offset) not in (r.gateway, r.subnet.network_address):
                yield candidate, r


def holding(ranges: "tuple[Range, ...]", address: "addresses.Address") -> Range | None:
    """The range of a set that has an address, or None."""
    return next(
        (r for r in ranges if r.start.version == address.version and r.start <= address <= r.end), None
    )

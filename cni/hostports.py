"""Ports of the host that lead to a container: which elements and which rules that takes. Pure.

One table a family (and a combination of conditions and mark, which hardly anybody has):

    prerouting, output (dstnat):  to an address of the host -> map hostips  (address . protocol . port)
                                                              map hostports (protocol . port)
    postrouting (srcnat):         @everything, or from the container's own subnet or this very host, whom the
                                  container would answer past us                              -> masquerade
"""

from binascii import crc32

from netemu.wire import addresses, cni, nfnetlink, records

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}

# host: an address or None (any); container_port 0 is none.
Mapping = records.record("Mapping", "protocol host_port container_port host")
# conditions: nft text for IPv4 and for IPv6; mark: a bit or None.
Options = records.record("Options", "mappings snat everything conditions mark")

_WORDS = {
    4: {"-s": "ip saddr", "-d": "ip daddr", "-i": "iifname", "family": "ip", "type": "ipv4_addr"},
    6: {"-s": "ip6 saddr", "-d": "ip6 daddr", "-i": "iifname", "family": "ip6", "type": "ipv6_addr"},
}
_LONG = {"--source": "-s", "--destination": "-d", "--in-interface": "-i"}
_SETS = ("hostports", "hostips", "published", "everything")


def options(configuration: "cni.Document") -> Options:
    """What the configuration and the capability `portMappings` ask for."""
    if configuration.get("externalSetMarkChain"):
        raise cni.Failure(
            cni.UNSUPPORTED_FIELD, "externalSetMarkChain is a chain of iptables, which we do not use"
        )
    backend = configuration.get("backend")
    if backend not in (None, "", "iptables", "nftables"):
        raise cni.Failure(cni.INVALID_CONFIGURATION, f'unknown backend "{backend}"')
    bit = configuration.get("markMasqBit")
    if bit is not None and (not isinstance(bit, int) or isinstance(bit, bool) or not 0 <= bit <= 31):
        raise cni.Failure(cni.INVALID_CONFIGURATION, "MasqMarkBit must be between 0 and 31", repr(bit))
    runtime = configuration.get("runtimeConfig") or {}
    mappings = runtime.get("portMappings") or ()
    if not isinstance(mappings, list | tuple):
        raise cni.Failure(cni.INVALID_CONFIGURATION, "portMappings must be a list")
    return Options(
        mappings=tuple(one for each in mappings for one in _mapping(each)),
        snat=configuration.get("snat") is not False,
        everything=bool(configuration.get("masqAll")),
        conditions=tuple(_conditions(configuration, version) for version in (4, 6)),
        mark=bit,
    )


def _mapping(document: object) -> "tuple[Mapping, ...]":
    if not isinstance(document, dict):
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"invalid port mapping {document!r}")
    ports = document.get("hostPort") or 0, document.get("containerPort") or 0
    for port in ports:
        if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65535:
            raise cni.Failure(cni.INVALID_CONFIGURATION, f"invalid port {port!r}")
    if ports[0] == 0:
        return ()  # as the reference: a container's port that the host does not offer
    if ports[1] == 0:
        raise cni.Failure(
            cni.INVALID_CONFIGURATION, f"Invalid container port number: 0 (host port {ports[0]})"
        )
    protocol = str(document.get("protocol") or "tcp").lower()
    if protocol not in PROTOCOLS:
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"unknown protocol {protocol!r}")
    text = document.get("hostIP") or ""
    try:
        host = addresses.ip_address(text) if text else None
    except ValueError:
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"invalid hostIP {text!r}") from None
    return (Mapping(PROTOCOLS[protocol], *ports, host),)


def _conditions(configuration: "cni.Document", version: int) -> str:
    """conditionsV4 or V6: words of nft as they are, or those of iptables that have a plain counterpart."""
    words = configuration.get(f"conditionsV{version}") or []
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"conditionsV{version} must be a list of words")
    if not any(word.startswith("-") for word in words):
        if any(set(word) & set(';{}\n#"') for word in words):
            raise cni.Failure(cni.INVALID_CONFIGURATION, f"conditionsV{version} is no expression of nft")
        return " ".join(words)
    found, rest = [], list(words)
    while rest:
        denied = rest[0] == "!" and bool(rest.pop(0))
        option = rest.pop(0) if rest else ""
        match = _WORDS[version].get(_LONG.get(option, option)) if option.startswith("-") else None
        if match is None or not rest or set(rest[0]) & set(' ;{}\n#"'):
            text = (
                f"condition {option!r} of iptables is not understood; write conditionsV{version} as nft does"
            )
            raise cni.Failure(cni.UNSUPPORTED_FIELD, text)
        found.append(f"{match} {'!= ' if denied else ''}{rest.pop(0)}")
    return " ".join(found)


def table(wish: Options, version: int) -> str:
    """The family and name of the table that serves these options."""
    name = f"{_WORDS[version]['family']} netemu-cni-hostport"
    conditions = wish.conditions[0 if version == 4 else 1]
    if not conditions and wish.mark is None:
        return name
    return f"{name}-{crc32(f'{conditions} {wish.mark}'.encode()):08x}"


def places(wish: Options) -> "tuple[tuple[str, str], ...]":
    """All sets in which a container may have elements."""
    return tuple((table(wish, version), name) for version in (4, 6) for name in _SETS)


def skeleton(wish: Options, version: int) -> str:
    """The table without any element, as a document for nft; applied twice it is the same."""
    words, where = _WORDS[version], table(wish, version)
    kind, family = words["type"], words["family"]
    conditions = wish.conditions[0 if version == 4 else 1]
    mark = "" if wish.mark is None else f"meta mark set mark or {1 << wish.mark:#x} "
    near = f"{family} saddr . {family} daddr @subnets"
    local = f"ip saddr 127.0.0.0/8 ip daddr @published {mark}masquerade" if version == 4 else ""
    lines = [
        f'add table {where} {{ comment "ports of the host that lead to containers"; }}',
        f"add map {where} hostports {{ type inet_proto . inet_service : {kind} . inet_service; }}",
        f"add map {where} hostips {{ type {kind} . inet_proto . inet_service : {kind} . inet_service; }}",
        f"add set {where} published {{ type {kind}; }}",
        f"add set {where} everything {{ type {kind}; }}",
        f"add set {where} subnets {{ type {kind} . {kind}; flags interval; }}",
    ]
    chains = (
        ("translate", "", (
            f"dnat {family} to {family} daddr . meta l4proto . th dport map @hostips",
            f"dnat {family} to meta l4proto . th dport map @hostports",
        )),
        ("prerouting", "type nat hook prerouting priority dstnat;", (
            f"fib daddr type local {conditions} jump translate",
        )),
        ("output", "type nat hook output priority -100;", (
            f"fib daddr type local {conditions} jump translate",
        )),
        ("postrouting", "type nat hook postrouting priority srcnat;", (
            f"ct status dnat {family} daddr @everything {mark}masquerade",
            f"ct status dnat {family} daddr @published {near} {mark}masquerade",
            f"ct status dnat {local}" if local else "",
        )),
    )  # fmt: skip
    for name, hook, rules in chains:
        lines.append(f"add chain {where} {name} {{ {hook} }}" if hook else f"add chain {where} {name}")
        lines.append(f"flush chain {where} {name}")
        lines += [f"add rule {where} {name} {rule}" for rule in rules if rule]
    return "\n".join(lines) + "\n"


def elements(
    wish: Options, version: int, container: addresses.Address, comment: str
) -> list[nfnetlink.Element]:
    """What makes the mappings of one family lead to an address of the container."""
    where, found = table(wish, version), []
    for mapping in wish.mappings:
        host = mapping.host
        if host is not None and host.version != version:
            continue
        tail = nfnetlink.field(bytes([mapping.protocol])) + nfnetlink.field(
            mapping.host_port.to_bytes(2, "big")
        )
        data = nfnetlink.field(container.packed) + nfnetlink.field(mapping.container_port.to_bytes(2, "big"))
        if host is None or host.is_unspecified:
            found.append(nfnetlink.Element(where, "hostports", tail, data, comment))
        else:
            found.append(nfnetlink.Element(where, "hostips", host.packed + tail, data, comment))
    if found and wish.snat:
        name = "everything" if wish.everything else "published"
        found.append(nfnetlink.Element(where, name, container.packed, b"", comment))
    return found


def text(element: nfnetlink.Element) -> str:
    """The host's side of an element of hostports or hostips: "[address:]port/protocol"."""
    tail = element.key[-8:]
    protocol = next((name for name, number in PROTOCOLS.items() if number == tail[0]), str(tail[0]))
    host = f"{addresses.ip_address(element.key[:-8])}:" if len(element.key) > 8 else ""
    return f"{host}{int.from_bytes(tail[4:6], 'big')}/{protocol}"

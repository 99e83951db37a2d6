"""host-local's ADD: addresses out of the configured ranges, each leased to one container only."""

from cni import leases, ranges
from netemu.wire import addresses, cni


def allocate(call: cni.Call, configuration: "cni.Document", opened: leases.Leases) -> cni.Result:
    """One address from every range set. All or nothing. NOT_AVAILABLE when a set is exhausted."""
    ipam = configuration["ipam"]
    sets = ranges.parse(configuration)
    wanted = _requested(call, configuration)
    routes, dns = cni.routes(ipam.get("routes") or ()), cni.dns(_resolv_conf(ipam))
    holder = leases.owner(call.container_id, call.ifname)
    with opened as store:
        if not store.announce(holder):
            raise cni.Failure(
                cni.INVALID_CONFIGURATION,
                f"{store.held(holder)[0]} has been allocated to {call.container_id}, "
                "duplicate allocation is not allowed",
            )
        try:
            given = tuple(_take(store, number, one, wanted, holder) for number, one in enumerate(sets))
            if wanted:
                raise cni.Failure(
                    cni.INVALID_CONFIGURATION,
                    "requested addresses are in no range: " + ", ".join(map(str, wanted)),
                )
        except BaseException:
            store.release(holder)
            raise
    return cni.Result(ips=given, routes=routes, dns=dns)


def _take(
    store: leases.Leases,
    number: int,
    one: "tuple[ranges.Range, ...]",
    wanted: "list[addresses.Address]",
    holder: str,
) -> cni.Address:
    for address in wanted:
        within = ranges.holding(one, address)
        if within is None:
            continue
        if address == within.gateway:
            raise cni.Failure(cni.INVALID_CONFIGURATION, f"requested ip {address} is subnet's gateway")
        if not store.reserve(str(address), holder):
            raise cni.Failure(cni.NOT_AVAILABLE, f"requested IP address {address} is not available")
        wanted.remove(address)
        return _leased(address, within)
    text = store.last(number)
    for candidate, within in ranges.candidates(one, _address(text)):
        if store.reserve(str(candidate), holder):
            store.remember(number, str(candidate))
            return _leased(candidate, within)
    raise cni.Failure(
        cni.NOT_AVAILABLE,
        f"no IP addresses available in range set: {', '.join(f'{r.start}-{r.end}' for r in one)}",
    )


def _leased(address: "addresses.Address", within: ranges.Range) -> cni.Address:
    return cni.Address(addresses.ip_interface((address, within.subnet.prefixlen)), within.gateway)


def _address(text: str) -> "addresses.Address | None":
    try:
        return addresses.ip_address(text)
    except ValueError:
        return None


def _requested(call: cni.Call, configuration: "cni.Document") -> "list[addresses.Address]":
    """Addresses asked for by CNI_ARGS (IP=), args.cni.ips or the capability `ips`."""
    texts = call.args.get("IP", "").split(",")
    texts += ((configuration.get("args") or {}).get("cni") or {}).get("ips") or ()
    texts += (configuration.get("runtimeConfig") or {}).get("ips") or ()
    try:
        return [addresses.ip_interface(text).ip for text in texts if text]
    except ValueError as problem:
        raise cni.Failure(cni.INVALID_CONFIGURATION, "invalid requested address", str(problem)) from None


def _resolv_conf(ipam: "cni.Document") -> "cni.Document":
    """`resolvConf` names a file whose servers and domains go into the result."""
    path = ipam.get("resolvConf")
    if not path:
        return {}
    found: cni.Document = {"nameservers": [], "search": [], "options": []}
    keys = {"nameserver": "nameservers", "search": "search", "options": "options"}
    with open(path, encoding="utf-8") as file:
        for words in map(str.split, file):
            if words and words[0] in keys:
                found[keys[words[0]]] += words[1:]
            elif words and words[0] == "domain":
                found["domain"] = words[1]
    return found

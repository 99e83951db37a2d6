"""static: the addresses, routes and DNS that the configuration or the call names; nothing is remembered.

Options of the reference plugin (containernetworking/plugins, ipam/static). Addresses asked for by the
capability `ips`, by args.cni.ips or by IP= (and GATEWAY=) in CNI_ARGS replace the configuration's, in this
order.
"""

from cni import checks
from netemu.wire import addresses, cni

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def add(call: cni.Call, configuration: "cni.Document") -> cni.Result:
    """The addresses, as they are written."""
    ipam = configuration.get("ipam") or {}
    return cni.Result(
        ips=_addresses(call, configuration),
        routes=cni.routes(ipam.get("routes") or ()),
        dns=cni.dns(ipam.get("dns") or {}),
    )


def _addresses(call: cni.Call, configuration: "cni.Document") -> "tuple[cni.Address, ...]":
    wanted = list(_texts(call, configuration))
    if not wanted:
        raise cni.Failure(cni.INVALID_CONFIGURATION, "static: no address is given")
    found = []
    for address, gateway in wanted:
        try:
            if "/" not in address:
                raise ValueError("it has no prefix length")
            one = cni.Address(
                addresses.ip_interface(address), addresses.ip_address(gateway) if gateway else None
            )
            if one.gateway is not None and one.gateway.version != one.address.version:
                raise ValueError(f"gateway {gateway} is of the other family")
        except (ValueError, TypeError) as problem:
            raise cni.Failure(
                cni.INVALID_CONFIGURATION, f"invalid address {address!r}", str(problem)
            ) from None
        found.append(one)
    return tuple(found)


def _texts(call: cni.Call, configuration: "cni.Document") -> "Iterable[tuple[str, str]]":
    """(address, gateway) as they are written."""
    for ips in (
        (configuration.get("runtimeConfig") or {}).get("ips"),
        ((configuration.get("args") or {}).get("cni") or {}).get("ips"),
    ):
        if ips:
            return [(text, "") for text in ips]
    if call.args.get("IP"):
        gateways = call.args.get("GATEWAY", "").split(",")
        addresses = call.args["IP"].split(",")
        return zip(addresses, gateways + [""] * len(addresses), strict=False)
    try:
        listed = (configuration.get("ipam") or {}).get("addresses") or ()
        return [(each["address"], each.get("gateway") or "") for each in listed]
    except (KeyError, TypeError, AttributeError) as problem:
        raise cni.Failure(cni.INVALID_CONFIGURATION, "invalid ipam addresses", repr(problem)) from None


def check(call: cni.Call, configuration: "cni.Document") -> None:
    """CHECK_FAILED unless the result of ADD has the addresses."""
    from cni import frame

    have = {ip.address for ip in checks.previous(configuration).ips}
    for ip in _addresses(call, configuration):
        if ip.address not in have:
            raise cni.Failure(frame.CHECK_FAILED, f"static: {ip.address} is not in prevResult")


ABOUT = "CNI static plugin of netemu"
IPAM = True
HANDLERS = {"ADD": add, "CHECK": check}

"""What a bridge configuration wishes, before anything is made: options, gateways, MAC addresses. Pure."""

import ipaddress

from netemu.wire import cni, records, rtnetlink

# What a configuration asks of the links; see options.
Options = records.record(
    "Options", "bridge gateway default_gateway force_address mtu hairpin promiscuous dad mac masquerade"
)
# Options that change who may talk to whom: ignoring one would be worse than refusing it.
REFUSED = ("vlan", "vlanTrunk", "macspoofchk", "portIsolation")


def options(call: cni.Call, configuration: "cni.Document") -> Options:
    """What the configuration and the call ask for. UNSUPPORTED_FIELD for what is not offered."""
    for name in REFUSED:
        if configuration.get(name):
            raise cni.Failure(cni.UNSUPPORTED_FIELD, f"{name} is not supported by netemu's bridge plugin")
    default_gateway = bool(configuration.get("isDefaultGateway"))
    found = Options(
        bridge=configuration.get("bridge") or "cni0",
        gateway=bool(configuration.get("isGateway")) or default_gateway,
        default_gateway=default_gateway,
        force_address=bool(configuration.get("forceAddress")),
        mtu=configuration.get("mtu") or 0,
        hairpin=bool(configuration.get("hairpinMode")),
        promiscuous=bool(configuration.get("promiscMode")),
        dad=bool(configuration.get("enabledad")),
        mac=(configuration.get("runtimeConfig") or {}).get("mac")
        or ((configuration.get("args") or {}).get("cni") or {}).get("mac")
        or call.args.get("MAC", ""),
        masquerade=bool(configuration.get("ipMasq")),
    )
    if found.hairpin and found.promiscuous:
        raise cni.Failure(
            cni.INVALID_CONFIGURATION, "cannot set hairpin mode and promiscuous mode at the same time"
        )
    if not isinstance(found.mtu, int) or found.mtu < 0:
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"invalid mtu {found.mtu}")
    return found


def with_gateways(ipam: cni.Result, wish: Options) -> cni.Result:
    """IPAM's result with the gateways the bridge will be, and the default routes it was asked for."""
    ips = ipam.ips
    if wish.gateway:
        ips = tuple(
            ip if ip.gateway else ip._replace(gateway=ip.address.network.network_address + 1) for ip in ips
        )
    routes = list(ipam.routes)
    if wish.default_gateway:
        for ip in ips:
            everything = ipaddress.ip_network("0.0.0.0/0" if ip.address.version == 4 else "::/0")
            if not any(route.dst == everything for route in ipam.routes):
                routes.append(cni.Route(everything, ip.gateway))
    return ipam._replace(ips=tuple(ip._replace(interface=2) for ip in ips), routes=tuple(routes))

"""What a bridge configuration wishes, before anything is made: options, gateways, MAC addresses. Pure."""

from cni import links
from netemu.wire import addresses, cni, records

# What a configuration asks of the links; see options.
Options = records.record(
    "Options",
    "bridge gateway default_gateway force_address mtu hairpin promiscuous dad mac masquerade"
    " isolated true_mac shown via_gateway",
)
# Options that change who may talk to whom: ignoring one would be worse than refusing it.
REFUSED = ("vlan", "vlanTrunk")


def options(call: cni.Call, configuration: "cni.Document") -> Options:
    """What the configuration and the call ask for. UNSUPPORTED_FIELD for what is not offered."""
    for name in REFUSED:
        if configuration.get(name):
            raise cni.Failure(cni.UNSUPPORTED_FIELD, f"{name} is not supported by netemu's bridge plugin")
    default_gateway = links.flag(configuration, "isDefaultGateway")
    found = Options(
        bridge=configuration.get("bridge") or "cni0",
        gateway=links.flag(configuration, "isGateway") or default_gateway,
        default_gateway=default_gateway,
        force_address=links.flag(configuration, "forceAddress"),
        mtu=links.mtu(configuration),
        hairpin=links.flag(configuration, "hairpinMode"),
        promiscuous=links.flag(configuration, "promiscMode"),
        dad=links.flag(configuration, "enabledad"),
        mac=links.wanted_mac(call, configuration),
        masquerade=links.masquerades(configuration),
        isolated=links.flag(configuration, "portIsolation"),
        true_mac=links.flag(configuration, "macspoofchk"),
        via_gateway=links.flag(configuration, "viaGateway"),
        shown=not links.flag(configuration, "disableContainerInterface"),
    )
    try:
        cni.check_ifname(found.bridge)
    except (cni.Failure, AttributeError, TypeError):
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"invalid bridge name {found.bridge!r}") from None
    if found.hairpin and found.promiscuous:
        raise cni.Failure(
            cni.INVALID_CONFIGURATION, "cannot set hairpin mode and promiscuous mode at the same time"
        )
    if found.via_gateway and not found.gateway:
        raise cni.Failure(cni.INVALID_CONFIGURATION, "viaGateway needs isGateway")
    if found.via_gateway and found.isolated:
        text = "cannot isolate ports whose containers reach each other by the gateway"
        raise cni.Failure(cni.INVALID_CONFIGURATION, text)
    if not found.shown and (configuration.get("ipam") or {}).get("type"):
        raise cni.Failure(
            cni.INVALID_CONFIGURATION, "cannot use IPAM when the container interface is disabled"
        )
    return found


def planned(ipam: "cni.Result | None", wish: Options, configuration: "cni.Document") -> cni.Result:
    """What will be made of IPAM's result: gateways, the default routes asked for, the configuration's DNS."""
    if ipam is None or ((configuration.get("ipam") or {}).get("type") and not ipam.ips):
        raise cni.Failure(cni.INVALID_CONFIGURATION, "IPAM plugin returned missing IP config")
    ips = ipam.ips
    if wish.gateway:
        ips = tuple(
            ip if ip.gateway else ip._replace(gateway=ip.address.network.network_address + 1) for ip in ips
        )
    routes = list(ipam.routes)
    if wish.default_gateway:
        for ip in ips:
            everything = addresses.ip_network("0.0.0.0/0" if ip.address.version == 4 else "::/0")
            if not any(route.dst == everything for route in ipam.routes):
                routes.append(cni.Route(everything, ip.gateway))
    return cni.Result(
        ips=tuple(ip._replace(interface=2) for ip in ips),
        routes=tuple(routes),
        dns=cni.dns(configuration["dns"]) if configuration.get("dns") else ipam.dns,
    )

"""What one may choose about a proxy, after kube-proxy's flags, and what follows for its tables. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from netemu.api import core
from netemu.base import errors
from netemu.kubeproxy import layout

DETECTIONS = ("ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix")
PRIMARY = "primary"
MODES = ("nftables", "iptables")


class Options(NamedTuple):
    """`healthz` and `metrics` are address:port, or "" for none.

    `detect_local` is how a source is known to be a pod: by `cluster_cidrs`, by the node's own pod ranges, or
    by the link it comes from (`local_link`: the bridge's name, or what names begin with); "": nobody is.
    """

    cluster_cidrs: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    healthz: str = "0.0.0.0:10256"
    metrics: str = "127.0.0.1:10249"
    masquerade_all: bool = False
    detect_local: str = "ClusterCIDR"
    local_link: str = ""
    node_port_addresses: tuple[str, ...] = ()
    service_proxy_name: str = ""
    mode: str = "nftables"
    localhost_node_ports: bool = True  # iptables alone
    tcp_be_liberal: bool = False

    def document(self) -> dict[str, Any]:
        """As kube-proxy tells its configuration at /configz."""
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": self.mode,
            "clusterCIDR": ",".join(self.cluster_cidrs),
            "healthzBindAddress": self.healthz,
            "metricsBindAddress": self.metrics,
            "detectLocalMode": self.detect_local,
            "nodePortAddresses": list(self.node_port_addresses),
            self.mode: {"masqueradeAll": self.masquerade_all, "masqueradeBit": 14},
        }


def from_document(document: dict[str, Any]) -> Options:
    """A KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1), as far as it is about these. Rejected."""
    if document.get("kind") != "KubeProxyConfiguration":
        raise errors.Rejected(f"this is a {document.get('kind')!r}, not a KubeProxyConfiguration")
    mode, local = document.get("mode") or "nftables", document.get("detectLocal") or {}
    own = document.get(mode) or {}
    detection = document.get("detectLocalMode") or "ClusterCIDR"
    link = {
        "BridgeInterface": local.get("bridgeInterface", ""),
        "InterfaceNamePrefix": local.get("interfaceNamePrefix", ""),
    }
    usual, cidrs = Options(), str(document.get("clusterCIDR") or "")
    return check(
        Options(
            cluster_cidrs=tuple(text.strip() for text in cidrs.split(",") if text.strip()),
            healthz=_address(document, "healthzBindAddress", usual.healthz),
            metrics=_address(document, "metricsBindAddress", usual.metrics),
            masquerade_all=bool(own.get("masqueradeAll", False)),
            detect_local=detection,
            local_link=link.get(detection, ""),
            node_port_addresses=tuple(document.get("nodePortAddresses") or ()),
            mode=mode,
            localhost_node_ports=own.get("localhostNodePorts") is not False,
            tcp_be_liberal=bool((document.get("conntrack") or {}).get("tcpBeLiberal")),
        )
    )


def _address(document: dict[str, Any], key: str, usual: str) -> str:
    """Without a port it is on the usual one."""
    given = str(document.get(key) or usual)
    return given if ":" in given else f"{given}:{usual.rpartition(':')[2]}"


def check(options: Options) -> Options:
    """The same; Rejected when it cannot be meant."""
    if options.mode not in MODES:
        raise errors.Rejected(f"there is no proxy mode {options.mode!r}", hint=f"one of {', '.join(MODES)}")
    if options.detect_local not in ("", *DETECTIONS):
        raise errors.Rejected(
            f"there is no local detection mode {options.detect_local!r}",
            hint=f"one of {', '.join(DETECTIONS)}",
        )
    by_link = options.detect_local in ("BridgeInterface", "InterfaceNamePrefix")
    if by_link and not 0 < len(options.local_link) <= 15:
        raise errors.Rejected(f"{options.detect_local} needs the name of a link, of 1 to 15 letters")
    for text in (*options.cluster_cidrs, *options.service_cidrs, *options.node_port_addresses):
        if text != PRIMARY:
            try:
                ip_network(text)
            except ValueError as error:
                raise errors.Rejected(f"not a range of addresses: {error}") from None
    if options.mode == "iptables" and any(len(_of(v, options.cluster_cidrs)) > 1 for v in (4, 6)):
        raise errors.Rejected("iptables mode knows pods by one range of each family")
    if PRIMARY in options.node_port_addresses and len(options.node_port_addresses) > 1:
        raise errors.Rejected('"primary" stands alone among the node-port addresses')
    for address in (options.healthz, options.metrics):
        if address:
            host_port(address)
    return options


def host_port(address: str) -> tuple[str, int]:
    """`10.0.0.1:80`, `[::]:80`. Rejected."""
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        if not colon:
            raise ValueError
        ip_address(host)
        return host, int(port)
    except ValueError:
        raise errors.Rejected(f"not an address and a port: {address!r}") from None


def surroundings(options: Options, node: core.Node | None) -> dict[str, layout.Surroundings]:
    """What the tables of each family need to know of cluster and node. ValueError for what is no range."""
    pods = options.cluster_cidrs if options.detect_local == "ClusterCIDR" else ()
    if options.detect_local == "NodeCIDR" and node is not None:
        pods = node.spec.podCIDRs or ((node.spec.podCIDR,) if node.spec.podCIDR else ())
    found = {}
    for family, version in ((layout.IP, 4), (layout.IP6, 6)):
        local = _of(version, pods)
        found[family.name] = layout.Surroundings(
            pods=local,
            services=_of(version, options.service_cidrs),
            link=_link(options),
            masquerade_all=options.masquerade_all,
            node_ports=_node_ports(options, node, version),
            addresses=tuple(net.partition("/")[0] for net in _of(version, _addresses(node))),
            localhost_node_ports=options.localhost_node_ports,
            tcp_be_liberal=options.tcp_be_liberal,
        )
    return found


def taking(around: layout.Surroundings, own: Iterable[str]) -> tuple[str, ...]:
    """Of these addresses of the node those in its ranges for node ports."""
    ranges = tuple(map(ip_network, around.node_ports or ()))
    return tuple(text for text in own if any(ip_address(text) in net for net in ranges))


def sysctls(options: Options) -> tuple[tuple[str, str], ...]:
    """How connections of TCP are tracked, as kube-proxy wants it: for how long (seconds), and how strictly.

    Not nf_conntrack_max: that is one number for all namespaces, and so not a node's to set.
    """
    return (
        ("net.netfilter.nf_conntrack_tcp_timeout_established", "86400"),
        ("net.netfilter.nf_conntrack_tcp_timeout_close_wait", "3600"),
        *((("net.netfilter.nf_conntrack_tcp_be_liberal", "1"),) if options.tcp_be_liberal else ()),
    )


def _link(options: Options) -> str:
    if options.detect_local == "BridgeInterface":
        return options.local_link
    return f"{options.local_link}*" if options.detect_local == "InterfaceNamePrefix" else ""


def _node_ports(options: Options, node: core.Node | None, version: int) -> tuple[str, ...] | None:
    """None: every address of the node's. A range of the other family alone leaves none in this one."""
    if not options.node_port_addresses:
        return None
    if options.node_port_addresses != (PRIMARY,):
        return _of(version, options.node_port_addresses)
    return _of(version, _addresses(node))[:1]


def _addresses(node: core.Node | None) -> list[str]:
    return [a.address for a in node.status.addresses if a.type == "InternalIP"] if node else []


def _of(version: int, texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(net) for net in map(ip_network, texts) if net.version == version)

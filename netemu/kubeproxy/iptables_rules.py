"""The rules of kube-proxy's iptables mode: the same chains, the same names, the same order. Pure.

Names are hashes of what they serve (pkg/proxy/iptables/proxier.go), so that one finds what books show.
`node_ports` of the surroundings are addresses of the node here, not ranges.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from netemu.kubeproxy import endpoints, layout, plan, services

FIREWALL = "KUBE-FIREWALL"  # kubelet's as well, wherever there is one
_MARK = f"0x{layout.MASQUERADE:08x}"


class Rule(NamedTuple):
    """One line of a restore, without its `-A`."""

    table: str
    chain: str
    text: str


def chain(kind: str, name: str, protocol: str, endpoint: str = "") -> str:
    """KUBE-SVC, -SVL, -EXT, -FW or -SEP and sixteen letters of a hash."""
    digest = hashlib.sha256(f"{name}{protocol}{endpoint}".encode()).digest()
    return f"KUBE-{kind}-{base64.b32encode(digest).decode()[:16]}"


def everything(
    family: layout.Family, wanted: Iterable[plan.Wanted], around: layout.Surroundings
) -> Iterator[Rule]:
    """All rules but the jumps from built-in chains."""
    yield Rule("nat", "KUBE-POSTROUTING", f"-m mark ! --mark {_MARK}/{_MARK} -j RETURN")
    yield Rule("nat", "KUBE-POSTROUTING", f"-j MARK --xor-mark {_MARK}")
    why = comment("kubernetes service traffic requiring SNAT")
    yield Rule("nat", "KUBE-POSTROUTING", f"{why} -j MASQUERADE --random-fully")
    yield Rule("nat", "KUBE-MARK-MASQ", f"-j MARK --or-mark {_MARK}")
    for one in wanted:
        yield from of_service(family, one, around)
    yield from _to_node_ports(family, around)
    if family is layout.IP and around.localhost_node_ports:
        # Node ports at 127.0.0.1 need route_localnet, which would let neighbours in as well.
        why = comment("block incoming localnet connections")
        others = "-d 127.0.0.0/8 ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT"
        yield Rule("filter", FIREWALL, f"{why} {others} -j DROP")
    if not around.tcp_be_liberal:
        yield Rule("filter", "KUBE-FORWARD", "-m conntrack --ctstate INVALID -j DROP")
    forwarding = comment("kubernetes forwarding rules")
    yield Rule("filter", "KUBE-FORWARD", f"{forwarding} -m mark --mark {_MARK}/{_MARK} -j ACCEPT")
    known = comment("kubernetes forwarding conntrack rule")
    yield Rule("filter", "KUBE-FORWARD", f"{known} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")


def _to_node_ports(family: layout.Family, around: layout.Surroundings) -> Iterator[Rule]:
    """The last rules of KUBE-SERVICES; where addresses were chosen, one for each of them."""
    last = comment("kubernetes service nodeports; NOTE: this must be the last rule in this chain")
    loopback = "127.0.0.0/8" if family is layout.IP else "::1/128"
    open_ = family is layout.IP and around.localhost_node_ports
    for address in around.node_ports or ():
        if open_ or ip_address(address) not in ip_network(loopback):
            yield Rule("nat", "KUBE-SERVICES", f"{last} -d {address} -j KUBE-NODEPORTS")
    if around.node_ports is None:
        local = joined("-m addrtype --dst-type LOCAL", "" if open_ else f"! -d {loopback}")
        yield Rule("nat", "KUBE-SERVICES", f"{last} {local} -j KUBE-NODEPORTS")


def of_service(family: layout.Family, one: plan.Wanted, around: layout.Surroundings) -> Iterator[Rule]:
    for placement in one.placements:
        if placement.family is family:
            yield from _Port(family, one.service, placement, around).rules()
    port = one.service.health_check_node_port
    if port and one.service.external_local:
        check = comment(f"{one.service.key} health check node port")
        yield Rule("filter", "KUBE-NODEPORTS", f"{check} -m tcp -p tcp --dport {port} -j ACCEPT")


class _Port:
    """The rules of one Service port in one family."""

    def __init__(
        self,
        family: layout.Family,
        service: services.Service,
        placement: plan.Placement,
        around: layout.Surroundings,
    ) -> None:
        self._family, self._service, self._around = family, service, around
        self._port, self._cluster, self._local = placement.port, placement.cluster, placement.local
        self._name = str(service.key) + (f":{self._port.name}" if self._port.name else "")

    def rules(self) -> Iterator[Rule]:
        if not (self._cluster or self._local):
            yield from self._refused("has no endpoints", "REJECT", "REJECT")
            return
        service, port = self._service, self._port
        internal = self._chain("SVL" if service.internal_local else "SVC")
        if not service.internal_local or self._local:
            for address in self._mine(service.cluster_ips):
                yield self._entry("cluster IP", address, internal)
                yield from self._masquerade(internal, address)
        yield from self._refused(
            "has no local endpoints",
            "DROP" if service.internal_local and not self._local else "",
            "DROP" if service.external_local and not self._local else "",
        )
        dialled = bool(self._mine(service.externals) or port.node_port)
        if dialled:
            yield from self._externals(self._chain("EXT"))
        everywhere = self._cluster if dialled or not service.internal_local else ()
        here = self._local if service.internal_local or (dialled and service.external_local) else ()
        yield from self._balanced("SVC", everywhere)
        yield from self._balanced("SVL", here)
        for backend in dict.fromkeys((*everywhere, *here)):
            yield from self._backend(backend)

    def _externals(self, external: str) -> Iterator[Rule]:
        service, port, name = self._service, self._port, self._name
        for address in self._mine(service.external_ips):
            yield self._entry("external IP", address, external)
        ranges = plan.allowed(service, self._family is layout.IP6, self._around.addresses)
        for address in self._mine(service.balancer_ips):
            yield self._entry("loadbalancer IP", address, self._chain("FW") if ranges else external)
            if ranges:
                why = comment(f"{name} traffic not accepted by {self._chain('FW')}")
                yield Rule("filter", "KUBE-PROXY-FIREWALL", f"{why} {self._to(address)} -j DROP")
        if ranges and self._mine(service.balancer_ips):
            yield from self._firewall(ranges, external)
        if port.node_port:
            match = f"-m {port.protocol} -p {port.protocol} --dport {port.node_port}"
            yield Rule("nat", "KUBE-NODEPORTS", f"{comment(name)} {match} -j {external}")
        if not service.external_local:
            why = comment(f"masquerade traffic for {name} external destinations")
            yield Rule("nat", external, f"{why} -j KUBE-MARK-MASQ")
            yield Rule("nat", external, f"-j {self._chain('SVC')}")
            return
        pods = self._pods("")
        if pods and self._cluster:
            why = comment(f"pod traffic for {name} external destinations")
            yield Rule("nat", external, f"{why} {pods} -j {self._chain('SVC')}")
        if self._cluster:
            why, own = comment(f"masquerade LOCAL traffic for {name} external destinations"), "-m addrtype"
            yield Rule("nat", external, f"{why} {own} --src-type LOCAL -j KUBE-MARK-MASQ")
            why = comment(f"route LOCAL traffic for {name} external destinations")
            yield Rule("nat", external, f"{why} {own} --src-type LOCAL -j {self._chain('SVC')}")
        if self._local:
            yield Rule("nat", external, f"-j {self._chain('SVL')}")

    def _firewall(self, ranges: tuple[str, ...], external: str) -> Iterator[Rule]:
        firewall, name = self._chain("FW"), self._name
        why = comment(f"{name} loadbalancer IP")
        for net in ranges:
            yield Rule("nat", firewall, f"{why} -s {net} -j {external}")
        other = comment(f"other traffic to {name} will be dropped by KUBE-PROXY-FIREWALL")
        yield Rule("nat", firewall, other)

    def _refused(self, why: str, internal: str, external: str) -> Iterator[Rule]:
        text, port = comment(f"{self._name} {why}"), self._port
        if internal:
            for address in self._mine(self._service.cluster_ips):
                yield Rule("filter", "KUBE-SERVICES", f"{text} {self._to(address)} -j {internal}")
        if external:
            for address in self._mine(self._service.externals):
                yield Rule("filter", "KUBE-EXTERNAL-SERVICES", f"{text} {self._to(address)} -j {external}")
            if port.node_port:
                match = f"-m {port.protocol} -p {port.protocol} --dport {port.node_port}"
                local = f"{text} -m addrtype --dst-type LOCAL {match} -j {external}"
                yield Rule("filter", "KUBE-EXTERNAL-SERVICES", local)

    def _masquerade(self, of: str, address: str) -> Iterator[Rule]:
        strangers = "" if self._around.masquerade_all else self._pods("! ")
        if strangers or self._around.masquerade_all:
            match = joined(comment(f"{self._name} cluster IP"), self._to(address), strangers)
            yield Rule("nat", of, f"{match} -j KUBE-MARK-MASQ")

    def _balanced(self, kind: str, backends: plan.Backends) -> Iterator[Rule]:
        of = self._chain(kind)
        if self._service.affinity_seconds:
            for backend in backends:
                one, seconds = self._endpoint(backend), self._service.affinity_seconds
                recent = f"-m recent --name {one} --rcheck --seconds {seconds} --reap"
                yield Rule("nat", of, f"{comment(self._to_backend(backend))} {recent} -j {one}")
        for number, backend in enumerate(backends):
            left = len(backends) - number
            chance = f"-m statistic --mode random --probability {1 / left:.10f}" if left > 1 else ""
            text = joined(comment(self._to_backend(backend)), chance, f"-j {self._endpoint(backend)}")
            yield Rule("nat", of, text)

    def _backend(self, backend: endpoints.Backend) -> Iterator[Rule]:
        of, why, protocol = self._endpoint(backend), comment(self._name), self._port.protocol
        yield Rule("nat", of, f"{why} -s {backend.ip} -j KUBE-MARK-MASQ")
        keep = f"-m recent --name {of} --set" if self._service.affinity_seconds else ""
        send = f"-m {protocol} -p {protocol} -j DNAT --to-destination {_socket(backend)}"
        yield Rule("nat", of, joined(why, keep, send))

    def _entry(self, what: str, address: str, target: str) -> Rule:
        text = f"{comment(f'{self._name} {what}')} {self._to(address)} -j {target}"
        return Rule("nat", "KUBE-SERVICES", text)

    def _to(self, address: str) -> str:
        protocol = self._port.protocol
        return f"-m {protocol} -p {protocol} -d {address} --dport {self._port.port}"

    def _pods(self, negation: str) -> str:
        """Matches sources that are pods, or with "! " those that are none; empty when that is unknown."""
        if self._around.link:
            return f"{negation}-i {self._around.link.replace('*', '+')}"
        return f"{negation}-s {self._around.pods[0]}" if self._around.pods else ""

    def _mine(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text for text in texts if (":" in text) == (self._family is layout.IP6))

    def _chain(self, kind: str) -> str:
        return chain(kind, self._name, self._port.protocol)

    def _endpoint(self, backend: endpoints.Backend) -> str:
        return chain("SEP", self._name, self._port.protocol, _socket(backend))

    def _to_backend(self, backend: endpoints.Backend) -> str:
        return f"{self._name} -> {_socket(backend)}"


def comment(text: str) -> str:
    return f'-m comment --comment "{text}"'


def joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _socket(backend: endpoints.Backend) -> str:
    return f"[{backend.ip}]:{backend.port}" if ":" in backend.ip else f"{backend.ip}:{backend.port}"

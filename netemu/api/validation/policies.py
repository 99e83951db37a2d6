"""Rules for NetworkPolicies."""

from __future__ import annotations

from netemu.api import addresses, names, networking
from netemu.api.validation import metadata
from netemu.api.validation.findings import Findings, forbidden, invalid, named, required


def check(policy: networking.NetworkPolicy) -> Findings:
    spec = policy.spec
    yield from metadata.selector(spec.podSelector, "spec.podSelector")
    for index, ingress in enumerate(spec.ingress):
        here = f"spec.ingress[{index}]"
        yield from _ports(ingress.ports, f"{here}.ports")
        yield from _peers(ingress.from_, f"{here}.from")
    for index, egress in enumerate(spec.egress):
        here = f"spec.egress[{index}]"
        yield from _ports(egress.ports, f"{here}.ports")
        yield from _peers(egress.to, f"{here}.to")
    if len(spec.policyTypes) > 2:
        yield invalid("spec.policyTypes", spec.policyTypes, "may not specify more than two policyTypes")


def _ports(ports: tuple[networking.NetworkPolicyPort, ...], path: str) -> Findings:
    for index, port in enumerate(ports):
        here = f"{path}[{index}]"
        if isinstance(port.port, int):
            yield from named(f"{here}.port", port.port, names.port(port.port))
        elif isinstance(port.port, str):
            yield from named(f"{here}.port", port.port, names.port_name(port.port))
        if port.endPort is None:
            continue
        there = f"{here}.endPort"
        if port.port is None:
            yield invalid(there, port.endPort, "may not be specified when `port` is not specified")
        elif isinstance(port.port, str):
            yield invalid(there, port.endPort, "may not be specified when `port` is non-numeric")
        else:
            if port.endPort < port.port:
                yield invalid(there, port.endPort, "must be greater than or equal to `port`")
            yield from named(there, port.endPort, names.port(port.endPort))


def _peers(peers: tuple[networking.NetworkPolicyPeer, ...], path: str) -> Findings:
    for index, peer in enumerate(peers):
        here = f"{path}[{index}]"
        if peer.podSelector is None and peer.namespaceSelector is None and peer.ipBlock is None:
            yield required(here, "must specify a peer")
        yield from metadata.selector(peer.podSelector, f"{here}.podSelector")
        yield from metadata.selector(peer.namespaceSelector, f"{here}.namespaceSelector")
        if peer.ipBlock is None:
            continue
        if peer.podSelector is not None or peer.namespaceSelector is not None:
            yield forbidden(here, "may not specify both ipBlock and another peer")
        yield from _block(peer.ipBlock, f"{here}.ipBlock")


def _block(block: networking.IPBlock, path: str) -> Findings:
    if not block.cidr:
        yield required(f"{path}.cidr")
        return
    whole = addresses.parse_cidr(block.cidr)
    if whole is None:
        yield invalid(f"{path}.cidr", block.cidr, addresses.CIDR_MESSAGE)
        return
    for index, text in enumerate(block.except_):
        here = f"{path}.except[{index}]"
        part = addresses.parse_cidr(text)
        if part is None:
            yield invalid(here, text, addresses.CIDR_MESSAGE)
        elif part.version != whole.version or part == whole or not part.subnet_of(whole):  # type: ignore[arg-type]
            yield invalid(here, text, "must be a strict subset of `cidr`")

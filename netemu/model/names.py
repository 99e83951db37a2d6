"""What a name means to who asks: resolv.conf, /etc/hosts and the cluster's zone, as sets of addresses. Pure.

DNS-Based Service Discovery 1.1.0, with CoreDNS' choices (`pods insecure`); kubelet's resolv.conf. Names
beyond the cluster's zone are nobody's here.
"""

import ipaddress
from collections.abc import Iterator
from typing import NamedTuple

from netemu.api import core
from netemu.model import claims, worlds
from netemu.model.verdicts import Reason

NDOTS = 5
DNS_SERVICE = ("kube-dns", "kube-system")
DNS_PORT = 53
_MOST_ALIASES = 8


class Answer(NamedTuple):
    """Addresses (canonical; none: no such name), and why; `asked` is the DNS server that says so, if any."""

    addresses: tuple[str, ...]
    because: Reason
    asked: str = ""


def resolve(world: worlds.World, source: worlds.Party, host: str, family: int) -> Answer:
    """What `host` is for `source`, of one family."""
    pod = world.pod(source.name, source.namespace) if source.kind == "pod" else None
    if own := _hosts_file(world, source, pod, host, family):
        return Answer(own, Reason("name", f"/etc/hosts of {source} says that {host} is {', '.join(own)}"))
    if pod is None or not _asks_cluster_dns(pod):
        return Answer((), Reason("name", f"{source} does not ask the cluster's DNS"))
    asked = _server(world)
    alias = ""
    for full in candidates(world, pod, host):
        if found := _zone(world, full, family, _MOST_ALIASES):
            service = _named(world, full)
            subject = claims.name(service) if service is not None else ""
            return Answer(found, Reason("name", f"{full} is {', '.join(found)}", subject), asked)
        alias = alias or _alias(world, full)
    nothing = f"no Service has the name {host} with an IPv{family} address"
    beyond = f"other names than those of {world.domain} are not known here"
    if alias:
        text = f"{alias}, and {beyond}"
    elif "." not in host or host.strip(".").endswith(world.domain):
        text = nothing
    else:  # with one dot it may be meant as NAME.NAMESPACE
        text = f"{nothing if host.count('.') == 1 else f'{host} is none'}, and {beyond}"
    return Answer((), Reason("name", text), asked)


def candidates(world: worlds.World, pod: core.Pod, host: str) -> Iterator[str]:
    """The full names that a pod's resolver tries, in order, without their final dot (resolv.conf(5))."""
    name = host.lower()
    if name.endswith("."):
        yield name.rstrip(".")
        return
    config = pod.spec.dnsConfig
    base = f"svc.{world.domain}"
    search = (f"{pod.metadata.namespace}.{base}", base, world.domain, *(config.searches if config else ()))
    ndots = NDOTS
    for option in config.options if config else ():
        if option.name == "ndots" and option.value is not None and option.value.isdigit():
            ndots = int(option.value)
    listed = [f"{name}.{suffix.strip('.')}" for suffix in search]
    yield from ([name, *listed] if name.count(".") >= ndots else [*listed, name])


def _asks_cluster_dns(pod: core.Pod) -> bool:
    """As kubelet writes resolv.conf for a dnsPolicy."""
    policy = pod.spec.dnsPolicy or "ClusterFirst"
    return policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not pod.spec.hostNetwork)


def _server(world: worlds.World) -> str:
    """The address in resolv.conf: the DNS Service's first, whatever family is asked for."""
    service = world.service(*DNS_SERVICE)
    known = [ip for ip in service.spec.clusterIPs if worlds.is_address(ip)] if service is not None else []
    return known[0] if known else ""


def _hosts_file(
    world: worlds.World, source: worlds.Party, pod: core.Pod | None, host: str, family: int
) -> tuple[str, ...]:
    name = host.lower().rstrip(".")
    if name == "localhost":
        return ("::1",) if family == 6 else ("127.0.0.1",)
    if pod is None or pod.spec.hostNetwork:
        return ()
    own = pod.spec.hostname or pod.metadata.name
    full = f"{own}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{world.domain}"
    if name in ((own, full) if pod.spec.subdomain else (own,)):
        return tuple(sorted(source.of_family(family)))
    aliased = (alias.ip for alias in pod.spec.hostAliases if name in map(str.lower, alias.hostnames))
    return tuple(ip for ip in worlds.canonical(tuple(aliased)) if (":" in ip) == (family == 6))


def _named(world: worlds.World, full: str) -> core.Service | None:
    """The Service that a full name is of."""
    labels = full.removesuffix(f".svc.{world.domain}").split(".")
    return world.service(labels[-2], labels[-1]) if len(labels) > 1 else None


def _zone(world: worlds.World, full: str, family: int, aliases: int) -> tuple[str, ...]:
    """What the cluster's DNS answers for a full name."""
    pods, base = f".pod.{world.domain}", f".svc.{world.domain}"
    if full.endswith(pods):
        return tuple(_dashed(full.removesuffix(pods), family))
    service = _named(world, full)
    if not full.endswith(base) or service is None:
        return ()
    labels = full.removesuffix(base).split(".")
    if service.spec.type == "ExternalName":
        target = service.spec.externalName.rstrip(".").lower()
        return _zone(world, target, family, aliases - 1) if len(labels) == 2 and aliases else ()
    own = tuple(ip for ip in service.spec.clusterIPs if worlds.is_address(ip))
    if own and len(labels) == 2:
        return tuple(ip for ip in worlds.canonical(own) if (":" in ip) == (family == 6))
    if len(labels) > 3:
        return ()
    return _endpoints(world, service, family, labels[0] if len(labels) == 3 else "")


def _alias(world: worlds.World, full: str) -> str:
    """What an ExternalName Service says, in words."""
    service = _named(world, full)
    if service is None or service.spec.type != "ExternalName" or not full.endswith(f".svc.{world.domain}"):
        return ""
    return f"{full} is another name for {service.spec.externalName}"


def _endpoints(world: worlds.World, service: core.Service, family: int, hostname: str) -> tuple[str, ...]:
    """The ready endpoints, or the one with that host name (its own, or its address with dashes)."""
    found = set()
    for piece in world.slices_of(service):
        for endpoint in piece.endpoints:
            if endpoint.conditions.ready is False or piece.addressType != f"IPv{family}":
                continue
            for address in worlds.canonical(endpoint.addresses):
                known = endpoint.hostname or address.replace(".", "-").replace(":", "-")
                if hostname in ("", known.lower()):
                    found.add(address)
    return tuple(sorted(found))


def _dashed(label: str, family: int) -> Iterator[str]:
    """a-b-c-d.namespace stands for the address a.b.c.d, whoever has it (CoreDNS: pods insecure)."""
    dashed, _, namespace = label.partition(".")
    text = dashed.replace("-", ":" if family == 6 else ".")
    if namespace and worlds.is_address(text):
        address = ipaddress.ip_address(text)
        if address.version == family:
            yield str(address)

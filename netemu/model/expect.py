"""What the Kubernetes network model says must happen to one flow, and why. Pure.

Knows the rules for pods, nodes, Services and names (https://kubernetes.io/docs/concepts/services-networking/);
not whether a container really listens: where only that decides, it says nothing.
"""

import ipaddress

from netemu.api import core
from netemu.model import flows, services, verdicts, worlds
from netemu.model.verdicts import Outcome, Reason, Verdict

Flow = flows.Flow


def expect(world: worlds.World, flow: Flow) -> Verdict:
    """Judge a flow. Reasons are in the order in which a packet meets them."""
    if not worlds.is_address(flow.host):
        addresses, because = resolve(world, flow)
        if not addresses:
            return verdicts.one("no-such-name", because)
        verdict = expect(world, flow._replace(host=addresses[0]))
        return verdict._replace(because=(because, *verdict.because))
    flow = flow._replace(host=str(ipaddress.ip_address(flow.host)))
    if ipaddress.ip_address(flow.host).is_loopback:
        return _localhost(world, flow)
    if (translation := services.translate(world, flow)) is not None:
        return _through(translation)
    owner = world.owner(flow.host)
    if owner is None:
        return verdicts.one("", Reason("route", f"{flow.host} is nobody's in this lab"))
    if owner.kind == "node":
        text = f"a process of {owner.name} itself, or nobody, has port {flow.port}"
        return verdicts.one("", Reason("node", text))
    if owner.kind == "pod":
        return _to_pod(world, flow, owner)
    seen = flow.source.of_family(flow.family)
    shared: tuple[Reason, ...] = ()
    if flow.source.kind != "outside":
        seen = world.node_addresses(flow.source.node, flow.family)
    if flow.source.kind == "pod":
        shared = (Reason("source", "beyond the cluster pods are seen as their node (masqueraded)"),)
    return Verdict((Outcome("ok", (), owner.name, "", flow.host, flow.port, seen),), shared)


def _through(translation: services.Translation) -> Verdict:
    outcomes = tuple(
        Outcome("ok", (), b.name, b.namespace, b.address, b.port, b.seen, b.probability)
        for b in translation.backends
    )
    return Verdict(outcomes or (Outcome(translation.word),), translation.because)


def resolve(world: worlds.World, flow: flows.Flow) -> tuple[tuple[str, ...], Reason]:
    """The addresses a name has for the sender, and the reason (DNS-Based Service Discovery, schema 1.1.0)."""
    if not _asks_cluster_dns(world, flow.source):
        return (), Reason("name", f"{flow.source} does not ask the cluster's DNS")
    base = f"svc.{world.domain}"
    search = (
        ()
        if flow.host.endswith(".")
        else (f".{flow.source.namespace}.{base}", f".{base}", f".{world.domain}")
    )
    for suffix in (*search, ""):
        full = flow.host.rstrip(".") + suffix
        labels = full.removesuffix(f".{base}").split(".")
        if not full.endswith(f".{base}") or len(labels) != 2:
            continue
        service = world.service(labels[0], labels[1])
        if service is not None and (addresses := _service_addresses(world, service, flow.family)):
            return addresses, Reason("name", f"{full} is {', '.join(addresses)}", services.name(service))
    return (), Reason("name", f"no Service has the name {flow.host} with an IPv{flow.family} address")


def _asks_cluster_dns(world: worlds.World, source: worlds.Party) -> bool:
    """As the kubelet writes resolv.conf for a dnsPolicy; nodes and the outside have their own servers."""
    pod = world.pod(source.name, source.namespace) if source.kind == "pod" else None
    if pod is None:
        return False
    policy = pod.spec.dnsPolicy or "ClusterFirst"
    return policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not pod.spec.hostNetwork)


def _service_addresses(world: worlds.World, service: core.Service, family: int) -> tuple[str, ...]:
    ips = tuple(ip for ip in service.spec.clusterIPs if worlds.is_address(ip))
    if ips:
        return tuple(ip for ip in worlds.canonical(ips) if ipaddress.ip_address(ip).version == family)
    found = {e.address for port in service.spec.ports for e in world.endpoints(service, port, family)}
    return tuple(sorted(found))


def _localhost(world: worlds.World, flow: flows.Flow) -> Verdict:
    pod = world.pod(flow.source.name, flow.source.namespace) if flow.source.kind == "pod" else None
    container = worlds.declares(pod, flow.port, flow.protocol) if pod else ""
    if pod is None or not container:
        return verdicts.one("", Reason("port", f"{flow.source} declares no port {flow.port}"))
    because = Reason("pod", f"containers of a pod share one loopback; container {container} has the port")
    name, namespace = pod.metadata.name, pod.metadata.namespace
    seen = frozenset({flow.host})
    return Verdict((Outcome("ok", (), name, namespace, flow.host, flow.port, seen),), (because,))


def _to_pod(world: worlds.World, flow: flows.Flow, owner: worlds.Party) -> Verdict:
    if flow.source.kind == "outside":
        return verdicts.one("unreachable", Reason("route", "pod addresses are known inside the cluster only"))
    pod = world.pod(owner.name, owner.namespace)
    reasons = [Reason("pod", "pods are reached by their own address")]
    if flow.source.node:
        same = flow.source.node == owner.node
        reasons.append(Reason("route", "same node" if same else f"{flow.source.node} to {owner.node}"))
    if pod is None or not worlds.declares(pod, flow.port, flow.protocol):
        text = f"no container declares port {flow.port}/{flow.protocol}"
        return Verdict((Outcome("", (Reason("port", text),)),), tuple(reasons))
    seen = world.seen(flow.source, flow.family)
    outcome = Outcome("ok", (), owner.name, owner.namespace, flow.host, flow.port, seen)
    return Verdict((outcome,), tuple(reasons))

"""What people type for the two ends of a flow: `web-0`, `shop/web-0`, `db:5432`, `[::1]:80`, `outside`.

Pure: looks names up in a world, and when there is no such thing says what was probably meant.
"""

import difflib
import ipaddress
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from netemu.api import core, selectors
from netemu.base import errors
from netemu.model import worlds
from netemu.scenario import places

_PODS = ("pod", "po", "pods")
_SERVICES = ("service", "svc", "services")
_NODES = ("node", "no", "nodes")
_WORKLOADS = {
    "deploy": "deployment",
    "deployment": "deployment",
    "sts": "statefulset",
    "statefulset": "statefulset",
    "ds": "daemonset",
    "daemonset": "daemonset",
    "rs": "replicaset",
    "replicaset": "replicaset",
    "job": "job",
    "cronjob": "cronjob",
}


class Target(NamedTuple):
    """What is dialled: for each family there is an address or a name in `hosts`.

    `service` is set if it is a Service: `hosts` are then its addresses, not its name. `ports` are those that
    it offers (number, protocol).
    """

    shown: str
    hosts: Mapping[int, str]
    port: int | None
    service: core.Service | None = None
    ports: tuple[tuple[int, str], ...] = ()

    def of_family(self, family: int | None) -> tuple[str, int]:
        """The host and its family: the wanted one, or the first there is. Rejected when there is none."""
        chosen = next(iter(self.hosts), 0) if family is None else family
        if chosen not in self.hosts:
            raise errors.Rejected(f"{self.shown} has no {f'IPv{family} ' if family else ''}address")
        return self.hosts[chosen], chosen

    @property
    def place(self) -> places.Place:
        """As a scenario calls it."""
        kind, _, name = self.shown.partition(" ")
        namespace, _, name = name.rpartition("/")
        if self.shown == "outside":
            return places.Place("outside")
        if self.shown == "localhost":
            return places.Place("localhost")
        kinds: dict[str, places.Kind] = {"pod": "pod", "Service": "service", "node": "node"}
        if kind in kinds:
            return places.Place(kinds[kind], name, namespace)
        return places.Place("address" if worlds.is_address(self.shown) else "name", self.shown)


class Finder:
    """Looks up in a world. `namespace` is where names without one are; `workloads` as `imagine` has them."""

    def __init__(
        self, world: worlds.World, namespace: str, workloads: Mapping[tuple[str, str], str] | None = None
    ) -> None:
        self._world = world
        self._namespace = namespace
        self._workloads = dict(workloads) if workloads is not None else dict(_workloads(world))

    def source(self, text: str) -> worlds.Party:
        """Who asks: the first, where several are meant. Rejected with what was probably meant."""
        return self.sources(text)[0]

    def sources(self, text: str) -> tuple[worlds.Party, ...]:
        """All who are meant: a workload's pods, those with certain labels. Never nobody."""
        if " " in text:
            return self._sources_of_place(text)
        if worlds.is_address(text):
            return (self._owner(text),)
        if text == "outside":
            return (self._world.outside,)
        kind, namespace, name = self._parts(text, self._namespace)
        if pods := self._pods_called(kind, namespace, name):
            return tuple(map(worlds.pod_party, pods))
        if kind in ("", "node") and (node := self._world.node(name)) is not None:
            return (worlds.node_party(node),)
        if kind in ("", "service") and self._world.service(name, namespace) is not None:
            raise errors.Rejected(
                f"'{text}' is a Service, which sends nothing",
                hint="name a pod or a workload behind it, as pod/NAME or deploy/NAME",
            )
        raise self._unknown("sender", text, name, services=False, home=namespace)

    def target(self, text: str, source: worlds.Party) -> Target:
        """What is dialled: the first, where several are meant. Rejected with what was probably meant."""
        return self.targets(text, source)[0]

    def targets(
        self, text: str, source: worlds.Party, asked: tuple[int | None, str | None] = (None, None)
    ) -> tuple[Target, ...]:
        """All that is meant, as seen from a sender's Namespace.

        A name alone is a Service's; or a workload's or pod's, if that has the port `asked` for and the
        Service has not.
        """
        host, port = split(text)
        if " " in host:
            return self._targets_of_place(host, port)
        if worlds.is_address(host):
            return (_of_address(host, port),)
        if host in ("outside", "localhost"):
            loopback = {4: "127.0.0.1", 6: "::1"}
            hosts = loopback if host == "localhost" else _by_family(self._world.outside.addresses)
            return (Target(host, hosts, port),)
        home = source.namespace or self._namespace
        kind, namespace, name = self._parts(host, home)
        service = self._world.service(name, namespace) if kind in ("", "service") else None
        pods = self._pods_called(kind, namespace, name)
        wanted = (port or asked[0], asked[1])
        if service is not None:
            found = _of_service(service, port)
            if kind or not pods or _offers(found, wanted) or not _offers(_of_pod(pods[0], port), wanted):
                return (found,)
        if pods:
            return tuple(_of_pod(pod, port) for pod in pods)
        if kind in ("", "node") and (node := self._world.node(name)) is not None:
            return (_of_node(node, port),)
        if not kind and "/" not in host and "." in host:
            return (Target(host, {4: host, 6: host}, port),)
        raise self._unknown("target", host, name, services=True, home=namespace)

    def _pods_called(self, kind: str, namespace: str, name: str) -> list[core.Pod]:
        """The pod of that name, or those of the workload of that name."""
        pod = self._world.pod(name, namespace) if kind in ("", "pod") else None
        if pod is not None:
            return [pod]
        return [] if kind in ("pod", "node", "service") else self._of_workload(kind, namespace, name)

    def _parts(self, text: str, namespace: str) -> tuple[str, str, str]:
        """Kind ("" if not said), Namespace and name of kind/name, namespace/name, namespace/kind/name."""
        parts = text.split("/")
        if len(parts) == 3:
            return self._kind(parts[1]), parts[0], parts[2]
        if len(parts) == 2:
            known = {*_PODS, *_SERVICES, *_NODES, *_WORKLOADS}
            if parts[0] in known and parts[0] not in self._world.namespace_labels:
                return self._kind(parts[0]), namespace, parts[1]
            return "", parts[0], parts[1]
        return "", namespace, text

    @staticmethod
    def _kind(word: str) -> str:
        for kind, words in (("pod", _PODS), ("service", _SERVICES), ("node", _NODES)):
            if word in words:
                return kind
        if word in _WORKLOADS:
            return _WORKLOADS[word]
        raise errors.Rejected(
            f"'{word}' is no kind that has an address", hint="pod/, svc/, node/, deploy/, sts/, ds/, job/"
        )

    def _of_workload(self, kind: str, namespace: str, name: str) -> list[core.Pod]:
        """The running pods of a workload, by name."""
        wanted = {
            key
            for key, workload in self._workloads.items()
            if key[0] == namespace and workload in ((f"{kind}/{name}",) if kind else _any_kind(name))
        }
        found = (pod for pod in self._world.pods if (pod.metadata.namespace, pod.metadata.name) in wanted)
        return sorted(found, key=lambda pod: str(pod.metadata.name))

    def _owner(self, text: str) -> worlds.Party:
        address = str(ipaddress.ip_address(text))
        owner = self._world.owner(address)
        return owner or worlds.Party("outside", address, addresses=(address,))

    def _sources_of_place(self, text: str) -> tuple[worlds.Party, ...]:
        place = _place(text)
        if place.kind in ("pod", "pods", "container") and (pods := self._pods_of_place(place)):
            return tuple(map(worlds.pod_party, pods))
        if place.kind == "node" and (node := self._world.node(place.name)):
            return (worlds.node_party(node),)
        raise self._unknown("sender", text, place.name, services=False)

    def _targets_of_place(self, text: str, port: int | None) -> tuple[Target, ...]:
        place = _place(text)
        if place.kind == "service" and (service := self._world.service(place.name, place.namespace)):
            return (_of_service(service, port),)
        if place.kind in ("pod", "pods") and (pods := self._pods_of_place(place)):
            return tuple(_of_pod(pod, port) for pod in pods)
        if place.kind == "name":
            return (Target(place.name, {4: place.name, 6: place.name}, port),)
        if place.kind == "address" and worlds.is_address(place.name):
            return (_of_address(place.name, port),)
        if place.kind == "node" and (node := self._world.node(place.name)):
            return (_of_node(node, port),)
        raise self._unknown("target", text, place.name, services=True)

    def _pods_of_place(self, place: places.Place) -> list[core.Pod]:
        if place.kind != "pods":
            pod = self._world.pod(place.name, place.namespace)
            return [pod] if pod is not None else []
        wanted = selectors.labels(place.name)
        found = (p for p in self._world.pods if p.metadata.namespace == place.namespace)
        return [pod for pod in found if worlds.is_running(pod) and wanted.matches(pod.metadata.labels)]

    def _unknown(self, role: str, text: str, name: str, *, services: bool, home: str = "") -> errors.Rejected:
        """The error, with the same name elsewhere, or one spelt like it, or what there is."""
        home = home or self._namespace
        known = [(pod.metadata.namespace, pod.metadata.name) for pod in self._world.pods]
        known += [(space, workload.partition("/")[2]) for (space, _), workload in self._workloads.items()]
        known += [(home, node.metadata.name) for node in self._world.nodes]
        if services:
            known += [(s.metadata.namespace, s.metadata.name) for s in self._world.services]
        elsewhere = sorted({space for space, other in known if other == name and space != home})
        if elsewhere:
            hint = f"{name} is in Namespace {elsewhere[0]}: write {elsewhere[0]}/{name}"
        else:
            shown = sorted({other if space == home else f"{space}/{other}" for space, other in known})
            here = [one for one in shown if "/" not in one]
            close = _closest(text, shown) or _closest(name, here)
            hint = (
                f"did you mean '{close[0]}'?" if close else f"there is: {', '.join(here[:12] or shown[:12])}"
            )
        where = f"in Namespace {home}" if home in self._world.namespace_labels else f"(no Namespace {home})"
        return errors.Rejected(f"there is no {role} '{text}' {where}", hint=hint)


def _offers(target: Target, wanted: tuple[int | None, str | None]) -> bool:
    number, protocol = wanted
    return any(number in (None, n) and protocol in (None, p) for n, p in target.ports)


def _closest(word: str, known: list[str]) -> list[str]:
    """Half of the letters will do: names are short."""
    return difflib.get_close_matches(word, known, n=1, cutoff=0.5)


def split(text: str) -> tuple[str, int | None]:
    """host:port, [IPv6]:port, or a host alone."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif worlds.is_address(text):
        host, port = text, ""
    else:
        host, _, port = text.partition(":")
    if port and not (port.isdigit() and 1 <= int(port) <= 65535):
        raise errors.Rejected(f"'{port}' in '{text}' is not a port", hint="a number from 1 to 65535")
    return host, int(port) if port else None


def _place(text: str) -> places.Place:
    try:
        return places.parse(text)
    except ValueError as error:
        raise errors.Rejected(str(error)) from error


def _by_family(addresses: Iterable[str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for address in addresses:
        found.setdefault(6 if ":" in address else 4, address)
    return found


def _of_address(text: str, port: int | None) -> Target:
    address = str(ipaddress.ip_address(text))
    return Target(address, {6 if ":" in address else 4: address}, port)


def _of_node(node: core.Node, port: int | None) -> Target:
    own = tuple(a.address for a in node.status.addresses if a.type == "InternalIP")
    return Target(f"node {node.metadata.name}", _by_family(worlds.canonical(own)), port)


def _of_pod(pod: core.Pod, port: int | None) -> Target:
    shown = f"pod {pod.metadata.namespace}/{pod.metadata.name}"
    return Target(shown, _by_family(worlds.pod_party(pod).addresses), port, ports=worlds.declared(pod))


def _of_service(service: core.Service, port: int | None) -> Target:
    """By its cluster IPs; one without any (headless, ExternalName) is only its name."""
    meta = service.metadata
    addresses = [ip for ip in service.spec.clusterIPs if worlds.is_address(ip)]
    name = f"{meta.name}.{meta.namespace}"
    hosts = _by_family(worlds.canonical(tuple(addresses))) or {4: name, 6: name}
    ports = tuple((entry.port, entry.protocol or "TCP") for entry in service.spec.ports)
    return Target(f"Service {meta.namespace}/{meta.name}", hosts, port, service, ports)


def _any_kind(name: str) -> tuple[str, ...]:
    return tuple(f"{kind}/{name}" for kind in dict.fromkeys(_WORKLOADS.values()))


def _workloads(world: worlds.World) -> Iterable[tuple[tuple[str, str], str]]:
    """Of a running cluster: by the owner of each pod; a ReplicaSet's name is its Deployment's and a hash."""
    for pod in world.pods:
        for owner in pod.metadata.ownerReferences[:1]:
            kind, name = owner.kind.lower(), owner.name
            suffix = pod.metadata.labels.get("pod-template-hash", "")
            if kind == "replicaset" and suffix and name.endswith(f"-{suffix}"):
                kind, name = "deployment", name.removesuffix(f"-{suffix}")
            yield (pod.metadata.namespace, pod.metadata.name), f"{kind}/{name}"

"""The table of packets (packets.yaml) before three judges: the model, a walk over planned rules, real packets.

What each says is compared with the row, so that all of them agree. Both modes, both families, each protocol.
"""

import asyncio
import contextlib
import errno
import itertools
import os
import select
import shutil
import socket
import time
from collections.abc import Iterator
from fractions import Fraction
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from netemu.api import codec, core, discovery
from netemu.base import clock
from netemu.kernel import conntrack, firewall, generations, netns, network
from netemu.kernel import operations as ops
from netemu.kubeproxy import endpoints as chosen_endpoints
from netemu.kubeproxy import iptables, layout, ledger, options, plan, programs, walk, walk_iptables
from netemu.kubeproxy import changes as tracked
from netemu.kubeproxy import proxy as proxying
from netemu.kubeproxy import services as parsed
from netemu.model import flows, worlds
from netemu.model import services as model
from netemu.wire import nft, sctp

TABLE = Path(__file__).parent / "packets.yaml"
MODES, FAMILIES, PROTOCOLS = ("nftables", "iptables"), (0, 1), ("TCP", "UDP", "SCTP")
HOMES = {"a": "here", "b": "here", "far": "there", "there": "there", "here": "here"}
LINKS = {"a": "cni0", "b": "cni0", "far": "eth0", "outside": "eth0", "here": ""}
ZONES = {"here": "z1", "there": "z2"}
CIDRS = {"here": ("10.244.1.0/24", "fd00:244:0:1::/64"), "there": ("10.244.2.0/24", "fd00:244:0:2::/64")}
NOBODY = ("10.96.255.250", "fd00:96::fffa")
EXTERNALS, BALANCERS = ("198.51.100.0/24", "2001:db8:50::/112"), ("198.18.0.0/24", "2001:db8:51::/112")
LOOPBACK = ("127.0.0.1", "::1")
PORT = 8080
LOST = ("dropped", "untouched")


class Entry(NamedTuple):
    """One Service of the table: `number` makes its addresses and node ports."""

    group: str
    name: str
    number: int
    row: dict[str, Any]

    @property
    def named(self) -> str:
        return f"s{self.number}-{self.name}"

    def address(self, way: str, family: int, world: Any) -> str:
        n = self.number
        return {
            "cluster": (f"10.96.1.{n}", f"fd00:96::{256 + n:x}"),
            "external": (f"198.51.100.{n}", f"2001:db8:50::{n:x}"),
            "balancer": (f"198.18.0.{n}", f"2001:db8:51::{n:x}"),
            "nobody": NOBODY,
            "node": world.addresses["here"],
            "bridge": world.gateway,
            "loopback": LOOPBACK,
        }[way][family]

    def node_port(self, port: int) -> int:
        return 30000 + 10 * self.number + port - 80

    def port(self, way: str, port: int) -> int:
        return self.node_port(port) if way in ("node", "bridge", "loopback") and port < 1000 else port

    @property
    def ports(self) -> dict[str, tuple[str, int, int]]:
        """Name -> protocol, port, port of the backend."""
        return self.row.get("ports") or {p: (p, 80, PORT) for p in PROTOCOLS}

    @property
    def service(self) -> core.Service:
        given = dict(self.row.get("spec", {}))
        type_ = given.setdefault("type", "NodePort")
        families = given.setdefault("ipFamilies", ["IPv4", "IPv6"])
        if type_ == "ExternalName" or given.get("clusterIP") == "None":
            addresses: list[str] = ["None"] if type_ != "ExternalName" else []
        else:
            addresses = [self.address("cluster", f == "IPv6", _Nowhere) for f in families]
            given["clusterIP"] = addresses[0]
        if given.pop("external", False):
            given["externalIPs"] = [self.address("external", f == "IPv6", _Nowhere) for f in families]
        numbered = type_ in ("NodePort", "LoadBalancer")
        ports = [
            {"name": name.lower(), "protocol": protocol, "port": port}
            | ({"nodePort": self.node_port(port)} if numbered else {})
            for name, (protocol, port, _) in self.ports.items()
        ]
        ingress = []
        if "balancer" in self.row:
            mode = {"ipMode": self.row["balancer"]} if self.row["balancer"] else {}
            ingress = [{"ip": self.address("balancer", f == "IPv6", _Nowhere), **mode} for f in families]
        document = {
            "metadata": {"name": self.named, "namespace": "table", "labels": self.row.get("labels", {})},
            "spec": {**given, "clusterIPs": addresses, "ports": ports},
            "status": {"loadBalancer": {"ingress": ingress}},
        }
        return codec.convert(core.Service, document)

    def slices(self, addresses: dict[str, tuple[str, str]]) -> Iterator[discovery.EndpointSlice]:
        given = self.row.get("offered")
        offered = given or {name: (protocol, to) for name, (protocol, _, to) in self.ports.items()}
        for family in FAMILIES:
            yield codec.convert(
                discovery.EndpointSlice,
                {
                    "metadata": {
                        "name": f"{self.named}-{family}",
                        "namespace": "table",
                        "labels": {chosen_endpoints.SERVICE_LABEL: self.named},
                    },
                    "addressType": ("IPv4", "IPv6")[family],
                    "ports": [
                        {"name": name.lower(), "protocol": protocol, "port": port}
                        for name, (protocol, port) in offered.items()
                    ],
                    "endpoints": [_endpoint(one, family, addresses) for one in self.row["endpoints"]],
                },
            )


class _Nowhere:
    """For addresses that are the Service's own."""

    addresses = {"here": ("", "")}
    gateway = ("", "")


def _endpoint(one: str | dict[str, Any], family: int, addresses: dict[str, Any]) -> dict[str, Any]:
    given = {"at": one} if isinstance(one, str) else one
    at = given["at"]
    said = {"ready": True, "serving": True, "terminating": False} | given
    hints = {
        key: [{"name": name} for name in given[kind]]
        for key, kind in (("forZones", "zones"), ("forNodes", "nodes"))
        if kind in given
    }
    return {
        "addresses": [addresses[at][family]],
        "conditions": {key: said[key] for key in ("ready", "serving", "terminating")},
        "nodeName": HOMES[at],
        "targetRef": {"kind": "Pod", "name": at, "namespace": "table"},
        **({"hints": hints} if hints else {}),
    }


class Case(NamedTuple):
    """One packet of the table, in one family and protocol; `expected` is for one mode."""

    entry: Entry
    client: str
    way: str
    port: int
    family: int
    protocol: str
    expected: str | dict[str, str]

    def __str__(self) -> str:
        what = f"{self.protocol}/{('ip', 'ip6')[self.family]}"
        return f"{self.entry.group}: {self.entry.name}: {self.client} {self.way}:{self.port} {what}"

    @property
    def backend_port(self) -> int:
        given = self.entry.row.get("at")
        return given[self.protocol][self.port] if given else PORT

    @property
    def sticky(self) -> bool:
        return self.entry.row.get("spec", {}).get("sessionAffinity") == "ClientIP"


def groups() -> dict[str, tuple[dict[str, Any], list[Entry]]]:
    """The table by what is chosen about the proxy: options, and Services numbered throughout."""
    document, numbers, found = yaml.safe_load(TABLE.read_text()), itertools.count(1), {}
    for group, content in document.items():
        rows = content.get("services", {}) if group != "default" else content
        entries = [Entry(group, name, next(numbers), row) for name, row in rows.items()]
        found[group] = (content.get("options", {}) if group != "default" else {}, entries)
    return found


def cases(entries: list[Entry], mode: str) -> list[Case]:
    found = []
    for entry in entries:
        for packet, said in entry.row["packets"].items():
            client, _, rest = packet.partition(" ")
            rest, _, family = rest.partition("/")
            way, _, port = rest.partition(":")
            modal = isinstance(said, dict) and said.keys() & set(MODES)
            expected = said[mode] if modal else said
            for six, protocol in itertools.product(FAMILIES, PROTOCOLS):
                if family in ("", ("ip4", "ip6")[six]):
                    found.append(Case(entry, client, way, int(port or 80), six, protocol, expected))
    return found


GROUPS = groups()


def chosen(mode: str, given: dict[str, Any]) -> options.Options:
    ranges = {
        "cluster_cidrs": ("10.244.0.0/16", "fd00:244::/56"),
        "service_cidrs": ("10.96.0.0/16", "fd00:96::/112"),
    }
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    return options.check(options.Options(**{**ranges, **lists}, mode=mode))


def node(name: str, addresses: dict[str, Any]) -> core.Node:
    return codec.convert(
        core.Node,
        {
            "metadata": {"name": name, "labels": {model.ZONE_LABEL: ZONES[name]}},
            "spec": {"podCIDR": CIDRS[name][0], "podCIDRs": list(CIDRS[name])},
            "status": {"addresses": [{"type": "InternalIP", "address": a} for a in addresses[name]]},
        },
    )


# --- the first judge


def pod(name: str, addresses: dict[str, Any]) -> core.Pod:
    return codec.convert(
        core.Pod,
        {
            "metadata": {"name": name, "namespace": "table"},
            "spec": {"nodeName": HOMES[name], "containers": [{"name": "c", "image": "i"}]},
            "status": {"phase": "Running", "podIPs": [{"ip": a} for a in addresses[name]]},
        },
    )


def modelled(
    mode: str, given: dict[str, Any], entries: list[Entry], addresses: dict[str, Any]
) -> worlds.World:
    picked = chosen(mode, given)
    strangers = picked.local_link == "other"  # of links the model knows that pods have some of the right name
    settings = worlds.Settings(
        cluster_cidrs=("192.0.2.0/24", "2001:db8:9::/64") if strangers else picked.cluster_cidrs,
        service_cidrs=picked.service_cidrs,
        masquerade_all=picked.masquerade_all,
        detection="ClusterCIDR" if strangers else picked.detect_local,
        node_port_addresses=picked.node_port_addresses,
        proxy_mode=mode,
    )
    return worlds.World(
        pods=tuple(pod(name, addresses) for name in ("a", "b", "far")),
        nodes=tuple(node(name, addresses) for name in ("here", "there")),
        services=tuple(entry.service for entry in entries),
        slices=tuple(slice_ for entry in entries for slice_ in entry.slices(addresses)),
        outside=worlds.Party("outside", "outside", "", "", addresses["outside"]),
        settings=settings,
    )


def party(world: worlds.World, client: str) -> worlds.Party:
    if client == "outside":
        return world.outside
    if client in CIDRS:
        return worlds.node_party(world.node(client))
    return worlds.pod_party(world.pod(client, "table"))


def seen_as(case: Case, backend: str, how: str, world: Any) -> str:
    """The address that `own` or `masq` stands for."""
    if how == "own":
        return world.addresses[case.client][case.family]
    return world.gateway[case.family] if backend in ("a", "b") else world.addresses["here"][case.family]


def wrong_in_model(world: worlds.World, case: Case, place: Any) -> str:
    """What the model says otherwise; "" where it agrees."""
    host = case.entry.address(case.way, case.family, place)
    flow = flows.Flow(
        party(world, case.client),
        host,
        case.entry.port(case.way, case.port),
        case.protocol,
        (4, 6)[case.family],
    )
    told = model.translate(world, flow, at="here")
    if isinstance(case.expected, str):
        word = (told.word if told is not None else "") or "untouched"
        return "" if word == case.expected.replace("closed", "untouched") else f"{word}: {told}"
    if told is None or told.word != "ok":
        return f"not sent: {told}"
    names = {backend.name: backend for backend in told.backends}
    if names.keys() != case.expected.keys():
        return f"sent to {sorted(names)}"
    if {b.probability for b in told.backends} != {1 / len(names)} or bool(told.stays) != case.sticky:
        return f"with other chances: {told}"
    for name, how in case.expected.items():
        own, masq = (seen_as(case, name, which, place) for which in ("own", "masq"))
        seen, port = names[name].seen, names[name].port
        right = (own in seen) == (how == "own") or case.client == "here"
        if not right or (how == "masq" and masq not in seen) or port != case.backend_port:
            return f"{name} sees {sorted(seen)} at {port}"
    return ""


# --- the second judge


def planned(given: dict[str, Any], entries: list[Entry], mode: str, addresses: dict[str, Any]) -> Any:
    """What a proxy of node `here` would program: Services by the ledger, and surroundings."""
    around = options.surroundings(chosen(mode, given), node("here", addresses))
    identities, wanted = itertools.count(1), {}
    for entry in entries:
        service = parsed.parse(entry.service)
        slices = tuple(chosen_endpoints.parse(one) for one in entry.slices(addresses))
        state = tracked.State(service, slices)
        topology = chosen_endpoints.Topology("here", ZONES["here"])
        wanted[parsed.Key("table", entry.named)] = plan.place(state, topology, None, identities)
    own = tuple(address for one in around.values() for address in one.addresses)
    book = ledger.Ledger("here", own)
    return book, book.fill(wanted), around


def walker(given: dict[str, Any], entries: list[Entry], mode: str, place: Any) -> Any:
    """A function from a family and a packet to its fate, over what is planned."""
    book, elements, around = planned(given, entries, mode, place.addresses)
    own = frozenset((*place.addresses["here"], *place.gateway))
    if mode == "iptables":
        wanted = iptables.names(dict(book.items()))
        chains = {
            f.name: walk_iptables.read(iptables.document(f, wanted, around[f.name], ""))
            for f in layout.FAMILIES
        }
        return lambda family, packet: walk_iptables.fate(chains[family], packet, own)
    held = {
        f.name: walk.of(
            (
                *(e.element for e in elements if e.family is f),
                *(thing for thing in layout.frame(f, around[f.name]) if isinstance(thing, nft.Element)),
            )
        )
        for f in layout.FAMILIES
    }
    return lambda family, packet: walk.fate(held[family], packet, around[family], own)


def wrong_in_walk(fate_of: Any, case: Case, place: Any) -> str:
    source = LOOPBACK[case.family] if case.way == "loopback" else place.addresses[case.client][case.family]
    packet = walk.Packet(
        case.protocol.lower(),
        source,
        case.entry.address(case.way, case.family, place),
        case.entry.port(case.way, case.port),
        LINKS[case.client],
    )
    told = fate_of(("ip", "ip6")[case.family], packet)
    if isinstance(case.expected, str):
        word = {"closed": "passed on", "untouched": "passed on"}.get(case.expected, case.expected)
        return "" if told.verdict == word else f"{told}"
    names = {place.addresses[name][case.family]: name for name in HOMES}
    got = {
        names[c.address]: "own" if not c.masqueraded else "masq"
        for c in told.chances
        if c.port == case.backend_port
    }
    even = all(c.probability == Fraction(1, len(got)) for c in told.chances)
    right = got == case.expected and even and bool(told.stays) == case.sticky
    return "" if right else f"{told}"


class _Place:
    """The addresses of the namespaces, without them."""

    addresses = {
        "outside": ("203.0.113.10", "2001:db8:113::10"),
        "here": ("172.18.0.2", "fd00:18::2"),
        "there": ("172.18.0.3", "fd00:18::3"),
        "a": ("10.244.1.2", "fd00:244:0:1::2"),
        "b": ("10.244.1.3", "fd00:244:0:1::3"),
        "far": ("10.244.2.2", "fd00:244:0:2::2"),
    }
    gateway = ("10.244.1.1", "fd00:244:0:1::1")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("group", GROUPS)
def test_the_model_says_what_the_table_says(group, mode):
    given, entries = GROUPS[group]
    world = modelled(mode, given, entries, _Place.addresses)
    found = [(str(case), wrong_in_model(world, case, _Place)) for case in cases(entries, mode)]
    assert [pair for pair in found if pair[1]] == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("group", GROUPS)
def test_a_walk_over_the_planned_rules_says_what_the_table_says(group, mode):
    given, entries = GROUPS[group]
    fate_of = walker(given, entries, mode, _Place)
    found = [(str(case), wrong_in_walk(fate_of, case, _Place)) for case in cases(entries, mode)]
    assert [pair for pair in found if pair[1]] == []

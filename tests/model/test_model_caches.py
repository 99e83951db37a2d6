"""What the model keeps is never stale: a world that was asked, and then changed, says what a new one says."""

import copy
import itertools

import hypothesis
from hypothesis import strategies as st

from netemu.api import clusterpolicies, codec, core, discovery, networking
from netemu.model import expect, flows, services, worlds
from netemu.wire import patches

FIELDS = {  # of a world: the kind of its objects
    "pods": core.Pod,
    "nodes": core.Node,
    "services": core.Service,
    "slices": discovery.EndpointSlice,
    "namespaces": core.Namespace,
    "policies": networking.NetworkPolicy,
    "cluster_policies": clusterpolicies.ClusterNetworkPolicy,
}
LOCAL = {"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local"}
ALL = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
BLOCK = [{"ipBlock": {"cidr": "10.244.0.0/16", "except": ["10.244.1.11/32"]}}]


def pod(name, node, host, **labels):
    ports = [{"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]
    ips = [{"ip": f"10.244.{node}.{host}"}, {"ip": f"fd00:244:0:{node}::{host}"}]
    return {
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "spec": {"nodeName": f"n{node}", "containers": [{"name": "c", "ports": ports}]},
        "status": {"phase": "Running", "podIPs": ips},
    }


def node(number, **labels):
    addresses = [{"type": "InternalIP", "address": a} for a in (f"172.18.0.{number}", f"fd00:18::{number}")]
    return {
        "metadata": {"name": f"n{number}", "labels": labels},
        "spec": {"podCIDRs": [f"10.244.{number}.0/24", f"fd00:244:0:{number}::/64"]},
        "status": {"addresses": addresses},
    }


def slice_(family):
    endpoints = [
        {"addresses": [f"10.244.{n}.1{n}" if family == 4 else f"fd00:244:0:{n}::1{n}"], "nodeName": f"n{n}"}
        | {"targetRef": {"kind": "Pod", "name": f"web-{n}"}, "conditions": {"ready": True}}
        for n in (1, 2)
    ]
    meta = {"name": f"web-{family}", "namespace": "shop", "labels": {worlds.SERVICE_NAME: "web"}}
    ports = [
        {"name": "http", "port": 8080, "protocol": "TCP"},
        {"name": "dns", "port": 53, "protocol": "UDP"},
    ]
    return {"metadata": meta, "addressType": f"IPv{family}", "ports": ports, "endpoints": endpoints}


WEB = {
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "type": "LoadBalancer",
        "clusterIPs": ["10.96.0.1", "fd00:96::1"],
        "ports": [
            {"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080},
            {"name": "dns", "port": 53, "protocol": "UDP"},
        ],
    },
    "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}},
}
INGRESS = [
    {"from": [{"podSelector": {"matchLabels": {"app": "client"}}}], "ports": [{"port": "http"}]},
    {"from": [{"ipBlock": {"cidr": "172.18.0.0/16"}}, {"ipBlock": {"cidr": "203.0.113.0/24"}}]},
]


def policy(spec):
    return {"metadata": {"name": "p", "namespace": "shop"}, "spec": spec}


def gate(action, **peer):
    egress = [{"action": action, "to": [peer]}]
    subject = {"namespaces": {"matchLabels": {"team": "shop"}}}
    spec = {"tier": "Admin", "priority": 1, "subject": subject, "egress": egress}
    return {"metadata": {"name": "gate"}, "spec": spec}


CLUSTER = {
    "pods": {"web-1": pod("web-1", 1, 11, app="web"), "web-2": pod("web-2", 2, 12, app="web")}
    | {"client": pod("client", 1, 13, app="client")},
    "nodes": {"n1": node(1, zone="a"), "n2": node(2, zone="b")},
    "services": {"web": WEB},
    "slices": {"web-4": slice_(4), "web-6": slice_(6)},
    "namespaces": {"shop": {"metadata": {"name": "shop", "labels": {"team": "shop"}}}},
    "policies": {"p": policy({"podSelector": {"matchLabels": {"app": "web"}}, "ingress": INGRESS})},
    "cluster_policies": {"gate": gate("Deny", nodes={"matchLabels": {"zone": "b"}})},
}


# What may change: a merge patch of an object (None: it goes), or other settings.
CHANGES = (
    ("pods", "client", {"metadata": {"labels": {"app": "web"}}}),
    ("pods", "client", {"spec": {"nodeName": "n2"}}),
    ("pods", "web-1", {"status": {"podIPs": [{"ip": "10.244.1.99"}, {"ip": "fd00:244:0:1::99"}]}}),
    ("pods", "web-1", {"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 9}]}]}}),
    ("pods", "web-2", {"spec": {"hostNetwork": True}, "status": {"podIPs": [{"ip": "172.18.0.2"}]}}),
    ("pods", "web-2", {"status": {"phase": "Succeeded"}}),
    ("pods", "web-1", None),
    ("nodes", "n1", {"metadata": {"labels": {"topology.kubernetes.io/zone": "a", "zone": "b"}}}),
    ("nodes", "n2", {"status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.9"}]}}),
    ("nodes", "n2", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}),
    ("nodes", "n2", None),
    ("namespaces", "shop", {"metadata": {"labels": {"team": "other"}}}),
    ("services", "web", {"spec": LOCAL}),
    ("services", "web", {"spec": {"sessionAffinity": "ClientIP"}}),
    ("services", "web", {"spec": {"loadBalancerSourceRanges": ["10.244.1.0/24"]}}),
    ("services", "web", {"spec": {"externalIPs": ["198.51.100.7"]}}),
    ("services", "web", {"spec": {"ports": [{"name": "http", "port": 81, "nodePort": 30081}]}}),
    ("services", "web", {"spec": {"clusterIPs": ["10.96.0.2"]}}),
    ("services", "web", None),
    ("slices", "web-4", {"endpoints": [CLUSTER["slices"]["web-4"]["endpoints"][1]]}),
    (
        "slices",
        "web-4",
        {"endpoints": [{"addresses": ["10.244.1.11"], "conditions": {"ready": False, "terminating": True}}]},
    ),
    ("slices", "web-4", {"ports": [{"name": "http", "port": 53, "protocol": "TCP"}]}),
    ("slices", "web-6", None),
    ("policies", "p", policy(ALL)),
    ("policies", "p", policy({**ALL, "egress": [{"to": BLOCK}], "ingress": [{"ports": [{"port": "http"}]}]})),
    ("policies", "p", policy({**ALL, "egress": [{}], "ingress": [{"from": [{"podSelector": {}}]}]})),
    ("cluster_policies", "gate", gate("Deny", networks=["10.244.2.0/24"])),
    ("cluster_policies", "gate", None),
    ("cluster_policies", "gate", gate("Pass", namespaces={})),
    ("settings", "masquerade_all", True),
    ("settings", "detection", "NodeCIDR"),
    ("settings", "detection", "BridgeInterface"),
    ("settings", "node_port_addresses", ("fd00::/8",)),
    ("settings", "policed", False),
    ("settings", "tunnelled", True),
    ("settings", "proxy_mode", "iptables"),
    ("settings", "cluster_cidrs", ("10.0.0.0/16",)),
    ("settings", "service_cidrs", ()),
)
DIALLED = (
    *(("10.96.0.1", 80, "TCP"), ("10.96.0.1", 53, "UDP"), ("10.96.0.1", 81, "TCP"), ("10.96.0.2", 80, "TCP")),
    *(("10.96.0.3", 80, "TCP"), ("fd00:96::1", 80, "TCP"), ("198.51.100.1", 80, "TCP"), ("web", 80, "TCP")),
    *(("198.51.100.7", 80, "TCP"), ("172.18.0.1", 30080, "TCP"), ("172.18.0.2", 30080, "TCP")),
    *(("10.244.1.11", 8080, "TCP"), ("10.244.2.12", 8080, "TCP"), ("fd00:244:0:2::12", 53, "UDP")),
    *(("127.0.0.1", 30080, "TCP"), ("172.18.0.2", 0, "ICMP"), ("203.0.113.10", 80, "TCP")),
)
OUTSIDE = worlds.Party("outside", "outside", addresses=("203.0.113.10", "2001:db8:113::10"))


def changed(cluster, settings, change):
    """The cluster and the settings after a change."""
    field, name, patch = change
    if field == "settings":
        return cluster, settings._replace(**{name: patch})
    cluster = copy.deepcopy(cluster)
    if patch is None:
        cluster[field].pop(name, None)
    else:
        cluster[field][name] = patches.merge(cluster[field].get(name, {}), patch)
    return cluster, settings


def fields(cluster, settings):
    found = {
        field: tuple(codec.convert(kind, document) for document in cluster[field].values())
        for field, kind in FIELDS.items()
    }
    return found | {"settings": settings, "outside": OUTSIDE}


def flows_of(world, asked):
    """Who is gone asks from outside."""
    parties = {party.name: party for party in world.parties()}
    for who, (host, port, protocol) in asked:
        yield flows.Flow(parties.get(who, OUTSIDE), host, port, protocol, 6 if ":" in host else 4)


def judged(world, first):
    """Everything is asked, from somewhere on."""
    for flow in flows_of(world, EVERYTHING[first:] + EVERYTHING[:first]):
        expect.of(world).judge(flow)


def answers(world, asked):
    """All that is said of these flows, in one world."""
    told, model = [], expect.of(world)
    for flow in flows_of(world, asked):
        translated = services.translate(world, flow) if worlds.is_address(flow.host) else None
        told.append((model.judge(flow), model.expect(flow), model.explain(flow), translated))
    return told


EVERYTHING = list(itertools.product(("client", "web-1", "web-2", "n1", "n2", "outside"), DIALLED))


@hypothesis.given(
    st.lists(st.sampled_from(CHANGES), min_size=1, max_size=2),
    st.lists(st.sampled_from(EVERYTHING), min_size=8, max_size=16, unique=True),
    st.integers(0, len(EVERYTHING)),
)
@hypothesis.settings(max_examples=50, deadline=None)
def test_after_any_change_an_old_world_answers_like_a_new_one(changes, asked, first):
    """Flows are asked of a world in which everything was asked, and each of one that nobody asked before."""
    cluster, settings = CLUSTER, worlds.Settings()
    world = worlds.World(**fields(cluster, settings))
    for change in changes:
        judged(world, first)
        cluster, settings = changed(cluster, settings, change)
        made = fields(cluster, settings)
        world = world._replace(**made)
        judged(world, first)
        assert answers(world, asked) == [answers(worlds.World(**made), [one])[0] for one in asked]


def test_every_change_is_one():
    """Each of the changes alters some answer, in this cluster or with the policies Local: no row is idle."""
    bases = [(CLUSTER, worlds.Settings())]
    bases.append(changed(*bases[0], ("services", "web", {"spec": LOCAL})))
    before = [answers(worlds.World(**fields(*base)), EVERYTHING) for base in bases]
    for change in CHANGES:
        after = (answers(worlds.World(**fields(*changed(*base, change))), EVERYTHING) for base in bases)
        assert any(now != was for now, was in zip(after, before, strict=True)), change

"""The network model's verdicts, one flow a row: a small cluster, who asks, what must happen, why."""

import pytest

from netemu.api import codec, core, discovery
from netemu.model import expect, worlds


def node(number, name):
    return codec.convert(
        core.Node,
        {
            "metadata": {"name": name},
            "spec": {"podCIDRs": [f"10.244.{number}.0/24", f"fd00:244:0:{number}::/64"]},
            "status": {
                "addresses": [
                    {"type": "InternalIP", "address": f"172.18.0.{number + 2}"},
                    {"type": "InternalIP", "address": f"fd00:18::{number + 2}"},
                    {"type": "Hostname", "address": name},
                ]
            },
        },
    )


def pod(name, on, host, namespace="default", ports=(8080,)):
    number = {"worker-1": 1, "worker-2": 2}[on]
    declared = [{"containerPort": p, "protocol": proto} for p in ports for proto in ("TCP", "UDP")]
    return codec.convert(
        core.Pod,
        {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"nodeName": on, "containers": [{"name": "main", "ports": declared}]},
            "status": {
                "phase": "Running",
                "podIPs": [{"ip": f"10.244.{number}.{host}"}, {"ip": f"fd00:244:0:{number}::{host}"}],
            },
        },
    )


def service(name, ips, *, node_port=0, policy="", namespace="default"):
    port = {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}
    spec = {"clusterIPs": list(ips), "ports": [port | ({"nodePort": node_port} if node_port else {})]}
    if policy:
        spec["externalTrafficPolicy"] = policy
    return codec.convert(core.Service, {"metadata": {"name": name, "namespace": namespace}, "spec": spec})


def endpoints(of, family, *members):
    listed = [
        {
            "addresses": [m.status.podIPs[0 if family == 4 else 1].ip],
            "nodeName": m.spec.nodeName,
            "targetRef": {"kind": "Pod", "name": m.metadata.name},
            "conditions": {"ready": ready},
        }
        for m, ready in members
    ]
    document = {
        "metadata": {
            "name": f"{of}-{family}",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": of},
        },
        "addressType": f"IPv{family}",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": listed,
    }
    return codec.convert(discovery.EndpointSlice, document)


WEB1, WEB2 = pod("web-1", "worker-1", 5), pod("web-2", "worker-2", 5)
SICK = pod("web-3", "worker-2", 6)
CLIENT = pod("client", "worker-1", 9, ports=())
GUEST = pod("guest", "worker-2", 9, namespace="guests", ports=())
WORLD = worlds.World(
    pods=(WEB1, WEB2, SICK, CLIENT, GUEST),
    nodes=(node(0, "control-plane-1"), node(1, "worker-1"), node(2, "worker-2")),
    services=(
        service("web", ("10.96.0.20", "fd00:96::20")),
        service("empty", ("10.96.0.21",)),
        service("outer", ("10.96.0.22", "fd00:96::22"), node_port=30080),
        service("local", ("10.96.0.23",), node_port=30081, policy="Local"),
        service("headless", ("None",)),
    ),
    slices=(
        endpoints("web", 4, (WEB1, True), (WEB2, True), (SICK, False)),
        endpoints("web", 6, (WEB1, True), (WEB2, True)),
        endpoints("outer", 4, (WEB1, True), (WEB2, True)),
        endpoints("local", 4, (WEB1, True)),
        endpoints("headless", 4, (WEB1, True)),
    ),
    outside=worlds.Party("outside", "outside", addresses=("203.0.113.10", "2001:db8:113::10")),
)
WHO = {party.name: party for party in WORLD.parties()}


def ask(who, host, port, protocol="TCP", family=4):
    return expect.expect(WORLD, expect.Flow(WHO[who], host, port, protocol, family))


@pytest.mark.parametrize(
    ("who", "host", "port", "outcome", "reason"),
    [
        ("client", "10.244.1.5", 8080, "ok", "same node"),
        ("client", "10.244.2.5", 8080, "ok", "worker-1 to worker-2"),
        ("client", "10.244.2.5", 9999, "", "no container declares port 9999/TCP"),
        ("worker-2", "10.244.1.5", 8080, "ok", "worker-2 to worker-1"),
        ("outside", "10.244.1.5", 8080, "unreachable", "inside the cluster only"),
        ("client", "10.96.0.20", 80, "ok", "2 ready endpoints"),
        ("client", "10.96.0.20", 81, "refused", "has no port 81/TCP"),
        ("client", "10.96.0.21", 80, "refused", "no ready endpoint"),
        ("outside", "10.96.0.20", 80, "unreachable", "inside the cluster only"),
        ("outside", "172.18.0.2", 30080, "ok", "control-plane-1 puts its own address"),
        ("outside", "172.18.0.3", 30081, "ok", "1 ready endpoint"),
        ("outside", "172.18.0.4", 30081, "dropped", "no endpoint on worker-2"),
        ("client", "203.0.113.10", 8080, "ok", "seen as their node"),
        ("client", "198.51.100.1", 80, "", "nobody here has the address"),
        ("web-1", "127.0.0.1", 8080, "ok", "share one loopback"),
        ("client", "web", 80, "ok", "web.default.svc.cluster.local is 10.96.0.20"),
        ("client", "web.default.svc.cluster.local.", 80, "ok", "is 10.96.0.20"),
        ("guest", "web", 80, "no-such-name", "no Service has the name web"),
        ("guest", "web.default", 80, "ok", "web.default.svc.cluster.local is 10.96.0.20"),
        ("client", "headless", 8080, "ok", "headless.default.svc.cluster.local is 10.244.1.5"),
        ("worker-1", "web.default.svc.cluster.local", 80, "no-such-name", "does not ask the cluster's DNS"),
    ],
)
def test_verdicts(who, host, port, outcome, reason):
    verdict = ask(who, host, port)
    assert verdict.outcome == outcome, verdict
    assert reason in verdict.text


def test_an_unready_endpoint_never_answers():
    assert {answerer.endpoint for answerer in ask("client", "10.96.0.20", 80).answerers} == {"web-1", "web-2"}


@pytest.mark.parametrize(
    ("who", "host", "port", "endpoint", "seen"),
    [
        ("client", "10.244.1.5", 8080, "web-1", {"10.244.1.9"}),  # no NAT between pods: of one node,
        ("client", "10.244.2.5", 8080, "web-2", {"10.244.1.9"}),  # of two,
        ("web-1", "10.244.1.5", 8080, "web-1", {"10.244.1.5"}),  # and a pod sees itself as others do
        ("client", "10.96.0.20", 80, "web-2", {"10.244.1.9"}),  # a ClusterIP changes the destination only
        ("web-1", "10.96.0.20", 80, "web-1", {"172.18.0.3", "10.244.1.1", "10.244.1.0"}),  # hairpin
        ("web-1", "10.96.0.20", 80, "web-2", {"10.244.1.5"}),
        (
            "outside",
            "172.18.0.4",
            30080,
            "web-1",
            {"172.18.0.4", "10.244.2.1", "10.244.2.0"},
        ),  # the node that was asked
        ("outside", "172.18.0.3", 30081, "web-1", {"203.0.113.10"}),  # Local keeps the client's address
        ("worker-1", "10.244.2.5", 8080, "web-2", {"172.18.0.3", "10.244.1.1", "10.244.1.0"}),
        ("client", "203.0.113.10", 8080, "outside", {"172.18.0.3", "10.244.1.1", "10.244.1.0"}),
    ],
)
def test_whom_the_server_sees(who, host, port, endpoint, seen):
    assert ask(who, host, port).seen_by(endpoint) == seen


def test_another_node_is_bound_by_a_local_policy_as_the_outside_is():
    assert ask("worker-2", "172.18.0.4", 30081).seen_by("web-1")  # the very node: not bound
    assert ask("worker-2", "172.18.0.2", 30081).outcome == "dropped"


def test_a_pod_at_another_nodes_port_with_local_policy_needs_the_answer_to_come_back_that_way():
    assert ask("guest", "172.18.0.3", 30081).outcome == "ok"  # the endpoint is on the node that was dialled
    verdict = ask("client", "172.18.0.2", 30081)
    assert verdict.outcome == "dropped"
    assert "the answer of web-1 would not come back by control-plane-1" in verdict.text
    assert ask("client", "172.18.0.2", 30080).outcome == "ok"  # masqueraded, with policy Cluster


def test_the_other_family_has_its_own_addresses():
    verdict = ask("client", "web", 80, family=6)
    assert str(verdict.because[0]) == "web.default.svc.cluster.local is fd00:96::20"
    assert verdict.seen_by("web-1") == {"fd00:244:0:1::9"}
    assert ask("client", "empty", 80, family=6).outcome == "no-such-name"


@pytest.mark.parametrize(
    ("policy", "host_network", "outcome"),
    [
        ("", False, "ok"),
        ("ClusterFirst", True, "no-such-name"),
        ("ClusterFirstWithHostNet", True, "ok"),
        ("Default", False, "no-such-name"),
    ],
)
def test_who_asks_the_clusters_dns(policy, host_network, outcome):
    spec = {"nodeName": "worker-1", "dnsPolicy": policy, "hostNetwork": host_network, "containers": []}
    asking = codec.convert(core.Pod, {"metadata": {"name": "x", "namespace": "default"}, "spec": spec})
    world = WORLD._replace(pods=(asking,))
    party = worlds.Party("pod", "x", "default", "worker-1")
    assert expect.expect(world, expect.Flow(party, "web", 80)).outcome == outcome


def test_an_address_may_be_written_in_any_way():
    assert ask("client", "FD00:96:0:0:0:0:0:20", 80, family=6).outcome == "ok"

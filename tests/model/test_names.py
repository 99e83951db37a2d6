"""Names as the sender's resolver finds them: DNS-Based Service Discovery 1.1.0, resolv.conf, /etc/hosts."""

import pytest

from netemu.api import codec, core, discovery, networking
from netemu.model import expect, flows, names, worlds


def pod(name, namespace="default", ip="10.244.1.9", **spec):
    document = {
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c"}], **spec},
        "status": {"phase": "Running", "podIPs": [{"ip": ip}, {"ip": f"fd00:244::{ip.rpartition('.')[2]}"}]},
    }
    return codec.convert(core.Pod, document)


def service(name, namespace="default", **spec):
    return codec.convert(core.Service, {"metadata": {"name": name, "namespace": namespace}, "spec": spec})


def slice_of(name, *endpoints):
    document = {
        "metadata": {"name": name, "namespace": "default", "labels": {worlds.SERVICE_NAME: name}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 80}],
        "endpoints": endpoints,
    }
    return codec.convert(discovery.EndpointSlice, document)


DNS = service(
    "kube-dns",
    "kube-system",
    clusterIPs=["10.96.0.10"],
    ports=[{"name": "dns", "port": 53, "protocol": "UDP"}],
)
DNS_SLICE = codec.convert(
    discovery.EndpointSlice,
    {
        "metadata": {
            "name": "dns",
            "namespace": "kube-system",
            "labels": {worlds.SERVICE_NAME: "kube-dns"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}],
        "endpoints": [{"addresses": ["10.244.1.2"], "targetRef": {"kind": "Pod", "name": "coredns"}}],
    },
)
CLIENT = pod("client")
WORLD = worlds.World(
    pods=(
        CLIENT,
        pod("guest", "guests", "10.244.1.8"),
        pod("coredns", "kube-system", "10.244.1.2"),
        pod("named", ip="10.244.1.7", hostname="db-0", subdomain="db"),
        pod("far", ip="10.244.1.6", dnsConfig={"searches": ["shop.svc.cluster.local"]}),
        pod(
            "aliased",
            ip="10.244.1.5",
            hostAliases=[{"ip": "192.0.2.1", "hostnames": ["old", "Older.example"]}],
        ),
        pod("short", ip="10.244.1.4", dnsConfig={"options": [{"name": "ndots", "value": "1"}]}),
    ),
    services=(
        service("web", clusterIPs=["10.96.0.20", "fd00:96::20"], ports=[{"port": 80}]),
        service("api", "shop", clusterIPs=["10.96.0.21"], ports=[{"port": 80}]),
        service("db", clusterIPs=["None"], ports=[{"port": 80}]),
        service("alias", type="ExternalName", externalName="api.shop.svc.cluster.local"),
        service("beyond", type="ExternalName", externalName="example.com"),
        service("loop", type="ExternalName", externalName="loop.default.svc.cluster.local"),
        DNS,
    ),
    slices=(
        slice_of(
            "db",
            {"addresses": ["10.244.1.7"], "hostname": "db-0"},
            {"addresses": ["10.244.1.6"]},
            {"addresses": ["10.244.1.5"], "conditions": {"ready": False}},
        ),
        DNS_SLICE,
    ),
)
WHO = {party.name: party for party in WORLD.parties()}


@pytest.mark.parametrize(
    ("who", "host", "addresses"),
    [
        ("client", "web", ("10.96.0.20",)),
        ("client", "WEB.Default", ("10.96.0.20",)),
        ("client", "web.default.svc", ("10.96.0.20",)),
        ("client", "web.default.svc.cluster.local.", ("10.96.0.20",)),
        ("client", "web.", ()),  # absolute: no search path
        ("guest", "web", ()),
        ("guest", "web.default", ("10.96.0.20",)),
        ("client", "api", ()),
        ("far", "api", ("10.96.0.21",)),  # dnsConfig.searches
        ("client", "db", ("10.244.1.6", "10.244.1.7")),  # headless: ready endpoints
        ("client", "db-0.db", ("10.244.1.7",)),
        ("client", "10-244-1-6.db", ("10.244.1.6",)),
        ("client", "db-1.db", ()),
        ("client", "10-244-1-5.db", ()),  # not ready
        ("client", "10-1-2-3.shop.pod.cluster.local", ("10.1.2.3",)),  # pods insecure
        ("client", "alias", ("10.96.0.21",)),  # a CNAME inside the zone
        ("client", "beyond", ()),
        ("client", "loop", ()),
        ("client", "example.com", ()),
        ("client", "client", ("10.244.1.9",)),  # /etc/hosts
        ("named", "db-0.db.default.svc.cluster.local", ("10.244.1.7",)),
        ("aliased", "older.example", ("192.0.2.1",)),
        ("client", "localhost", ("127.0.0.1",)),
    ],
)
def test_what_a_name_means(who, host, addresses):
    assert names.resolve(WORLD, WHO[who], host, 4).addresses == addresses


def test_the_order_in_which_full_names_are_tried():
    asked = list(names.candidates(WORLD, CLIENT, "a.b"))
    assert asked == ["a.b.default.svc.cluster.local", "a.b.svc.cluster.local", "a.b.cluster.local", "a.b"]
    few = next(pod for pod in WORLD.pods if pod.metadata.name == "short")
    assert next(names.candidates(WORLD, few, "a.b")) == "a.b"


def policy(**spec):
    meta = {"name": "p", "namespace": "default"}
    return codec.convert(networking.NetworkPolicy, {"metadata": meta, "spec": {"podSelector": {}, **spec}})


def test_a_name_needs_its_question_answered():
    shut = WORLD._replace(policies=(policy(policyTypes=["Egress"]),))
    verdict = expect.expect(shut, flows.Flow(WHO["client"], "web", 80))
    assert verdict.outcome == "no-such-name"
    assert "questions to the cluster's DNS (10.96.0.10, udp/53) are not answered" in verdict.text
    assert "no rule allows udp/53 to kube-system/coredns" in verdict.text
    open_dns = policy(policyTypes=["Egress"], egress=[{"ports": [{"protocol": "UDP", "port": 53}]}])
    named = expect.expect(WORLD._replace(policies=(open_dns,)), flows.Flow(WHO["client"], "db-0.db", 80))
    assert named.outcome == "dropped"


def test_a_headless_name_stands_for_several_addresses():
    verdict = expect.expect(WORLD, flows.Flow(WHO["client"], "db", 80))
    assert {outcome.probability for outcome in verdict.outcomes} == {0.5}
    assert "db.default.svc.cluster.local is 10.244.1.6, 10.244.1.7" in verdict.text

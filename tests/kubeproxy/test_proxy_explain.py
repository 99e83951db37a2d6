"""A walk over planned elements: every way to dial a Service, for every client, without a kernel."""

import itertools
from fractions import Fraction

import pytest

from netemu.api import meta
from netemu.kubeproxy import changes, endpoints, explain, layout, options, plan, services, walk
from netemu.wire import nft

AROUND = options.surroundings(options.Options(("10.244.0.0/16", "fd00:244::/56"), ("10.96.0.0/16",)), None)
KEY = meta.Key("shop", "web")
NODE = frozenset({"172.18.0.2", "fd00:18::2"})
CLIENTS = (
    explain.Client("a pod", "cni0", ("10.244.1.9", "fd00:244:0:1::9")),
    explain.Client("the node", "", ("172.18.0.2",)),
    explain.Client("outside", "eth0", ("203.0.113.10",), beyond=True),
)


def lines(members, clients=CLIENTS, **special):
    service = services.Service(KEY, (services.Port("http", "tcp", 80, 30080),), ("10.96.0.1",), **special)
    slice_ = endpoints.Slice(
        KEY,
        (("http", "tcp", 8080),),
        tuple(endpoints.Endpoint(ip, True, True, False, node, name) for name, ip, node in members),
    )
    wanted = plan.place(
        changes.State(service, (slice_,)), endpoints.Topology("here"), None, itertools.count(1)
    )
    tables = {
        f.name: walk.of(
            (
                *(e.element for e in plan.elements(wanted, plan.Here("here")) if e.family is f),
                *(t for t in layout.frame(f, AROUND[f.name]) if isinstance(t, nft.Element)),
            )
        )
        for f in layout.FAMILIES
    }

    def fate(family, packet):
        return walk.fate(tables[family], packet, AROUND[family], NODE)

    told = explain.explain(service, fate, NODE, clients)
    return {(line.client.title, line.dialled): line.fate for line in told}


BOTH = (("a", "10.244.1.2", "here"), ("far", "10.244.2.2", "there"))


def chances(fate):
    return {(c.target, c.probability, c.masqueraded) for c in fate.chances}


def test_each_backend_has_its_share_and_only_strangers_are_masqueraded():
    found = lines(BOTH)
    half = Fraction(1, 2)
    assert chances(found["a pod", "10.96.0.1:80"]) == {("a", half, False), ("far", half, False)}
    assert chances(found["the node", "10.96.0.1:80"]) == {("a", half, True), ("far", half, True)}
    assert chances(found["outside", "172.18.0.2:30080"]) == {("a", half, True), ("far", half, True)}
    assert ("outside", "10.96.0.1:80") not in found  # nobody routes there


def test_local_policy_keeps_outsiders_to_this_node():
    found = lines(BOTH, external_local=True)
    assert chances(found["outside", "172.18.0.2:30080"]) == {("a", Fraction(1), False)}
    assert len(found["a pod", "172.18.0.2:30080"].chances) == 2
    gone = lines(BOTH[1:], external_local=True)["outside", "172.18.0.2:30080"]
    assert (gone.verdict, gone.because) == ("dropped", "Local policy, and no backend on this node")


def test_a_pod_that_reaches_itself_is_masqueraded():
    itself = (explain.Client("pod a", "cni0", ("10.244.1.2",)),)
    found = lines(BOTH, itself)["pod a", "10.96.0.1:80"]
    assert chances(found) == {("a", Fraction(1, 2), True), ("far", Fraction(1, 2), False)}


def test_without_endpoints_it_is_refused():
    assert {(f.verdict, f.because) for f in lines(()).values()} == {
        ("refused", "the Service has no endpoints")
    }


def test_affinity_is_told():
    assert {f.stays for f in lines(BOTH, affinity_seconds=60).values()} == {60}


@pytest.mark.parametrize(("source", "verdict"), [("203.0.113.10", "dropped"), ("10.1.2.3", "sent")])
def test_source_ranges_are_the_load_balancers_alone(source, verdict):
    client = (explain.Client("outside", "eth0", (source,), beyond=True),)
    ranges = {"balancer_ips": ("198.51.100.1",), "source_ranges": ("10.0.0.0/8", "10.1.0.0/16")}
    found = lines(BOTH, client, **ranges)
    assert found["outside", "198.51.100.1:80"].verdict == verdict
    assert found["outside", "172.18.0.2:30080"].verdict == "sent"


@pytest.mark.parametrize(
    ("destination", "port", "verdict"),
    [
        ("10.96.0.1", 81, "refused"),
        ("10.96.0.9", 80, "passed on"),
        ("192.0.2.1", 80, "passed on"),
        ("127.0.0.1", 30080, "passed on"),
    ],
)
def test_what_no_service_offers(destination, port, verdict):
    held = walk.of([layout.nft.Element("cluster-ips", "10.96.0.1")])
    packet = walk.Packet("tcp", "10.244.1.9", destination, port, "cni0")
    assert walk.fate(held, packet, AROUND["ip"], NODE).verdict == verdict


def test_nfts_json_is_read_in_nfts_own_spelling():
    listing = {
        "nftables": [
            {"set": {"name": "s", "elem": ["10.0.0.1", {"prefix": {"addr": "10.1.0.0", "len": 16}}]}},
            {"set": {"name": "r", "elem": [{"range": ["10.0.0.1", "10.0.0.9"]}]}},
            {
                "map": {
                    "name": "m",
                    "elem": [[{"elem": {"val": {"concat": ["a", 80]}, "comment": "c"}}, 65538]],
                }
            },
            {"chain": {"name": "x"}},
        ]
    }
    assert walk.read(listing) == {
        "s": {"10.0.0.1": walk.Entry(), "10.1.0.0/16": walk.Entry()},
        "r": {"10.0.0.1-10.0.0.9": walk.Entry()},
        "m": {"a . 80": walk.Entry("65538", "c")},
    }

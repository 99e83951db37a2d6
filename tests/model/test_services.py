"""What the model says of Services beyond the table of packets: reasons, and who announces an address."""

import pytest

from netemu.api import codec, core, discovery
from netemu.model import claims, flows, services, worlds

NODES = {"n1": "172.18.0.2", "n2": "172.18.0.3", "n3": "172.18.0.4"}
OUTSIDE = worlds.Party("outside", "outside", "", "", ("203.0.113.10",))
POD = worlds.Party("pod", "client", "shop", "n1", ("10.244.1.9",))


def node(name, ready="True", **labels):
    return codec.convert(
        core.Node,
        {
            "metadata": {"name": name, "labels": labels},
            "status": {
                "addresses": [{"type": "InternalIP", "address": NODES[name]}],
                "conditions": [{"type": "Ready", "status": ready}],
            },
        },
    )


def world(*members, nodes=(), mode="nftables", **spec):
    """A Service `web` at 10.96.0.1 and 198.51.100.1; members as (last number of the address, node)."""
    service = codec.convert(
        core.Service,
        {
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "type": "LoadBalancer",
                "clusterIPs": ["10.96.0.1"],
                "ports": [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080}],
                **spec,
            },
            "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}},
        },
    )
    slice_ = codec.convert(
        discovery.EndpointSlice,
        {
            "metadata": {"name": "s", "namespace": "shop", "labels": {worlds.SERVICE_NAME: "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [
                {
                    "addresses": [f"10.244.0.{n}"],
                    "nodeName": on,
                    "targetRef": {"kind": "Pod", "name": f"web-{n}"},
                }
                for n, on in members
            ],
        },
    )
    return worlds.World(
        nodes=nodes or tuple(map(node, NODES)),
        services=(service,),
        slices=(slice_,),
        outside=OUTSIDE,
        settings=worlds.Settings(proxy_mode=mode),
    )


def ask(found, host, port=80, source=POD, protocol="TCP"):
    return services.translate(found, flows.Flow(source, host, port, protocol, 4))


def words(told):
    return [str(reason) for reason in told.because]


def test_reasons_are_told_in_the_order_in_which_a_packet_meets_them():
    told = ask(world((1, "n1"), (2, "n2")), "172.18.0.2", 30080, OUTSIDE)
    assert words(told) == [
        "Service shop/web has node port 30080",
        "2 ready endpoints",
        "n1 puts its own address on it (masquerade: external traffic)",
    ]
    assert told.because[0].subject == "shop/web"
    assert (told.because[0].field, told.because[0].rule) == ("ports", 0)


def test_policy_at_the_node_of_the_backend_sees_what_that_node_has_not_masqueraded_yet():
    told = ask(world((1, "n1"), (2, "n2")), "172.18.0.2", 30080, OUTSIDE)
    policed = {backend.endpoint.name: backend.policed for backend in told.backends}
    assert policed == {"web-1": {"203.0.113.10"}, "web-2": {"172.18.0.2"}}


def test_a_load_balancer_address_leads_to_any_of_the_nodes_that_announce_it():
    told = ask(world((1, "n1"), (2, "n2")), "198.51.100.1", source=OUTSIDE)
    assert {b.endpoint.name: b.seen for b in told.backends} == {
        f"web-{n}": set(NODES.values()) for n in (1, 2)
    }
    assert {b.probability for b in told.backends} == {0.5}
    assert told.at == ""


def test_with_policy_local_only_nodes_with_endpoints_announce_and_their_shares_differ():
    members = ((1, "n1"), (2, "n1"), (3, "n2"))
    told = ask(world(*members, externalTrafficPolicy="Local"), "198.51.100.1", source=OUTSIDE)
    assert {b.endpoint.name: b.probability for b in told.backends} == {
        "web-1": 0.25,
        "web-2": 0.25,
        "web-3": 0.5,
    }
    assert {address for b in told.backends for address in b.seen} == {"203.0.113.10"}
    nobody = ask(world(externalTrafficPolicy="Local"), "198.51.100.1", source=OUTSIDE)
    assert nobody.word == "unreachable"


def test_nodes_that_must_not_announce_do_not():
    nodes = (node("n1", "False"), node("n2", **{claims.EXCLUDED: ""}), node("n3"))
    found = world((1, "n1"), nodes=nodes)
    assert claims.announcing(found, found.services[0]) == ("n3",)


@pytest.mark.parametrize(
    ("mode", "host", "port", "word"),
    [
        ("nftables", "10.96.0.1", 81, "refused"),
        ("iptables", "10.96.0.1", 81, None),
        ("nftables", "10.96.0.77", 80, "dropped"),
        ("iptables", "10.96.0.77", 80, None),
        ("nftables", "192.0.2.1", 80, None),
    ],
)
def test_what_no_service_has(mode, host, port, word):
    told = ask(world((1, "n1"), mode=mode), host, port)
    assert (told.word if told is not None else None) == word


def test_an_echo_request_to_a_cluster_ip_is_refused():
    assert ask(world((1, "n1")), "10.96.0.1", 0, protocol="ICMP").word == "refused"


def test_how_external_ips_are_routed_is_left_open():
    found = world((1, "n1"), externalIPs=["192.0.2.5"])
    assert ask(found, "192.0.2.5", source=OUTSIDE).word == ""
    assert ask(found, "192.0.2.5").word == "ok"


def test_affinity_is_told():
    found = world((1, "n1"), sessionAffinity="ClientIP")
    assert ask(found, "10.96.0.1").stays == 10800


def test_a_nodes_gateway_to_its_pods_does_not_make_it_one_of_the_allowed_sources():
    itself = worlds.Party("node", "n1", "", "n1", ("172.18.0.2", "10.244.1.1"))
    found = world((1, "n1"), loadBalancerSourceRanges=["10.244.0.0/16"])
    assert ask(found, "198.51.100.1", source=POD).word == "ok"
    assert ask(found, "198.51.100.1", source=itself).word == "dropped"
    found = world((1, "n1"), loadBalancerSourceRanges=["172.18.0.0/16"])
    assert ask(found, "198.51.100.1", source=itself).word == "ok"

"""API objects as the proxy reads them, and which endpoints it chooses: KEP-1669, 2086, 2433 and 4444."""

import pytest

from netemu.api import codec, core, discovery, meta, wellknown
from netemu.kubeproxy import changes, endpoints, services

HERE = endpoints.Topology("n1", "z1")
READY, LEAVING, GONE, STARTING = (
    (True, True, False),
    (False, True, True),
    (False, False, True),
    (False, False, False),
)
PORT = services.Port("http", "tcp", 80)
KEY = meta.Key("shop", "web")


def slice_of(*members):
    """Members as (last number, (ready, serving, terminating), node, zone hints, node hints)."""
    found = []
    for number, state, node, *hints in members:
        zones, nodes = (*hints, (), ())[:2]
        found.append(endpoints.Endpoint(f"10.244.0.{number}", *state, node, "", zones, nodes))
    return endpoints.Slice(KEY, (("http", "tcp", 8080),), tuple(found))


@pytest.mark.parametrize(
    ("members", "cluster", "local"),
    [
        ([(1, READY, "n1"), (2, READY, "n2")], [1, 2], [1]),
        ([(1, READY, "n2")], [1], []),
        ([], [], []),
        ([(1, STARTING, "n1")], [], []),
        # terminating ones serve only while none is ready
        ([(1, LEAVING, "n1"), (2, READY, "n2")], [2], [1]),
        ([(1, LEAVING, "n1"), (2, LEAVING, "n2")], [1, 2], [1]),
        ([(1, LEAVING, "n1"), (2, READY, "n1")], [2], [2]),
        ([(1, GONE, "n1"), (2, LEAVING, "n2")], [2], []),
        # zone hints: all must have them, and one must be for us
        ([(1, READY, "n1", ("z1",)), (2, READY, "n2", ("z2",))], [1], [1]),
        ([(1, READY, "n1", ("z1",)), (2, READY, "n2")], [1, 2], [1]),
        ([(1, READY, "n1", ("z3",)), (2, READY, "n2", ("z2",))], [1, 2], [1]),
        # hints do not count for the local set
        ([(1, READY, "n1", ("z2",)), (2, READY, "n2", ("z1",))], [2], [1]),
        # node hints come before zone hints
        ([(1, READY, "n2", ("z1",), ("n1",)), (2, READY, "n3", ("z1",), ("n3",))], [1], []),
        ([(1, READY, "n2", ("z1",), ("n4",)), (2, READY, "n3", ("z2",), ("n3",))], [1], []),
    ],
)
def test_which_endpoints_are_chosen(members, cluster, local):
    choice = endpoints.choose([slice_of(*members)], PORT, "ip", HERE)
    assert [int(b.ip.rpartition(".")[2]) for b in choice.cluster] == cluster
    assert [int(b.ip.rpartition(".")[2]) for b in choice.local] == local
    assert bool(choice) == bool(cluster)


def test_one_endpoint_in_two_slices_is_one_and_local_if_either_says_so():
    slices = [slice_of((1, READY, "")), slice_of((1, READY, "n1"))]
    choice = endpoints.choose(slices, PORT, "ip", HERE)
    assert [(b.ip, b.node) for b in choice.cluster] == [("10.244.0.1", "n1")]


def test_ports_are_joined_by_name_and_protocol():
    both = slice_of((1, READY, "n1"))._replace(
        ports=(("http", "tcp", 8080), ("http", "udp", 9090), ("x", "tcp", 1))
    )
    assert [b.port for b in endpoints.choose([both], PORT, "ip", HERE).cluster] == [8080]
    assert [b.port for b in endpoints.choose([both], PORT._replace(protocol="udp"), "ip", HERE).cluster] == [
        9090
    ]
    assert not endpoints.choose([both], PORT._replace(name="y"), "ip", HERE)
    assert not endpoints.choose([both], PORT, "ip6", HERE)


def service(labels=None, status=None, **spec):
    spec.setdefault("ports", [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080}])
    return codec.convert(
        core.Service,
        {
            "metadata": {"name": "web", "namespace": "shop", "labels": labels or {}},
            "spec": spec,
            "status": status or {},
        },
    )


@pytest.mark.parametrize(
    "obj",
    [
        service(clusterIP="None", clusterIPs=["None"]),
        service(type="ExternalName", externalName="example.com"),
        service(),
        service({wellknown.PROXY_NAME: "other"}, clusterIP="10.96.0.1", clusterIPs=["10.96.0.1"]),
    ],
)
def test_services_that_are_none_of_the_proxys(obj):
    assert services.parse(obj) is None


def test_what_is_read_of_a_service():
    obj = service(
        type="LoadBalancer",
        clusterIP="10.96.0.1",
        clusterIPs=["10.96.0.1", "FD00:96:0::1"],
        externalIPs=["192.0.2.1", "nonsense"],
        internalTrafficPolicy="Local",
        externalTrafficPolicy="Local",
        sessionAffinity="ClientIP",
        healthCheckNodePort=32000,
        loadBalancerSourceRanges=[" 10.0.0.0/8 ", "nonsense"],
        status={
            "loadBalancer": {
                "ingress": [
                    {"ip": "203.0.113.1"},
                    {"ip": "203.0.113.2", "ipMode": "VIP"},
                    {"ip": "203.0.113.3", "ipMode": "Proxy"},
                    {"hostname": "lb.example.com"},
                ]
            }
        },
    )
    assert services.parse(obj) == services.Service(
        KEY,
        (services.Port("http", "tcp", 80, 30080),),
        ("10.96.0.1", "fd00:96::1"),
        ("192.0.2.1",),
        ("203.0.113.1", "203.0.113.2"),
        internal_local=True,
        external_local=True,
        affinity_seconds=10800,
        source_ranges=("10.0.0.0/8",),
        health_check_node_port=32000,
    )


@pytest.mark.parametrize(
    ("ingress", "promised", "served"),
    [
        ([], "203.0.113.1,2001:db8::1", ("203.0.113.1", "2001:db8::1")),
        ([{"ip": "203.0.113.1"}], "203.0.113.1", ("203.0.113.1",)),
        ([{"ip": "203.0.113.1"}], "203.0.113.2", ("203.0.113.1", "203.0.113.2")),
        ([{"ip": "203.0.113.1", "ipMode": "Proxy"}], "203.0.113.1", ()),
        ([], "nonsense", ()),
    ],
)
def test_addresses_that_a_balancer_is_promised_are_served_before_the_status_tells_them(
    ingress, promised, served
):
    obj = codec.document(service(type="LoadBalancer", clusterIP="10.96.0.1", clusterIPs=["10.96.0.1"]))
    obj["metadata"]["annotations"] = {wellknown.PROMISED: promised}
    obj["status"] = {"loadBalancer": {"ingress": ingress}}
    assert services.parse(codec.convert(core.Service, obj)).balancer_ips == served
    obj["spec"]["type"] = "NodePort"
    assert services.parse(codec.convert(core.Service, obj)).balancer_ips == ()


def api_slice(**fields):
    base = {
        "metadata": {"name": "web-1", "namespace": "shop", "labels": {wellknown.SERVICE_NAME: "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.244.0.1", "10.244.0.9"], "nodeName": "n1"}],
        "ports": [{"name": "http", "port": 8080}],
    }
    return codec.convert(discovery.EndpointSlice, {**base, **fields})


def test_what_a_slice_does_not_say_means_ready_and_tcp():
    parsed = endpoints.parse(api_slice())
    assert parsed.ports == (("http", "tcp", 8080),)
    assert [(e.ip, e.ready, e.serving, e.terminating, e.node) for e in parsed.endpoints] == [
        ("10.244.0.1", True, True, False, "n1")
    ]


def test_slices_without_a_service_or_of_names_are_left_out():
    assert endpoints.parse(api_slice(addressType="FQDN", endpoints=[{"addresses": ["a.example"]}])) is None
    assert endpoints.parse(api_slice(metadata={"name": "x", "namespace": "shop"})) is None


@pytest.mark.parametrize("port", [{"name": "http"}, {"name": "http", "port": 0}, {"port": 8080}])
def test_a_port_without_a_number_or_a_name_serves_nothing(port):
    assert endpoints.parse(api_slice(ports=[port])).ports == ()


def test_a_port_with_an_empty_name_is_the_one_of_a_service_that_gives_it_none():
    parsed = endpoints.parse(api_slice(ports=[{"name": "", "port": 8080}]))
    choice = endpoints.choose([parsed], services.Port("", "tcp", 80), "ip", HERE)
    assert [b.port for b in choice.cluster] == [8080]
    assert not endpoints.choose([parsed], PORT, "ip", HERE)


# -- changes


WEB = services.Service(KEY, (PORT,), ("10.96.0.1",))


def test_a_change_knows_what_was_and_what_is():
    tracked = changes.Changes()
    assert not tracked
    tracked.service(KEY, WEB)
    one = slice_of((1, READY, "n1"))
    tracked.slice("web-1", None, one)
    assert tracked
    assert tracked.take() == {KEY: changes.Change(changes.NOTHING, changes.State(WEB, (one,)))}
    assert not tracked
    tracked.slice("web-1", one, None)
    assert tracked.take() == {KEY: changes.Change(changes.State(WEB, (one,)), changes.State(WEB, ()))}
    tracked.service(KEY, None)
    assert tracked.take() == {KEY: changes.Change(changes.State(WEB, ()), changes.NOTHING)}


def test_there_and_back_again_is_no_change():
    tracked = changes.Changes()
    tracked.service(KEY, WEB)
    tracked.service(KEY, None)
    assert tracked.take() == {}
    tracked.service(KEY, None)
    assert not tracked


def test_a_slice_that_moves_to_another_service_changes_both():
    tracked, other = changes.Changes(), meta.Key("shop", "other")
    one = slice_of((1, READY, "n1"))
    tracked.slice("s", None, one)
    tracked.take()
    moved = one._replace(service=other)
    tracked.slice("s", one, moved)
    assert tracked.take() == {
        KEY: changes.Change(changes.State(None, (one,)), changes.NOTHING),
        other: changes.Change(changes.NOTHING, changes.State(None, (moved,))),
    }


def test_everything_leaves_nothing_pending():
    tracked = changes.Changes()
    tracked.service(KEY, WEB)
    assert tracked.everything() == {KEY: changes.State(WEB, ())}
    assert not tracked

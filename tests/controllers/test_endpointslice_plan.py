"""EndpointSlices and Endpoints from pods: what each pod becomes, and how slices change. Rows follow the API's
text.
"""

import random

import msgspec
import pytest

from netemu.api import core, discovery
from netemu.controllers.endpoints import plan as endpoints_plan
from netemu.controllers.endpointslice import endpoints, hints, plan

NODES = {"worker-1": {"topology.kubernetes.io/zone": "a"}, "worker-2": {}}


def named(one, name):
    """As the API server would have stored it."""
    metadata = msgspec.structs.replace(one.metadata, name=name, uid=name)
    return msgspec.structs.replace(one, metadata=metadata)


class Slices:
    """What is stored, with the plan's changes made."""

    def __init__(self):
        self.stored = {}
        self.made = 0
        self.writes = 0

    def apply(self, changes):
        for one in changes.create:
            self.made += 1
            self.stored[f"s{self.made}"] = named(one, f"s{self.made}")
        for one in changes.update:
            assert one.metadata.name in self.stored
            self.stored[one.metadata.name] = one
        for one in changes.delete:
            del self.stored[one.metadata.name]
        self.writes += len(changes.create) + len(changes.update) + len(changes.delete)

    def sync(self, service, pods, nodes=NODES):
        changes = plan.plan(service, pods, nodes, self.stored.values())
        self.apply(changes)
        again = plan.plan(service, pods, nodes, self.stored.values())
        assert again == plan.Changes(), "the second round must have nothing to do"
        return changes

    def addresses(self, family="IPv4"):
        return sorted(
            address
            for one in self.stored.values()
            if one.addressType == family
            for endpoint in one.endpoints
            for address in endpoint.addresses
        )


def only(service, pods, nodes=NODES):
    """The one endpoint of the one slice, or None."""
    (one,) = plan.plan(service, pods, nodes, []).create
    return one.endpoints[0] if one.endpoints else None


CONDITIONS = [
    # what, pod, service, (ready, serving, terminating)
    ("ready", {}, {}, (True, True, False)),
    ("not ready", {"ready": False}, {}, (False, False, False)),
    ("terminating and still serving", {"deleting": True}, {}, (False, True, True)),
    ("terminating and done", {"deleting": True, "ready": False}, {}, (False, False, True)),
    ("publishNotReady", {"ready": False}, {"publishNotReadyAddresses": True}, (True, False, False)),
    (
        "publishNotReady, terminating",
        {"ready": False, "deleting": True},
        {"publishNotReadyAddresses": True},
        (True, False, True),
    ),
    ("no address yet", {"ips": ()}, {}, None),
    ("ended", {"phase": "Succeeded"}, {}, None),
    ("failed", {"phase": "Failed"}, {}, None),
    ("node unknown", {"node": "ghost"}, {}, None),
    ("only the other family", {"ips": ("fd00::1",)}, {}, None),
]


@pytest.mark.parametrize(("what", "pod", "service", "expected"), CONDITIONS)
def test_conditions(make, what, pod, service, expected):
    found = only(make.service(**service), [make.pod("p", **pod)])
    if expected is None:
        assert found is None, what
        return
    conditions = found.conditions
    assert (conditions.ready, conditions.serving, conditions.terminating) == expected, what


def test_an_endpoint_says_where_it_is_and_whose(make):
    found = only(make.service(), [make.pod("p", hostname="h", subdomain="web")])
    assert found.addresses == ("10.244.1.2",)
    assert (found.nodeName, found.zone, found.hostname) == ("worker-1", "a", "h")
    assert found.targetRef == core.ObjectReference(kind="Pod", namespace="default", name="p", uid="uid-p")
    assert only(make.service(), [make.pod("p", hostname="h", subdomain="other")]).hostname is None


def port(name="", target=8080, number=80, protocol="TCP"):
    return core.ServicePort(name=name, port=number, targetPort=target, protocol=protocol)


def offers(*ports):
    listed = tuple(core.ContainerPort(name=n, containerPort=c, protocol=p) for n, c, p in ports)
    return (core.Container(name="c", ports=listed),)


def test_named_ports_are_looked_up_in_each_pod_and_group_the_slices(make):
    service = make.service(ports=[port(target="http")])
    pods = [
        make.pod("old", ips=("10.0.0.1",), containers=offers(("http", 8080, "TCP"))),
        make.pod("new", ips=("10.0.0.2",), containers=offers(("http", 9090, "TCP"))),
        make.pod("udp", ips=("10.0.0.3",), containers=offers(("http", 7070, "UDP"))),
    ]
    made = plan.plan(service, pods, NODES, []).create
    by_port = {tuple(p.port for p in one.ports): [e.addresses[0] for e in one.endpoints] for one in made}
    assert by_port == {(8080,): ["10.0.0.1"], (9090,): ["10.0.0.2"], (): ["10.0.0.3"]}


def test_a_sidecars_port_counts_an_init_containers_does_not(make):
    sidecar = core.Container(
        name="s",
        restartPolicy="Always",
        ports=(core.ContainerPort(name="http", containerPort=1, protocol="TCP"),),
    )
    init = core.Container(name="i", ports=(core.ContainerPort(name="http", containerPort=2, protocol="TCP"),))
    pod = make.pod("p", containers=(core.Container(name="c"),), initContainers=(init, sidecar))
    assert endpoints.target_port(pod, port(target="http")) == 1


def test_labels_owner_and_annotation(make):
    service = make.service(labels={"team": "x", "kubernetes.io/service-name": "lie"})
    (one,) = plan.plan(service, [], NODES, [], trigger_time="2026-01-01T00:00:05Z").create
    assert one.metadata.generateName == "web-"
    assert one.metadata.labels == {
        "team": "x",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    (owner,) = one.metadata.ownerReferences
    assert (owner.kind, owner.name, owner.uid, owner.controller, owner.blockOwnerDeletion) == (
        "Service",
        "web",
        "uid-web",
        True,
        True,
    )
    assert one.metadata.annotations == {
        "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:05Z"
    }


def test_a_headless_service_says_so(make):
    (one,) = plan.plan(make.service(cluster_ip="None"), [], NODES, []).create
    assert one.metadata.labels["service.kubernetes.io/headless"] == ""
    (other,) = plan.plan(make.service(), [], NODES, []).create
    assert "service.kubernetes.io/headless" not in other.metadata.labels


def test_without_pods_there_is_a_placeholder_in_each_family(make):
    slices = Slices()
    slices.sync(make.service(families=("IPv4", "IPv6")), [])
    assert sorted((s.addressType, s.ports, s.endpoints) for s in slices.stored.values()) == [
        ("IPv4", (), ()),
        ("IPv6", (), ()),
    ]


def test_the_placeholder_becomes_the_first_slice(make):
    slices = Slices()
    slices.sync(make.service(), [])
    changes = slices.sync(make.service(), [make.pod("p")])
    assert (len(changes.create), len(changes.update), len(changes.delete)) == (0, 1, 0)
    slices.sync(make.service(), [])
    assert len(slices.stored) == 1


def test_dual_stack(make):
    slices = Slices()
    slices.sync(make.service(families=("IPv6", "IPv4")), [make.pod("p", ips=("10.0.0.1", "fd00::1"))])
    assert (slices.addresses("IPv4"), slices.addresses("IPv6")) == (["10.0.0.1"], ["fd00::1"])
    slices.sync(make.service(families=("IPv6",)), [make.pod("p", ips=("10.0.0.1", "fd00::1"))])
    assert (slices.addresses("IPv4"), slices.addresses("IPv6")) == ([], ["fd00::1"])


def test_an_external_name_has_none(make):
    slices = Slices()
    slices.sync(make.service(), [make.pod("p")])
    slices.sync(make.service(type="ExternalName", externalName="example.com"), [make.pod("p")])
    assert slices.stored == {}


def many(make, count, first=0):
    return [
        make.pod(f"p{i:04}", ips=(f"10.1.{i // 250}.{i % 250 + 1}",)) for i in range(first, first + count)
    ]


def test_a_hundred_endpoints_a_slice(make):
    slices = Slices()
    slices.sync(make.service(), many(make, 250))
    assert sorted(len(one.endpoints) for one in slices.stored.values()) == [50, 100, 100]


def test_one_pod_more_or_less_is_one_write(make):
    slices = Slices()
    slices.sync(make.service(), many(make, 250))
    for pods in (many(make, 251), many(make, 250), many(make, 249, 1)):
        before = slices.writes
        slices.sync(make.service(), pods)
        assert slices.writes == before + 1


@pytest.mark.parametrize("seed", range(20))
def test_from_any_state_the_slices_show_exactly_the_pods(make, seed):
    chance = random.Random(seed)
    slices, service = Slices(), make.service()
    pods = {}
    for _ in range(25):
        for _ in range(chance.randrange(60)):
            name = f"p{chance.randrange(300):04}"
            if chance.random() < 0.4:
                pods.pop(name, None)
            else:
                number = int(name[1:])
                pods[name] = make.pod(
                    name,
                    ready=chance.random() < 0.8,
                    ips=(f"10.1.{number // 250}.{number % 250 + 1}", f"fd00::{number + 1:x}"),
                    containers=offers(("http", chance.choice([8080, 9090]), "TCP")),
                )
        if chance.random() < 0.3:
            service = make.service(
                ports=[port(target=chance.choice([8080, "http"]))],
                families=chance.choice([("IPv4",), ("IPv4", "IPv6")]),
                labels=chance.choice([{}, {"a": "b"}]),
            )
        slices.sync(service, list(pods.values()))
        for family in ("IPv4", "IPv6"):
            expected = (
                sorted(a for pod in pods.values() for a in endpoints.addresses(pod, family))
                if family in service.spec.ipFamilies
                else []
            )
            assert slices.addresses(family) == expected
        assert all(len(one.endpoints) <= 100 for one in slices.stored.values())
    # never far more slices than needed: each sync fills what it touches
    assert len(slices.stored) <= 16


TOPOLOGY = [
    ("", {}, None),
    ("PreferClose", {}, (["a"], [])),
    ("PreferSameZone", {}, (["a"], [])),
    ("PreferSameNode", {}, (["a"], ["worker-1"])),
    ("PreferClose", {"service.kubernetes.io/topology-mode": "Auto"}, None),
]


@pytest.mark.parametrize(("distribution", "annotations", "expected"), TOPOLOGY)
def test_hints(make, distribution, annotations, expected):
    service = make.service(trafficDistribution=distribution or None, annotations=annotations)
    found = only(service, [make.pod("p")]).hints
    if expected is None:
        assert found is None
    else:
        assert ([z.name for z in found.forZones], [n.name for n in found.forNodes]) == expected


def test_only_ready_endpoints_with_a_place_have_hints(make):
    service = make.service(trafficDistribution="PreferClose")
    assert only(service, [make.pod("p", ready=False)]).hints is None
    assert only(service, [make.pod("p", node="worker-2")]).hints is None
    assert hints.distribution(make.service(trafficDistribution="Elsewhere")) == ""


# --- Endpoints


def test_endpoints_say_the_same_in_one_object(make):
    pods = [
        make.pod("b", ips=("10.0.0.2", "fd00::2")),
        make.pod("a", ips=("10.0.0.1",)),
        make.pod("sick", ips=("10.0.0.3",), ready=False),
        make.pod("leaving", ips=("10.0.0.4",), deleting=True),
    ]
    service = make.service(labels={"x": "y"}, cluster_ip="None")
    made = endpoints_plan.plan(service, pods, None, "2026-01-01T00:00:00Z")
    assert made.metadata.labels == {
        "x": "y",
        "endpoints.kubernetes.io/managed-by": "endpoint-controller",
        "service.kubernetes.io/headless": "",
    }
    (subset,) = made.subsets
    assert [a.ip for a in subset.addresses] == ["10.0.0.1", "10.0.0.2"]
    assert [a.ip for a in subset.notReadyAddresses] == ["10.0.0.3"]
    assert [(p.name, p.port, p.protocol) for p in subset.ports] == [("", 8080, "TCP")]
    assert endpoints_plan.plan(service, pods, made) is None


def test_over_a_thousand_addresses_are_cut_and_marked(make):
    made = endpoints_plan.plan(make.service(), many(make, 1100), None)
    assert sum(len(s.addresses) for s in made.subsets) == 1000
    assert made.metadata.annotations["endpoints.kubernetes.io/over-capacity"] == "truncated"


def test_pods_with_other_ports_are_another_subset(make):
    service = make.service(ports=[port(target="http")])
    pods = [
        make.pod("old", ips=("10.0.0.1",), containers=offers(("http", 8080, "TCP"))),
        make.pod("new", ips=("10.0.0.2",), containers=offers(("http", 9090, "TCP"))),
    ]
    made = endpoints_plan.plan(service, pods, None)
    assert [(s.ports[0].port, s.addresses[0].ip) for s in made.subsets] == [
        (8080, "10.0.0.1"),
        (9090, "10.0.0.2"),
    ]


def test_types_are_those_of_the_discovery_api(make):
    assert isinstance(plan.plan(make.service(), [], NODES, []).create[0], discovery.EndpointSlice)

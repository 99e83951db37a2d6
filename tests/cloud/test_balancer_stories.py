"""The LoadBalancer controller on a real API server; where addresses are announced is written down."""

import asyncio
import os
import random
import socket
from ipaddress import ip_address, ip_interface, ip_network

import msgspec
import pytest

from netemu.api import codec, core, discovery, wellknown
from netemu.apiserver import contexts, pki, server
from netemu.base import clock
from netemu.client import errors as api_errors
from netemu.client import informers
from netemu.cloud import agent, announcing, asking, plan
from netemu.http import server as http
from netemu.kernel import netns, network
from netemu.kernel import operations as ops
from netemu.kubeproxy import health, metrics
from netemu.store import memory


class Board:
    """Where announcements are pinned."""

    def __init__(self):
        self.ways = {}

    async def announce(self, ways):
        self.ways = {str(address): set(map(str, hops)) for address, hops in ways.items()}


class Proxies:
    """What the nodes' proxies say that they have programmed; they tell nothing unless a story says so."""

    def __init__(self):
        self.told, self.asked = {}, set()

    async def programmed(self, node):
        self.asked.add(str(node))
        return self.told.get(str(node))


class Cluster:
    def __init__(self):
        self.clock, self.board, self.proxies = clock.FakeClock(), Board(), Proxies()
        authority = pki.ca("test", self.clock.now())
        identity = server.Identity(authority.certificate, authority, None, pki.key())
        self.server = server.ApiServer(
            memory.MemoryStore(), identity, contexts.Config(), self.clock, rng=random.Random(1)
        )
        self.admin = self.server.local_client("admin", ("system:masters",))

    async def node(self, name, number):
        address = core.NodeAddress(type="InternalIP", address=f"172.18.0.{number}")
        made = await self.admin.create(codec.convert(core.Node, {"metadata": {"name": name}}))
        ready = core.NodeCondition(type="Ready", status="True")
        status = core.NodeStatus(conditions=(ready,), addresses=(address,))
        return await self.admin.update_status(msgspec.structs.replace(made, status=status))

    async def service(self, name, **spec):
        document = {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], **spec},
        }
        return await self.admin.create(codec.convert(core.Service, document))

    async def endpoints(self, name, *nodes):
        document = {
            "metadata": {
                "name": f"{name}-1",
                "namespace": "default",
                "labels": {wellknown.SERVICE_NAME: name},
            },
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": [f"10.244.0.{n}"], "nodeName": node} for n, node in enumerate(nodes, 2)
            ],
            "ports": [{"name": "", "port": 80}],
        }
        made = codec.convert(discovery.EndpointSlice, document)
        try:
            await self.admin.create(made)
        except api_errors.AlreadyExists:
            body = {"endpoints": document["endpoints"]}
            await self.admin.patch(discovery.EndpointSlice, f"{name}-1", "default", body=body, how="merge")

    async def addresses(self, name):
        found = await self.admin.get(core.Service, name, "default")
        return [one.ip for one in found.status.loadBalancer.ingress]

    async def settle(self):
        await self.clock.run_for(2.0, turns=300)


def play(story):
    async def whole():
        async with asyncio.timeout(40):
            cluster = Cluster()
            await cluster.server.prepare()
            accounts = ("system:serviceaccounts", "system:authenticated")
            name = "system:serviceaccount:kube-system:service-controller"
            client = cluster.server.local_client(name, accounts)
            pools = (ip_network("198.51.100.0/29"), ip_network("2001:db8:51::/112"))
            # As in a lab: it reads with the other controllers, and writes as upstream's service controller.
            shared = informers.Informers(cluster.server.local_client(), cluster.clock)
            reading = asyncio.create_task(shared.run())
            running = asyncio.create_task(
                agent.run(client, cluster.clock, pools, cluster.board, shared=shared, proxies=cluster.proxies)
            )
            await cluster.node("n1", 2)
            await cluster.node("n2", 3)
            await cluster.settle()
            try:
                await story(cluster)
                assert not running.done() or running.result()
            finally:
                running.cancel()
                reading.cancel()

    asyncio.run(whole())


def test_a_load_balancer_gets_an_address_which_leads_to_a_node_and_leaves_with_it():
    async def story(s):
        await s.service("web")
        await s.settle()
        assert await s.addresses("web") == ["198.51.100.1"]
        assert s.board.ways["198.51.100.1"] == {"172.18.0.2", "172.18.0.3"}  # both announce it
        found = await s.admin.get(core.Service, "web", "default")
        assert found.metadata.finalizers == (plan.FINALIZER,)
        events = (await s.admin.list(core.Event, "default")).items
        assert {e.reason for e in events} == {"EnsuredLoadBalancer"}
        await s.admin.delete(core.Service, "web", "default")
        await s.settle()
        assert s.board.ways == {}
        with pytest.raises(api_errors.NotFound):
            await s.admin.get(core.Service, "web", "default")

    play(story)


NOTHING, EVERYTHING = plan.Revisions(0, 0), plan.Revisions(10**9, 10**9)
FIRST, SECOND = "172.18.0.2", "172.18.0.3"


def test_nobody_is_told_of_an_address_or_sent_there_before_the_nodes_serve_it():
    async def story(s):
        s.proxies.told = {FIRST: EVERYTHING, SECOND: NOTHING}
        await s.service("web")
        await s.settle()
        found = await s.admin.get(core.Service, "web", "default")
        # So that proxies can serve it.
        assert found.metadata.annotations[wellknown.PROMISED] == "198.51.100.1"
        assert s.board.ways == {"198.51.100.1": {FIRST}}
        assert await s.addresses("web") == []
        s.proxies.told[SECOND] = plan.Revisions(int(found.metadata.resourceVersion))
        await s.settle()
        assert s.board.ways == {"198.51.100.1": {FIRST, SECOND}}
        assert await s.addresses("web") == ["198.51.100.1"]
        s.proxies.asked.clear()
        s.proxies.told = {FIRST: NOTHING, SECOND: NOTHING}
        await s.admin.patch(
            core.Service, "web", "default", body={"metadata": {"labels": {"a": "b"}}}, how="merge"
        )
        await s.settle()
        assert s.board.ways == {"198.51.100.1": {FIRST, SECOND}}  # it was served, and is
        assert not s.proxies.asked

    play(story)


def test_with_policy_local_a_node_is_sent_to_when_its_proxy_knows_of_the_endpoint():
    async def story(s):
        s.proxies.told = {FIRST: EVERYTHING, SECOND: EVERYTHING}
        await s.service("web", externalTrafficPolicy="Local")
        await s.endpoints("web", "n1")
        await s.settle()
        assert s.board.ways == {"198.51.100.1": {FIRST}}
        s.proxies.told[SECOND] = EVERYTHING._replace(endpoints=0)
        await s.endpoints("web", "n1", "n2")
        await s.settle()
        assert s.board.ways == {"198.51.100.1": {FIRST}}
        s.proxies.told[SECOND] = EVERYTHING
        await s.settle()
        assert s.board.ways == {"198.51.100.1": {FIRST, SECOND}}

    play(story)


def test_with_policy_local_nobody_is_told_before_it_is_known_where_the_endpoints_are():
    async def story(s):
        await s.service("web", externalTrafficPolicy="Local", selector={"app": "web"})
        await s.settle()
        assert await s.addresses("web") == []
        await s.endpoints("web")  # nowhere
        await s.settle()
        assert await s.addresses("web") == ["198.51.100.1"]
        assert s.board.ways == {}

    play(story)


def test_a_proxy_that_never_catches_up_is_waited_for_so_long_and_no_longer():
    async def story(s):
        s.proxies.told = {FIRST: NOTHING, SECOND: NOTHING}
        await s.service("web")
        await s.clock.run_for(4.0, turns=200)
        assert await s.addresses("web") == []
        await s.clock.run_for(4.0, turns=200)
        assert s.board.ways == {"198.51.100.1": {FIRST, SECOND}}
        assert await s.addresses("web") == ["198.51.100.1"]

    play(story)


def test_a_proxy_tells_at_its_health_port_what_it_has_programmed(monkeypatch):
    async def story():
        state, counted = health.Health(), metrics.Metrics()
        state.programmed = (12, 7)

        async def answer(request):
            return health.healthz(state, counted, request.path, clock.SystemClock())

        async def elsewhere(request):
            return health.plain(200, "ok")

        for handler, told in ((answer, plan.Revisions(12, 7)), (elsewhere, None)):
            sock = socket.create_server(("127.0.0.1", 0))
            monkeypatch.setattr(asking, "PORT", sock.getsockname()[1])
            running = await http.serve(handler, [sock])
            assert await asking.HealthPorts().programmed(ip_address("127.0.0.1")) == told
            await running.close(grace=0)
            assert await asking.HealthPorts().programmed(ip_address("127.0.0.1")) is None

    asyncio.run(story())


def test_a_node_that_is_not_ready_announces_nothing():
    async def story(s):
        await s.service("web")
        await s.settle()
        node = await s.admin.get(core.Node, "n1")
        lost = core.NodeCondition(type="Ready", status="Unknown")
        status = msgspec.structs.replace(node.status, conditions=(lost,))
        await s.admin.update_status(msgspec.structs.replace(node, status=status))
        await s.settle()
        assert s.board.ways["198.51.100.1"] == {"172.18.0.3"}

    play(story)


def test_with_policy_local_the_address_follows_the_endpoints():
    async def story(s):
        await s.service("web", externalTrafficPolicy="Local")
        await s.settle()
        assert await s.addresses("web") == ["198.51.100.1"]
        assert s.board.ways == {}  # nobody could serve it
        for node, address in (("n1", "172.18.0.2"), ("n2", "172.18.0.3"), ("n1", "172.18.0.2")):
            await s.endpoints("web", node)
            await s.settle()
            assert s.board.ways == {"198.51.100.1": {address}}

    play(story)


def test_who_is_no_load_balancer_any_more_gives_its_address_back():
    async def story(s):
        await s.service("web")
        await s.settle()
        body = {"spec": {"type": "ClusterIP"}}
        await s.admin.patch(core.Service, "web", "default", body=body, how="merge")
        await s.settle()
        assert await s.addresses("web") == []
        assert s.board.ways == {}
        assert (await s.admin.get(core.Service, "web", "default")).metadata.finalizers == ()
        await s.service("other")
        await s.settle()
        assert await s.addresses("other") == ["198.51.100.1"]

    play(story)


def test_when_the_pool_is_empty_an_event_says_so_and_the_next_one_free_is_given():
    async def story(s):
        for number in range(7):
            await s.service(f"s{number}")
            await s.settle()
        assert await s.addresses("s6") == []
        events = (await s.admin.list(core.Event, "default")).items
        assert "no IPv4 address is left in the pools" in " ".join(
            e.message for e in events if e.reason == "SyncLoadBalancerFailed"
        )
        await s.admin.delete(core.Service, "s2", "default")
        await s.settle()
        await s.settle()
        assert await s.addresses("s6") == ["198.51.100.3"]

    play(story)


@pytest.mark.root
def test_routes_are_made_changed_and_removed_and_those_of_others_stay():
    places = [netns.open_new() for _ in range(2)]
    nets = [network.LinuxNetwork(place) for place in places]
    try:
        for net, own in zip(nets, ("172.18.0.1/16", "203.0.113.10/24"), strict=True):
            net.apply(
                [
                    ops.AddBridge("eth0"),
                    ops.AddAddress("eth0", ip_interface(own)),
                    ops.AddAddress("eth0", ip_interface("fd00:18::1/64")),
                    ops.SetUp("eth0"),
                ]
            )
        nets[0].apply([ops.AddRoute(ip_network("192.0.2.0/24"), ip_address("172.18.0.9"))])
        routers = {4: ip_address("203.0.113.1"), 6: ip_address("fd00:18::2")}
        fabric = announcing.Fabric(*nets, routers)
        four, six = ip_address("198.51.100.1"), ip_address("2001:db8:51::1")

        def routes(net):
            return {
                (str(r.dst), *sorted(map(str, (r.via, *r.also))))
                for r in net.observe().routes
                if r.protocol == announcing.PROTOCOL
            }

        for fours, sixes in ((("2", "3"), ("3",)), (("3",), ("3", "4")), (("3", "4"), ("4",))):
            ways = {
                four: tuple(ip_address(f"172.18.0.{n}") for n in fours),
                six: tuple(ip_address(f"fd00:18::{n}") for n in sixes),
            }
            for _ in range(2):  # the second changes nothing
                asyncio.run(fabric.announce(ways))
                assert routes(nets[0]) == {
                    ("198.51.100.1/32", *map(str, ways[four])),
                    ("2001:db8:51::1/128", *map(str, ways[six])),
                }
            assert routes(nets[1]) == {
                ("198.51.100.1/32", "203.0.113.1"),
                ("2001:db8:51::1/128", "fd00:18::2"),
            }
        asyncio.run(fabric.announce({}))
        assert routes(nets[0]) == routes(nets[1]) == set()
        assert any(str(r.dst) == "192.0.2.0/24" for r in nets[0].observe().routes)
    finally:
        for net in nets:
            net.close()
        for place in places:
            os.close(place)

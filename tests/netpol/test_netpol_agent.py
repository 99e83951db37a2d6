"""When policies are programmed, who waits for it, and what is told of it. All doors fake."""

import asyncio
import json
import socket
from ipaddress import ip_address

from netemu.api import clusterpolicies, codec, core, meta, networking
from netemu.base import clock
from netemu.client import api
from netemu.client import errors as refusals
from netemu.kernel import firewall
from netemu.netpol import admission, agent, board, drops, layout, reports, terms
from netemu.wire import nflog

NODE = "n1"
ADDRESS, OTHER = "10.244.1.2", "10.244.2.3"


class Api:
    """Lists what it holds, streams what is put into it, takes down patches: enough for informers."""

    def __init__(self, *, knows_cluster_policies=True):
        self.objects, self.streams, self.revision = {}, {}, 0
        self.knows = knows_cluster_policies
        self.patches = []

    def put(self, obj, *, gone=False):
        self.revision += 1
        document = codec.document(obj)
        document["metadata"]["resourceVersion"] = str(self.revision)
        obj = codec.convert(type(obj), document)
        held = self.objects.setdefault(type(obj), {})
        at = (obj.metadata.namespace, obj.metadata.name)
        kind = "DELETED" if gone else "MODIFIED" if at in held else "ADDED"
        held.pop(at, None)
        if not gone:
            held[at] = obj
        for stream in self.streams.get(type(obj), []):
            stream.put_nowait(api.Event(kind, obj))

    async def list(self, kind, namespace="", **_):
        if kind is clusterpolicies.ClusterNetworkPolicy and not self.knows:
            raise refusals.NotFound(meta.Status(message="no such kind"))
        return api.Listing(tuple(self.objects.get(kind, {}).values()), str(self.revision))

    async def watch(self, kind, namespace="", **_):
        stream = asyncio.Queue()
        self.streams.setdefault(kind, []).append(stream)
        while True:
            yield await stream.get()

    async def patch(self, kind, name, namespace="", *, body, how="merge", subresource=""):
        self.patches.append((kind.__name__, name, body))


class Touches:
    def __init__(self, door):
        self.door, self.told = door, 0

    def count(self):
        before, self.told = self.told, len(self.door.transactions)
        return self.told - before


class Log:
    """A group's socket: what is put in is received."""

    def __init__(self):
        self.ours, self.theirs = socket.socketpair()
        self.packets = []

    def fileno(self):
        return self.ours.fileno()

    def put(self, packet):
        self.packets.append(packet)
        self.theirs.send(b"x")

    def receive(self):
        self.ours.recv(100)
        found, self.packets = self.packets, []
        return found


def pod(name, ip="", *, uid="u", node=NODE, phase="Running", space="x", **more):
    return codec.convert(
        core.Pod,
        {
            "metadata": {"name": name, "namespace": space, "uid": uid, "labels": {"app": name}},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}], **more},
            "status": {"phase": phase, "podIPs": [{"ip": ip}] if ip else []},
        },
    )


def policy(name="deny", **spec):
    given = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], **spec}
    return codec.convert(
        networking.NetworkPolicy, {"metadata": {"name": name, "namespace": "x"}, "spec": given}
    )


def attachment(sandbox="s1", name="a", uid="u"):
    return admission.Attachment(sandbox, terms.Key("x", name), uid, (ip_address(ADDRESS),))


class Story:
    def __init__(self, server, gate=None, log=None):
        self.server, self.door, self.time = server, firewall.FakeFirewall(), clock.FakeClock(1000.0)
        self.gate = gate or admission.Gate()
        self.log = log

    async def __aenter__(self):
        doors = agent.Doors(self.door, Touches(self.door), self.log)
        self.task = asyncio.create_task(
            agent.run(self.server, NODE, doors, self.time, gate=self.gate, options=agent.Options(loud=True))
        )
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def subjects(self, direction="egress4"):
        table = self.door.tables.get(str(layout.TABLE))
        return dict(table.sets[direction]) if table is not None else None

    async def until(self, what):
        for _ in range(2000):
            if what():
                return
            self.time.advance(0.05)
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
        raise AssertionError(what())

    async def quiet(self):
        for _ in range(50):
            self.time.advance(0.05)
            await asyncio.sleep(0.001)


def test_nobody_is_let_through_before_his_policies_are_in_force():
    async def story():
        server = Api()
        server.put(policy())
        async with Story(server) as told:
            admitted = asyncio.create_task(told.gate.admit(attachment()))
            await told.until(lambda: told.subjects() == {})
            await told.quiet()
            assert not admitted.done()  # nobody knows its labels yet
            server.put(pod("a", phase="Pending"))
            await told.until(admitted.done)
            assert told.subjects() == {ADDRESS: "goto egress-1"}
            assert len(told.subjects("ingress4")) == 1

    asyncio.run(story())


def test_without_policies_nobody_waits_and_no_pod_is_asked_for():
    async def story():
        server = Api()
        server.put(pod("a", phase="Pending"))
        async with Story(server) as told:
            await told.gate.admit(attachment())
            await told.quiet()
            assert core.Pod not in server.streams
            server.put(policy())
            await told.until(told.subjects)
            assert told.subjects() == {ADDRESS: "goto egress-1"}

    asyncio.run(story())


def test_a_refused_transaction_lets_nobody_through_and_is_tried_again():
    async def story():
        server = Api()
        server.put(policy())
        server.put(pod("a", phase="Pending"))
        async with Story(server) as told:
            await told.until(lambda: told.subjects() == {})
            work, refused = told.door.apply, []

            def refuse(text):
                if len(refused) < 2:
                    refused.append(text)
                    raise firewall.FirewallError("Error: busy")
                work(text)

            told.door.apply = refuse
            admitted = asyncio.create_task(told.gate.admit(attachment()))
            await told.until(admitted.done)
            assert len(refused) == 2
            assert told.subjects() == {ADDRESS: "goto egress-1"}

    asyncio.run(story())


def test_after_a_restart_a_pod_that_runs_already_is_in_the_first_table():
    async def existing():
        return (attachment(),)

    async def story():
        server = Api()
        server.put(policy())
        server.put(pod("a", phase="Pending"))  # the agent died before it wrote the pod's address
        async with Story(server, admission.Gate(existing)) as told:
            await told.until(lambda: told.subjects() is not None)
            assert told.subjects() == {ADDRESS: "goto egress-1"}
            await told.gate.admitted("s1")
            await told.gate.admitted("of the node's own network")

    asyncio.run(story())


def test_a_pod_that_the_api_forgot_stays_policed_until_its_network_is_gone():
    async def story():
        server = Api()
        server.put(policy())
        server.put(pod("a", ADDRESS))
        async with Story(server) as told:
            await told.gate.admit(attachment())
            server.put(pod("a", ADDRESS), gone=True)
            await told.quiet()
            assert told.subjects() == {ADDRESS: "goto egress-1"}
            told.gate.release("s1")
            await told.until(lambda: told.subjects() == {})

    asyncio.run(story())


def test_policies_changes_and_their_end_reach_the_table():
    async def story():
        server = Api(knows_cluster_policies=False)
        server.put(pod("a", ADDRESS))
        server.put(pod("b", OTHER, node="n2", uid="v"))
        server.put(pod("h", "172.18.0.2", hostNetwork=True, uid="w"))
        async with Story(server) as told:
            await told.until(lambda: told.subjects() == {})
            server.put(policy())
            await told.until(lambda: told.subjects() == {ADDRESS: "goto egress-1"})
            server.put(policy(policyTypes=["Ingress"]))
            await told.until(lambda: told.subjects() == {})
            assert told.subjects("ingress4").keys() == {ADDRESS}
            server.put(policy(), gone=True)
            await told.until(lambda: told.subjects("ingress4") == {})
            server.knows = True
            spec = {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}}
            deny = {"action": "Deny", "from": [{"namespaces": {}}]}
            server.put(
                codec.convert(
                    clusterpolicies.ClusterNetworkPolicy,
                    {"metadata": {"name": "k"}, "spec": {**spec, "ingress": [deny]}},
                )
            )
            await told.until(lambda: told.subjects("ingress4").keys() == {ADDRESS})

    asyncio.run(story())


def test_a_node_reports_what_is_in_force_and_no_sooner():
    async def story():
        server = Api()
        server.put(pod("a", ADDRESS))
        async with Story(server) as told:
            await told.until(lambda: server.patches)
            work, gate = told.door.apply, asyncio.Event()
            told.door.apply = lambda text: work(text) if gate.is_set() else refuse()

            def refuse():
                raise firewall.FirewallError("Error: busy")

            server.patches.clear()
            server.put(policy())
            await told.quiet()
            assert not server.patches
            gate.set()
            await told.until(lambda: len(server.patches) == 2)
            (kind, name, body), (_, whose, condition) = server.patches
            assert (kind, name, whose) == ("Node", NODE, "a")
            report = reports.parse(body["metadata"]["annotations"][reports.NODE])
            assert report.policies == server.revision
            assert condition["status"]["conditions"][0]["type"] == reports.CONDITION

    asyncio.run(story())


def node(name, report="", *, ready="True"):
    return codec.convert(
        core.Node,
        {
            "metadata": {"name": name, "annotations": {reports.NODE: report} if report else {}},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        },
    )


def test_a_policy_is_in_force_when_every_ready_node_says_so():
    nodes = [node("a", "10,3,5.0"), node("b", "12,3,6.5"), node("c", ready="False")]
    found = reports.coverage(nodes, 10, 0)
    assert (str(found), found.whole, found.at) == ("2/2 nodes", True, 6.5)
    found = reports.coverage(nodes, 11, 0)
    assert (str(found), found.whole, found.missing) == ("1/2 nodes", False, ("a",))
    assert reports.coverage([*nodes, node("d")], 1, 0).missing == ("d",)
    assert reports.parse("nonsense") == reports.Report()
    assert not reports.coverage([], 0, 0).whole


def syn(source, destination, port):
    """The first packet of a TCP connection: RFC 791 and RFC 9293, without checksums."""
    head = bytes([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0])
    ends = ip_address(source).packed + ip_address(destination).packed
    return head + ends + (40000).to_bytes(2, "big") + port.to_bytes(2, "big") + bytes(16)


def test_who_talks_in_a_packet():
    source, destination = ip_address("fd00::1").packed, ip_address("fd00::2").packed
    options = bytes([17, 0, 1, 4, 0, 0, 0, 0])  # hop-by-hop, RFC 8200 4.3, then UDP
    datagram = (4000).to_bytes(2, "big") + (53).to_bytes(2, "big") + bytes(4)
    six = bytes([0x60, 0, 0, 0, 0, 16, 0, 64]) + source + destination + options + datagram
    assert nflog.flow(six) == nflog.Flow("udp", "fd00::1", 4000, "fd00::2", 53)
    assert nflog.flow(six[:44]) == nflog.Flow("0", "fd00::1", 0, "fd00::2", 0)
    assert nflog.flow(syn(OTHER, ADDRESS, 80)[:22]) == nflog.Flow("tcp", OTHER, 0, ADDRESS, 0)
    assert nflog.flow(b"") is None
    assert nflog.flow(b"\xff" * 60) is None


def test_a_drop_is_told_with_pod_policy_and_flow():
    async def story():
        server, log = Api(), Log()
        server.put(policy(policyTypes=["Ingress"]))
        server.put(pod("a", ADDRESS))
        server.put(pod("b", OTHER, node="n2", uid="v"))
        async with Story(server, log=log) as told:
            await told.until(lambda: told.subjects("ingress4"))
            said = []
            original = board.Board.put
            try:
                board.Board.put = lambda self, drop: (said.append(drop), original(self, drop))
                log.put(nflog.Logged("ingress", 1000.5, syn(OTHER, ADDRESS, 80)))
                await told.until(lambda: said)
            finally:
                board.Board.put = original
        assert drops.line(said[0]) == (
            "00:16:40.500 n1 tcp x/b (10.244.2.3:40000) -> x/a (10.244.1.2:80): "
            "ingress of x/a is isolated by policy x/deny; no rule allows tcp/80 from x/b"
        )
        assert said[0]["policies"] == ["x/deny"]

    asyncio.run(story())


def test_drops_alike_are_summed_up():
    """Whatever their family and source port, in the order of the last of each."""

    def drop(time, direction="ingress", address="10.244.1.2", policies=("x/deny",), **rest):
        return {
            "time": time, "direction": direction, "source": "x/b", "destination": "x/a", "protocol": "tcp",
            "port": 80, "sourcePort": 40000, "destinationAddress": address, "policies": list(policies),
        } | rest  # fmt: skip

    said = drops.summary(
        (
            drop("2026-01-01T00:00:01.000000Z"),
            drop("2026-01-01T00:00:09.000000Z", address="fd00::2", sourcePort=50000),
            drop("2026-01-01T00:00:03.000000Z", direction="egress", protocol="icmp", port=0, policies=()),
        )
    )
    assert [(*kind[:3], kind.blamed, count, last[17:19]) for kind, count, last in said] == [
        ("x/b", "x/a", "icmp", "none now", 1, "03"),
        ("x/b", "x/a", "tcp/80", "x/deny (ingress)", 2, "09"),
    ]


def test_drops_are_remembered_and_followed(tmp_path):
    async def story():
        one = board.Board()
        one.put({"direction": "ingress", "pod": "x/a", "n": 1})
        server = await one.serve(str(tmp_path / "drops.sock"))
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "drops.sock"))
        assert json.loads(await reader.readline())["n"] == 1
        assert await reader.readline() == b"\n"
        one.put({"direction": "ingress", "pod": "x/a", "n": 2})
        assert json.loads(await reader.readline())["n"] == 2
        writer.close()
        server.close()
        assert one.counts == {("ingress", "x/a"): 2}

    asyncio.run(story())

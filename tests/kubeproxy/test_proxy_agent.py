"""When the proxy programs: at once after quiet, together in a burst, anew after a failure. All doors fake."""

import asyncio
import contextlib
import json
import random
import re
import socket
import threading
from ipaddress import ip_interface
from typing import Any

import pytest

from netemu.api import codec, core, discovery, meta, wellknown
from netemu.base import clock, errors
from netemu.client import api
from netemu.kernel import conntrack, fake_network, firewall
from netemu.kernel import operations as ops
from netemu.kubeproxy import affinity, agent, health, layout, metrics, options

NODE = "n1"


class Api:
    """Lists what it holds and streams what is put into it: enough for informers."""

    def __init__(self) -> None:
        self.objects: dict[type, dict[tuple[str, str], Any]] = {}
        self.streams: dict[type, list[asyncio.Queue]] = {}
        self.revision = 0

    def put(self, obj: Any, *, gone: bool = False) -> None:
        self.revision += 1
        obj = codec.convert(type(obj), _with_revision(obj, self.revision))
        held = self.objects.setdefault(type(obj), {})
        at = (obj.metadata.namespace, obj.metadata.name)
        kind = "DELETED" if gone else "MODIFIED" if at in held else "ADDED"
        if gone:
            del held[at]
        else:
            held[at] = obj
        for stream in self.streams.get(type(obj), []):
            stream.put_nowait(api.Event(kind, obj))

    async def list(self, kind: type, namespace: str = "", **_: str) -> api.Listing:
        return api.Listing(tuple(self.objects.get(kind, {}).values()), str(self.revision))

    async def watch(self, kind: type, namespace: str = "", **_: str):
        stream: asyncio.Queue = asyncio.Queue()
        self.streams.setdefault(kind, []).append(stream)
        while True:
            yield await stream.get()


def _with_revision(obj: Any, revision: int) -> dict:
    document = codec.document(obj)
    document["metadata"]["resourceVersion"] = str(revision)
    return document


def service(name: str, number: int, **special) -> core.Service:
    address = f"10.96.0.{number}"
    return codec.convert(
        core.Service,
        {
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "clusterIP": address,
                "clusterIPs": [address],
                "ports": [{"port": 80, "protocol": "TCP"}],
                **special,
            },
        },
    )


def slice_(name: str, *numbers: int) -> discovery.EndpointSlice:
    return codec.convert(
        discovery.EndpointSlice,
        {
            "metadata": {"name": name, "namespace": "shop", "labels": {wellknown.SERVICE_NAME: name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [f"10.244.0.{n}"], "nodeName": NODE} for n in numbers],
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        },
    )


class Touches:
    """As the kernel: one for every transaction."""

    def __init__(self, door: firewall.FakeFirewall) -> None:
        self._door, self._told = door, 0

    def count(self) -> int:
        before, self._told = self._told, len(self._door.transactions)
        return self._told - before


class Story:
    """A proxy that runs against the fakes, and a clock that the test moves."""

    def __init__(self, **chosen) -> None:
        self.settings = options.Options(**{"healthz": "", "metrics": "", **chosen})
        self.api, self.door, self.time = Api(), firewall.FakeFirewall(), clock.FakeClock()
        self.tracking, self.system = conntrack.FakeConntrack(), fake_network.FakeNetwork()

    def run(self, story) -> None:
        async def whole() -> None:
            proxy = asyncio.create_task(
                agent.run(
                    self.api,
                    NODE,
                    self.door,
                    self.time,
                    ["10.244.0.0/16"],
                    settings=self.settings,
                    tracking=self.tracking,
                    touching=Touches(self.door),
                    system=self.system,
                )
            )
            ending = asyncio.create_task(story(self))
            done, _ = await asyncio.wait({proxy, ending}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
            proxy.cancel()
            ending.cancel()
            assert ending in done, "the story did not come to its end"
            ending.result()

        asyncio.run(whole())

    async def until(self, condition) -> None:
        """Let everybody work, without time going by, until it is so."""
        while not condition():
            await asyncio.sleep(0.001)

    async def in_time(self, condition) -> None:
        """Let time go by until it is so."""
        while not condition():
            await asyncio.sleep(0.001)
            await self.time.run_for(0.1)

    async def rest(self) -> None:
        """Until the proxy takes its breath after it programmed, and longer."""
        short = agent.BREATHER + 0.001
        await self.until(lambda: any(at - self.time.monotonic() < short for at, *_ in self.time._sleepers))
        await self.time.run_for(1)

    def backends(self) -> set[str]:
        table = self.door.tables.get(f"ip {layout.TABLE}")
        return set(table.sets["backends-tcp"].values()) if table else set()

    def backends_by_address(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for key, value in self.door.tables[f"ip {layout.TABLE}"].sets["backends-tcp"].items():
            found.setdefault(key.split(" . ")[0], set()).add(value)
        return found

    @property
    def count(self) -> int:
        return len(self.door.transactions)

    @contextlib.contextmanager
    def refusing(self):
        """As long as the kernel takes no transaction; gives the list of those that it refused."""
        healthy, refused = self.door.apply, []

        def refuse(text: str) -> None:
            refused.append(text)
            raise firewall.FirewallError("Error: no")

        self.door.apply = refuse
        yield refused
        self.door.apply = healthy


def test_at_the_start_everything_is_one_transaction():
    async def story(s):
        for number in range(1, 6):
            s.api.put(service(f"web{number}", number))
            s.api.put(slice_(f"web{number}", number))
        await s.until(lambda: len(s.backends()) == 5)
        assert s.count == 1

    Story().run(story)


def test_the_first_change_goes_at_once_and_a_burst_goes_together():
    async def story(s):
        s.api.put(service("web", 1))
        await s.until(lambda: s.count == 1)
        await s.rest()
        s.api.put(slice_("web", 1))
        await s.until(lambda: s.backends() == {"10.244.0.1 . 8080"})  # no time went by
        assert s.count == 2
        for number in range(2, 50):
            s.api.put(slice_("web", *range(1, number)))
        await s.in_time(lambda: len(s.backends()) == 48)
        assert s.count <= 4

    Story().run(story)


def test_of_hundreds_of_changes_a_second_the_last_one_counts_and_none_is_lost():
    """Endpoints of many Services come and go while the kernel is at work; the table ends as they say."""
    chance, moved, names = random.Random(11), threading.Event(), [f"web{n}" for n in range(1, 21)]

    async def story(s):
        apply = s.door.apply

        def slowly(text):
            moved.clear()
            moved.wait(0.05)  # until something else has changed
            apply(text)

        s.door.apply = slowly
        for number, name in enumerate(names, 1):
            s.api.put(service(name, number))
        present: dict[str, discovery.EndpointSlice] = {}
        for turn in range(1000):
            name = chance.choice(names)
            if name in present and chance.random() < 0.4:
                s.api.put(present.pop(name), gone=True)
            else:
                present[name] = slice_(name, *chance.sample(range(1, 250), chance.randrange(1, 4)))
                s.api.put(present[name])
            await asyncio.sleep(0)
            moved.set()
            if turn % 5 == 0:
                await s.time.run_for(chance.choice((0.0, 0.005, agent.BREATHER)))
        wanted = {
            f"10.96.0.{name[3:]}": {f"{e.addresses[0]} . 8080" for e in one.endpoints}
            for name, one in present.items()
        }
        assert len(wanted) > 10
        await s.in_time(lambda: s.backends_by_address() == wanted)
        assert s.count < 500  # together, not one by one

    Story().run(story)


def test_heartbeats_of_the_node_and_changes_that_change_nothing_make_no_transaction():
    async def story(s):
        node = codec.convert(core.Node, {"metadata": {"name": NODE, "labels": {wellknown.ZONE: "z"}}})
        s.api.put(node)
        s.api.put(service("web", 1))
        await s.until(lambda: s.count == 1)
        for _ in range(5):
            s.api.put(node)
            s.api.put(service("web", 1))
            await s.time.run_for(1)
        assert s.count == 1

    Story().run(story)


def test_after_a_refusal_the_table_is_made_anew():
    async def story(s):
        s.api.put(service("web", 1))
        s.api.put(slice_("web", 1))
        await s.until(lambda: s.count == 1)
        s.door.tables[f"ip {layout.TABLE}"].sets["backends-tcp"].clear()  # somebody else's doing
        s.api.put(slice_("web", 2))
        await s.in_time(lambda: s.backends() == {"10.244.0.2 . 8080"})
        assert s.door.transactions[-1].startswith(f"add table ip {layout.TABLE}\ndelete table")

    Story().run(story)


def test_a_service_that_went_while_nobody_looked_is_gone():
    async def story(s):
        s.api.put(service("web", 1))
        s.api.put(slice_("web", 1))
        await s.until(lambda: len(s.backends()) == 1)
        s.api.put(service("web", 1), gone=True)
        await s.in_time(lambda: not s.backends())
        sets = s.door.tables[f"ip {layout.TABLE}"].sets
        assert not any(elements for name, elements in sets.items() if name not in ("pods", "kinds"))

    Story().run(story)


def test_ranges_that_are_none_are_said_to_be():
    with pytest.raises(errors.Rejected, match=r"10\.244\.0\.1/16"):
        options.check(options.Options(cluster_cidrs=("10.244.0.1/16",)))


def free_port():
    """Not one of those that the kernel gives to outgoing connections of other programs."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket(socket.AF_INET6) as sock, contextlib.suppress(OSError):
            sock.bind(("::", port))
            return port


async def fetch(port, path):
    """Status, headers, body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    first, *fields = head.split("\r\n")
    return int(first.split()[1]), dict(f.lower().split(": ", 1) for f in fields), body


async def answers(s, port, path, expected):
    """Wait until that port gives that status."""
    while True:
        try:
            found = await fetch(port, path)
        except OSError:
            found = (0, {}, "")
        if found[0] == expected:
            return found
        await asyncio.sleep(0.005)
        await s.time.run_for(0.01)


def node(zone="", *, leaving=False, **spec):
    about: dict[str, Any] = {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}}
    if zone:
        about["labels"][wellknown.ZONE] = zone
    if leaving:
        about["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return codec.convert(core.Node, {"metadata": about, "spec": spec})


def test_healthz_says_whether_the_node_stays_and_livez_does_not():
    port = free_port()
    tainted = node(taints=[{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}])

    async def story(s):
        s.api.put(node())
        _, headers, body = await answers(s, port, "/healthz", 200)
        told = json.loads(body)
        assert headers["content-type"] == "application/json"
        assert (told["nodeEligible"], told["healthy"]) == (True, True)
        assert set(told) == {"lastUpdated", "currentTime", "nodeEligible", "healthy", "status"}
        one = {"lastUpdated": told["lastUpdated"], "healthy": True}
        assert told["status"] == {"IPv4": one, "IPv6": one}
        for reason in (tainted, node(leaving=True), None):
            s.api.put(reason or node(), gone=reason is None)
            _, _, body = await answers(s, port, "/healthz", 503)
            assert json.loads(body)["nodeEligible"] is False
            assert (await fetch(port, "/livez"))[0] == 200
            s.api.put(node())
            await answers(s, port, "/healthz", 200)
        assert (await fetch(port, "/"))[0] == 404

    Story(healthz=f"127.0.0.1:{port}").run(story)


def test_a_node_that_comes_into_another_zone_chooses_anew():
    made = codec.document(slice_("web", 1, 2))
    for endpoint, zone in zip(made["endpoints"], ("z1", "z2"), strict=True):
        endpoint["hints"] = {"forZones": [{"name": zone}]}

    async def story(s):
        s.api.put(node("z1"))
        s.api.put(service("web", 1))
        s.api.put(codec.convert(discovery.EndpointSlice, made))
        await s.in_time(lambda: s.backends() == {"10.244.0.1 . 8080"})
        s.api.put(node("z2"))
        await s.in_time(lambda: s.backends() == {"10.244.0.2 . 8080"})

    Story().run(story)


def test_tcp_is_tracked_as_kube_proxy_wants_it_and_the_size_of_the_table_is_nobodys_to_set():
    prefix = "net.netfilter.nf_conntrack_"

    async def story(s):
        s.api.put(service("web", 1))
        await s.until(lambda: s.count == 1)
        for name, seconds in (("tcp_timeout_established", 86400), ("tcp_timeout_close_wait", 3600)):
            assert s.system.sysctls[prefix + name] == str(seconds)
        assert prefix + "max" not in s.system.sysctls
        assert s.system.sysctls.get(prefix + "tcp_be_liberal", "0") == "01"[s.settings.tcp_be_liberal]

    for liberal in (False, True):
        Story(tcp_be_liberal=liberal).run(story)


def test_it_tells_which_revisions_are_programmed_and_none_that_wait():
    port = free_port()

    async def story(s):
        s.api.put(service("web", 1))
        seen = s.api.revision
        await s.in_time(lambda: s.count)
        _, headers, _ = await answers(s, port, "/livez", 200)
        assert headers[health.PROGRAMMED] == f"services={seen} endpoints=0"
        with s.refusing() as refused:
            s.api.put(slice_("web", 1))
            await s.in_time(lambda: refused)
            assert (await fetch(port, "/livez"))[1][health.PROGRAMMED] == f"services={seen} endpoints=0"
        await s.in_time(s.backends)
        while (await fetch(port, "/livez"))[1][health.PROGRAMMED] != f"services={seen} endpoints={seen + 1}":
            await s.time.run_for(0.1)

    Story(healthz=f"127.0.0.1:{port}").run(story)


def test_a_proxy_whose_change_waits_too_long_is_not_healthy():
    port = free_port()

    async def story(s):
        s.api.put(service("web", 1))
        await answers(s, port, "/livez", 200)
        with s.refusing() as refused:
            s.api.put(slice_("web", 1))
            await s.in_time(lambda: len(refused) > 1)
            assert (await fetch(port, "/livez"))[0] == 200  # not yet
            await s.time.run_for(61)
            status, _, body = await fetch(port, "/livez")
            assert (status, json.loads(body)["healthy"]) == (503, False)
        await s.time.run_for(11)
        await answers(s, port, "/livez", 200)

    Story(healthz=f"127.0.0.1:{port}").run(story)


def test_a_health_check_node_port_counts_ready_endpoints_of_this_node():
    port = free_port()
    special = {
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "healthCheckNodePort": port,
    }

    async def story(s):
        s.api.put(service("web", 1, **special))
        _, headers, body = await answers(s, port, "/", 503)
        assert headers["x-load-balancing-endpoint-weight"] == "0"
        s.api.put(slice_("web", 1, 2))
        _, headers, body = await answers(s, port, "/anything", 200)
        assert headers["x-load-balancing-endpoint-weight"] == "2"
        assert json.loads(body) == {
            "service": {"namespace": "shop", "name": "web"},
            "localEndpoints": 2,
            "serviceProxyHealthy": True,
        }
        s.api.put(service("web", 1, **special), gone=True)
        await answers(s, port, "/", 0)  # nobody listens any more

    Story().run(story)


def test_health_checks_are_where_node_ports_are():
    port = free_port()
    special = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": port}

    async def story(s):
        s.system.apply([ops.AddAddress("lo", ip_interface("127.0.0.7/8")), ops.SetUp("lo")])
        s.api.put(service("web", 1, **special))
        s.api.put(slice_("web", 1))
        await s.in_time(lambda: reaches("127.0.0.7", port))
        assert not reaches("127.0.0.1", port)

    Story(node_port_addresses=("127.0.0.7/32",)).run(story)


def reaches(host, port):
    with socket.socket() as sock:
        return sock.connect_ex((host, port)) == 0


def test_an_unhealthy_proxy_sends_load_balancers_away_from_its_backends():
    found = health.served(meta.Key("shop", "web"), health.Check(1, 2), healthy=False)
    assert (found.status, json.loads(found.body)["serviceProxyHealthy"]) == (503, False)


# kubernetes/pkg/proxy/metrics, without ipvs. Two more are counted by the kernel module nfacct where there is
# one: iptables_ct_state_invalid_dropped_packets_total, iptables_localhost_nodeports_accepted_packets_total.
METRICS = (
    "conntrack_reconciler_deleted_entries_total",
    "conntrack_reconciler_sync_duration_seconds",
    "network_programming_duration_seconds",
    "proxy_healthz_total",
    "proxy_livez_total",
    "sync_full_proxy_rules_duration_seconds",
    "sync_partial_proxy_rules_duration_seconds",
    "sync_proxy_rules_duration_seconds",
    "sync_proxy_rules_endpoint_changes_pending",
    "sync_proxy_rules_endpoint_changes_total",
    "sync_proxy_rules_iptables_last",
    "sync_proxy_rules_iptables_partial_restore_failures_total",
    "sync_proxy_rules_iptables_restore_failures_total",
    "sync_proxy_rules_iptables_total",
    "sync_proxy_rules_last_queued_timestamp_seconds",
    "sync_proxy_rules_last_timestamp_seconds",
    "sync_proxy_rules_nftables_cleanup_failures_total",
    "sync_proxy_rules_nftables_sync_failures_total",
    "sync_proxy_rules_no_local_endpoints_total",
    "sync_proxy_rules_service_changes_pending",
    "sync_proxy_rules_service_changes_total",
)


def test_metrics_are_all_that_kube_proxy_has():
    told = re.findall(r"# TYPE kubeproxy_(\w+) ", metrics.Metrics().text())
    assert tuple(sorted(told)) == METRICS


def test_what_happens_is_counted():
    port, answers_at = free_port(), free_port()
    udp = {"ports": [{"port": 53, "protocol": "UDP"}]}
    gone = conntrack.Flow(17, "10.244.9.9", 4000, "10.96.0.1", 53, "10.244.0.7", 8080, b"")
    kept = gone._replace(answerer="10.244.0.1", source_port=4001)
    document = codec.document(slice_("dns", 1))
    document["ports"][0]["protocol"] = "UDP"

    async def story(s):
        s.api.put(service("dns", 1, **udp))
        await s.until(lambda: s.count == 1)
        await s.rest()
        since = clock.rfc3339(s.time.now() - 3)
        document["metadata"]["annotations"] = {wellknown.TRIGGER_TIME: since}
        s.tracking.table |= {gone, kept}
        s.api.put(codec.convert(discovery.EndpointSlice, document))
        await s.in_time(lambda: s.tracking.flows(17) == [kept])
        await s.time.run_for(1)
        await answers(s, answers_at, "/healthz", 200)
        await fetch(answers_at, "/livez")
        assert (await fetch(port, "/healthz"))[2] == "ok"
        text = (await fetch(port, "/metrics"))[2]
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        both = '{ip_family="IPv4"}'
        for name, count in {
            "conntrack_reconciler_deleted_entries_total": 1,
            "conntrack_reconciler_sync_duration_seconds_count": 2,
            "network_programming_duration_seconds_count": 1,
            "sync_full_proxy_rules_duration_seconds_count": 1,
            "sync_partial_proxy_rules_duration_seconds_count": 1,
            "sync_proxy_rules_service_changes_total": 1,
            "sync_proxy_rules_endpoint_changes_total": 1,
            "sync_proxy_rules_endpoint_changes_pending": 0,
        }.items():
            assert float(values[f"kubeproxy_{name}{both}"]) == count, name
        assert 3 <= float(values[f"kubeproxy_network_programming_duration_seconds_sum{both}"]) < 5
        queued, done = (
            float(values[f"kubeproxy_sync_proxy_rules_last_{what}timestamp_seconds{both}"])
            for what in ("queued_", "")
        )
        assert 0 < queued <= done <= s.time.now()
        for path in ("healthz", "livez"):
            assert float(values[f'kubeproxy_proxy_{path}_total{{code="200"}}']) == 1

    Story(metrics=f"127.0.0.1:{port}", healthz=f"127.0.0.1:{answers_at}").run(story)


def test_the_metrics_port_tells_mode_configuration_and_metrics_under_kube_proxys_names():
    port = free_port()

    async def story(s):
        s.api.put(service("web", 1, internalTrafficPolicy="Local"))
        s.api.put(elsewhere("web", 1))
        await s.until(lambda: s.count >= 1)
        await s.rest()
        assert (await fetch(port, "/proxyMode"))[2] == "nftables"
        assert json.loads((await fetch(port, "/configz"))[2])["kubeproxy.config.k8s.io"]["mode"] == "nftables"
        text = (await fetch(port, "/metrics"))[2]
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        assert float(values['kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family="IPv4"}']) == 1
        assert float(values['kubeproxy_sync_proxy_rules_service_changes_total{ip_family="IPv6"}']) == 1
        no_local = 'kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy='
        assert values[no_local + '"internal"}'] == "1"
        assert values[no_local + '"external"}'] == "0"
        assert not [k for k in values if "no_local" in k and "traffic_policy" not in k]
        buckets = [
            float(v)
            for k, v in values.items()
            if k.startswith("kubeproxy_sync_proxy_rules_duration") and "IPv4" in k
        ]
        assert buckets[:16] == sorted(buckets[:16])  # cumulative

    Story(metrics=f"127.0.0.1:{port}").run(story)


def elsewhere(name, *numbers):
    made = codec.document(slice_(name, *numbers))
    for endpoint in made["endpoints"]:
        endpoint["nodeName"] = "another"
    return codec.convert(discovery.EndpointSlice, made)


def test_a_named_proxy_serves_its_own_services_only():
    async def story(s):
        theirs = service("theirs", 2)
        named = codec.document(theirs)
        named["metadata"]["labels"] = {wellknown.PROXY_NAME: "mine"}
        s.api.put(service("web", 1))
        s.api.put(codec.convert(core.Service, named))
        s.api.put(slice_("web", 1))
        s.api.put(slice_("theirs", 2))
        await s.until(lambda: s.backends() == {"10.244.0.2 . 8080"})

    Story(service_proxy_name="mine").run(story)


def test_a_sticky_service_with_too_many_backends_is_complained_of_once(caplog, monkeypatch):
    monkeypatch.setattr(affinity, "SIZE_LIMIT", 3)

    def told():
        return [r.getMessage() for r in caplog.records if "affinity" in r.getMessage()]

    async def story(s):
        s.api.put(service("web", 1, sessionAffinity="ClientIP"))
        s.api.put(slice_("web", 1, 2, 3, 4))
        await s.in_time(told)
        before = s.count
        s.api.put(slice_("web", 1, 2, 3, 4, 5))
        await s.in_time(lambda: s.count > before)
        await s.time.run_for(1)

    Story().run(story)
    assert told() == ["session affinity draws from 3 backends and no more: service=shop/web"]

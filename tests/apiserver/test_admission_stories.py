"""What the server adds to pods and services, and what it refuses them."""

from ipaddress import ip_network
from typing import Any

import pytest

PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def account(name: str, **about: Any) -> dict[str, Any]:
    return {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": name}, **about}


def test_a_pod_gets_its_account_token_and_tolerations(world: Any) -> None:
    async def story(w: Any) -> None:
        spec = (await w.make(PODS, w.pod(initContainers=[{"name": "i", "image": "x"}])))["spec"]
        assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("default", "default")
        volume = spec["volumes"][0]
        assert volume["name"].startswith("kube-api-access-")
        assert len(volume["name"]) == len("kube-api-access-") + 5
        kinds = [next(iter(source)) for source in volume["projected"]["sources"]]
        assert kinds == ["serviceAccountToken", "configMap", "downwardAPI"]
        assert volume["projected"]["defaultMode"] == 0o644
        for container in (*spec["containers"], *spec["initContainers"]):
            assert container["volumeMounts"] == [
                {"name": volume["name"], "readOnly": True, "mountPath": MOUNT}
            ]
        assert {(t["key"], t["effect"], t["tolerationSeconds"]) for t in spec["tolerations"]} == {
            ("node.kubernetes.io/not-ready", "NoExecute", 300),
            ("node.kubernetes.io/unreachable", "NoExecute", 300),
        }

    world(story)


def test_who_wants_no_token_or_tolerates_everything_is_left_alone(world: Any) -> None:
    async def story(w: Any) -> None:
        await w.make(ACCOUNTS, account("quiet", automountServiceAccountToken=False))
        always = [{"operator": "Exists"}]
        quiet = (await w.make(PODS, w.pod("a", serviceAccountName="quiet", tolerations=always)))["spec"]
        assert not quiet.get("volumes")
        assert quiet["tolerations"] == always
        asked = w.pod("b", serviceAccountName="quiet", automountServiceAccountToken=True)
        assert (await w.make(PODS, asked))["spec"]["volumes"]
        unasked = (await w.make(PODS, w.pod("c", automountServiceAccountToken=False)))["spec"]
        assert not unasked.get("volumes")

    world(story)


def test_a_pod_of_an_unknown_account_is_forbidden(world: Any) -> None:
    async def story(w: Any) -> None:
        refused = await w.ask("POST", PODS, w.pod(serviceAccountName="ghost"))
        assert (refused.status, refused.reason) == (403, "Forbidden")
        assert refused.message == (
            'pods "web" is forbidden: error looking up service account default/ghost: '
            'serviceaccount "ghost" not found'
        )

    world(story)


def test_a_pod_waits_a_moment_for_its_namespaces_account(world: Any) -> None:
    import asyncio

    async def story(w: Any) -> None:
        await w.make("/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": "new"}})
        base = "/api/v1/namespaces/new"
        asking = asyncio.ensure_future(w.ask("POST", f"{base}/pods", w.pod()))
        await asyncio.sleep(0)
        await w.make(f"{base}/serviceaccounts", account("default"))
        assert (await asking).status == 201

    world(story)


QOS = [
    ("nothing asked", [{}], "BestEffort"),
    ("requests only", [{"requests": {"cpu": "1"}}], "Burstable"),
    (
        "limits equal requests",
        [{"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": "1Gi"}}],
        "Guaranteed",
    ),
    ("limits only", [{"limits": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
    ("one of two", [{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
    ("no memory limit", [{"limits": {"cpu": "1"}}], "Burstable"),
]


@pytest.mark.parametrize(("name", "resources", "expected"), QOS, ids=[row[0] for row in QOS])
def test_qos_class(world: Any, name: str, resources: list[dict[str, Any]], expected: str) -> None:
    async def story(w: Any) -> None:
        containers = [{"name": f"c{n}", "image": "x", "resources": r} for n, r in enumerate(resources)]
        made = await w.make(PODS, w.pod(containers=containers))
        assert made["status"] == {"phase": "Pending", "qosClass": expected}

    world(story)


def test_a_service_gets_an_address_above_the_static_band(world: Any) -> None:
    async def story(w: Any) -> None:
        seen = set()
        for n in range(20):
            spec = (await w.make(SERVICES, w.service(f"s{n}")))["spec"]
            assert spec["clusterIPs"] == [spec["clusterIP"]]
            assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
            from ipaddress import ip_address

            offset = int(ip_address(spec["clusterIP"])) - int(ip_address("10.96.0.0"))
            assert 256 < offset < 65535  # KEP-3070: the lower 256 of a /16 are for static choice
            seen.add(spec["clusterIP"])
        assert len(seen) == 20

    world(story)


def test_dual_stack_by_policy(world: Any) -> None:
    async def story(w: Any) -> None:
        prefer = (await w.make(SERVICES, w.service("a", ipFamilyPolicy="PreferDualStack")))["spec"]
        assert prefer["ipFamilies"] == ["IPv4", "IPv6"]
        assert prefer["clusterIPs"][1].startswith("fd00:96::")
        six = (await w.make(SERVICES, w.service("b", ipFamilies=["IPv6"])))["spec"]
        assert six["clusterIP"].startswith("fd00:96::")
        order = w.service("c", ipFamilyPolicy="RequireDualStack", ipFamilies=["IPv6", "IPv4"])
        turned = (await w.make(SERVICES, order))["spec"]
        assert turned["clusterIP"].startswith("fd00:96::")
        assert turned["clusterIPs"][1].startswith("10.96.")
        down = await w.ask(
            "PATCH",
            f"{SERVICES}/a",
            {
                "spec": {
                    "ipFamilyPolicy": "SingleStack",
                    "ipFamilies": None,
                    "clusterIPs": [prefer["clusterIP"]],
                }
            },
        )
        assert down.body["spec"]["clusterIPs"] == [prefer["clusterIP"]]
        up = await w.ask("PATCH", f"{SERVICES}/a", {"spec": {"ipFamilyPolicy": "PreferDualStack"}})
        assert len(up.body["spec"]["clusterIPs"]) == 2

    world(story)


def test_families_the_cluster_does_not_have_are_refused(world: Any) -> None:
    async def story(w: Any) -> None:
        six = await w.ask("POST", SERVICES, w.service("a", ipFamilies=["IPv6"]))
        assert (six.status, six.body["details"]["causes"][0]["field"]) == (422, "spec.ipFamilies[0]")
        dual = await w.ask("POST", SERVICES, w.service("a", ipFamilyPolicy="RequireDualStack"))
        assert (dual.status, dual.body["details"]["causes"][0]["field"]) == (422, "spec.ipFamilyPolicy")
        prefer = await w.make(SERVICES, w.service("a", ipFamilyPolicy="PreferDualStack"))
        assert len(prefer["spec"]["clusterIPs"]) == 1

    world(story, service_cidrs=(ip_network("10.96.0.0/24"),), endpoints=("172.18.0.2",))


def test_chosen_addresses_and_ports_are_taken_once(world: Any) -> None:
    async def story(w: Any) -> None:
        chosen = w.service("a", clusterIP="10.96.0.10")
        assert (await w.make(SERVICES, chosen))["spec"]["clusterIPs"] == ["10.96.0.10"]
        taken = await w.ask("POST", SERVICES, w.service("b", clusterIP="10.96.0.10"))
        assert taken.status == 422
        assert "provided IP is already allocated" in taken.message
        outside = await w.ask("POST", SERVICES, w.service("b", clusterIP="192.0.2.1"))
        assert (outside.status, "not in the valid range" in outside.message) == (422, True)
        port = {"port": 80, "nodePort": 30080}
        await w.make(SERVICES, w.service("c", type="NodePort", ports=[port]))
        clash = await w.ask("POST", SERVICES, w.service("d", type="NodePort", ports=[port]))
        assert (clash.status, clash.body["details"]["causes"][0]["field"]) == (422, "spec.ports[0].nodePort")
        assert "provided port is already allocated" in clash.message
        await w.make(SERVICES, w.service("e", type="NodePort", ports=[{**port, "protocol": "UDP"}]))
        far = {"port": 80, "nodePort": 80}
        assert (await w.ask("POST", SERVICES, w.service("f", type="NodePort", ports=[far]))).status == 422
        await w.ask("DELETE", f"{SERVICES}/a")
        await w.make(SERVICES, w.service("g", clusterIP="10.96.0.10"))

    world(story)


def test_what_a_refused_service_took_is_free_again(world: Any) -> None:
    async def story(w: Any) -> None:
        ports = [{"name": "a", "port": 80, "nodePort": 30090}, {"name": "b", "port": 81, "nodePort": 1}]
        refused = await w.ask(
            "POST", SERVICES, w.service("a", type="NodePort", clusterIP="10.96.0.20", ports=ports)
        )
        assert refused.status == 422
        good = w.service("a", type="NodePort", clusterIP="10.96.0.20", ports=ports[:1])
        assert (await w.make(SERVICES, good))["spec"]["ports"][0]["nodePort"] == 30090

    world(story)


def test_types_change_and_keep_or_lose_what_they_had(world: Any) -> None:
    async def story(w: Any) -> None:
        first = await w.make(SERVICES, w.service("a"))
        address = first["spec"]["clusterIP"]
        opened = (await w.ask("PATCH", f"{SERVICES}/a", {"spec": {"type": "NodePort"}})).body["spec"]
        number = opened["ports"][0]["nodePort"]
        assert 30086 <= number <= 32767  # the static band of 2768 ports is 86 (KEP-3668)
        again = (await w.ask("PUT", f"{SERVICES}/a", w.service("a", type="NodePort"))).body["spec"]
        assert (again["clusterIP"], again["ports"][0]["nodePort"]) == (address, number)
        closed = (await w.ask("PATCH", f"{SERVICES}/a", {"spec": {"type": "ClusterIP"}})).body["spec"]
        assert "nodePort" not in closed["ports"][0]
        moved = await w.ask(
            "PATCH", f"{SERVICES}/a", {"spec": {"clusterIP": "10.96.9.9", "clusterIPs": ["10.96.9.9"]}}
        )
        assert (moved.status, moved.reason) == (422, "Invalid")
        away = await w.ask(
            "PATCH",
            f"{SERVICES}/a",
            {
                "spec": {
                    "type": "ExternalName",
                    "externalName": "x.example",
                    "clusterIP": "",
                    "clusterIPs": None,
                }
            },
        )
        assert away.status == 200, away.body
        assert not away.body["spec"].get("clusterIP")
        await w.make(SERVICES, w.service("b", clusterIP=address))

    world(story)


def test_headless_dns_and_load_balancer_services(world: Any) -> None:
    async def story(w: Any) -> None:
        headless = (await w.make(SERVICES, w.service("h", clusterIP="None")))["spec"]
        assert (headless["clusterIP"], headless["clusterIPs"]) == ("None", ["None"])
        assert headless["ipFamilies"] == ["IPv4"]
        both = [
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        ]
        dns = (await w.make(SERVICES, w.service("dns", type="NodePort", ports=both)))["spec"]["ports"]
        assert dns[0]["nodePort"] == dns[1]["nodePort"]
        local = w.service("lb", type="LoadBalancer", externalTrafficPolicy="Local")
        balanced = (await w.make(SERVICES, local))["spec"]
        assert balanced["healthCheckNodePort"] >= 30000
        assert balanced["ports"][0]["nodePort"] >= 30000
        bare = w.service("lb2", type="LoadBalancer", allocateLoadBalancerNodePorts=False)
        assert "nodePort" not in (await w.make(SERVICES, bare))["spec"]["ports"][0]

    world(story)


def test_a_full_range_says_so(world: Any) -> None:
    async def story(w: Any) -> None:
        for n in range(5):  # of six usable addresses one is `kubernetes`'
            await w.make(SERVICES, w.service(f"s{n}"))
        full = await w.ask("POST", SERVICES, w.service("more"))
        assert (full.status, full.reason) == (500, "InternalError")
        assert "range is full" in full.message

    world(story, service_cidrs=(ip_network("10.96.0.0/29"),), endpoints=())


def test_the_cluster_is_there_from_the_start(world: Any) -> None:
    async def story(w: Any) -> None:
        spaces = await w.ask("GET", "/api/v1/namespaces")
        assert [n["metadata"]["name"] for n in spaces.body["items"]] == [
            "default",
            "kube-node-lease",
            "kube-public",
            "kube-system",
        ]
        service = (await w.ask("GET", f"{SERVICES}/kubernetes")).body["spec"]
        assert service["clusterIPs"] == ["10.96.0.1", "fd00:96::1"]
        slices = await w.ask("GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices")
        found = {s["addressType"]: s["endpoints"][0]["addresses"] for s in slices.body["items"]}
        assert found == {"IPv4": ["172.18.0.2"], "IPv6": ["fd00:18::2"]}
        authority = await w.ask("GET", "/api/v1/namespaces/kube-public/configmaps/kube-root-ca.crt")
        assert authority.body["data"]["ca.crt"].startswith("-----BEGIN CERTIFICATE")

    world(story)

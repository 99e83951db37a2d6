"""Quotas, limit ranges, priority classes and disruption budgets, as writers and evicters meet them."""

import asyncio
from typing import Any

PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
QUOTAS = "/api/v1/namespaces/default/resourcequotas"
LIMITS = "/api/v1/namespaces/default/limitranges"
CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


def quota(name: str, spec: dict[str, Any] | None = None, **hard: str) -> dict[str, Any]:
    amounts = {key.replace("__", "/").replace("_", "."): value for key, value in hard.items()}
    return {"metadata": {"name": name}, "spec": {"hard": amounts, **(spec or {})}}


def sized(
    w: Any, name: str, requests: dict[str, str], limits: dict[str, str] | None = None, **spec: Any
) -> Any:
    resources = {"requests": requests, **({"limits": limits} if limits else {})}
    container = {"name": "main", "image": "nginx", "resources": resources}
    return w.pod(name, containers=[container], **spec)


async def used(w: Any, name: str, **wanted: str) -> None:
    """The quota's status says so, soon."""
    async with asyncio.timeout(5):
        while True:
            found = (await w.ask("GET", f"{QUOTAS}/{name}")).body.get("status", {}).get("used", {})
            if {key: found.get(key) for key in wanted} == wanted:
                return
            await asyncio.sleep(0.01)


def test_a_quota_is_kept(world: Any) -> None:
    async def story(w: Any) -> None:
        await w.make(QUOTAS, quota("q", pods="2", requests_cpu="1", count__configmaps="3"))
        await used(w, "q", pods="0")
        await w.make(PODS, sized(w, "a", {"cpu": "300m"}))
        over = await w.ask("POST", PODS, sized(w, "b", {"cpu": "800m"}))
        assert over.status == 403
        assert over.message == (
            'pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=800m, used: requests.cpu=300m,'
            " limited: requests.cpu=1"
        )
        bare = await w.ask("POST", PODS, w.pod("c"))
        assert bare.message == 'pods "c" is forbidden: failed quota: q: must specify requests.cpu for: main'
        await w.make(PODS, sized(w, "b", {"cpu": "700m"}))
        await used(w, "q", pods="2")
        full = await w.ask("POST", PODS, sized(w, "c", {"cpu": "0"}))
        assert "requested: pods=1, used: pods=2, limited: pods=2" in full.message
        await w.ask("PATCH", f"{PODS}/a/status", {"status": {"phase": "Succeeded"}})
        await w.make(PODS, sized(w, "c", {"cpu": "100m"}))
        status = (await w.ask("GET", f"{QUOTAS}/q")).body["status"]
        assert status["hard"] == {"pods": "2", "requests.cpu": "1", "count/configmaps": "3"}
        await w.ask("DELETE", f"{PODS}/c")

    world(story)


def test_writers_at_once_do_not_overdraw_a_quota(world: Any) -> None:
    async def story(w: Any) -> None:
        had = len((await w.ask("GET", MAPS)).body["items"])
        await w.make(QUOTAS, quota("q", configmaps=str(had + 3)))
        answers = await asyncio.gather(*(w.ask("POST", MAPS, w.config_map(f"m{n}")) for n in range(10)))
        assert sorted(answer.status for answer in answers) == [201] * 3 + [403] * 7
        await used(w, "q", configmaps=str(had + 3))
        await w.ask(
            "DELETE", f"{MAPS}/{next(a.body['metadata']['name'] for a in answers if a.status == 201)}"
        )
        await used(w, "q", configmaps=str(had + 2))
        await w.make(MAPS, w.config_map("again"))

    world(story)


def test_a_quota_of_services_and_of_some_pods(world: Any) -> None:
    async def story(w: Any) -> None:
        services = "/api/v1/namespaces/default/services"
        await w.make(QUOTAS, quota("s", services_nodeports="1", services_loadbalancers="0"))
        await w.make(services, w.service("a", type="NodePort"))
        assert (await w.ask("POST", services, w.service("b", type="NodePort"))).status == 403
        await w.make(services, w.service("b"))
        changed = await w.ask("PATCH", f"{services}/b", {"spec": {"type": "NodePort"}})
        assert (changed.status, "services.nodeports=1" in changed.message) == (403, True)
        assert (await w.ask("POST", services, w.service("c", type="LoadBalancer"))).status == 403
        await w.make(QUOTAS, quota("best", {"scopes": ["BestEffort"]}, pods="0"))
        assert (await w.ask("POST", PODS, w.pod("x"))).status == 403
        await w.make(PODS, sized(w, "x", {"cpu": "1"}))

    world(story)


def test_limit_ranges_fill_and_bound(world: Any) -> None:
    async def story(w: Any) -> None:
        item = {
            "type": "Container",
            "default": {"cpu": "500m"},
            "defaultRequest": {"cpu": "250m"},
            "max": {"cpu": "1"},
            "min": {"cpu": "100m"},
            "maxLimitRequestRatio": {"cpu": "4"},
        }
        whole = {"type": "Pod", "max": {"cpu": "1500m"}}
        await w.make(LIMITS, {"metadata": {"name": "l"}, "spec": {"limits": [item, whole]}})
        made = await w.make(PODS, w.pod("a"))
        assert made["spec"]["containers"][0]["resources"] == {
            "limits": {"cpu": "500m"},
            "requests": {"cpu": "250m"},
        }
        note = made["metadata"]["annotations"]["kubernetes.io/limit-ranger"]
        assert note == "LimitRanger plugin set: cpu request for container main; cpu limit for container main"
        rows = [
            ({"cpu": "50m"}, {"cpu": "100m"}, "minimum cpu usage per Container is 100m, but request is 50m"),
            ({"cpu": "1"}, {"cpu": "2"}, "maximum cpu usage per Container is 1, but limit is 2"),
            (
                {"cpu": "100m"},
                {"cpu": "1"},
                "cpu max limit to request ratio per Container is 4, but provided ratio",
            ),
        ]
        for requests, limits, why in rows:
            refused = await w.ask("POST", PODS, sized(w, "b", requests, limits))
            assert (refused.status, why in refused.message) == (403, True), refused.message
        two = w.pod("c")
        big = {"image": "nginx", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}}
        two["spec"]["containers"] = [{"name": "x", **big}, {"name": "y", **big}]
        assert (
            "maximum cpu usage per Pod is 1500m, but limit is 2" in (await w.ask("POST", PODS, two)).message
        )

    world(story)


def test_priorities_come_from_classes(world: Any) -> None:
    async def story(w: Any) -> None:
        def named(name: str, value: int, **more: Any) -> dict[str, Any]:
            return {"metadata": {"name": name}, "value": value, **more}

        system = (await w.ask("GET", f"{CLASSES}/system-node-critical")).body
        assert system["value"] == 2000001000
        assert (await w.make(PODS, w.pod("plain")))["spec"]["priority"] == 0
        await w.make(CLASSES, named("high", 1000, preemptionPolicy="Never"))
        spec = (await w.make(PODS, w.pod("high", priorityClassName="high")))["spec"]
        assert (spec["priority"], spec["preemptionPolicy"]) == (1000, "Never")
        ghost = await w.ask("POST", PODS, w.pod("x", priorityClassName="ghost"))
        assert ghost.message == 'pods "x" is forbidden: no PriorityClass with name ghost was found'
        own = await w.ask("POST", PODS, w.pod("x", priority=7))
        assert (own.status, "must not be provided in pod spec" in own.message) == (403, True)
        await w.make(CLASSES, named("usual", 5, globalDefault=True))
        spec = (await w.make(PODS, w.pod("usual")))["spec"]
        assert (spec["priority"], spec["priorityClassName"]) == (5, "usual")
        assert (await w.ask("POST", CLASSES, named("other", 6, globalDefault=True))).status == 403
        assert (await w.ask("POST", CLASSES, named("huge", 1_000_000_001))).status == 422

    world(story)


def test_evictions_keep_the_budget(world: Any) -> None:
    async def story(w: Any) -> None:
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        for name in ("a", "b", "c"):
            pod = w.pod(name)
            pod["metadata"]["labels"] = {"app": "web"}
            await w.make(PODS, pod)
            await w.ask("PATCH", f"{PODS}/{name}/status", {"status": ready})
        spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}
        await w.make(BUDGETS, {"metadata": {"name": "web"}, "spec": spec})

        async def evict(name: str, query: str = "") -> Any:
            body = {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": name}}
            return await w.ask("POST", f"{PODS}/{name}/eviction{query}", body)

        async def allowed(count: int) -> dict[str, Any]:
            async with asyncio.timeout(5):
                while True:
                    found: dict[str, Any] = (await w.ask("GET", f"{BUDGETS}/web")).body.get("status", {})
                    if found.get("observedGeneration") and found["disruptionsAllowed"] == count:
                        return found
                    await asyncio.sleep(0.01)

        status = await allowed(1)
        assert [status[k] for k in ("currentHealthy", "desiredHealthy", "expectedPods")] == [3, 2, 3]
        assert (await evict("a", "?dryRun=All")).status == 201
        answers = await asyncio.gather(*(evict(name) for name in ("a", "b", "c")))
        assert sorted(answer.status for answer in answers) == [201, 429, 429]
        refused = next(answer for answer in answers if answer.status == 429)
        assert refused.message == "Cannot evict pod as it would violate the pod's disruption budget."
        assert refused.body["details"]["causes"] == [
            {
                "reason": "DisruptionBudget",
                "message": "The disruption budget web needs 2 healthy pods and has 2 currently",
            }
        ]
        condition = (await allowed(0))["conditions"][0]
        assert (condition["status"], condition["reason"]) == ("False", "InsufficientPods")
        await w.ask("PATCH", f"{BUDGETS}/web", {"spec": {"minAvailable": None, "maxUnavailable": "50%"}})
        await allowed(1)  # two are left, half of which may go

    world(story)

"""Admission webhooks asked over HTTPS: which writes they see, and what becomes of their answers."""

import asyncio
import base64
import contextlib
import ipaddress
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from netemu.http import messages

CONFIGS = "/apis/admissionregistration.k8s.io/v1"
MAPS = "/api/v1/namespaces/default/configmaps"
Answer = Callable[[dict[str, Any]], dict[str, Any]]
MAP_RULE = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}


class Hook:
    """A webhook, and what it was asked."""

    def __init__(self, world: Any, answer: Answer) -> None:
        self.asked: list[dict[str, Any]] = []
        self.queries: list[messages.Fields] = []
        self.answer = answer
        self.port = 0
        self._authority = world.authority

    async def handle(self, request: messages.Request) -> messages.Response:
        review = json.loads(request.body)
        self.asked.append(review["request"])
        self.queries.append(request.query)
        reply = {"uid": review["request"]["uid"], **self.answer(review["request"])}
        if reply.get("hang"):
            await asyncio.Event().wait()
        body = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": reply}
        return messages.Response(200, (("content-type", "application/json"),), json.dumps(body).encode())

    def config(self, kind: str, name: str = "hook", **webhook: Any) -> dict[str, Any]:
        bundle = base64.b64encode(self._authority.certificate).decode()
        one = {
            "name": f"{name}.example.com",
            "clientConfig": {"url": f"https://localhost:{self.port}/ask", "caBundle": bundle},
            "rules": [MAP_RULE],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            **webhook,
        }
        return {
            "kind": f"{kind}WebhookConfiguration",
            "apiVersion": "admissionregistration.k8s.io/v1",
            "metadata": {"name": name},
            "webhooks": [one],
        }


@contextlib.asynccontextmanager
async def hooked(world: Any, answer: Answer, address: str = "127.0.0.1") -> AsyncIterator[Hook]:
    """A webhook that answers on localhost."""
    hook = Hook(world, answer)
    async with world.beside(hook.handle, "localhost", "hook.default.svc", address=address) as hook.port:
        yield hook


def allow(_: dict[str, Any]) -> dict[str, Any]:
    return {"allowed": True}


def patch(*operations: dict[str, Any]) -> Answer:
    text = base64.b64encode(json.dumps(operations).encode()).decode()
    return lambda _: {"allowed": True, "patchType": "JSONPatch", "patch": text}


async def configure(w: Any, document: dict[str, Any]) -> None:
    await w.make(f"{CONFIGS}/{document['kind'].lower()}s", document)


def test_a_webhook_sees_the_write_and_refuses_it(world: Any) -> None:
    def judge(request: dict[str, Any]) -> dict[str, Any]:
        data = (request["object"] or request["oldObject"]).get("data", {})
        if data.get("bad"):
            return {
                "allowed": False,
                "status": {"message": "bad is not good", "code": 403, "reason": "Forbidden"},
            }
        return {"allowed": True}

    async def story(w: Any) -> None:
        async with hooked(w, judge) as hook:
            await configure(w, hook.config("Validating", timeoutSeconds=7))
            await w.make(MAPS, w.config_map("good", k="v"))
            seen = hook.asked[-1]
            assert (seen["operation"], seen["name"], seen["namespace"]) == ("CREATE", "good", "default")
            assert seen["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
            assert seen["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
            assert seen["object"]["data"] == {"k": "v"}
            assert seen["oldObject"] is None
            assert seen["userInfo"] == {
                "username": "admin",
                "groups": ["system:masters", "system:authenticated"],
            }
            assert seen["options"] == {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}
            assert hook.queries[-1] == (("timeout", "7s"),)
            refused = await w.ask("POST", MAPS, w.config_map("evil", bad="yes"))
            assert (refused.status, refused.reason) == (403, "Forbidden")
            assert (
                refused.message == 'admission webhook "hook.example.com" denied the request: bad is not good'
            )
            assert (await w.ask("GET", f"{MAPS}/evil")).status == 404
            changed = await w.ask("PATCH", f"{MAPS}/good", {"data": {"bad": "yes"}})
            assert changed.status == 403
            assert hook.asked[-1]["oldObject"]["data"] == {"k": "v"}
            assert (await w.ask("DELETE", f"{MAPS}/good")).status == 200
            assert (hook.asked[-1]["operation"], hook.asked[-1]["object"]) == ("DELETE", None)
            count = len(hook.asked)
            await w.make("/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})
            assert len(hook.asked) == count
            await w.ask("DELETE", f"{CONFIGS}/validatingwebhookconfigurations/hook")
            await w.make(MAPS, w.config_map("evil", bad="yes"))
            assert len(hook.asked) == count

    world(story)


def test_a_webhook_changes_the_object(world: Any) -> None:
    async def story(w: Any) -> None:
        label = {"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}
        name = {"op": "replace", "path": "/metadata/name", "value": "stolen"}
        async with hooked(w, patch(label, name)) as first, hooked(w, allow) as second:
            await configure(w, first.config("Mutating", "a"))
            await configure(w, second.config("Mutating", "b"))
            made = await w.make(MAPS, w.config_map("m"))
            assert (made["metadata"]["name"], made["metadata"]["labels"]) == ("m", {"seen": "yes"})
            assert second.asked[-1]["object"]["metadata"]["labels"] == {"seen": "yes"}
            assert len(first.asked) == 1
            first.answer = patch({"op": "add", "path": "/data", "value": "no map"})
            broken = await w.ask("POST", MAPS, w.config_map("n"))
            assert (broken.status, broken.reason) == (500, "InternalError")
            first.answer = patch({"op": "remove", "path": "/nothing"})
            assert (await w.ask("POST", MAPS, w.config_map("n"))).status == 500

    world(story)


def test_a_webhook_is_asked_again_when_it_wants_to(world: Any) -> None:
    async def story(w: Any) -> None:
        async with (
            hooked(w, allow) as first,
            hooked(w, patch({"op": "add", "path": "/data", "value": {}})) as last,
        ):
            await configure(w, first.config("Mutating", "a", reinvocationPolicy="IfNeeded"))
            last.answer = patch({"op": "add", "path": "/data", "value": {"x": "y"}})
            await configure(w, last.config("Mutating", "b"))
            await w.make(MAPS, w.config_map("m"))
            assert [len(first.asked), len(last.asked)] == [2, 1]
            assert first.asked[-1]["object"]["data"] == {"x": "y"}

    world(story)


def test_which_writes_are_meant(world: Any) -> None:
    async def story(w: Any) -> None:
        async with hooked(w, allow) as hook:

            async def asked(path: str, body: Any, **webhook: Any) -> bool:
                await configure(w, hook.config("Validating", **webhook))
                before = len(hook.asked)
                assert (await w.ask("POST", f"{path}?dryRun=All", body)).status == 201
                await w.ask("DELETE", f"{CONFIGS}/validatingwebhookconfigurations/hook")
                return len(hook.asked) > before

            plain, labelled = w.config_map("m"), w.config_map("m")
            labelled["metadata"]["labels"] = {"app": "x"}
            rule = {**MAP_RULE, "apiGroups": ["*"], "resources": ["*"]}
            here = {"matchLabels": {"kubernetes.io/metadata.name": "default"}}
            there = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
            app = {"matchLabels": {"app": "x"}}
            space = {"metadata": {"name": "new", "labels": {"app": "x"}}}
            rows = [
                (MAPS, plain, {}, True),
                (MAPS, plain, {"rules": []}, False),
                (MAPS, plain, {"rules": [rule]}, True),
                (MAPS, plain, {"rules": [{**rule, "resources": ["*/*"]}]}, True),
                (MAPS, plain, {"rules": [{**rule, "resources": ["pods", "configmaps/status"]}]}, False),
                (MAPS, plain, {"rules": [{**rule, "operations": ["UPDATE", "DELETE"]}]}, False),
                (MAPS, plain, {"rules": [{**rule, "scope": "Cluster"}]}, False),
                (MAPS, plain, {"rules": [{**rule, "apiGroups": ["apps"]}]}, False),
                (MAPS, plain, {"namespaceSelector": here}, True),
                (MAPS, plain, {"namespaceSelector": there}, False),
                (MAPS, plain, {"objectSelector": app}, False),
                (MAPS, labelled, {"objectSelector": app}, True),
                ("/api/v1/namespaces", space, {"rules": [rule], "namespaceSelector": app}, True),
                ("/api/v1/namespaces", space, {"rules": [rule], "namespaceSelector": here}, False),
            ]
            for path, body, webhook, expected in rows:
                assert await asked(path, body, **webhook) is expected, webhook

    world(story)


def test_conditions_say_whether_to_ask(world: Any) -> None:
    async def story(w: Any) -> None:
        async with hooked(w, allow) as hook:

            async def asked(*expressions: str, **webhook: Any) -> bool | int:
                conditions = [{"name": f"c{n}", "expression": text} for n, text in enumerate(expressions)]
                await configure(w, hook.config("Validating", matchConditions=conditions, **webhook))
                before = len(hook.asked)
                answer = await w.ask("POST", f"{MAPS}?dryRun=All", w.config_map("m", k="v"))
                await w.ask("DELETE", f"{CONFIGS}/validatingwebhookconfigurations/hook")
                return len(hook.asked) > before if answer.status == 201 else int(answer.status)

            assert await asked("object.data.k == 'v'", "request.operation == 'CREATE'") is True
            assert await asked("object.data.k == 'v'", "oldObject != null") is False
            assert await asked("request.userInfo.username == 'admin'") is True
            assert await asked("!('system:masters' in request.userInfo.groups)") is False
            assert await asked("object.data.missing == 'v'") == 500
            assert await asked("object.data.missing == 'v'", "false") is False
            assert await asked("object.data.missing == 'v'", failurePolicy="Ignore") is False

    world(story)


def test_failures_are_fatal_or_not(world: Any) -> None:
    async def story(w: Any) -> None:
        async with hooked(w, allow) as hook:
            path = f"{CONFIGS}/validatingwebhookconfigurations/hook"

            async def write(**webhook: Any) -> Any:
                await configure(w, hook.config("Validating", **webhook))
                answer = await w.ask("POST", f"{MAPS}?dryRun=All", w.config_map("m"))
                await w.ask("DELETE", path)
                return answer

            nobody = {"url": "https://127.0.0.1:1/", "caBundle": ""}
            refused = await write(clientConfig=nobody)
            assert (refused.status, refused.reason) == (500, "InternalError")
            begin = (
                'Internal error occurred: failed calling webhook "hook.example.com": failed to call webhook: '
            )
            assert refused.message.startswith(f'{begin}Post "https://127.0.0.1:1/?timeout=10s": ')
            assert (await write(clientConfig=nobody, failurePolicy="Ignore")).status == 201
            untrusted = {"url": f"https://localhost:{hook.port}/"}
            assert (await write(clientConfig=untrusted)).status == 500
            gone = {"service": {"namespace": "default", "name": "ghost"}}
            assert 'service "ghost" not found' in (await write(clientConfig=gone)).message
            assert (await write(admissionReviewVersions=["v9"])).status == 500
            loud = await write(sideEffects="Some")
            assert loud.status in (400, 422)
            hook.answer = lambda _: {"allowed": True, "uid": "another"}
            assert (await write()).status == 500
            hook.answer = lambda _: {"allowed": True, "hang": True}
            late = await write(timeoutSeconds=1)
            assert (late.status, "deadline exceeded" in late.message) == (500, True)
            hook.answer = lambda _: {"allowed": False}
            assert (await write()).message.endswith("denied the request without explanation")

    world(story)


def test_a_service_is_asked_at_its_address(world: Any) -> None:
    """The name in the certificate is the service's; here its address is the loopback's."""

    async def story(w: Any) -> None:
        async with hooked(w, allow, "127.0.0.9") as hook:
            await w.make(
                "/api/v1/namespaces/default/services",
                w.service("hook", clusterIP="127.0.0.9", ports=[{"port": hook.port}]),
            )
            config = hook.config("Validating")
            about = config["webhooks"][0]["clientConfig"]
            del about["url"]
            about["service"] = {"namespace": "default", "name": "hook", "port": hook.port, "path": "/v"}
            await configure(w, config)
            await w.make(MAPS, w.config_map("m"))
            assert len(hook.asked) == 1

    world(story, service_cidrs=(ipaddress.IPv4Network("127.0.0.0/24"),))


PODS = "/api/v1/namespaces/default/pods"
POD_RULE = {**MAP_RULE, "resources": ["pods/*"]}


def test_warnings_reach_the_writer(world: Any) -> None:
    def warn(text: str) -> Answer:
        return lambda _: {"allowed": True, "warnings": [text]}

    async def story(w: Any) -> None:
        async with hooked(w, warn("one")) as first, hooked(w, warn('"two"')) as second:
            await configure(w, first.config("Mutating"))
            await configure(w, second.config("Validating"))
            shown = ['299 - "one"', '299 - "\\"two\\""']
            for method, path, body in (
                ("POST", MAPS, w.config_map("m")),
                ("PATCH", f"{MAPS}/m", {"data": {"a": "b"}}),
                ("DELETE", f"{MAPS}/m", None),
            ):
                answer = await w.ask(method, path, body)
                assert [value for name, value in answer.headers if name == "warning"] == shown, method

    world(story)


def test_streams_and_what_is_made_below_a_pod_are_asked_about(world: Any) -> None:
    async def story(w: Any) -> None:
        async with hooked(w, lambda _: {"allowed": False, "status": {"message": "no"}}) as hook:
            await w.make(PODS, w.pod())
            await configure(w, hook.config("Validating", rules=[POD_RULE]))
            account = "/api/v1/namespaces/default/serviceaccounts/default/token"
            rule = {**MAP_RULE, "resources": ["serviceaccounts/token"]}
            await configure(w, hook.config("Mutating", rules=[rule], sideEffects="NoneOnDryRun"))
            for path, body, operation, kind in (
                (f"{PODS}/web/exec?command=sh&stdin=true&container=main", None, "CONNECT", "PodExecOptions"),
                (f"{PODS}/web/attach?stdout=1", None, "CONNECT", "PodAttachOptions"),
                (f"{PODS}/web/portforward?ports=80", None, "CONNECT", "PodPortForwardOptions"),
                (f"{PODS}/web/proxy/some/path", None, "CONNECT", "PodProxyOptions"),
                (f"{PODS}/web/eviction", {"metadata": {"name": "web"}}, "CREATE", "Eviction"),
                (f"{PODS}/web/binding", {"target": {"name": "n"}}, "CREATE", "Binding"),
                (account, {}, "CREATE", "TokenRequest"),
            ):
                refused = await w.ask("POST", path, body)
                assert (refused.status, refused.message[-4:]) == (400, ": no"), path
                seen = hook.asked[-1]
                assert (seen["operation"], seen["kind"]["kind"], seen["object"]["kind"]) == (
                    operation,
                    kind,
                    kind,
                )
                resource = "serviceaccounts" if path == account else "pods"
                assert (seen["resource"]["resource"], seen["subResource"]) == (
                    resource,
                    path.partition("?")[0].split("/")[7],
                )
            older = {"metadata": {"name": "web"}, "target": {"name": "n"}}
            assert (await w.ask("POST", "/api/v1/namespaces/default/bindings", older)).status == 400
            assert (hook.asked[-1]["subResource"], hook.asked[-1]["kind"]["kind"]) == ("binding", "Binding")
            execute = next(one for one in hook.asked if one["kind"]["kind"] == "PodExecOptions")
            assert execute["object"] == {
                "kind": "PodExecOptions",
                "apiVersion": "v1",
                "stdin": True,
                "container": "main",
                "command": ["sh"],
            }
            assert (await w.ask("GET", f"{PODS}/web")).status == 200

    world(story)


def test_another_form_of_the_object_is_shown_to_those_who_know_only_that(world: Any) -> None:
    """matchPolicy Equivalent; what they change comes back in the form of the request."""

    async def story(w: Any) -> None:
        target = {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3}
        older = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
        rule = {"operations": ["*"], "apiGroups": ["autoscaling"], "apiVersions": ["v2"]}
        rule["resources"] = ["horizontalpodautoscalers"]
        change = patch({"op": "add", "path": "/spec/maxReplicas", "value": 7})
        async with hooked(w, change) as hook:
            await configure(w, hook.config("Mutating", rules=[rule]))
            cpu = {"metadata": {"name": "a"}, "spec": {**target, "targetCPUUtilizationPercentage": 50}}
            made = await w.make(older, cpu)
            assert (made["apiVersion"], made["spec"]["maxReplicas"]) == ("autoscaling/v1", 7)
            assert made["spec"]["targetCPUUtilizationPercentage"] == 50
            seen = hook.asked[-1]
            assert (seen["resource"]["version"], seen["requestResource"]["version"]) == ("v2", "v1")
            assert seen["object"]["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
            await w.ask("DELETE", f"{CONFIGS}/mutatingwebhookconfigurations/hook")
            await configure(w, hook.config("Mutating", rules=[rule], matchPolicy="Exact"))
            count = len(hook.asked)
            await w.make(older, {"metadata": {"name": "b"}, "spec": target})
            assert len(hook.asked) == count

    world(story)


def test_a_scale_is_shown_as_one(world: Any) -> None:
    async def story(w: Any) -> None:
        labels = {"app": "web"}
        spec = {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": w.pod()["spec"]},
        }
        deployments = "/apis/apps/v1/namespaces/default/deployments"
        await w.make(deployments, {"metadata": {"name": "web"}, "spec": spec})
        rule = {"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"]}
        async with (
            hooked(w, patch({"op": "replace", "path": "/spec/replicas", "value": 2})) as bounded,
            hooked(w, allow) as workloads,
        ):
            below = bounded.config("Mutating", "a", rules=[{**rule, "resources": ["deployments/scale"]}])
            await configure(w, below)
            whole = workloads.config("Mutating", "b", rules=[{**rule, "resources": ["deployments"]}])
            await configure(w, whole)
            scaled = await w.ask("PATCH", f"{deployments}/web/scale", {"spec": {"replicas": 9}})
            assert scaled.body["spec"] == {"replicas": 2}
            seen = bounded.asked[-1]
            assert (seen["kind"]["kind"], seen["object"]["spec"]) == ("Scale", {"replicas": 9})
            assert seen["oldObject"]["spec"] == {"replicas": 1}
            assert workloads.asked == []

    world(story)


def test_what_webhooks_change_is_completed_and_checked(world: Any) -> None:
    """By the rules that hold for everybody: defaults, admission of the server's own, validation."""

    async def story(w: Any) -> None:
        add = {"op": "add", "path": "/spec/containers/-", "value": {"name": "side", "image": "x"}}
        async with hooked(w, patch(add)) as hook:
            limits = {"type": "Container", "default": {"cpu": "1"}}
            limit = {"metadata": {"name": "l"}, "spec": {"limits": [limits]}}
            await w.make("/api/v1/namespaces/default/limitranges", limit)
            await configure(w, hook.config("Mutating", rules=[{**MAP_RULE, "resources": ["pods"]}]))
            made = await w.make(PODS, w.pod())
            side = made["spec"]["containers"][1]
            assert (side["imagePullPolicy"], side["resources"]["limits"]) == ("Always", {"cpu": "1"})
            assert len(hook.asked) == 1
            add["value"] = {"name": "Bad Name", "image": "x"}
            hook.answer = patch(add)
            refused = await w.ask("POST", PODS, w.pod("other"))
            assert (refused.status, refused.body["details"]["causes"][0]["field"]) == (
                422,
                "spec.containers[1].name",
            )

    world(story)

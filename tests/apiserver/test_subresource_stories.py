"""Binding, eviction, scale, tokens, logs, reviews."""

import asyncio
import base64
import json
import socket
from typing import Any

from netemu.http import messages, server, tls

PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
DEFAULT = "/api/v1/namespaces/default/serviceaccounts/default"


def binding(node: str, name: str = "web", **about: Any) -> dict[str, Any]:
    target = {"kind": "Node", "apiVersion": "v1", "name": node}
    return {"kind": "Binding", "apiVersion": "v1", "metadata": {"name": name, **about}, "target": target}


def test_a_pod_is_bound_once(world: Any) -> None:
    async def story(w: Any) -> None:
        made = await w.make(PODS, w.pod())
        wrong = await w.ask("POST", f"{PODS}/web/binding", binding("n1", uid="other"))
        assert (wrong.status, wrong.reason) == (409, "Conflict")
        bound = await w.ask("POST", f"{PODS}/web/binding", binding("n1", uid=made["metadata"]["uid"]))
        assert (bound.status, bound.body["status"]) == (201, "Success")
        pod = (await w.ask("GET", f"{PODS}/web")).body
        assert pod["spec"]["nodeName"] == "n1"
        assert [(c["type"], c["status"]) for c in pod["status"]["conditions"]] == [("PodScheduled", "True")]
        again = await w.ask("POST", f"{PODS}/web/binding", binding("n2"))
        assert again.message == (
            'Operation cannot be fulfilled on pods/binding "web": pod web is already assigned to node "n1"'
        )
        await w.make(PODS, w.pod("other"))
        older = await w.ask("POST", "/api/v1/namespaces/default/bindings", binding("n1", "other"))
        assert older.status == 201
        nowhere = await w.ask("POST", f"{PODS}/web/binding", {"metadata": {"name": "web"}, "target": {}})
        assert nowhere.status == 422
        assert (await w.ask("POST", f"{PODS}/ghost/binding", binding("n1", "ghost"))).status == 404
        assert (await w.ask("GET", f"{PODS}/web/binding")).status == 405

    world(story)


def test_the_typed_client_binds(world: Any) -> None:
    from netemu.api import core, meta

    async def story(w: Any) -> None:
        spec = core.PodSpec(containers=(core.Container(name="c", image="x"),))
        pod = await w.client.create(
            core.Pod(metadata=meta.ObjectMeta(name="p", namespace="default"), spec=spec)
        )
        await w.client.bind("default", "p", pod.metadata.uid, "n7")
        assert (await w.client.get(core.Pod, "p", "default")).spec.nodeName == "n7"

    world(story)


def test_an_eviction_deletes_with_its_options(world: Any) -> None:
    async def story(w: Any) -> None:
        await w.make(PODS, w.pod())
        await w.ask("POST", f"{PODS}/web/binding", binding("n1"))
        eviction = {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "web"}}
        dry = await w.ask("POST", f"{PODS}/web/eviction?dryRun=All", eviction)
        assert dry.status == 201
        assert "deletionTimestamp" not in (await w.ask("GET", f"{PODS}/web")).body["metadata"]
        options = {"gracePeriodSeconds": 3}
        done = await w.ask("POST", f"{PODS}/web/eviction", {**eviction, "deleteOptions": options})
        assert (done.status, done.body["status"]) == (201, "Success")
        pod = (await w.ask("GET", f"{PODS}/web")).body
        assert pod["metadata"]["deletionGracePeriodSeconds"] == 3

    world(story)


def test_scale_is_a_view_of_replicas(world: Any) -> None:
    async def story(w: Any) -> None:
        labels = {"app": "web"}
        await w.make(
            DEPLOYMENTS,
            {
                "kind": "Deployment",
                "apiVersion": "apps/v1",
                "metadata": {"name": "web"},
                "spec": {
                    "replicas": 2,
                    "selector": {
                        "matchLabels": labels,
                        "matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "b"]}],
                    },
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": {"containers": [{"name": "c", "image": "x"}]},
                    },
                },
            },
        )
        one = f"{DEPLOYMENTS}/web/scale"
        scale = (await w.ask("GET", one)).body
        assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
        assert scale["spec"]["replicas"] == 2
        assert scale["status"] == {"replicas": 0, "selector": "app=web,app in (b,web)"}
        assert (await w.ask("PATCH", one, {"spec": {"replicas": 5}})).body["spec"]["replicas"] == 5
        stale = await w.ask("PUT", one, {**scale, "spec": {"replicas": 6}})
        assert (stale.status, stale.reason) == (409, "Conflict")
        fresh = (await w.ask("GET", one)).body
        assert (await w.ask("PUT", one, {**fresh, "spec": {"replicas": 6}})).status == 200
        assert (await w.ask("PATCH", one, {"spec": {"replicas": -1}})).status == 422
        assert (await w.ask("PATCH", one, {"spec": {"replicas": "x"}})).status == 422
        assert (await w.ask("GET", f"{DEPLOYMENTS}/web")).body["spec"]["replicas"] == 6

    world(story)


def test_a_token_names_the_account_and_ends_with_its_pod(world: Any) -> None:
    async def story(w: Any) -> None:
        pod = await w.make(PODS, w.pod())
        reference = {"kind": "Pod", "apiVersion": "v1", "name": "web", "uid": pod["metadata"]["uid"]}
        spec = {"expirationSeconds": 600, "boundObjectRef": reference}
        made = await w.make(f"{DEFAULT}/token", {"spec": spec})
        token = made["status"]["token"]
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        assert claims["sub"] == "system:serviceaccount:default:default"
        assert claims["exp"] - claims["iat"] == 600
        assert claims["kubernetes.io"]["pod"]["name"] == "web"

        async def who() -> Any:
            return await as_bearer(
                w, token, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", b"{}"
            )

        review = await who()
        assert review.status == 201
        user = json.loads(review.body)["status"]["userInfo"]
        assert user["username"] == "system:serviceaccount:default:default"
        assert set(user["groups"]) == {
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated",
        }
        assert user["extra"]["authentication.kubernetes.io/pod-name"] == ["web"]
        asked = {"spec": {"token": token}}
        told = await w.make("/apis/authentication.k8s.io/v1/tokenreviews", asked)
        assert told["status"]["authenticated"] is True
        await w.ask("DELETE", f"{PODS}/web")
        assert (await who()).status == 401
        told = await w.make("/apis/authentication.k8s.io/v1/tokenreviews", asked)
        assert told["status"]["authenticated"] is False

    world(story)


def test_tokens_expire_and_are_not_forged(world: Any) -> None:
    async def story(w: Any) -> None:
        made = await w.make(f"{DEFAULT}/token", {"spec": {"expirationSeconds": 600}})
        token = made["status"]["token"]
        head, payload, signature = token.split(".")
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        assert (await as_bearer(w, token, "POST", path, b"{}")).status == 201
        other = (
            base64.urlsafe_b64encode(b'{"sub":"system:serviceaccount:kube-system:x"}').decode().rstrip("=")
        )
        none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
        forged = [
            f"{head}.{other}.{signature}",
            f"{none}.{payload}.",
            f"{head}.{payload}.{signature[:-4]}AAAA",
            f"{head}.{payload}",
            "x",
            "a.b.c",
            token + ".x",
        ]
        for bad in forged:
            assert (await as_bearer(w, bad, "POST", path, b"{}")).status == 401, bad
        w.clock.advance(601)
        assert (await as_bearer(w, token, "POST", path, b"{}")).status == 401
        short = await w.ask("POST", f"{DEFAULT}/token", {"spec": {"expirationSeconds": 5}})
        assert short.status == 422
        audience = await w.make(f"{DEFAULT}/token", {"spec": {"audiences": ["vault"]}})
        foreign = audience["status"]["token"]
        assert (await as_bearer(w, foreign, "POST", path, b"{}")).status == 401
        for_vault = {"spec": {"token": foreign, "audiences": ["vault"]}}
        told = await w.make("/apis/authentication.k8s.io/v1/tokenreviews", for_vault)
        assert told["status"]["authenticated"] is True

    world(story)


async def as_bearer(w: Any, token: str, method: str, path: str, body: bytes = b"") -> messages.Response:
    headers = (("authorization", f"Bearer {token}"), ("content-type", "application/json"))
    return await w.server.handle(messages.Request(method, path, (), headers, body))


def test_reviews_tell_the_truth(world: Any) -> None:
    async def story(w: Any) -> None:
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        about = {"verb": "list", "resource": "pods", "namespace": "default"}
        mine = await w.make(path, {"spec": {"resourceAttributes": about}})
        assert mine["status"]["allowed"] is True
        token = (await w.make(f"{DEFAULT}/token", {"spec": {}}))["status"]["token"]
        review = json.dumps({"spec": {"resourceAttributes": about}}).encode()
        theirs = await as_bearer(w, token, "POST", path, review)
        assert json.loads(theirs.body)["status"]["allowed"] is False
        listing = await as_bearer(w, token, "GET", PODS)
        assert listing.status == 403
        assert json.loads(listing.body)["message"] == (
            'pods is forbidden: User "system:serviceaccount:default:default" cannot list resource "pods" '
            'in API group "" in the namespace "default"'
        )
        other = {
            "spec": {
                "user": "system:kube-scheduler",
                "resourceAttributes": {"verb": "create", "resource": "pods", "subresource": "binding"},
            }
        }
        told = await w.make("/apis/authorization.k8s.io/v1/subjectaccessreviews", other)
        assert told["status"]["allowed"] is True
        assert (await w.ask("POST", path, {"spec": {}})).status == 422
        assert (await w.ask("GET", path)).status == 405

    world(story)


class Kubelet:
    """A kubelet's log endpoint, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[messages.Request] = []

    async def handle(self, request: messages.Request) -> messages.Response:
        self.asked.append(request)
        if request.path.endswith("/broken"):
            return messages.Response(400, (), b'container "broken" in pod "two" is waiting to start')
        if request.parameter("follow") == "true":
            return messages.Response(200, (("content-type", "text/plain"),), self._follow())
        return messages.Response(200, (("content-type", "text/plain"),), b"one\ntwo\n")

    @staticmethod
    async def _follow() -> Any:
        for n in range(3):
            await asyncio.sleep(0)
            yield b"line %d\n" % n


def test_logs_come_from_the_nodes_kubelet(world: Any, identity: Any) -> None:
    kubelet = Kubelet()
    sock = socket.create_server(("127.0.0.1", 0))

    async def story(w: Any) -> None:
        _, own = identity
        context = tls.server(*own.server, own.ca)
        serving = await server.serve(kubelet.handle, [sock], context)
        await w.make("/api/v1/nodes", {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n1"}})
        address = {"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}}
        await w.ask("PATCH", "/api/v1/nodes/n1/status", address)
        await w.make(PODS, w.pod())
        unplaced = await w.ask("GET", f"{PODS}/web/log")
        assert (unplaced.status, unplaced.message) == (400, "pod web does not have a host assigned")
        await w.ask("POST", f"{PODS}/web/binding", binding("n1"))
        plain = await w.ask("GET", f"{PODS}/web/log?tailLines=2&pretty=1")
        assert (plain.status, plain.body) == (200, b"one\ntwo\n")
        assert ("content-type", "text/plain") in plain.headers
        assert kubelet.asked[-1].path == "/containerLogs/default/web/main"
        assert kubelet.asked[-1].query == (("tailLines", "2"),)
        assert kubelet.asked[-1].peer.organizations == ("system:masters",)
        followed = await w.ask("GET", f"{PODS}/web/log?follow=true&container=main")
        assert followed.body == b"line 0\nline 1\nline 2\n"
        nothing = await w.ask("GET", f"{PODS}/web/log?container=ghost")
        assert nothing.message == "container ghost is not valid for pod web"
        two = [{"name": "ok", "image": "x"}, {"name": "broken", "image": "x"}]
        await w.make(PODS, w.pod("two", nodeName="n1", containers=two))
        which = await w.ask("GET", f"{PODS}/two/log")
        assert which.message == ("a container name must be specified for pod two, choose one of: [ok broken]")
        waiting = await w.ask("GET", f"{PODS}/two/log?container=broken")
        assert (waiting.status, waiting.reason) == (400, "BadRequest")
        assert waiting.message == 'container "broken" in pod "two" is waiting to start'
        await serving.close(grace=0)
        away = await w.ask("GET", f"{PODS}/web/log")
        assert (away.status, away.reason) == (503, "ServiceUnavailable")

    world(story, kubelet_port=sock.getsockname()[1])

"""Unmodified kubectl of every version there is on the machine: what people type, and what they must see.

A chapter plays in a namespace of its own, so chapters run side by side. Every command of the newest kubectl
is tried; of the others what versions differ in (discovery, OpenAPI, protobuf), with `-m slow` everything.
"""

import asyncio
import base64
import json
import os
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from netemu.api import core, kinds
from netemu.http import messages

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: nginx, ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: solo, labels: {app: solo}}
spec:
  containers:
  - {name: main, image: busybox, command: [sleep, "1000"]}
"""
FOUR = MANIFEST.replace("replicas: 3", "replicas: 4")
_AT_ONCE = 4  # processes of kubectl


def kubectls() -> list[Path]:
    """The kubectl on the PATH, and kubectl.1.NN beside it, the oldest first."""
    found = shutil.which("kubectl")
    if not found:
        return []
    real = Path(found).resolve()
    versions = sorted(
        path for path in real.parent.iterdir() if re.fullmatch(r"kubectl\.1\.[0-9]+", path.name)
    )
    return versions or [real]


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Kubectl:
    """One kubectl in one namespace, with a home, and so caches, of its own."""

    def __init__(self, path: Path, kubeconfig: Path, home: Path, turns: asyncio.Semaphore) -> None:
        self._path = path
        self._home = home
        self._kubeconfig = kubeconfig
        self._turns = turns
        self._namespace = "default"

    @property
    def minor(self) -> int:
        """30 of 1.30; a kubectl without a number is new."""
        found = re.search(r"1\.(\d+)$", self._path.name)
        return int(found[1]) if found else 99

    def within(self, namespace: str) -> "Kubectl":
        other = Kubectl(self._path, self._kubeconfig, self._home, self._turns)
        other._namespace = namespace
        return other

    async def __call__(self, *words: str, given: str = "", **environment: str) -> Done:
        async with self._turns:
            process = await asyncio.create_subprocess_exec(
                str(self._path),
                "--namespace",
                self._namespace,
                *words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={
                    "HOME": str(self._home),
                    "KUBECONFIG": str(self._kubeconfig),
                    "PATH": os.environ["PATH"],
                    **environment,
                },
            )
            try:
                out, err = await process.communicate(given.encode())
            finally:
                if process.returncode is None:
                    process.kill()
        return Done(process.returncode or 0, out.decode(), err.decode())

    async def ok(self, *words: str, given: str = "", **environment: str) -> str:
        done = await self(*words, given=given, **environment)
        assert done.code == 0, (words, done)
        return done.out

    async def refused(self, *words: str, given: str = "") -> str:
        """What it says when it fails."""
        done = await self(*words, given=given)
        assert done.code == 1, (words, done)
        return done.err


FOUND = kubectls()
pytestmark = pytest.mark.skipif(not FOUND, reason="there is no kubectl on the PATH")


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()[1:] if line]


async def look_around(w: Any, k: Kubectl) -> None:
    assert ["default", "Active"] in [row[:2] for row in rows(await k.ok("get", "namespaces"))]
    everywhere = rows(await k.ok("get", "svc", "-A"))
    assert ["default", "kubernetes", "ClusterIP", "10.96.0.1"] in [row[:4] for row in everywhere]
    assert "deployments" in await k.ok("api-resources")
    assert "apps/v1" in (await k.ok("api-versions")).split()
    assert "Server Version" in await k.ok("version")
    assert "Kubernetes control plane" in await k.ok("cluster-info")
    assert (await k.ok("get", "--raw", "/readyz")) == "ok"
    assert "the server doesn't have a resource type" in await k.refused("get", "nothing")
    missing = await k.refused("get", "pod", "ghost")
    assert missing.strip() == 'Error from server (NotFound): pods "ghost" not found'


async def explain(w: Any, k: Kubectl) -> None:
    explained = await k.ok("explain", "pod.spec.containers.ports")
    assert "FIELD: ports <[]ContainerPort>" in explained
    assert "containerPort\t<integer> -required-" in explained
    deep = await k.ok("explain", "networkpolicy", "--recursive")
    assert "namespaceSelector\t<LabelSelector>" in deep
    assert "does not exist" in await k.refused("explain", "pod.nothing")


async def identity(w: Any, k: Kubectl) -> None:
    assert (await k.ok("auth", "can-i", "create", "pods")).strip() == "yes"
    assert "*.*" in await k.ok("auth", "can-i", "--list")
    nobody = await k("auth", "can-i", "list", "nodes", "--as=ann")
    assert (nobody.code, nobody.out.strip()) == (1, "no")
    who = await k("auth", "whoami")
    if who.code == 0:  # from 1.28 without alpha
        assert "admin" in who.out
    assert 'pods is forbidden: User "ann" cannot list' in await k.refused("get", "pods", "--as=ann")
    assert "created" in await k.ok("create", "serviceaccount", "robot")
    token = (await k.ok("create", "token", "robot", "--duration=10m")).strip()
    assert token.count(".") == 2
    assert "created" in await k.ok("create", "role", "reader", "--verb=get,list", "--resource=pods")
    where = (await k.ok("get", "sa", "robot", "-o", "jsonpath={.metadata.namespace}")).strip()
    bound = await k.ok("create", "rolebinding", "r", "--role=reader", f"--serviceaccount={where}:robot")
    assert "created" in bound
    asked = ("auth", "can-i", "list", "pods", f"--as=system:serviceaccount:{where}:robot")
    assert (await k.ok(*asked)).strip() == "yes"


async def apply_and_look(w: Any, k: Kubectl) -> None:
    made = await k.ok("apply", "-f", "-", given=MANIFEST)
    assert made.splitlines() == ["deployment.apps/web created", "service/web created", "pod/solo created"]
    again = await k.ok("apply", "-f", "-", given=MANIFEST)
    assert all(line.endswith("unchanged") for line in again.splitlines())
    assert "deployment.apps/web configured" in await k.ok("apply", "-f", "-", given=FOUR)
    wrong = await k.refused("apply", "-f", "-", given=MANIFEST.replace("replicas: 3", "replica: 3"))
    assert 'unknown field "spec.replica"' in wrong
    everything = await k.ok("get", "all")
    names = {line.split()[0] for line in everything.splitlines() if "/" in line}
    assert names == {"pod/solo", "service/web", "deployment.apps/web"}
    assert rows(await k.ok("get", "deploy", "web"))[0][:2] == ["web", "0/4"]
    assert rows(await k.ok("get", "pods", "-o", "wide"))[0][:3] == ["solo", "0/1", "Pending"]
    assert (await k.ok("get", "pods", "-l", "app=solo", "-o", "name")) == "pod/solo\n"
    described = await k.ok("describe", "pod", "solo")
    assert "kube-api-access-" in described
    assert "Name:" in await k.ok("describe", "service", "web")
    assert (await k.ok("diff", "-f", "-", given=FOUR)) == ""
    mine = await k("apply", "--server-side", "--force-conflicts", "-f", "-", given=MANIFEST)
    assert (mine.code, mine.err) == (0, "")
    assert "deployment.apps/web serverside-applied" in mine.out


async def look_closer(w: Any, k: Kubectl) -> None:
    await k.ok("create", "-f", "-", given=MANIFEST)
    assert "pod/solo" in await k.ok("get", "pod/solo", "service/web")
    both = await k("get", "svc", "web", "ghost")
    assert (both.code, "web" in both.out, '"ghost" not found' in both.err) == (1, True, True)
    assert rows(await k.ok("get", "pods", "--chunk-size=0"))[0][0] == "solo"
    await k.ok("create", "configmap", "a-map")
    sorted_ = await k.ok("get", "cm", "--sort-by=.metadata.name")
    assert rows(sorted_)[0][0] == "a-map"
    assert json.loads(await k.ok("get", "pod", "solo", "-o", "json"))["metadata"]["name"] == "solo"
    assert "name: solo" in await k.ok("get", "pod", "solo", "-o", "yaml")
    columns = await k.ok("get", "pods", "-o", "custom-columns=N:.metadata.name,P:.status.phase")
    assert rows(columns) == [["solo", "Pending"]]
    assert rows(await k.ok("get", "pods", "--server-print=false"))[0][0] == "solo"
    assert rows(await k.ok("get", "deploy", "web", "--subresource=status"))[0][:2] == ["web", "0/3"]
    assert rows(await k.ok("get", "deploy", "web", "--subresource=scale"))[0][0] == "web"
    for what in ("deployment/web", "namespace/default"):
        assert "Name:" in await k.ok("describe", *what.split("/"))
    event = {
        "metadata": {"name": "solo.1"},
        "involvedObject": {"kind": "Pod", "apiVersion": "v1", "name": "solo", "namespace": "look-closer"},
        "reason": "Pulled",
        "message": "Pulled the image",
        "type": "Normal",
    }
    await w.make("/api/v1/namespaces/look-closer/events", event)
    assert "Pulled the image" in await k.ok("events")
    assert "Pulled the image" in await k.ok("events", "--for", "pod/solo")
    assert "No events found" in (await k("events", "--for", "service/web")).err
    assert "does not have a host assigned" in await k.refused("logs", "solo")


async def change(w: Any, k: Kubectl) -> None:
    await k.ok("apply", "-f", "-", given=MANIFEST)
    assert "scaled" in await k.ok("scale", "deploy/web", "--replicas=2")
    assert "scaled" in await k.ok("scale", "deploy/web", "--replicas=5", "--current-replicas=2")
    wrong = await k.refused("scale", "deploy/web", "--replicas=1", "--current-replicas=2")
    assert "Expected replicas to be 2, was 5" in wrong
    assert (await k.ok("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}")) == "5"
    assert "labeled" in await k.ok("label", "pod", "solo", "tier=back")
    assert "annotate" in await k.ok("annotate", "pod", "solo", "note=x")
    assert "unlabeled" in await k.ok("label", "pod", "solo", "tier-")
    assert "image updated" in await k.ok("set", "image", "deploy/web", "web=nginx:2")
    for how, body in (
        ("merge", '{"metadata":{"labels":{"a":"1"}}}'),
        ("strategic", '{"metadata":{"labels":{"a":"2"}}}'),
        ("json", '[{"op":"replace","path":"/metadata/labels/a","value":"3"}]'),
    ):
        assert "patched" in await k.ok("patch", "svc", "web", "--type", how, "-p", body)
    assert (await k.ok("get", "svc", "web", "-o", "jsonpath={.metadata.labels.a}")) == "3"
    whole = await k.ok("get", "svc", "web", "-o", "yaml")
    assert "replaced" in await k.ok("replace", "-f", "-", given=whole.replace('a: "3"', 'a: "4"'))
    edited = await k.ok("edit", "svc", "web", KUBE_EDITOR="sed -i 's/a: .4.$/a: five/'")
    assert "service/web edited" in edited
    assert (await k.ok("get", "svc", "web", "-o", "jsonpath={.metadata.labels.a}")) == "five"
    solo = await k.ok("get", "pod", "solo", "-o", "jsonpath={.metadata.uid}")
    forced = await k.ok("replace", "--force", "-f", "-", given=MANIFEST.split("---")[2])
    assert "replaced" in forced
    assert await k.ok("get", "pod", "solo", "-o", "jsonpath={.metadata.uid}") != solo
    assert 'conflicts with "kubectl' in await k.refused(
        "apply", "--server-side", "--field-manager=other", "-f", "-", given=FOUR
    )
    different = await k("diff", "-f", "-", given=FOUR)
    assert (different.code, "+  replicas: 4" in different.out) == (1, True), different
    assert "(server dry run)" in await k.ok("apply", "--dry-run=server", "-f", "-", given=MANIFEST)


async def roll_out(w: Any, k: Kubectl) -> None:
    """Nobody rolls anything out here: the ReplicaSets and the status are what a controller would write."""
    await k.ok("apply", "-f", "-", given=MANIFEST)
    base = "/apis/apps/v1/namespaces/roll-out"
    web = (await w.ask("GET", f"{base}/deployments/web")).body
    owner = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "web",
        "uid": web["metadata"]["uid"],
        "controller": True,
    }
    for revision, image in (("1", "nginx:old"), ("2", "nginx")):
        labels = {"app": "web", "pod-template-hash": f"h{revision}"}
        template = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": image}]},
        }
        about = {
            "name": f"web-{revision}",
            "labels": labels,
            "annotations": {"deployment.kubernetes.io/revision": revision},
            "ownerReferences": [owner],
        }
        spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
        await w.make(f"{base}/replicasets", {"metadata": about, "spec": spec})
    note = {"metadata": {"annotations": {"deployment.kubernetes.io/revision": "2"}}}
    await w.ask("PATCH", f"{base}/deployments/web", note)
    history = await k.ok("rollout", "history", "deploy/web")
    assert [row[0] for row in rows(history)][-2:] == ["1", "2"]
    assert "nginx:old" in await k.ok("rollout", "history", "deploy/web", "--revision=1")
    assert "rolled back" in await k.ok("rollout", "undo", "deploy/web")
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    assert (await k.ok("get", "deploy", "web", "-o", image)) == "nginx:old"
    assert "restarted" in await k.ok("rollout", "restart", "deploy/web")
    assert "paused" in await k.ok("rollout", "pause", "deploy/web")
    assert "resumed" in await k.ok("rollout", "resume", "deploy/web")
    waiting = asyncio.ensure_future(k("rollout", "status", "deploy/web", "--timeout=60s"))
    now = (await w.ask("GET", f"{base}/deployments/web")).body
    done = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 3)
    status = {"status": {"observedGeneration": now["metadata"]["generation"], **done}}
    await w.ask("PATCH", f"{base}/deployments/web/status", status)
    finished = await waiting
    assert (finished.code, "successfully rolled out" in finished.out) == (0, True), finished


async def generate(w: Any, k: Kubectl) -> None:
    """Generators send protobuf from 1.32 on."""
    new = f"shop-{k.minor}"
    assert "created" in await k.ok("create", "namespace", new)
    made = await k.ok("create", "deployment", "gen", "--image=nginx", "--replicas=2", "--port=80")
    assert "created" in made
    shown = "jsonpath={.spec.replicas} {.spec.template.spec.containers[*].ports[*].containerPort}"
    assert (await k.ok("get", "deploy", "gen", "-o", shown)) == "2 80"
    assert "created" in await k.ok("create", "configmap", "cm", "--from-literal=a=b", "--from-literal=c=d")
    assert (await k.ok("get", "cm", "cm", "-o", "jsonpath={.data}")) == '{"a":"b","c":"d"}'
    assert "created" in await k.ok("create", "secret", "generic", "s", "--from-literal=p=q")
    assert (await k.ok("get", "secret", "s", "-o", "jsonpath={.data.p} {.type}")) == "cQ== Opaque"
    assert "created" in await k.ok("create", "service", "nodeport", "np", "--tcp=80:8080")
    np = await k.ok("get", "svc", "np", "-o", "jsonpath={.spec.ports[0].targetPort} {.spec.type}")
    assert np == "8080 NodePort"
    assert "autoscaled" in await k.ok("autoscale", "deployment", "gen", "--min=1", "--max=3")
    assert "deleted" in await k.ok("delete", "ns", new, "--wait=false")
    assert rows(await k.ok("get", "ns", new))[0][:2] == [new, "Terminating"]


async def generate_more(w: Any, k: Kubectl) -> None:
    for words in (
        ("job", "j", "--image=busybox"),
        ("cronjob", "cj", "--image=busybox", "--schedule=* * * * *"),
        ("ingress", "in", "--rule=example.com/x*=web:80"),
        ("quota", "q", "--hard=pods=20"),
        ("pdb", "b", "--selector=app=x", "--min-available=1"),
    ):
        assert "created" in await k.ok("create", *words), words
    await k.ok("create", "deployment", "web", "--image=nginx", "--port=80")
    assert "exposed" in await k.ok("expose", "deployment", "web", "--name=web2", "--port=8080")
    assert "created" in await k.ok("run", "ran", "--image=nginx", "--labels=app=ran", "--expose", "--port=80")
    assert (await k.ok("get", "svc", "ran", "-o", "jsonpath={.spec.selector.app}")) in ("ran", "")
    debugged = await k("debug", "ran", "--image=busybox", "--container=look")
    assert debugged.code == 0, debugged
    names = "jsonpath={.spec.ephemeralContainers[*].name}"
    assert (await k.ok("get", "pod", "ran", "-o", names)) == "look"


async def wait_and_delete(w: Any, k: Kubectl) -> None:
    await k.ok("apply", "-f", "-", given=MANIFEST)
    await k.ok("wait", "--for=jsonpath={.status.phase}=Pending", "pod/solo", "--timeout=30s")
    assert "timed out" in await k.refused("wait", "--for=condition=Ready", "pod/solo", "--timeout=1s")
    ready = asyncio.ensure_future(k("wait", "--for=condition=Ready", "pod/solo", "--timeout=60s"))
    pod = "/api/v1/namespaces/wait-and-delete/pods/solo/status"
    await w.ask("PATCH", pod, {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    assert (await ready).out == "pod/solo condition met\n"
    if k.minor >= 31:
        assert "condition met" in await k.ok("wait", "--for=create", "service/web", "--timeout=30s")
    listeners = w.server._parts.cache.of(kinds.of(core.Pod))._listeners
    before = set(listeners)
    watching = asyncio.ensure_future(k("get", "pods", "-w", "--request-timeout=5s", "-o", "name"))
    while not set(listeners) - before and not watching.done():  # kubectl says nothing when it has begun
        await asyncio.sleep(0.01)
    deleted = asyncio.ensure_future(k("wait", "--for=delete", "pod/solo", "--timeout=60s"))
    assert 'pod "solo"' in await k.ok("delete", "pod", "solo")
    assert "pod/solo" in (await watching).out
    assert (await deleted).code == 0
    await k.ok("create", "-f", "-", given=MANIFEST.split("---")[2])
    forced = await k("delete", "pod", "solo", "--grace-period=0", "--force")
    assert (forced.code, "force deleted" in forced.out) == (0, True), forced
    for name in ("one", "two", "three"):
        await k.ok("create", "configmap", name)
    await k.ok("label", "configmap", "one", "x=y")
    assert (await k.ok("delete", "cm", "-l", "x=y")).startswith('configmap "one" deleted')
    assert len((await k.ok("delete", "cm", "--all")).splitlines()) == 2
    foreground = ("delete", "deploy", "web", "--cascade=foreground", "--wait=false")
    assert "deleted" in await k.ok(*foreground)
    held = "jsonpath={.metadata.finalizers}"
    assert (await k.ok("get", "deploy", "web", "-o", held)) == '["foregroundDeletion"]'
    await w.ask(
        "PATCH",
        "/apis/apps/v1/namespaces/wait-and-delete/deployments/web",
        {"metadata": {"finalizers": None}},
    )
    left = await k("delete", "-f", "-", given=MANIFEST)
    assert ('service "web"' in left.out, left.err.count("not found")) == (True, 2)
    assert "No resources found" in (await k("get", "pods")).err


async def nodes(w: Any, k: Kubectl) -> None:
    """drain evicts, for discovery says that eviction is policy/v1's."""
    name = f"n{k.minor}"
    await w.make("/api/v1/nodes", {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name}})
    pods = "/api/v1/namespaces/nodes/pods"
    await w.make(pods, w.pod("on-node", nodeName=name))
    assert "cordoned" in await k.ok("cordon", name)
    assert "SchedulingDisabled" in await k.ok("get", "node", name)
    assert "on-node" in await k.ok("describe", "node", name)
    draining = asyncio.ensure_future(k("drain", name, "--force", "--timeout=60s"))
    while "deletionTimestamp" not in (await w.ask("GET", f"{pods}/on-node")).body["metadata"]:
        assert not draining.done(), draining.result()
        await asyncio.sleep(0.02)
    await w.ask("DELETE", f"{pods}/on-node", {"gracePeriodSeconds": 0})
    done = await draining
    assert (done.code, "evicted" in done.out) == (0, True), done
    assert "uncordoned" in await k.ok("uncordon", name)
    assert "tainted" in await k.ok("taint", "node", name, "a=b:NoSchedule")
    debugging = await k("debug", f"node/{name}", "--image=busybox")
    assert (debugging.code, "Creating debugging pod node-debugger" in debugging.out + debugging.err) == (
        0,
        True,
    )


async def top(w: Any, k: Kubectl) -> None:
    """From a metrics server behind an APIService."""
    usage = {"cpu": "250m", "memory": "64Mi"}
    resource = {"singularName": "", "namespaced": True, "verbs": ["get", "list"]}
    group = "metrics.k8s.io/v1beta1"
    pod = {
        "metadata": {"name": "solo", "namespace": "top"},
        "containers": [{"name": "main", "usage": usage}],
        "timestamp": "2026-01-01T00:00:00Z",
        "window": "30s",
    }
    said: dict[str, Any] = {
        f"/apis/{group}": {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": group,
            "resources": [{"name": "pods", "kind": "PodMetrics", **resource}],
        },
        f"/apis/{group}/namespaces/top/pods": {"kind": "PodMetricsList", "apiVersion": group, "items": [pod]},
    }

    async def answer(request: messages.Request) -> messages.Response:
        found = said.get(request.path)
        body = json.dumps(found).encode()
        return messages.Response(200 if found else 404, (("content-type", "application/json"),), body)

    async with w.beside(answer, "metrics.top.svc") as port:
        about = {
            "metadata": {"name": "metrics"},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        }
        await w.make("/api/v1/namespaces/top/services", about)
        spec = {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"namespace": "top", "name": "metrics", "port": port},
            "caBundle": base64.b64encode(w.authority.certificate).decode(),
        }
        await w.make(
            "/apis/apiregistration.k8s.io/v1/apiservices",
            {"metadata": {"name": "v1beta1.metrics.k8s.io"}, "spec": spec},
        )
        await k.ok("wait", "--for=condition=Available", "apiservice/v1beta1.metrics.k8s.io", "--timeout=60s")
        shown = await k.ok("get", "apiservice", "v1beta1.metrics.k8s.io", "v1.apps")
        assert [row[1:3] for row in rows(shown)] == [["top/metrics", "True"], ["Local", "True"]]
        assert rows(await k.ok("top", "pod")) == [["solo", "250m", "64Mi"]]


async def differ(w: Any, k: Kubectl) -> None:
    """One command of each sort that is sent differently by some version."""
    assert (await k.ok("create", "-f", "-", given=MANIFEST)).count("created") == 3  # OpenAPI v2 or v3
    assert rows(await k.ok("get", "deploy", "web"))[0][:2] == ["web", "0/3"]  # discovery v2beta1 or v2
    assert "FIELD: ports <[]ContainerPort>" in await k.ok("explain", "pod.spec.containers.ports")
    assert "Endpoints:" in await k.ok("describe", "service", "web")  # Endpoints or EndpointSlices
    made = await k.ok("create", "deployment", "gen", "--image=nginx", "--replicas=2")  # JSON or protobuf
    assert "created" in made
    assert (await k.ok("get", "deploy", "gen", "-o", "jsonpath={.spec.replicas}")) == "2"
    assert (await k.ok("auth", "can-i", "create", "pods")).strip() == "yes"
    assert (await k.ok("create", "token", "default", "--duration=10m")).strip().count(".") == 2
    mine = await k.ok("apply", "--server-side", "--force-conflicts", "-f", "-", given=FOUR)
    assert "deployment.apps/web serverside-applied" in mine


Chapter = Callable[[Any, Kubectl], Awaitable[None]]
EVERY: tuple[Chapter, ...] = (
    *(look_around, explain, identity, apply_and_look, look_closer, change, roll_out, generate),
    *(generate_more, wait_and_delete, nodes, top),
)


def play(world: Any, path: Path, home: Path, chapters: tuple[Chapter, ...]) -> None:
    async def story(w: Any) -> None:
        whole = Kubectl(path, w.kubeconfig(), home, asyncio.Semaphore(_AT_ONCE))

        async def one(chapter: Chapter) -> None:
            namespace = chapter.__name__.replace("_", "-")
            await w.make("/api/v1/namespaces", {"metadata": {"name": namespace}})
            account = {"metadata": {"name": "default"}}
            await w.make(f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
            await chapter(w, whole.within(namespace))

        ends = await asyncio.gather(*map(one, chapters), return_exceptions=True)
        failed = [end for end in ends if end is not None]
        if failed:
            print(*failed[1:], sep="\n\n")
            raise failed[0]

    world(story, timeout=200)


@pytest.mark.timeout(240)
def test_what_people_type(world: Any, tmp_path: Path) -> None:
    """Every command of the newest kubectl."""
    play(world, FOUND[-1], tmp_path, EVERY)


@pytest.mark.parametrize("path", FOUND[:-1], ids=[path.name for path in FOUND[:-1]])
def test_where_versions_differ(world: Any, path: Path, tmp_path: Path) -> None:
    play(world, path, tmp_path, (differ,))


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("path", FOUND[:-1], ids=[path.name for path in FOUND[:-1]])
def test_everything_with_every_version(world: Any, path: Path, tmp_path: Path) -> None:
    play(world, path, tmp_path, EVERY)

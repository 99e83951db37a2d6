"""Unmodified kubectl of every version there is on the machine: what people type, and what they must see."""

import asyncio
import os
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from netemu.api import core, kinds

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


def kubectls() -> list[Path]:
    """The kubectl on the PATH, and kubectl.1.NN beside it."""
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
    """One kubectl with a home, and so caches, of its own."""

    def __init__(self, path: Path, kubeconfig: Path, home: Path) -> None:
        self._path = path
        self._home = home
        self._environment = {"HOME": str(home), "KUBECONFIG": str(kubeconfig), "PATH": os.environ["PATH"]}

    async def __call__(self, *words: str, given: str = "") -> Done:
        process = await asyncio.create_subprocess_exec(
            str(self._path),
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        out, err = await process.communicate(given.encode())
        return Done(process.returncode or 0, out.decode(), err.decode())

    async def ok(self, *words: str, given: str = "") -> str:
        done = await self(*words, given=given)
        assert done.code == 0, (words, done)
        return done.out


FOUND = kubectls()
pytestmark = pytest.mark.skipif(not FOUND, reason="there is no kubectl on the PATH")


@pytest.fixture(params=FOUND, ids=[path.name for path in FOUND])
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()[1:] if line]


def test_what_people_type(world: Any, path: Path, tmp_path: Path) -> None:
    async def story(w: Any) -> None:
        k = Kubectl(path, w.kubeconfig(), tmp_path)
        for steps in (look_around, apply_and_look, generate):
            await steps(k)
        if path in (FOUND[0], FOUND[-1]):  # the rest is the same requests in all of them
            await change(k)
            await wait_and_delete(w, k)
            await drain(w, k)

    world(story, timeout=100)


async def look_around(k: Kubectl) -> None:
    assert rows(await k.ok("get", "namespaces"))[0][:2] == ["default", "Active"]
    assert (await k.ok("get", "svc", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")) == "10.96.0.1"
    assert "deployments" in await k.ok("api-resources")
    assert "apps/v1" in (await k.ok("api-versions")).split()
    assert "Server Version" in await k.ok("version")
    assert (await k.ok("get", "--raw", "/readyz")) == "ok"
    unknown = await k("get", "nothing")
    assert (unknown.code, "the server doesn't have a resource type" in unknown.err) == (1, True)
    missing = await k("get", "pod", "ghost")
    assert (missing.code, missing.err.strip()) == (
        1,
        'Error from server (NotFound): pods "ghost" not found',
    )
    assert (await k.ok("auth", "can-i", "create", "pods")).strip() == "yes"
    assert "*.*" in await k.ok("auth", "can-i", "--list")
    explained = await k.ok("explain", "pod.spec.containers.ports")
    assert "FIELD: ports <[]ContainerPort>" in explained
    assert "containerPort\t<integer> -required-" in explained
    deep = await k.ok("explain", "networkpolicy", "--recursive")
    assert "namespaceSelector\t<LabelSelector>" in deep
    assert "does not exist" in (await k("explain", "pod.nothing")).err


async def apply_and_look(k: Kubectl) -> None:
    made = await k.ok("apply", "-f", "-", given=MANIFEST)
    assert made.splitlines() == ["deployment.apps/web created", "service/web created", "pod/solo created"]
    again = await k.ok("apply", "-f", "-", given=MANIFEST)
    assert all(line.endswith("unchanged") for line in again.splitlines())
    more = await k.ok("apply", "-f", "-", given=MANIFEST.replace("replicas: 3", "replicas: 4"))
    assert "deployment.apps/web configured" in more
    wrong = await k("apply", "-f", "-", given=MANIFEST.replace("replicas: 3", "replica: 3"))
    assert wrong.code == 1
    assert 'unknown field "spec.replica"' in wrong.err
    everything = await k.ok("get", "all")
    assert {line.split()[0] for line in everything.splitlines() if "/" in line} >= {
        "pod/solo",
        "service/web",
        "service/kubernetes",
        "deployment.apps/web",
    }
    assert rows(await k.ok("get", "deploy", "web"))[0][:2] == ["web", "0/4"]
    assert rows(await k.ok("get", "pods", "-o", "wide"))[0][:3] == ["solo", "0/1", "Pending"]
    assert (await k.ok("get", "pods", "-l", "app=solo", "-o", "name")) == "pod/solo\n"
    sorted_ = await k.ok("get", "services", "--sort-by=.metadata.name")
    assert [row[0] for row in rows(sorted_)] == ["kubernetes", "web"]
    described = await k.ok("describe", "pod", "solo")
    assert "kube-api-access-" in described
    for what in ("deployment/web", "service/web", "namespace/default"):
        assert "Name:" in await k.ok("describe", *what.split("/"))
    assert (await k.ok("diff", "-f", "-", given=MANIFEST.replace("replicas: 3", "replicas: 4"))) == ""


async def change(k: Kubectl) -> None:
    assert "scaled" in await k.ok("scale", "deploy/web", "--replicas=2")
    assert "scaled" in await k.ok("scale", "deploy/web", "--replicas=5", "--current-replicas=2")
    assert (await k.ok("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}")) == "5"
    assert "labeled" in await k.ok("label", "pod", "solo", "tier=back")
    assert "annotate" in await k.ok("annotate", "pod", "solo", "note=x")
    assert "unlabeled" in await k.ok("label", "pod", "solo", "tier-")
    assert "image updated" in await k.ok("set", "image", "deploy/web", "web=nginx:2")
    assert "restarted" in await k.ok("rollout", "restart", "deploy/web")
    for how, body in (
        ("merge", '{"metadata":{"labels":{"a":"1"}}}'),
        ("strategic", '{"metadata":{"labels":{"a":"2"}}}'),
        ("json", '[{"op":"replace","path":"/metadata/labels/a","value":"3"}]'),
    ):
        assert "patched" in await k.ok("patch", "svc", "web", "--type", how, "-p", body)
    assert (await k.ok("get", "svc", "web", "-o", "jsonpath={.metadata.labels.a}")) == "3"
    whole = await k.ok("get", "svc", "web", "-o", "yaml")
    assert "replaced" in await k.ok("replace", "-f", "-", given=whole.replace('a: "3"', 'a: "4"'))
    mine = await k("apply", "--server-side", "--force-conflicts", "-f", "-", given=MANIFEST)
    assert (mine.code, mine.err) == (0, "")
    assert "deployment.apps/web serverside-applied" in mine.out
    assert "conflict with" in (
        await k("apply", "--server-side", "--field-manager=other", "-f", "-",
                given=MANIFEST.replace("replicas: 3", "replicas: 4"))
    ).err  # fmt: skip
    different = await k("diff", "-f", "-", given=MANIFEST.replace("replicas: 3", "replicas: 4"))
    assert (different.code, "+  replicas: 4" in different.out) == (1, True), different
    dry = await k.ok("apply", "--dry-run=server", "-f", "-", given=MANIFEST)
    assert "(server dry run)" in dry


async def generate(k: Kubectl) -> None:
    """Generators send protobuf from 1.32 on."""
    assert "created" in await k.ok("create", "namespace", "shop")
    assert "created" in await k.ok(
        "create", "deployment", "gen", "--image=nginx", "--replicas=2", "--port=80"
    )
    assert (
        await k.ok(
            "get",
            "deploy",
            "gen",
            "-o",
            "jsonpath={.spec.replicas} {.spec.template.spec.containers[*].ports[*].containerPort}",
        )
    ) == "2 80"
    assert "created" in await k.ok("create", "configmap", "cm", "--from-literal=a=b", "--from-literal=c=d")
    assert (await k.ok("get", "cm", "cm", "-o", "jsonpath={.data}")) == '{"a":"b","c":"d"}'
    assert "created" in await k.ok("create", "secret", "generic", "s", "--from-literal=p=q")
    assert (await k.ok("get", "secret", "s", "-o", "jsonpath={.data.p} {.type}")) == "cQ== Opaque"
    assert "created" in await k.ok("create", "service", "nodeport", "np", "--tcp=80:8080")
    np = await k.ok("get", "svc", "np", "-o", "jsonpath={.spec.ports[0].targetPort} {.spec.type}")
    assert np == "8080 NodePort"
    assert "created" in await k.ok("create", "serviceaccount", "robot")
    token = (await k.ok("create", "token", "robot", "--duration=10m")).strip()
    assert token.count(".") == 2
    who = await k("auth", "whoami")
    if who.code == 0:  # from 1.28 without alpha
        assert "admin" in who.out
    assert "exposed" in await k.ok("expose", "deployment", "web", "--name=web2", "--port=8080")
    assert "created" in await k.ok("run", "ran", "--image=nginx", "--labels=app=ran")


async def wait_and_delete(w: Any, k: Kubectl) -> None:
    await k.ok("wait", "--for=jsonpath={.status.phase}=Pending", "pod/ran", "--timeout=5s")
    late = await k("wait", "--for=condition=Ready", "pod/ran", "--timeout=1s")
    assert (late.code, "timed out" in late.err) == (1, True)
    logs = await k("logs", "ran")
    assert (logs.code, "does not have a host assigned" in logs.err) == (1, True)
    listeners = w.server._parts.cache.of(kinds.of(core.Pod))._listeners
    before = len(listeners)
    watching = asyncio.ensure_future(k("get", "pods", "-w", "--request-timeout=3s", "-o", "name"))
    while len(listeners) == before:  # kubectl says nothing when it has begun
        await asyncio.sleep(0.01)
    assert 'pod "ran" deleted' in await k.ok("delete", "pod", "ran")
    assert "pod/ran" in (await watching).out
    assert "deleted" in await k.ok("delete", "-f", "-", given=MANIFEST)
    assert "deleted" in await k.ok("delete", "deployment", "gen", "--cascade=background")
    assert "No resources found" in (await k("get", "pods")).err
    assert "deleted" in await k.ok("delete", "ns", "shop", "--wait=false")
    assert rows(await k.ok("get", "ns", "shop"))[0][:2] == ["shop", "Terminating"]


async def drain(w: Any, k: Kubectl) -> None:
    """Evicts, for discovery says that eviction is policy/v1's."""
    await w.make("/api/v1/nodes", {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n1"}})
    pods = "/api/v1/namespaces/default/pods"
    await w.make(pods, w.pod("on-node", nodeName="n1"))
    assert "cordoned" in await k.ok("cordon", "n1")
    assert "SchedulingDisabled" in await k.ok("get", "node", "n1")
    draining = asyncio.ensure_future(k("drain", "n1", "--force", "--timeout=20s"))
    while "deletionTimestamp" not in (await w.ask("GET", f"{pods}/on-node")).body["metadata"]:
        await asyncio.sleep(0.02)
    await w.ask("DELETE", f"{pods}/on-node", {"gracePeriodSeconds": 0})
    done = await draining
    assert (done.code, "evicted" in done.out) == (0, True), done
    assert "uncordoned" in await k.ok("uncordon", "n1")
    assert "tainted" in await k.ok("taint", "node", "n1", "a=b:NoSchedule")

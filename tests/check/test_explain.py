"""`netemu explain` from manifests alone: who is meant, what is imagined, what is said, and how it ends."""

import json

import pytest

from netemu.check import imagine, places
from netemu.cli import explain
from netemu.model import endpoints
from netemu.scenario import manifests

SHOP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: x, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers:
      - {name: c, image: x, ports: [{containerPort: 5432}, {containerPort: 53, protocol: UDP}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: shop}
spec:
  selector: {matchLabels: {app: agent}}
  template: {metadata: {labels: {app: agent}}, spec: {hostNetwork: true, containers: [{name: c, image: x}]}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: backup, namespace: shop}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: http, nodePort: 30080}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec: {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}
"""


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "shop.yaml").write_text(SHOP)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("ends", "code", "line"),
    [
        (("web-0", "db-0:5432"), 0, "ok: shop/db-0 answers on port 5432"),
        (("deploy/web", "sts/db:5432"), 0, "ok: shop/db-0 answers"),
        (("web", "pod/db-0:5432"), 0, "ok: shop/db-0 answers"),
        (("backup", "db-0:5432"), 1, "dropped: ingress of shop/db-0 is isolated by policy shop/db; no rule"),
        (("agent", "web:80"), 0, "ok: shop/web-0 or shop/web-1 answers on port 8080"),
        (("outside", "worker-1:30080"), 0, "ok: shop/web-0 or shop/web-1 answers"),
        (("outside", "web"), 1, "unreachable: cluster IPs are known inside the cluster only"),
        (("web-0", "web-1:9"), 1, "ok or refused: no container declares port 9/TCP"),
        (("web-0", "198.51.100.77:80"), 1, "undecided: nobody here has the address 198.51.100.77"),
        (("web-0", "db.shop:5432"), 0, "ok: shop/db-0 answers"),
        (("web-0", "nobody.shop:5432"), 1, "no-such-name: no Service has the name nobody.shop"),
        (("web-0", "db-0:53"), 0, "ok: shop/db-0 answers on port 53"),  # the protocol of that port
        (("203.0.113.99", "worker-1:30080"), 0, "ok: shop/web-0 or shop/web-1 answers"),
        (("node/worker-2", "svc/web:80"), 0, "ok: shop/web-0 or shop/web-1 answers"),
        (("pod web-0 in shop", "pods app=db in shop:5432"), 0, "ok: shop/db-0 answers"),
    ],
)
def test_who_reaches_whom(shop, run, ends, code, line):
    found, out, _ = run("explain", "-f", shop, "-n", "shop", *ends)
    assert found == code
    assert out.startswith(line), out


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["wbe", "db:5432"], "there is no sender 'wbe' in Namespace shop", "did you mean 'web'?"),
        (["web", "bd:5432"], "there is no target 'bd' in Namespace shop", "did you mean 'db'?"),
        (["web", "worker-9:80"], "there is no target 'worker-9' in Namespace shop", "did you mean 'worker-"),
        (["svc/web", "db:5432"], "'svc/web' is a Service, which sends nothing", "name a pod or a workload"),
        (["web", "db-0"], "which port of db-0? write db-0:PORT", "it has 5432/TCP, 53/UDP"),
        (["web", "worker-1"], "which port of worker-1?", "as in worker-1:80"),
        (["web", "db:99999"], "'99999' in 'db:99999' is not a port", "1 to 65535"),
        (["web", "configmap/x:80"], "there is no target 'configmap/x' (no Namespace configmap)", "there is:"),
        (["nobody/web", "db:80"], "no sender 'nobody/web' (no Namespace nobody)", "shop: write shop/web"),
        (["web", "-"], "the shell took '> ...' for itself", "netemu explain 'web -> TO:PORT'"),
        (["web"], "explain takes two ends", "netemu explain web-0 db:5432"),
    ],
)
def test_what_cannot_be_asked_says_what_can(shop, run, arguments, message, hint):
    code, _, error = run("explain", "-f", shop, "-n", "shop", *arguments)
    assert code == 2
    assert message in error
    assert hint in error


def test_a_name_of_another_namespace_is_found(shop, run):
    code, _, error = run("explain", "-f", shop, "web-0", "db:5432")
    assert code == 2
    assert "web-0 is in Namespace shop: write shop/web-0" in error


def test_the_arrow():
    assert explain.ends(("a -> b:1",)) == explain.ends(("a", "->", "b:1")) == explain.ends(("a", "b:1"))


def test_as_json(shop, run):
    code, out, _ = run("explain", "-f", shop, "-n", "shop", "backup", "db-0:5432", "--json")
    found = json.loads(out)
    assert code == 1
    assert (found["from"], found["to"], found["port"]) == ("shop/backup-0", "pod shop/db-0", 5432)
    assert found["outcomes"][0]["outcome"] == "dropped"
    (policy,) = (reason for reason in found["because"] if reason["kind"] == "policy")
    assert policy["subject"] == "shop/db"


def test_a_directory_whose_manifests_lie_deeper(tmp_path, run):
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "shop.yaml").write_text(SHOP)
    (tmp_path / "scenario.yaml").write_text("checks: []")
    code, _, error = run("explain", "-f", tmp_path, "a", "b")
    assert code == 2
    assert f"name {tmp_path / 'manifests'}" in error


def test_broken_manifests_say_where(tmp_path, run):
    (tmp_path / "p.yaml").write_text(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x}\nspec:\n"
        "  podSelector: {}\n  ingress:\n  - from:\n    - ipBlock: {cidr: 10.0.0.1/40}\n"
    )
    code, _, error = run("explain", "-f", str(tmp_path), "a", "b:1")
    assert code == 2
    assert "p.yaml:8: spec.ingress[0].from[0].ipBlock.cidr" in error


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ("{tier: Boss, priority: 1, subject: {namespaces: {}}}", "spec.tier"),
        ("{tier: Admin, priority: 2000, subject: {namespaces: {}}}", "spec.priority"),
        ("{tier: Admin, priority: 1, subject: {}}", "spec.subject"),
    ],
)
def test_cluster_policies_are_held_to_their_schema(tmp_path, run, spec, where):
    head = "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: x}\n"
    (tmp_path / "p.yaml").write_text(f"{head}spec: {spec}\n")
    code, _, error = run("explain", "-f", str(tmp_path), "a", "b:1")
    assert code == 2
    assert f"p.yaml:4: {where}: " in error


def test_what_is_imagined(shop):
    found = imagine.read([shop])
    world = found.world
    names = {pod.metadata.name: pod.spec.nodeName for pod in world.pods if pod.metadata.namespace == "shop"}
    assert sorted(names) == ["agent-0", "agent-1", "backup-0", "db-0", "web-0", "web-1"]
    assert {names["agent-0"], names["agent-1"]} == {"worker-1", "worker-2"}  # one on each
    assert found.workloads["shop", "web-1"] == "deployment/web"
    assert len({a for p in world.parties() for a in p.addresses}) == sum(
        len(p.addresses) for p in world.parties() if p.name not in ("agent-0", "agent-1")
    )
    web = world.service("web", "shop")
    assert web.spec.ipFamilies == ("IPv4",)  # SingleStack, as the API server chooses
    offered = endpoints.offers(world, web, web.spec.ports[0], 4)
    assert [(one.endpoint.name, one.endpoint.port) for one in offered] == [("web-0", 8080), ("web-1", 8080)]
    assert world.service("kube-dns", "kube-system").spec.clusterIPs[0] == "10.96.0.10"


def test_pods_of_a_running_cluster_are_found_by_their_owner(shop):
    """A Deployment's pods are its ReplicaSet's, whose name is its own with a hash."""
    found = imagine.read([shop]).world
    owned = tuple(
        pod
        if pod.metadata.name != "web-0"
        else type(pod)(
            metadata=type(pod.metadata)(
                name="web-5d4f-abcde",
                namespace="shop",
                labels={"app": "web", "pod-template-hash": "5d4f"},
                ownerReferences=(_owner("ReplicaSet", "web-5d4f"),),
            ),
            spec=pod.spec,
            status=pod.status,
        )
        for pod in found.pods
    )
    finder = places.Finder(found._replace(pods=owned), "shop")
    assert finder.source("deploy/web").name == "web-5d4f-abcde"
    assert finder.source("web").name == "web-5d4f-abcde"


def _owner(kind, name):
    from netemu.api import meta

    return meta.OwnerReference(kind=kind, name=name)


def test_manifests_are_read_in_their_namespace(shop):
    assert {m.namespace for m in manifests.read([shop])} == {"shop"}

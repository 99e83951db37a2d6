"""`netemu check`: expectations as sentences and fields, the static verdict, what a change opens, the lab."""

import json
import pathlib
from xml.etree import ElementTree

import pytest

from netemu.base import errors, yamls
from netemu.check import build, expectations, folders, imagine
from netemu.scenario import manifests, scenarios

PODS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: frontend, namespace: shop}
spec:
  selector: {matchLabels: {app: frontend}}
  template:
    metadata: {labels: {app: frontend}}
    spec:
      containers: [{name: c, image: ours/frontend, ports: [{containerPort: 80}], command: [run]}]
      volumes: [{name: v, persistentVolumeClaim: {claimName: x}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  replicas: 5
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec:
      containers:
      - name: c
        image: ours/api
        ports: [{name: http, containerPort: 8080}, {name: log, containerPort: 5140, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {type: NodePort, selector: {app: api}, ports: [{port: 80, targetPort: http, nodePort: 30080}]}
"""
CLOSED = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec: {podSelector: {}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  podSelector: {matchLabels: {app: api}}
  ingress: [{from: [{podSelector: {matchLabels: {app: frontend}}}], ports: [{port: 8080}]}]
"""
WANTED = """
namespace: shop
expect:
- frontend may reach api on 80
- frontend may not reach api on 5140/UDP
- {from: outside, to: node worker-1, port: 30080, family: IPv4, expect: dropped}
- nothing else may
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "pods.yaml").write_text(PODS)
    (tmp_path / "sub" / "policies.yaml").write_text(CLOSED)
    (tmp_path / "expectations.yaml").write_text(WANTED)
    return tmp_path


def test_all_holds(folder, run):
    code, out, _ = run("check", folder, "--static")
    assert code == 0, out
    assert "ok   frontend may reach api on 80" in out
    assert "ok   nothing else may (" in out


def test_what_does_not_hold_is_explained(folder, run):
    policies = folder / "sub" / "policies.yaml"
    policies.write_text(CLOSED.replace("port: 8080", "port: 80"))
    code, out, _ = run("check", folder, "--static")
    assert code == 1
    assert "FAIL frontend may reach api on 80" in out
    assert f"{folder}/expectations.yaml:4" in out
    assert "is isolated by policies shop/deny, shop/api; no rule allows tcp/8080 from shop/frontend-0" in out
    assert "note: policy shop/api: ingress[0] allows tcp/80, which is the Service's port" in out


def test_nothing_else_may(folder, run):
    (folder / "sub" / "policies.yaml").unlink()
    code, out, _ = run("check", folder, "--static")
    assert code == 1
    assert "FAIL nothing else may" in out
    assert "shop/api-0 -> pod shop/frontend-0 tcp/80 IPv4: ok: shop/frontend-0 answers" in out
    # What may reach the Service may reach the pods behind it.
    assert "shop/frontend-0 -> pod shop/api-0 tcp/8080" not in out


def test_json_and_junit(folder, run, tmp_path):
    (folder / "sub" / "policies.yaml").unlink()
    code, out, _ = run("check", folder, "--static", "--json", "-", "--junit", tmp_path / "r.xml")
    found = json.loads(out)
    assert code == 1
    assert not found["ok"]
    wrong = [flow for flow in found["flows"] if not flow["ok"]]
    assert {flow["expectation"] for flow in wrong} >= {"nothing else may"}
    root = ElementTree.parse(tmp_path / "r.xml").getroot()
    suites = {suite.get("name"): int(suite.get("failures")) for suite in root}
    assert suites["frontend may reach api on 80"] == 0
    assert suites["nothing else may"] == sum(flow["expectation"] == "nothing else may" for flow in wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "- frontend should reach api",
            "e.yaml:1: 'frontend should reach api' is not understood; write: WHO",
        ),
        ("- frontend may reach api on eighty", "e.yaml:1: 'eighty' is not a port"),
        ("expect:\n- {from: a, to: b, expects: ok}", "e.yaml:2: unknown field 'expects'"),
        ("expect: []", "e.yaml:1: expectations are a list"),
        ("- {from: a, to: b, expect: maybe}", "e.yaml:1: 'maybe' is not one of: may, may not, ok"),
    ],
)
def test_bad_expectations_say_where(text, message):
    (document,) = yamls.parse(text, "e.yaml")
    with pytest.raises(errors.Rejected) as refused:
        expectations.read(document)
    assert refused.value.message.startswith(message)


def test_an_expectation_about_nobody_says_where(folder, run):
    (folder / "expectations.yaml").write_text("namespace: shop\nexpect:\n- fronted may reach api on 80\n")
    code, _, error = run("check", folder, "--static")
    assert code == 2
    assert "expectations.yaml:3: there is no sender 'fronted' in Namespace shop" in error
    assert "did you mean 'frontend'?" in error


@pytest.mark.parametrize(
    ("text", "senders", "targets", "ports", "wanted"),
    [
        ("a may reach b", ("a",), ("b",), ((None, None),), "may"),
        ("a, b and c may not reach d on 9/UDP", ("a", "b", "c"), ("d",), ((9, "UDP"),), "may not"),
        ("pods a=x in y may reach svc/b on sctp", ("pods a=x in y",), ("svc/b",), ((None, "SCTP"),), "may"),
    ],
)  # fmt: skip
def test_sentences(text, senders, targets, ports, wanted):
    (document,) = yamls.parse(f"- {text}", "e.yaml")
    (found,) = expectations.read(document).every
    assert (found.senders, found.targets, found.ports, found.wanted) == (senders, targets, ports, wanted)


def test_diff(folder, run, tmp_path):
    new = tmp_path / "new"
    new.mkdir()
    (new / "pods.yaml").write_text(PODS)
    (new / "policies.yaml").write_text(
        CLOSED.replace("app: frontend", "app: nobody").replace(
            "spec: {podSelector: {}}", "spec: {podSelector: {matchLabels: {app: api}}}"
        )
    )
    old = folder / "old"
    old.mkdir()
    (old / "pods.yaml").write_text(PODS)
    (old / "policies.yaml").write_text(CLOSED)
    code, out, _ = run("check", "--diff", old, new)
    assert code == 1
    assert "opened: 1\n  shop/api\n    -> shop/frontend tcp/80 (was dropped)" in out
    assert "closed: 1\n  shop/frontend\n    -> shop/api tcp/8080 (now dropped)" in out
    code, out, _ = run("check", "--diff", old, old)
    assert (code, out) == (0, "no flow is opened or closed\n")


def test_what_a_new_workload_may_counts_as_opened(folder, tmp_path, run):
    old, new = tmp_path / "o", tmp_path / "n"
    for place, text in ((old, PODS), (new, PODS + "---" + PODS.split("---")[1].replace("frontend", "batch"))):
        place.mkdir()
        (place / "pods.yaml").write_text(text)
    _, out, _ = run("check", "--diff", old, new, "--json", "-")
    changes = json.loads(out)
    assert {change["before"] for change in changes} == {"absent"}
    assert {"from": "shop/batch", "to": "cluster DNS"}.items() <= next(
        change for change in changes if change["to"] == "cluster DNS" and change["from"] == "shop/batch"
    ).items()


def test_what_is_built_listens_where_the_manifests_say(folder, tmp_path):
    wanted = expectations.load(folder / "expectations.yaml")
    objects = folders.read(folders.manifest_files(str(folder)), str(folder))
    made = build.scenario(objects, imagine.world(objects), wanted, tmp_path, name="x")
    written = {str(m): m.document.value for m in manifests.read(made.manifests)}
    api = written["deployment.apps/api"]["spec"]
    assert api["replicas"] == imagine.MOST_REPLICAS
    ports = [c["ports"][0] for c in api["template"]["spec"]["containers"]]
    assert ports == [
        {"name": "http", "containerPort": 8080},
        {"name": "log", "containerPort": 5140, "protocol": "UDP"},
    ]
    assert "volumes" not in written["deployment.apps/frontend"]["spec"]["template"]["spec"]
    checks = {check.name: check for check in made.checks}
    assert checks["frontend may reach api on 80"].expect == "ok"
    assert checks["frontend may not reach api on 5140/UDP"].expect == scenarios.STOPPED
    (outside,) = (c for c in made.checks if str(c.senders[0]) == "outside" and c.expect == "dropped")
    assert (str(outside.targets[0]), outside.port) == ("node worker-1", 30080)
    others = [check for check in made.checks if check.name.startswith("nothing else may reach")]
    assert {check.expect for check in others} == {scenarios.STOPPED}
    assert "nothing else may reach deployment frontend in shop on tcp/80" in checks
    assert any(
        str(check.targets[0]) == "pods netemu.io/workload=deployment.frontend in shop" for check in others
    )


def test_what_is_no_kind_of_kubernetes_is_left_out(folder, run):
    (folder / "more.yaml").write_text(
        "apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nmetadata: {name: x}\n---\nreplicas: 3\n"
    )
    assert run("check", folder, "--static")[0] == 0
    (folder / "more.yaml").write_text("apiVersion: apps/v2\nkind: Deployment\nmetadata: {name: x}\n")
    code, _, error = run("check", folder, "--static")
    assert code == 2
    assert "more.yaml:2: netemu has no apps/v2 Deployment" in error


def test_folders_without_what_is_needed(tmp_path, run):
    for arguments, message in (
        ([tmp_path], "expectations.yaml: no such file"),
        ([], "check takes one folder"),
        (["--diff", tmp_path], "--diff takes two folders: OLD NEW"),
        (["--diff", tmp_path, tmp_path / "x"], "holds no Kubernetes object"),
        ([tmp_path / "x"], "x: no such file or directory"),
        (["--diff", tmp_path, tmp_path, "--junit", "-"], "--diff expects nothing and runs nothing"),
    ):
        code, _, error = run("check", "--static", *arguments)
        assert code == 2
        assert message in error


@pytest.mark.root
@pytest.mark.lab
@pytest.mark.slow
def test_measured_in_a_lab(folder, run, tmp_path, monkeypatch):
    state = pathlib.Path(tmp_path / "state")
    monkeypatch.setenv("NETEMU_STATE_DIR", str(state))
    code, out, error = run("check", folder, "-q")
    assert code == 0, out + error
    (folder / "sub" / "policies.yaml").unlink()
    code, out, _ = run("check", folder, "-q")
    assert code == 1
    assert "ok instead of stopped" in out

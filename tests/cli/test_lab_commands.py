"""The commands on a lab that is up: one small lab for all of them, and what each leaves in it."""

import json
import os
import pathlib
import pty
import shutil
import stat
import subprocess
import sys

import click
import pytest
import yaml

from netemu.cli import completing

ROOT = pathlib.Path(__file__).parents[2]

pytestmark = pytest.mark.lab

DUO = """\
apiVersion: v1
kind: Pod
metadata: {name: duo, labels: {app: duo}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: server
    image: registry.k8s.io/e2e-test-images/agnhost:2.53
    args: [netexec, --http-port=8080]
    ports: [{containerPort: 8080}]
  - name: shell
    image: busybox
    command: [sh, -c, "echo hello from $0; exec sleep infinity", the shell]
---
apiVersion: v1
kind: Service
metadata: {name: duo}
spec:
  selector: {app: duo}
  ports: [{port: 80, targetPort: 8080}]
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A lab of two nodes with the pod duo running in it; the environment for commands that mean it."""
    place = tmp_path_factory.mktemp("lab")
    env = {**os.environ, "NETEMU_STATE_DIR": str(place / "netemu"), "NO_COLOR": "1", "SHELL": "/bin/sh"}
    up = run(env, "up", "--nodes", "2", "--json")
    assert up.returncode == 0, up.stderr
    assert json.loads(up.stdout)["nodes"] == ["control-plane-1", "worker-1"]
    (place / "duo.yaml").write_text(DUO)
    try:
        applied = run(env, "apply", "-f", str(place / "duo.yaml"))
        assert applied.stdout == "pod/duo created\nservice/duo created\n", applied.stderr
        kubectl_free_wait(env)
        yield env
    finally:
        down = run(env, "down")
        assert down.stdout == "lab default is gone\n", down.stderr
        assert not (place / "netemu").exists()


def run(env, *arguments, **settings):
    return subprocess.run(
        [sys.executable, "-m", "netemu.cli.main", *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **settings,
    )


def kubectl_free_wait(env):
    """Until duo is Ready: the scenario's own wait, by a scenario of one check."""
    scenario = pathlib.Path(env["NETEMU_STATE_DIR"]).parent / "scenario.yaml"
    scenario.write_text("manifests: [duo.yaml]\nchecks: [{name: up, from: nodes, to: pod duo}]\n")
    done = run(env, "run", "--in", "default", str(scenario))
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.fixture
def netemu(environment):
    return lambda *arguments, **settings: run(environment, *arguments, **settings)


def test_a_second_lab_of_the_same_name_is_refused(netemu):
    done = netemu("up")
    assert done.returncode == 2
    assert "lab 'default' is up already" in done.stderr
    assert "netemu down --name default" in done.stderr


def test_status(netemu):
    (lab,) = json.loads(netemu("status", "--json").stdout)
    assert (lab["name"], lab["state"]) == ("default", "up")
    assert [node["name"] for node in lab["nodes"]] == ["control-plane-1", "worker-1"]
    assert {row["state"] for row in lab["components"]} == {"running"}
    assert "agent-worker-1" in netemu("status").stdout


def test_get_tables_have_the_servers_columns(netemu):
    head, row = netemu("get", "pod", "duo").stdout.splitlines()
    assert head.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row.split()[:4] == ["duo", "2/2", "Running", "0"]
    head, row = netemu("get", "po", "-l", "app=duo", "-o", "wide").stdout.splitlines()
    assert {"IP", "NODE"} <= set(head.split())
    assert "worker-1" in row


def test_get_everywhere_names_the_namespace(netemu):
    lines = netemu("get", "pods", "-A").stdout.splitlines()
    assert lines[0].split()[:2] == ["NAMESPACE", "NAME"]
    assert {line.split()[0] for line in lines[1:]} == {"default", "kube-system"}


def test_get_documents(netemu):
    pod = yaml.safe_load(netemu("get", "pod/duo", "-o", "yaml").stdout)
    assert (pod["kind"], pod["metadata"]["name"]) == ("Pod", "duo")
    assert "managedFields" not in pod["metadata"]
    listing = json.loads(netemu("get", "svc", "--json").stdout)
    assert {item["metadata"]["name"] for item in listing["items"]} == {"duo", "kubernetes"}
    assert netemu("get", "pods,svc", "-o", "name").stdout.splitlines() == [
        "pod/duo",
        "service/duo",
        "service/kubernetes",
    ]
    assert "deployment.apps/coredns" in netemu("get", "deploy", "-n", "kube-system", "-o", "name").stdout


def test_what_is_not_there(netemu):
    assert "did you mean 'pod'?" in netemu("get", "pdo").stderr
    done = netemu("get", "pod", "nobody")
    assert (done.returncode, done.stderr) == (2, 'netemu: pods "nobody" not found\n')
    assert netemu("get", "configmaps", "-l", "a=b").stderr == "nothing found\n"


def test_logs(netemu):
    assert netemu("logs", "duo", "-c", "shell").stdout == "hello from the shell\n"
    assert "agent-worker-1" in netemu("logs", "--components").stdout.splitlines()
    assert "node registered" in netemu("logs", "--component", "agent-worker-1").stdout
    assert "zone=cluster.local" in netemu("logs", "deployment/coredns", "-n", "kube-system").stdout
    assert "selects no pods" in netemu("logs", "service/kubernetes").stderr
    assert netemu("logs", "nobody").returncode == 2
    assert "parts: " in netemu("logs", "--component", "nobody").stderr


def test_exec_hands_on_output_input_and_exit_code(netemu):
    done = netemu("exec", "duo", "-c", "shell", "--", "sh", "-c", "hostname; echo oops >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "duo\n", "oops\n")
    done = netemu("exec", "-i", "duo", "--", "cat", input="through the pod\n")
    assert done.stdout == "through the pod\n"
    assert netemu("exec", "duo", "--", "cat", input="not asked for").stdout == ""


def test_exec_says_what_is_wrong(netemu):
    assert "it has: server, shell" in netemu("exec", "duo", "-c", "x", "--", "true").stderr
    assert 'pods "nobody" not found' in netemu("exec", "nobody", "--", "true").stderr
    done = netemu("exec", "duo", "--", "/no/such/program")
    assert (done.returncode, "no such file" in done.stderr) == (2, True)


def test_exec_with_a_terminal(environment):
    """Through a pseudo-terminal: the program in the container has one, too."""
    master, slave = pty.openpty()
    command = [
        "exec",
        "-it",
        "duo",
        "-c",
        "shell",
        "--",
        "sh",
        "-c",
        "test -t 0 && test -t 1 && echo a terminal",
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "netemu.cli.main", *command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        cwd=ROOT,
        start_new_session=True,
    ) as process:
        os.close(slave)
        text = b""
        try:
            while piece := os.read(master, 4096):
                text += piece
        except OSError:  # the other side has closed it
            pass
        assert process.wait(timeout=20) == 0, text
    os.close(master)
    assert b"a terminal" in text


def test_shell_runs_in_the_places_namespaces(netemu):
    done = netemu("shell", "worker-1", "--", "sh", "-c", "hostname; ip -4 -brief address show eth0; exit 3")
    assert done.returncode == 3
    assert done.stdout.splitlines()[0] == "worker-1"
    assert "172.18.0.3/16" in done.stdout
    assert "203.0.113.10/24" in netemu("shell", "outside", "--", "ip", "-4", "address").stdout
    assert netemu("shell", "worker-1", input="hostname\n").stdout == "worker-1\n"
    assert netemu("shell", "worker-1", "--", "/no/such/program").returncode == 127
    assert "places: control-plane-1, worker-1, outside, fabric" in netemu("shell", "moon").stderr


def test_probe_compares_the_model_with_the_network(netemu):
    done = netemu("probe", "nodes", "service duo", "--family", "IPv4", "--json")
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    assert {(p["from"], p["model"], p["answers"][0]["outcome"]) for p in found} == {
        ("control-plane-1", "ok", "ok"),
        ("worker-1", "ok", "ok"),
    }
    text = netemu("probe", "outside", "pod duo").stdout
    assert "unreachable" in text
    assert netemu("probe", "outside", "node worker-1", "--icmp").returncode == 0
    assert "which port" in netemu("probe", "outside", "nodes").stderr


def test_probe_of_everybody_to_everything(netemu):
    done = netemu("probe", "--family", "IPv4", "-q")
    assert done.returncode == 0, done.stdout
    assert "name duo:" in done.stdout
    assert "flows agree with the model" in done.stdout


def test_kubeconfig_is_private(netemu):
    file = pathlib.Path(netemu("kubeconfig", "--path").stdout.strip())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert netemu("kubeconfig").stdout == file.read_text()


def test_apply_changes_and_delete_waits(netemu, tmp_path):
    file = tmp_path / "pod.yaml"
    text = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: short, labels: {v: one}}\n"
        "spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: agnhost}]}\n"
    )
    file.write_text(text)
    assert netemu("apply", "-f", str(file)).stdout == "pod/short created\n"
    assert netemu("apply", "-f", str(file)).stdout == "pod/short unchanged\n"
    done = netemu("apply", "-f", "-", input=text.replace("one", "two"))
    assert done.stdout == "pod/short configured\n", done.stderr
    assert netemu("get", "pods", "-l", "v=two", "-o", "name").stdout == "pod/short\n"
    assert netemu("delete", "pod", "short", "nobody").stdout == "pod/short deleted\n"
    assert netemu("get", "pod", "short").returncode == 2
    assert netemu("delete", "pod", "short").returncode == 1
    assert netemu("delete", "-f", str(file)).returncode == 0


WIDGETS = """
apiVersion: example.com/v1
kind: Widget
metadata: {name: small}
spec: {size: SIZE}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {size: {type: integer}}}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
"""


def test_kinds_of_ones_own(netemu, environment, monkeypatch):
    """Defined by the same files, or known to the API server since; what is wrong in them it says."""
    alone = WIDGETS.partition("---")[0]
    done = netemu("apply", "-f", "-", input=alone)
    assert (done.returncode, done.stdout) == (2, "")
    assert "netemu has no example.com/v1 Widget (define it first, with a CustomResourceDefin" in done.stderr
    done = netemu("apply", "-f", "-", input=WIDGETS.replace("SIZE", "1"))
    both = ["customresourcedefinition.apiextensions.k8s.io/widgets.example.com", "widget.example.com/small"]
    assert done.stdout.splitlines() == [f"{one} created" for one in both], done.stderr
    assert netemu("apply", "-f", "-", input=alone.replace("SIZE", "2")).stdout == f"{both[1]} configured\n"
    table = netemu("get", "wd").stdout
    assert [line.split() for line in table.splitlines()] == [["NAME", "SIZE"], ["small", "2"]]
    assert netemu("get", "widgets", "-o", "name").stdout == f"{both[1]}\n"
    monkeypatch.setenv("NETEMU_STATE_DIR", environment["NETEMU_STATE_DIR"])
    assert completing.kinds(click.Context(click.Command("get")), click.Argument(["what"]), "wid") == [
        "widgets"
    ]
    assert yaml.safe_load(netemu("get", "widget/small", "-o", "yaml").stdout)["spec"] == {"size": 2}
    done = netemu("apply", "-f", "-", input=alone.replace("SIZE", "big"))
    assert done.returncode == 2
    assert "spec.size" in done.stderr
    done = netemu("delete", "-f", "-", input=WIDGETS.replace("SIZE", "2"))
    assert done.stdout.splitlines() == [f"{one} deleted" for one in reversed(both)], done.stderr


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed here")
def test_kubectl_takes_turns_with_us(environment, netemu, tmp_path):
    env = {**environment, "KUBECONFIG": netemu("kubeconfig", "--path").stdout.strip()}
    file = tmp_path / "map.yaml"
    file.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: turns}\ndata: {a: '1', b: '2'}\n")
    assert netemu("apply", "-f", str(file)).stdout == "configmap/turns created\n"
    file.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: turns}\ndata: {b: '3'}\n")
    done = subprocess.run(
        ["kubectl", "apply", "-f", str(file)], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout == "configmap/turns configured\n", done.stderr
    assert json.loads(netemu("get", "cm/turns", "-o", "json").stdout)["data"] == {"b": "3"}
    assert netemu("apply", "-f", str(file)).stdout == "configmap/turns unchanged\n"

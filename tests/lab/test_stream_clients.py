"""exec, attach, cp, logs, port-forward, run, proxy: every kubectl there is, and the Python client."""

import asyncio
import base64
import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import termios
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from netemu.api import core
from netemu.client import api, connect
from netemu.kernel import process
from netemu.lab import config, down, handle, records, up
from netemu.wire import websocket

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a whole lab"),
]

MANIFEST = """
kind: Pod
apiVersion: v1
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: nginx, ports: [{containerPort: 80, name: http}]}
---
kind: Pod
apiVersion: v1
metadata: {name: box}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: busybox, command: [sleep, "100000"]}
---
kind: Pod
apiVersion: v1
metadata: {name: talk}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox
    stdin: true
    command: [sh, -c, 'echo begin; while read x; do echo "got $x"; done']
---
kind: Pod
apiVersion: v1
metadata: {name: often}
spec:
  restartPolicy: OnFailure
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox
    command: [sh, -c, 'if [ -e /data/once ]; then for i in 1 2 3; do echo "line $i"; done; sleep 100000; fi
      ; touch /data/once; echo first; exit 1']
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]
---
kind: Service
apiVersion: v1
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 8080, targetPort: 80}]}
"""
NGINX = "<title>Welcome to nginx!</title>"


def kubectls() -> list[Path]:
    """The kubectl on the PATH, and kubectl.1.NN beside it."""
    found = shutil.which("kubectl")
    if not found:
        return []
    real = Path(found).resolve()
    versions = [p for p in real.parent.iterdir() if re.fullmatch(r"kubectl\.1\.[0-9]+", p.name)]
    return sorted(versions) or [real]


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Kubectl:
    """One kubectl, with caches of its own, and a port of its own on this machine."""

    def __init__(self, path: Path, home: Path, kubeconfig: Path) -> None:
        self.path = path
        self.name = path.name.replace(".", "-")
        self.environment = {**os.environ, "HOME": str(home), "KUBECONFIG": str(kubeconfig)}

    def __call__(self, *words: str, stdin: bytes = b"", code: int = 0) -> Done:
        done = subprocess.run(
            [self.path, *words],
            input=stdin,
            capture_output=True,
            timeout=30,
            env=self.environment,
            check=False,
        )
        found = Done(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert found.code == code, found
        return found

    @contextlib.contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        made = subprocess.Popen(
            [self.path, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
        )
        with made:
            try:
                yield made
            finally:
                made.kill()


async def _ready(client: api.Client) -> None:
    """Every pod, `often` in its second run."""
    async for event in client.watch(core.Pod, "default", revision="0"):
        found = event.object
        if isinstance(found, core.Pod) and found.metadata.name in PENDING:
            states = found.status.containerStatuses
            enough = 1 if found.metadata.name == "often" else 0
            if states and states[0].ready and states[0].restartCount >= enough:
                PENDING.discard(found.metadata.name)
        if not PENDING:
            return


PENDING: set[str] = set()


async def _prepare(kubeconfig: Path) -> None:
    async with asyncio.timeout(30), connect.from_kubeconfig(kubeconfig) as client:
        PENDING.update(("web", "box", "talk", "often"))
        for document in yaml.safe_load_all(MANIFEST):
            path = f"/api/v1/namespaces/default/{document['kind'].lower()}s"
            body = yaml.safe_dump(document).encode()
            answer = await client.raw(
                "POST", path, body=body, headers=(("content-type", "application/yaml"),)
            )
            assert answer.status == 201
        await _ready(client)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[handle.Handle]:
    before = os.environ.get(records.VARIABLE)
    os.environ[records.VARIABLE] = str(tmp_path_factory.mktemp("labs") / "state")
    try:
        made = up.up(config.default("streams", 2))
        try:
            asyncio.run(_prepare(made.kubeconfig))
            yield made
        finally:
            down.down("streams")
    finally:
        if before is None:
            del os.environ[records.VARIABLE]
        else:
            os.environ[records.VARIABLE] = before


def _protocols() -> list[Any]:
    """SPDY for all; WebSocket for exec (from 1.30); for port-forward, too (from 1.31). Others are slow."""
    every = kubectls()
    chosen = {*every[:1], *every[-1:], *(path for path in every if path.name.endswith("1.30"))}
    marks = {path: () if path in chosen else (pytest.mark.slow,) for path in every}
    return [pytest.param(path, marks=marks[path], id=path.name) for path in every] or [None]


@pytest.fixture(params=_protocols())
def kubectl(
    request: pytest.FixtureRequest, lab: handle.Handle, tmp_path_factory: pytest.TempPathFactory
) -> Kubectl:
    return made(request.param, lab, tmp_path_factory)


@pytest.fixture(
    params=kubectls()[:1] + kubectls()[1:][-1:] or [None], ids=lambda path: getattr(path, "name", "none")
)
def either_end(
    request: pytest.FixtureRequest, lab: handle.Handle, tmp_path_factory: pytest.TempPathFactory
) -> Kubectl:
    """The oldest and the newest, for what is not a matter of protocols."""
    return made(request.param, lab, tmp_path_factory)


def made(path: Path | None, lab: handle.Handle, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    if path is None:
        pytest.skip("there is no kubectl on this machine")
    home = tmp_path_factory.getbasetemp() / f"home-{path.name}"
    home.mkdir(exist_ok=True)
    return Kubectl(path, home, lab.kubeconfig)


def test_exec(kubectl: Kubectl) -> None:
    assert kubectl("exec", "box", "--", "echo", "hello") == (0, "hello\n", "")
    failed = kubectl("exec", "box", "--", "sh", "-c", "echo out; echo err >&2; exit 7", code=7)
    assert failed.out == "out\n"
    assert failed.err == "err\ncommand terminated with exit code 7\n"
    sent = os.urandom(300_000).hex()
    assert kubectl("exec", "-i", "box", "--", "cat", stdin=sent.encode()).out == sent
    assert kubectl("exec", "-i", "box", "--", "wc", "-c", stdin=b"").out == "0\n"
    missing = kubectl("exec", "box", "--", "nosuch", code=1)
    assert 'exec: "nosuch": executable file not found in $PATH' in missing.err
    assert (
        "container nosuch is not valid for pod box"
        in kubectl("exec", "box", "-c", "nosuch", "--", "true", code=1).err
    )


def test_a_terminal_and_its_size(kubectl: Kubectl) -> None:
    """kubectl may send the size later than it starts the command."""
    script = (
        "until stty size | grep -v '^0 0'; do sleep 0.05; done; echo ready; read x; echo heard $x; exit 4"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        words = ("exec", "-it", "box", "--", "sh", "-c", script)
        os.execve(kubectl.path, [str(kubectl.path), *words], kubectl.environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    said, sent = b"", False
    with contextlib.suppress(OSError):  # EIO: it has ended
        while select.select([terminal], [], [], 15)[0]:
            said += os.read(terminal, 1000)
            if b"ready\r\n" in said and not sent:
                sent = os.write(terminal, b"it\n") > 0
    ended = select.select([terminal], [], [], 0)[0]
    if not ended:
        os.kill(pid, signal.SIGKILL)
    _, code = os.waitpid(pid, 0)
    os.close(terminal)
    assert ended, said
    assert b"40 100\r\n" in said
    assert b"heard it\r\n" in said
    assert os.waitstatus_to_exitcode(code) == 4


def test_attach(kubectl: Kubectl) -> None:
    with kubectl.running("attach", "-i", "talk") as attached:
        assert attached.stdin is not None
        assert attached.stdout is not None
        attached.stdin.write(f"{kubectl.name}\n".encode())
        attached.stdin.flush()
        assert attached.stdout.readline() == f"got {kubectl.name}\n".encode()
    assert kubectl("logs", "talk", "--tail=1").out == f"got {kubectl.name}\n"


def test_cp_both_ways(kubectl: Kubectl, tmp_path: Path) -> None:
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(os.urandom(1_000_000))
    kubectl("cp", str(sent), f"box:/tmp/{kubectl.name}")
    kubectl("cp", f"box:/tmp/{kubectl.name}", str(back))
    assert back.read_bytes() == sent.read_bytes()


def test_logs(either_end: Kubectl) -> None:
    kubectl = either_end
    assert kubectl("logs", "often").out == "line 1\nline 2\nline 3\n"
    assert kubectl("logs", "often", "--previous").out == "first\n"
    assert kubectl("logs", "often", "--tail=2", "-c", "main").out == "line 2\nline 3\n"
    assert kubectl("logs", "often", "--limit-bytes=10").out == "line 1\nlin"
    assert kubectl("logs", "often", "--since-time=2100-01-01T00:00:00Z").out == ""
    assert kubectl("logs", "often", "--since=1h").out == "line 1\nline 2\nline 3\n"
    stamped = kubectl("logs", "often", "--tail=1", "--timestamps").out
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z line 3\n", stamped)
    with kubectl.running("logs", "-f", "--tail=1", "often") as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"line 3\n"
        assert follower.poll() is None


def test_run_in_the_foreground(kubectl: Kubectl) -> None:
    name = f"run-{kubectl.name}"
    words = ("run", name, "-i", "--rm", "--quiet", "--restart=Never", "--image=busybox", "--")
    done = kubectl(*words, "cat", stdin=b"through a pod\n")
    assert done.out.startswith("through a pod\n")
    assert name not in kubectl("get", "pods", "-o", "name").out


def test_debug_adds_a_container_to_look_from(either_end: Kubectl) -> None:
    kubectl = either_end
    words = ("debug", "box", "-i", "--quiet", "--image=busybox", "-c", kubectl.name, "--")
    done = kubectl(*words, "sh", "-c", 'read x; echo "$x"', stdin=b"looking\n")
    assert done.out == "looking\n"
    path = f"{{.status.ephemeralContainerStatuses[?(@.name=='{kubectl.name}')].state.terminated.reason}}"
    assert kubectl("get", "pod", "box", "-o", f"jsonpath={path}").out == "Completed"


def forwarded(kubectl: Kubectl, what: str, port: int) -> str:
    with kubectl.running("port-forward", what, f":{port}") as running:
        assert running.stdout is not None
        line = running.stdout.readline().decode()
        local = int(re.search(r"127\.0\.0\.1:(\d+)", line)[1])  # type: ignore[index]
        pages = [get(f"http://127.0.0.1:{local}/") for _ in range(3)]
        assert len(set(pages)) == 1
        return pages[0]


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def test_port_forward(kubectl: Kubectl) -> None:
    assert NGINX in forwarded(kubectl, "pod/web", 80)
    assert NGINX in forwarded(kubectl, "service/web", 8080)


def test_a_port_where_nobody_listens(kubectl: Kubectl) -> None:
    with kubectl.running("port-forward", "pod/web", ":81") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        local = int(re.search(rb"127\.0\.0\.1:(\d+)", running.stdout.readline())[1])  # type: ignore[index]
        with socket.create_connection(("127.0.0.1", local), timeout=10) as stream:
            stream.sendall(b"anybody?")
            with contextlib.suppress(ConnectionError):
                assert stream.recv(100) == b""
        assert b"connection refused" in running.stderr.readline()


def test_proxies(either_end: Kubectl) -> None:
    kubectl = either_end
    base = "/api/v1/namespaces/default"
    for path in ("services/web:http", "services/http:web:8080", "services/web", "pods/web:80", "pods/web"):
        assert NGINX in kubectl("get", "--raw", f"{base}/{path}/proxy/").out
    assert kubectl("get", "--raw", "/api/v1/nodes/worker-1/proxy/healthz").out == "ok"
    refused = kubectl("get", "--raw", f"{base}/pods/web:81/proxy/", code=1).err
    assert "error trying to reach service" in refused
    with kubectl.running("proxy", "--port=0") as running:
        assert running.stdout is not None
        local = int(re.search(rb"127\.0\.0\.1:(\d+)", running.stdout.readline())[1])  # type: ignore[index]
        assert NGINX in get(f"http://127.0.0.1:{local}{base}/services/web:8080/proxy")  # by a redirect


def test_the_python_client(lab: handle.Handle) -> None:
    kubernetes = pytest.importorskip("kubernetes", reason="the Python client is not installed")
    from kubernetes.stream import portforward, stream

    with kubernetes.config.new_client_from_config(str(lab.kubeconfig)) as client:
        v1 = kubernetes.client.CoreV1Api(client)
        execute = v1.connect_get_namespaced_pod_exec
        where = {"name": "box", "namespace": "default", "stderr": True, "stdout": True, "tty": False}
        assert stream(execute, command=["echo", "hello"], stdin=False, **where) == "hello\n"
        session = stream(execute, command=["sh"], stdin=True, _preload_content=False, **where)
        session.write_stdin("echo hi; exit 3\n")
        session.run_forever(timeout=10)
        assert (session.read_stdout(), session.returncode) == ("hi\n", 3)
    # A port-forward replaces the client's way to make requests, as does a stream: one client each.
    with kubernetes.config.new_client_from_config(str(lab.kubeconfig)) as client:
        v1 = kubernetes.client.CoreV1Api(client)
        forward = portforward(v1.connect_get_namespaced_pod_portforward, "web", "default", ports="80")
        tunnel = forward.socket(80)
        tunnel.setblocking(True)
        tunnel.sendall(b"GET / HTTP/1.0\r\nHost: web\r\n\r\n")
        said = b""
        while data := tunnel.recv(1000):
            said += data
        assert NGINX.encode() in said


def sleepers() -> list[int]:
    """The processes that sleep for a week."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if b"604800" in Path(f"/proc/{name}/cmdline").read_bytes() and process.state(int(name)) != "Z":
                found.append(int(name))
    return found


def test_clients_that_vanish_leave_no_process(lab: handle.Handle) -> None:
    """Through the whole way: client, API server, kubelet, runtime, container."""
    document = yaml.safe_load(Path(lab.kubeconfig).read_text())
    user, cluster = document["users"][0]["user"], document["clusters"][0]["cluster"]
    context = ssl.create_default_context(
        cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
    )
    pair = Path(lab.directory, "pki", "admin.both")
    pair.write_bytes(
        base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
    )
    context.load_cert_chain(pair)
    pair.unlink()
    host, port = cluster["server"].removeprefix("https://").split(":")

    async def vanish(how: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
        path = "/api/v1/namespaces/default/pods/box/exec?stdin=true&stdout=true&command=sleep&command=604800"
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
        )
        writer.write(head.encode())
        if how == 0:  # before it can be answered
            writer.transport.abort()
            return
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        await reader.read(1)
        if how == 1:
            writer.write(websocket.encode(websocket.BINARY, bytes(300_000), mask=b"abcd"))
        if how == 2:
            writer.write(b"\xff" * 1000)
            await reader.read(-1)
        writer.transport.abort()

    async def all_of_them() -> None:
        async with asyncio.timeout(20):
            await asyncio.gather(*(vanish(how) for how in (0, 1, 2, 3) * 5))
            while sleepers():
                await asyncio.sleep(0.02)
        async with connect.from_kubeconfig(lab.kubeconfig) as client:
            assert await client.get(core.Pod, "box", "default")

    asyncio.run(all_of_them())

"""The look-alikes of images in real pods, asked by real sockets from inside their network namespace."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pytest

from netemu.kernel import netns
from netemu.runtime import local
from netemu.wire import cri

if TYPE_CHECKING:
    from conftest import Node

pytestmark = pytest.mark.root
T = TypeVar("T")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Pod:
    """One pod with one container, and this test inside its network namespace."""

    def __init__(self, node: Node, runtime: local.LocalRuntime, sandbox: cri.Sandbox, container: str) -> None:
        self.node, self.runtime, self.sandbox, self.container = node, runtime, sandbox, container

    def inside(self, act: Callable[..., T], *arguments: Any) -> T:
        return netns.call(self.node.path(self.sandbox.netns), act, *arguments)

    async def ready(self, port: int, host: str = "127.0.0.1") -> None:
        while self.inside(_refused, host, port):
            await asyncio.sleep(0.001)

    def get(self, target: str, port: int = 80, **how: Any) -> Answer:
        return self.inside(_request, target, port, how)

    def text(self, target: str, port: int = 80) -> str:
        answer = self.get(target, port)
        assert answer.status == 200, answer
        return answer.body.decode()

    async def run(self, *command: str, timeout: float = 10) -> tuple[int, str, str]:
        result = await self.runtime.exec_sync(self.container, command, timeout)
        return result.code, result.stdout.decode(), result.stderr.decode()

    async def end(self) -> cri.Container:
        async for found in self.runtime.events():
            if found.id == self.container and found.state == "EXITED":
                return found
        raise AssertionError

    def log(self) -> str:
        return Path(self.node.path(f"{self.node.logs}/log")).read_text()


def _refused(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 10).close()
    except ConnectionRefusedError:
        return True
    return False


def _request(target: str, port: int, how: dict[str, Any]) -> Answer:
    connection = http.client.HTTPConnection(how.get("host", "127.0.0.1"), port, timeout=10)
    try:
        connection.request(how.get("method", "GET"), target, how.get("body"), how.get("headers", {}))
        answer = connection.getresponse()
        return Answer(answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def _datagram(port: int, data: bytes, host: str = "127.0.0.1") -> tuple[bytes, int]:
    """The answer, and the port it went to."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.connect((host, port))
        sock.send(data)
        return sock.recv(4096), sock.getsockname()[1]


def play(node: Node, image: str, story: Callable[[Pod], Any], *args: str, **fields: Any) -> None:
    async def tell(runtime: local.LocalRuntime) -> None:
        box = await runtime.run_pod_sandbox(
            cri.SandboxConfig("web", "default", "u", hostname="web", log_directory=node.logs)
        )
        config = cri.ContainerConfig("main", image, args=args, log_path="log", **fields)
        made = await runtime.create_container(box.id, config)
        await runtime.start_container(made)
        await story(Pod(node, runtime, box, made))

    node.run(tell)


def test_netexec_says_who_asks_and_who_answers(node: Node) -> None:
    async def story(pod: Pod) -> None:
        await pod.ready(8080)
        assert pod.text("/hostname", 8080) == pod.text("/hostName", 8080) == "web"
        assert re.fullmatch(r"127\.0\.0\.1:\d+", pod.text("/clientip", 8080))
        assert re.fullmatch(rb"\[::1\]:\d+", pod.get("/clientip", 8080, host="::1").body)
        assert pod.text("/serverport", 8080) == "8080"
        assert pod.text("/header?key=X-Colour", 8080) == ""
        assert pod.get("/header?key=X-Colour", 8080, headers={"x-colour": "red"}).body == b"red"
        assert pod.text("/echo?msg=a%20b", 8080) == "a b"
        assert pod.get("/echo?msg=gone&code=410", 8080)[::2] == (410, b"gone")
        assert pod.text("/", 8080).startswith("NOW: 20")
        assert pod.text("/anything/else", 8080).startswith("NOW: 20")
        assert pod.get("/healthz", 8080).status == 200
        moved = pod.get("/redirect?location=/echo%3Fmsg=x&code=307", 8080)
        assert (moved.status, moved.headers["location"]) == (307, "/echo?msg=x")
        assert pod.get("/redirect?location=/x", 8080).status == 302
        assert json.loads(pod.text("/shell?cmd=echo+$0%3B+exit+3", 8080)) == {
            "output": "/bin/sh\n",
            "error": "exit status 3",
        }
        assert pod.inside(_datagram, 8081, b"HostName\n")[0] == b"web"
        assert pod.inside(_datagram, 8081, b"echo Hello You")[0] == b"hello you"
        said, port = pod.inside(_datagram, 8081, b"clientip")
        assert said == f"127.0.0.1:{port}".encode()
        said, port = pod.inside(_datagram, 8081, b"clientip", "::1")
        assert said == f"[::1]:{port}".encode()
        assert "GET /hostname" in pod.log()

    play(node, "registry.k8s.io/e2e-test-images/agnhost:2.53", story, "netexec")


def test_netexec_dials_others_and_takes_uploads(node: Node) -> None:
    async def story(pod: Pod) -> None:
        await pod.ready(8083)

        def dial(query: str) -> dict[str, list[str]]:
            return json.loads(pod.text(f"/dial?{query}", 8083))  # type: ignore[no-any-return]

        assert dial("host=127.0.0.1&port=8083&request=hostname&tries=3") == {"responses": ["web"] * 3}
        assert dial("host=127.0.0.1&port=8084&protocol=udp&request=hostname") == {"responses": ["web"]}
        refused = dial("host=127.0.0.1&port=9&request=hostname")
        assert refused == {
            "errors": ['Get "http://127.0.0.1:9/hostname": dial tcp 127.0.0.1:9: connect: connection refused']
        }
        assert pod.get("/dial?host=127.0.0.1&port=1", 8083).status == 400
        assert pod.get("/dial?host=127.0.0.1&port=1&request=x&protocol=icmp", 8083).status == 400
        form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\ncontent\r\n--b--\r\n'
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        done = pod.get("/upload", 8083, method="POST", body=form, headers=kind)
        assert done.status == 201
        assert (await pod.run("cat", json.loads(done.body)["output"]))[1] == "content"

    play(node, "agnhost", story, "netexec", "--http-port=8083", "--udp-port", "8084")


@pytest.mark.parametrize(
    ("path", "code"), [("/exit?code=5", 5), ("/shutdown", 0), ("/exit?code=3&wait=1ms&timeout=1s", 3)]
)
def test_netexec_ends_as_told(node: Node, path: str, code: int) -> None:
    async def story(pod: Pod) -> None:
        await pod.ready(8080)
        pod.get(path, 8080)
        assert (await pod.end()).exit_code == code

    play(node, "agnhost", story, "netexec")


def test_netexec_serves_hundreds_of_connections_at_once(node: Node) -> None:
    def ask() -> list[bytes]:
        """The last to connect is the first to speak; nobody hangs up before all were answered."""
        with contextlib.ExitStack() as stack:
            dialled = [
                stack.enter_context(socket.create_connection(("127.0.0.1", 8080), 30)) for _ in range(300)
            ]
            answers = []
            for one in reversed(dialled):
                one.sendall(b"GET /hostname HTTP/1.1\r\n\r\n")
                answers.append(one.recv(4096).rpartition(b"\r\n\r\n")[2])
            return answers

    async def story(pod: Pod) -> None:
        await pod.ready(8080)
        assert pod.inside(ask) == [b"web"] * 300

    play(node, "agnhost", story, "netexec")


def test_netexec_survives_what_is_no_http(node: Node) -> None:
    def send(data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", 8080), 10) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(4096), b""))

    async def story(pod: Pod) -> None:
        await pod.ready(8080)
        assert pod.inside(send, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert pod.inside(send, b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert pod.inside(send, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").startswith(
            b"HTTP/1.1 400 "
        )
        assert pod.inside(send, b"GET /ho") == b""
        two = pod.inside(send, b"GET /hostname HTTP/1.1\r\n\r\nGET /echo?msg=x HTTP/1.0\r\n\r\n")
        assert [part.rpartition(b"\r\n\r\n")[2] for part in two.split(b"HTTP/1.1 200 OK")[1:]] == [
            b"web",
            b"x",
        ]
        chunked = b"POST /echo HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
        form = b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        said = pod.inside(send, chunked + form + b"4\r\nmsg=\r\n3;x=y\r\nabc\r\n0\r\n\r\n")
        assert said.endswith(b"\r\n\r\nabc")

    play(node, "agnhost", story, "netexec")


def test_connect_names_what_went_wrong(node: Node) -> None:
    async def story(pod: Pod) -> None:
        rows = (
            (("127.0.0.1:8080",), "", 0),
            (("[::1]:8080",), "", 0),
            (("--protocol=udp", "--timeout=1s", "127.0.0.1:8081"), "", 0),
            (("127.0.0.1:9",), "REFUSED\n", 1),
            (
                ("--timeout=300ms", "--protocol", "udp", "127.0.0.1:9"),
                "REFUSED: read udp 127.0.0.1:9: connection refused\n",
                1,
            ),
            (
                ("no-such-host.invalid:80",),
                "DNS: lookup no-such-host.invalid: temporary failure in name resolution\n",
                1,
            ),
            (("127.0.0.1",), "UNKNOWN: address 127.0.0.1: missing port in address\n", 1),
            (("203.0.113.5:80",), "OTHER: dial tcp 203.0.113.5:80: connect: network is unreachable\n", 1),
        )
        await pod.ready(8080)
        for arguments, message, code in rows:
            assert await pod.run("/agnhost", "connect", *arguments) == (code, "", message), arguments

    play(node, "agnhost", story, "netexec", mounts=(cri.Mount("/dev/null", "/etc/resolv.conf"),))


def test_connect_times_out_when_nobody_answers(node: Node) -> None:
    """A listener whose queue is full lets connections hang, as a firewall that drops does."""

    def full() -> list[socket.socket]:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 7))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", 7))
        return [listener, *fillers]

    async def story(pod: Pod) -> None:
        held = pod.inside(full)
        began = time.monotonic()
        assert await pod.run("/agnhost", "connect", "--timeout=300ms", "127.0.0.1:7") == (1, "", "TIMEOUT\n")
        assert time.monotonic() - began >= 0.3
        assert await pod.run(
            "/agnhost", "connect", "--timeout=300ms", "--protocol=udp", "127.0.0.1:8082"
        ) == (1, "", "TIMEOUT: read udp 127.0.0.1:8082: i/o timeout\n")
        del held

    def silent() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 8082))
        return sock

    async def both(pod: Pod) -> None:
        with pod.inside(silent):
            await story(pod)

    play(node, "agnhost", both)


def test_agnhost_tells_what_the_pod_sees(node: Node) -> None:
    servers, search = (
        "nameserver 10.96.0.10\nnameserver fd00:96::a\n",
        "a.svc.cluster.local svc.cluster.local",
    )
    Path(node.logs, "resolv").write_text(f"{servers}search {search}\noptions ndots:5\n")

    async def story(pod: Pod) -> None:
        assert (await pod.run("/agnhost", "dns-suffix"))[1] == "a.svc.cluster.local,svc.cluster.local\n"
        assert (await pod.run("/agnhost", "dns-server-list"))[1] == "10.96.0.10,fd00:96::a\n"
        assert (
            "web" in (await pod.run("/agnhost", "etc-hosts"))[1] + (await pod.run("cat", "/etc/hostname"))[1]
        )
        assert (await pod.run("/agnhost", "entrypoint-tester", "a", "b"))[
            1
        ] == "[/agnhost entrypoint-tester a b]\n"
        assert (await pod.run("/agnhost", "no-such"))[0] == 1
        assert (await pod.run("/agnhost", "netexec", "--no-such-flag"))[2].startswith(
            "Error: unknown flag: --no-such-flag"
        )
        assert pod.log().endswith("stdout F Paused\n")

    play(node, "agnhost", story, mounts=(cri.Mount(f"{node.logs}/resolv", "/etc/resolv.conf"),))


def test_agnhost_pause_costs_no_interpreter(node: Node) -> None:
    async def story(pod: Pod) -> None:
        # It sleeps once it waits for signals; before that, SIGTERM simply ends it.
        while [sleeps(pid) for pid, name in node.processes().items() if name == "pause"] != [True, True]:
            await asyncio.sleep(0.001)
        await pod.runtime.stop_container(pod.container, 10)
        assert (await pod.end()).exit_code == 0

    def sleeps(pid: int) -> bool:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"

    play(node, "agnhost", story)


def test_serve_hostname_over_everything(node: Node) -> None:
    async def story(pod: Pod) -> None:
        await pod.ready(9376)
        assert pod.inside(_read_all, 9376) == b"web"
        assert pod.inside(_datagram, 9376, b"x")[0] == b"web"

    play(node, "agnhost", story, "serve-hostname", "--tcp", "--udp", "--http=false")


def _read_all(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        return b"".join(iter(lambda: sock.recv(4096), b""))


def test_porter_serves_what_its_environment_says(node: Node) -> None:
    env = (
        ("SERVE_PORT_81", "eighty-one"),
        ("SERVE_UDP_PORT_82", "eighty-two"),
        ("SERVE_TCP_PORT_83", "eighty-three"),
    )
    env = (*env, ("SERVE_SCTP_PORT_84", "eighty-four"))

    async def story(pod: Pod) -> None:
        await pod.ready(81)
        await pod.ready(83)
        assert json.loads(pod.text("/any", 81)) == {"Method": "GET", "Body": "eighty-one"}
        assert json.loads(pod.text("/", 83))["Body"] == "eighty-three"
        assert pod.inside(_datagram, 82, b"x")[0] == b"eighty-two"
        if not _has_sctp():
            assert "this kernel has no SCTP sockets" in pod.log()

    play(node, "agnhost", story, "porter", "--json-response", env=env)


def _has_sctp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).close()
    except OSError:
        return False
    return True


def test_nginx_welcomes(node: Node) -> None:
    async def story(pod: Pod) -> None:
        await pod.ready(80)
        welcome = pod.get("/")
        assert (welcome.status, welcome.headers["content-type"], welcome.headers["server"]) == (
            200,
            "text/html",
            "nginx/1.27.0",
        )
        assert b"<title>Welcome to nginx!</title>" in welcome.body
        missing = pod.get("/missing")
        assert missing.status == 404
        assert b"<center>nginx/1.27.0</center>" in missing.body
        assert pod.get("/", method="HEAD").body == b""
        assert "127.0.0.1 - - [" in pod.log()
        await pod.runtime.stop_container(pod.container, 10)
        assert (await pod.end()).exit_code == 0

    play(node, "nginx:1.27", story)


CONF = """
upstream ignored { server 127.0.0.1:1; }
server {
    listen 8000 default_server;
    listen [::]:8000;
    server_name a.example;  # the first is the default
    location / { root /www; index main.html; add_header X-Pod $hostname; }
    location = /exact { return 200 'exactly $hostname from $remote_addr\\n'; }
    location /moved { return 301 https://$host$request_uri; }
    location /api/ { proxy_pass http://127.0.0.1:8001/v1/; }
    location ~ \\.php$ { return 403; }
    brotli on;
}
server { listen 8000; server_name b.example; return 200 "b\\n"; }
server { listen 8001; location / { default_type application/json; return 200 '{"uri": "$uri"}'; } }
"""


def test_nginx_does_what_a_mounted_configuration_says(node: Node, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "default.conf").write_text(CONF)
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "main.html").write_text("<p>mine</p>")
    (tmp_path / "www" / "data.json").write_text("{}")
    mounts = (cri.Mount(f"{tmp_path}/conf", "/etc/nginx/conf.d"), cri.Mount(f"{tmp_path}/www", "/www"))

    async def story(pod: Pod) -> None:
        await pod.ready(8000)
        await pod.ready(8001)
        home = pod.get("/", 8000)
        assert (home.body, home.headers["content-type"], home.headers["x-pod"]) == (
            b"<p>mine</p>",
            "text/html",
            "web",
        )
        assert pod.get("/data.json", 8000).headers["content-type"] == "application/json"
        assert pod.get("/../../etc/passwd", 8000).status == 404
        assert pod.text("/exact", 8000) == "exactly web from 127.0.0.1\n"
        moved = pod.get("/moved/x?y=z", 8000, headers={"Host": "a.example:8000"})
        assert (moved.status, moved.headers["location"]) == (301, "https://a.example/moved/x?y=z")
        assert pod.get("/", 8000, headers={"Host": "b.example"}).body == b"b\n"
        proxied = pod.get("/api/users", 8000)
        assert (json.loads(proxied.body), proxied.headers["content-type"]) == (
            {"uri": "/v1/users"},
            "application/json",
        )
        assert pod.get("/x.php", 8000).status == 403
        assert 'directive "brotli" is not played by netemu' in pod.log()

    play(node, "nginx", story, mounts=mounts)


def test_nginx_refuses_a_bad_configuration(node: Node, tmp_path: Path) -> None:
    (tmp_path / "default.conf").write_text("server { listen 80 ")

    async def story(pod: Pod) -> None:
        assert (await pod.end()).exit_code == 1
        assert '[emerg] unexpected end of file, expecting ";" or "}"' in pod.log()

    play(node, "nginx", story, mounts=(cri.Mount(f"{tmp_path}", "/etc/nginx/conf.d"),))


def test_images_that_only_answer(node: Node) -> None:
    async def whoami(pod: Pod) -> None:
        await pod.ready(80)
        head = (
            r"Hostname: web\nIP: 127.0.0.1\nIP: ::1\n(IP: .*\n)*RemoteAddr: 127.0.0.1:\d+\nGET /x HTTP/1.1\n"
        )
        assert re.match(head + "Host: 127.0.0.1", pod.text("/x"))
        assert json.loads(pod.text("/api"))["hostname"] == "web"

    async def http_echo(pod: Pod) -> None:
        await pod.ready(5678)
        assert pod.text("/", 5678) == "hello there\n"

    async def hello_app(pod: Pod) -> None:
        await pod.ready(8080)
        assert pod.text("/", 8080) == "Hello, world!\nVersion: 2.0.0\nHostname: web\n"

    async def httpbin(pod: Pod) -> None:
        await pod.ready(80)
        assert json.loads(pod.text("/ip")) == {"origin": "127.0.0.1"}
        assert pod.get("/status/418").status == 418
        assert json.loads(pod.get("/post", method="POST", body=b"data").body)["data"] == "data"

    async def apache(pod: Pod) -> None:
        await pod.ready(80)
        assert "It works!" in pod.text("/")

    play(node, "traefik/whoami:v1.10", whoami)
    play(node, "hashicorp/http-echo", http_echo, "-text=hello there")
    play(node, "gcr.io/google-samples/hello-app:2.0", hello_app)
    play(node, "kennethreitz/httpbin", httpbin)
    play(node, "httpd:2.4", apache)


def test_client_tools_for_hosts_without_them(node: Node) -> None:
    """Called by their files in the container, so that the host's own are out of the way."""

    async def story(pod: Pod) -> None:
        await pod.ready(8080)
        tool = "/.netemu/bin/"
        assert await pod.run(f"{tool}wget", "-qO-", "http://127.0.0.1:8080/hostname") == (0, "web", "")
        assert await pod.run(f"{tool}wget", "-q", "-T", "2", "-O-", "127.0.0.1:9") == (
            1,
            "",
            "wget: can't connect to remote host (127.0.0.1): Connection refused\n",
        )
        assert (await pod.run(f"{tool}wget", "-O-", "http://127.0.0.1:8080/echo?code=404"))[2].endswith(
            "server returned error: HTTP/1.1 404 Not Found\n"
        )
        assert await pod.run(f"{tool}wget", "-qO-", "http://no-such.invalid/") == (
            1,
            "",
            "wget: bad address 'no-such.invalid'\n",
        )
        assert await pod.run(f"{tool}curl", "-s", "http://[::1]:8080/hostname") == (0, "web", "")
        assert await pod.run(
            f"{tool}curl", "-so/dev/null", "-w", "%{http_code}\\n", "127.0.0.1:8080/echo?code=404"
        ) == (0, "404\n", "")
        assert (await pod.run(f"{tool}curl", "-sf", "127.0.0.1:8080/echo?code=404"))[0] == 22
        assert (await pod.run(f"{tool}curl", "-s", "127.0.0.1:9"))[0] == 7
        assert (await pod.run(f"{tool}curl", "-s", "http://no-such.invalid/"))[0] == 6
        assert (await pod.run(f"{tool}curl", "-sL", "127.0.0.1:8080/redirect?location=/hostname"))[:2] == (
            0,
            "web",
        )
        assert (await pod.run(f"{tool}curl", "-sXPOST", "-d", "msg=posted", "127.0.0.1:8080/echo"))[:2] == (
            0,
            "posted",
        )
        assert await pod.run(f"{tool}nc", "-zw1", "127.0.0.1", "8080") == (0, "", "")
        assert (await pod.run(f"{tool}nc", "-zvw1", "127.0.0.1", "9")) == (
            1,
            "",
            "nc: 127.0.0.1 (127.0.0.1:9): Connection refused\n",
        )
        assert (
            await pod.run(
                "sh",
                "-c",
                f"printf 'GET /hostname HTTP/1.0\\r\\n\\r\\n' | {tool}nc 127.0.0.1 8080 | tail -n 1",
            )
        )[1] == "web"
        assert (await pod.run("sh", "-c", f"echo hostname | {tool}nc -uw1 127.0.0.1 8081"))[1] == "web"
        code, said, _ = await pod.run(f"{tool}ping", "-c2", "-i0.01", "127.0.0.1")
        assert code == 0
        assert "64 bytes from 127.0.0.1: seq=1 ttl=64 time=" in said
        assert "2 packets transmitted, 2 packets received, 0% packet loss" in said
        assert (await pod.run(f"{tool}ping", "-c1", "::1"))[0] == 0
        assert (await pod.run(f"{tool}nslookup", "-timeout=0.2", "x", "127.0.0.1"))[0] == 1

    play(node, "agnhost", story, "netexec", mounts=(cri.Mount("/dev/null", "/etc/resolv.conf"),))


def test_many_netexecs_share_their_memory(node: Node) -> None:
    """What one more costs: its private pages, measured where no other process can disturb it."""

    async def story(runtime: local.LocalRuntime) -> None:
        for number in range(10):
            box = await runtime.run_pod_sandbox(
                cri.SandboxConfig(f"p{number}", "default", "u", hostname="web")
            )
            made = await runtime.create_container(
                box.id, cri.ContainerConfig("main", "agnhost", args=("netexec",))
            )
            await runtime.start_container(made)
            while (await runtime.exec_sync(made, ("/agnhost", "connect", "127.0.0.1:8080"), 5)).code:
                pass

    node.run(story)
    own = []
    for pid, name in node.processes().items():
        if name == "agnhost":
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            own.append(sum(int(kb) for kb in re.findall(r"^Private_\w+:\s+(\d+) kB", rollup, re.MULTILINE)))
    assert len(own) == 10
    assert sum(own) / 10 < 3000, f"{sum(own) / 10:.0f} kB each"

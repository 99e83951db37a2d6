"""HTTP through the API server to a pod or a service, and what exec says no to before any kubelet is asked."""

import contextlib
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from netemu.apiserver import pki
from netemu.http import messages, tls
from netemu.http import server as http

PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"


PAGE = """<html><a class="x" href="/rooted?q=1#z">1</a><a href="relative">2</a>
<A HREF="https://elsewhere.example/x">3</A><img src=/i.png alt=/not-a-link>
<form action='/go' method=post></form><p title="/no">/text &amp; \u00fc</p>
<a href="//[broken">4</a></html>""".encode()


def own_address() -> str:
    """An address of this machine that may be an endpoint's: not a loopback one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback's")
        return str(asking.getsockname()[0])


@contextlib.asynccontextmanager
async def mirror(address: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that says what it was asked; /moved leads elsewhere, /stream comes in pieces."""

    async def pieces() -> AsyncIterator[bytes]:
        for part in (b"one ", b"two ", b"three"):
            yield part

    async def handle(request: messages.Request) -> messages.Response:
        if request.path == "/moved":
            return messages.Response(302, (("location", "/there?a=b"),))
        if request.path == "/away":
            return messages.Response(302, (("location", "https://elsewhere.example/"),))
        if request.path == "/page":
            return messages.Response(200, (("content-type", "text/html; charset=utf-8"),), PAGE)
        if request.path == "/stream":
            return messages.Response(200, (), pieces())
        said = [request.method, request.target(), dict(request.headers), request.body.decode()]
        return messages.Response(
            418, (("content-type", "application/json"), ("x-own", "yes")), json.dumps(said).encode()
        )

    serving = await http.serve(handle, [socket.create_server((address, 0))], context)
    try:
        yield serving.addresses()[0][1]
    finally:
        await serving.close(grace=0)


async def pod_at(world: Any, port: int) -> None:
    container = {"name": "main", "image": "nginx", "ports": [{"name": "web", "containerPort": port}]}
    await world.make(PODS, world.pod("web", containers=[container], nodeName="n1"))
    status = {"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}
    assert (await world.ask("PATCH", f"{PODS}/web/status", status)).status == 200


def test_a_pod_hears_the_request_as_it_was_but_for_secrets(world: Any) -> None:
    async def story(world: Any) -> None:
        async with mirror() as port:
            await pod_at(world, port)
            for name in ("web", f"web:{port}", "web:web", f"http:web:{port}"):
                answer = await world.ask(
                    "POST",
                    f"{PODS}/{name}/proxy/a/b%20c?x=1&y=z",
                    b"body",
                    headers=(
                        ("authorization", "Bearer secret"),
                        ("x-mine", "kept"),
                        ("content-type", "text/plain"),
                    ),
                )
                assert answer.status == 418
                assert dict(answer.headers)["x-own"] == "yes"
                method, target, headers, body = answer.body
                assert (method, target, body) == ("POST", "/a/b%20c?x=1&y=z", "body")
                assert headers["x-mine"] == "kept"
                assert "authorization" not in headers
                assert headers["x-forwarded-uri"] == f"{PODS}/{name}/proxy/a/b c"

    world(story)


def test_redirects_lead_through_the_proxy_and_bodies_come_in_pieces(world: Any) -> None:
    async def story(world: Any) -> None:
        async with mirror() as port:
            await pod_at(world, port)
            base = f"{PODS}/web/proxy"
            for path, wanted in (
                (base, f"{base}/"),
                (f"{base}?q=1", f"{base}/?q=1"),
                (f"{base}/moved", f"{base}/there?a=b"),
                (f"{base}/away", "https://elsewhere.example/"),
            ):
                assert dict((await world.ask("GET", path)).headers)["location"] == wanted
            assert (await world.ask("GET", f"{base}/stream")).body == b"one two three"
            head = await world.ask("HEAD", f"{base}/x")
            assert head.status == 418

    world(story)


def test_tls_is_spoken_to_whom_it_is_asked_for(world: Any) -> None:
    """Whatever their certificate: nobody signs for pods."""

    async def story(world: Any) -> None:
        own = pki.ca("nobody-knows", time.time())
        async with mirror(context=tls.server(*pki.server(own, "x", ["x"], [], time.time()))) as port:
            await pod_at(world, port)
            for name in (f"https:web:{port}", "https:web:web", "https:web:"):
                answer = await world.ask("GET", f"{PODS}/{name}/proxy/a")
                assert (answer.status, answer.body[1]) == (418, "/a"), answer.body
            plain = await world.ask("GET", f"{PODS}/web:{port}/proxy/a")
            assert plain.status == 503

    world(story)


def test_links_of_pages_lead_through_the_proxy(world: Any) -> None:
    async def story(world: Any) -> None:
        async with mirror() as port:
            await pod_at(world, port)
            base = f"{PODS}/web/proxy"
            page = (await world.ask("GET", f"{base}/page")).body.decode()
            for there in (
                f'<a class="x" href="{base}/rooted?q=1#z">',
                '<a href="relative">',
                '<A HREF="https://elsewhere.example/x">',
                f"<img src={base}/i.png alt=/not-a-link>",
                f"<form action='{base}/go' method=post>",
                '<p title="/no">/text &amp; \u00fc</p>',
                '<a href="//[broken">',
            ):
                assert there in page, there

    world(story)


def test_a_service_is_one_of_its_ready_endpoints(world: Any) -> None:
    async def story(world: Any) -> None:
        address = own_address()
        async with mirror(address) as port:
            ports = [{"name": "http", "port": 8080}, {"name": "other", "port": 9090}]
            await world.make(SERVICES, world.service(ports=ports))
            slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
            answer = await world.ask("GET", f"{SERVICES}/web:http/proxy/")
            assert (answer.status, answer.reason) == (503, "ServiceUnavailable")
            assert 'no endpoints available for service "web:http"' in answer.message
            await world.make(
                slices,
                {
                    "kind": "EndpointSlice",
                    "apiVersion": "discovery.k8s.io/v1",
                    "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
                    "addressType": "IPv4",
                    "ports": [{"name": "http", "port": port}],
                    "endpoints": [
                        {"addresses": [address], "conditions": {"ready": True}},
                        {"addresses": ["192.0.2.1"], "conditions": {"ready": False}},
                    ],
                },
            )
            for name in ("web:http", "web:8080", "http:web:http"):
                assert (await world.ask("GET", f"{SERVICES}/{name}/proxy/")).status == 418
            for name in ("web", "web:other", "web:80", "web:none"):
                assert (await world.ask("GET", f"{SERVICES}/{name}/proxy/")).status == 503

    world(story)


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        (f"{PODS}/none/proxy/", 404, "NotFound"),
        (f"{PODS}/ftp:web:80/proxy/", 400, "BadRequest"),
        (f"{PODS}/web:nothing/proxy/", 400, "BadRequest"),
        (f"{PODS}/web:1/proxy/", 503, "ServiceUnavailable"),
        ("/api/v1/nodes/none/proxy/", 404, "NotFound"),
        (f"{PODS}/none/exec?command=true&stdout=1", 404, "NotFound"),
        (f"{PODS}/web/exec?stdout=1", 400, "BadRequest"),
        (f"{PODS}/web/exec?command=true", 400, "BadRequest"),
        (f"{PODS}/web/exec?command=true&stdout=1&container=x", 400, "BadRequest"),
        (f"{PODS}/web/exec?command=true&stdout=1", 400, "BadRequest"),  # no upgrade is asked for
        (f"{PODS}/web/portforward", 400, "BadRequest"),
        (f"{PODS}/web/attach/more?stdout=1", 404, "NotFound"),
    ],
)
def test_refusals_are_statuses(world: Any, path: str, status: int, reason: str) -> None:
    async def story(world: Any) -> None:
        await pod_at(world, 1)
        answer = await world.ask("GET", path)
        assert (answer.status, answer.reason) == (status, reason)
        assert "retry-after" not in dict(answer.headers)

    world(story)


def test_a_node_that_does_not_answer_is_told_at_once(world: Any) -> None:
    async def story(world: Any) -> None:
        await pod_at(world, 1)
        await world.make("/api/v1/nodes", {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n1"}})
        addresses = {"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}}
        await world.ask("PATCH", "/api/v1/nodes/n1/status", addresses)
        switch = (("connection", "Upgrade"), ("upgrade", "websocket"))
        answer = await world.ask("GET", f"{PODS}/web/exec?command=true&stdout=1", headers=switch)
        assert (answer.status, answer.reason) == (500, "InternalError")
        assert "error dialing backend" in answer.message

    world(story, kubelet_port=1)

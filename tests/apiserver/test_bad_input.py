"""Anything may be sent: the answer is a Status, nothing half-written is stored, nobody else is disturbed."""

import asyncio
import json
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netemu.api import kinds
from netemu.apiserver import protobufs
from netemu.apiserver.aggregation import groups
from netemu.base import errors
from netemu.client import connect

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"

deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
deep_list = (
    b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"},"data":'
    + b"[" * 5000
    + b"]" * 5000
    + b"}"
)

BODIES = [
    ("nothing", b"", 400),
    ("no JSON", b"hello", 400),
    ("cut off", b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"na', 400),
    ("a list", b"[]", 400),
    ("null", b"null", 400),
    ("not UTF-8", b'{"metadata":{"name":"\xff\xfe"}}', 400),
    ("very deep", deep, 400),
    ("deep inside", deep_list, 400),
    ("metadata is a text", b'{"metadata":"x"}', 400),
    ("name is a number", b'{"metadata":{"name":5}}', 400),
    ("data is a list", b'{"metadata":{"name":"x"},"data":[1]}', 400),
    ("metadata is null", b'{"metadata":null}', 422),
    ("a name with a slash", b'{"metadata":{"name":"a/b"}}', 422),
    ("a name that climbs", b'{"metadata":{"name":".."}}', 422),
    ("an upper-case name", b'{"metadata":{"name":"UPPER"}}', 422),
    ("a bad label", b'{"metadata":{"name":"x","labels":{"a b":"c"}}}', 422),
    ("another kind", b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"}}', 400),
    ("another version", b'{"kind":"ConfigMap","apiVersion":"v9","metadata":{"name":"x"}}', 400),
    ("NaN", b'{"metadata":{"name":"x"},"data":{"k":NaN}}', 400),
    ("huge number", b'{"metadata":{"name":"x","generation":1e999}}', 400),
]


@pytest.mark.parametrize(("name", "body", "code"), BODIES, ids=[row[0] for row in BODIES])
def test_bodies(world: Any, caplog: pytest.LogCaptureFixture, name: str, body: bytes, code: int) -> None:
    async def story(w: Any) -> None:
        before = w.store.revision
        answer = await w.ask("POST", MAPS, body)
        assert (answer.status, answer.body["kind"]) == (code, "Status"), answer.body
        assert answer.message
        assert w.store.revision == before

    with caplog.at_level(logging.ERROR):
        world(story)
    assert not caplog.records


QUERIES = [
    "GET /api/v1/pods?limit=-5",
    "GET /api/v1/pods?limit=99999999999999999999",
    "GET /api/v1/pods?resourceVersion=%00",
    "GET /api/v1/pods?continue=%F0%9F%98%80",
    "GET /api/v1/pods?continue=eyJydiI6LTEsInN0YXJ0IjoiYSJ9",
    "GET /api/v1/pods?watch=true&timeoutSeconds=x",
    "GET /api/v1/pods?labelSelector=%00%01",
    "GET /api/v1/pods?fieldSelector=metadata.name",
    "GET /api/v1/namespaces/a%2Fb/pods/c",
    "GET /api/v1//pods",
    "GET /api//",
    "GET /apis/apps",
    "GET /apis/apps/v1/namespaces",
    "GET /api/v1/namespaces/default/pods/x/log/extra",
    "GET /api/v1/namespaces/default/pods/x/exec",
    "POST /api/v1/namespaces/default/pods/x/portforward",
    "DELETE /api/v1/namespaces",
    "PUT /api/v1/pods",
    "OPTIONS /api/v1/pods",
    "TRACE /api/v1/namespaces/default/pods/x",
    "PATCH /api/v1/namespaces/default/configmaps/kube-root-ca.crt",
    "GET /openapi/v3/../../etc/passwd",
    "GET /healthz/nothing/of/that/sort",
]


@pytest.mark.parametrize("line", QUERIES)
def test_paths_and_queries(world: Any, caplog: pytest.LogCaptureFixture, line: str) -> None:
    async def story(w: Any) -> None:
        method, path = line.split(" ")
        before = w.store.revision
        answer = await w.ask(method, path)
        assert 200 <= answer.status < 500, answer.body
        assert w.store.revision == before

    with caplog.at_level(logging.ERROR):
        world(story)
    assert not caplog.records


def test_a_body_that_is_too_large_is_refused_on_the_wire(world: Any) -> None:
    async def story(w: Any) -> None:
        pair = w.client_pair("admin", "system:masters")
        async with connect.over(w.url, w.authority.certificate, *pair) as client:
            body = json.dumps(w.config_map("big", k="v" * (3 << 20))).encode()
            answer = await client.raw(
                "POST", MAPS, body=body, headers=(("content-type", "application/json"),)
            )
            assert answer.status == 413
            assert isinstance(answer.body, bytes)
            assert json.loads(answer.body)["reason"] == "RequestEntityTooLarge"
            assert (await client.raw("GET", MAPS)).status == 200

    world(story)


def test_a_client_that_leaves_in_the_middle_disturbs_nobody(world: Any) -> None:
    import ssl

    async def story(w: Any) -> None:
        context = ssl.create_default_context(cadata=w.authority.certificate.decode())
        port = int(w.url.rsplit(":", 1)[1])
        for part in (b"", b"POST /api", b"POST /api/v1 HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"):
            _, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname="localhost"
            )
            writer.write(part)
            await writer.drain()
            writer.transport.abort()
        _, plain = await asyncio.open_connection("127.0.0.1", port)
        plain.write(b"GET / HTTP/1.1\r\n\r\n")
        await plain.drain()
        plain.transport.abort()
        assert (await w.ask("GET", MAPS)).status == 200

    world(story)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)
SUBRESOURCES = (
    "/api/v1/namespaces/default/serviceaccounts/default/token",
    "/api/v1/namespaces/default/finalize",
    "/api/v1/namespaces/default/status",
    "/api/v1/namespaces/default/services/kubernetes/status",
    "/api/v1/namespaces/default/pods/x/binding",
    "/api/v1/namespaces/default/pods/x/eviction",
    "/api/v1/namespaces/default/pods/x/status",
    "/apis/apps/v1/namespaces/default/deployments/x/scale",
)
FIELDS = """
metadata spec status containers ports template selector name labels data finalizers ownerReferences
clusterIP clusterIPs ipFamilies type replicas volumes target boundObjectRef audiences deleteOptions
resourceAttributes nonResourceAttributes token user groups conditions uid annotations
"""
field_names = st.sampled_from(FIELDS.split())
shaped = st.recursive(
    json_values,
    lambda inner: st.dictionaries(field_names, inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=25,
)


APPLY = (("content-type", "application/apply-patch+yaml"),)
WRITTEN = (*(kind for kind in kinds.ALL if "create" in kind.verbs), *kinds.VIEWS)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents=st.lists(shaped, min_size=8, max_size=8), seed=st.integers(0, 1 << 30))
def test_arbitrary_objects_and_patches_never_break_the_server(
    world: Any, caplog: pytest.LogCaptureFixture, documents: list[Any], seed: int
) -> None:
    caplog.clear()

    async def story(w: Any) -> None:
        for n, document in enumerate(documents):
            kind = WRITTEN[(seed + n) % len(WRITTEN)]
            base = kind.path("default") if kind.namespaced else kind.path()
            named = {**document, "metadata": {"name": "x"}} if isinstance(document, dict) else document
            for body in (document, named):
                made = await w.ask("POST", base, body)
                assert made.status < 500 or made.status == 504, (kind.plural, body, made.body)
            for media in ("merge-patch", "strategic-merge-patch", "json-patch"):
                headers = (("content-type", f"application/{media}+json"),)
                patched = await w.ask("PATCH", f"{base}/x", document, headers=headers)
                assert patched.status < 500, (kind.plural, document, patched.body)
            wanted = (
                {**named, "apiVersion": kind.api_version, "kind": kind.kind}
                if isinstance(named, dict)
                else named
            )
            for body in (document, wanted):
                applied = await w.ask("PATCH", f"{base}/x?fieldManager=f", body, headers=APPLY)
                assert applied.status < 500, (kind.plural, body, applied.body)
            for path in SUBRESOURCES:
                for method in ("PUT", "POST", "PATCH"):
                    answer = await w.ask(method, path, document)
                    assert answer.status < 500, (method, path, document, answer.body)
            review = kinds.REVIEWS[(seed + n) % len(kinds.REVIEWS)]
            told = await w.ask("POST", review.path("default" if review.namespaced else ""), document)
            assert told.status < 500, (review.plural, document, told.body)
            listed = await w.ask("GET", f"{base}")
            assert listed.status == 200
            for table in ("Table", "PartialObjectMetadataList"):
                accept = f"application/json;as={table};v=v1;g=meta.k8s.io"
                shown = await w.ask("GET", base, headers=(("accept", accept),))
                assert shown.status == 200, (kind.plural, document)

    with caplog.at_level(logging.ERROR):
        world(story)
    assert not caplog.records, caplog.records[0].getMessage()


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200), number=st.integers(0, len(kinds.ALL) - 1), prefix=st.booleans())
def test_arbitrary_protobuf_is_read_or_refused(data: bytes, number: int, prefix: bool) -> None:
    envelope = b"k8s\0" + (b"\x12" + bytes([len(data) % 128]) + data if prefix else data)
    try:
        document = protobufs.decode(kinds.ALL[number].type, envelope)
    except errors.Rejected:
        return
    assert isinstance(document, dict)


MEDIA = (
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "text/plain",
    "application/json; charset=\xff",
)
pieces = st.sampled_from(
    [
        b"k8s\0",
        b"\x0a\x05\x0a\x02v1",
        b"\x12",
        b"\xff\xff\xff\xff\x0f",
        b"- {",
        b"&a [*a]",
        b"a: b\n",
        b"? ",
        b'{"a":',
    ]
)
bodies_ = st.lists(
    pieces | st.binary(max_size=12) | json_values.map(lambda v: json.dumps(v).encode()), max_size=6
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    bodies=st.lists(bodies_.map(b"".join), min_size=len(MEDIA), max_size=len(MEDIA)), seed=st.integers(0, 999)
)
def test_arbitrary_bytes_of_any_media_type_are_answered(
    world: Any, caplog: pytest.LogCaptureFixture, bodies: list[bytes], seed: int
) -> None:
    caplog.clear()

    async def story(w: Any) -> None:
        for n, (media, body) in enumerate(zip(MEDIA, bodies, strict=True)):
            kind = WRITTEN[(seed + n) % len(WRITTEN)]
            base = kind.path("default") if kind.namespaced else kind.path()
            headers = (("content-type", media),)
            for method, path in (
                ("POST", base),
                ("PUT", f"{base}/x"),
                ("PATCH", f"{base}/x?fieldManager=f"),
                ("DELETE", f"{base}/x"),
                ("POST", "/api/v1/namespaces/default/pods/x/eviction"),
                ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
            ):
                answer = await w.ask(method, path, body, headers=headers)
                assert answer.status < 500, (method, path, media, body, answer.body)
                assert answer.status < 300 or answer.body["kind"] == "Status"

    with caplog.at_level(logging.ERROR):
        world(story)
    assert not caplog.records, caplog.records[0].getMessage()


@settings(max_examples=50, deadline=None)
@given(
    listed=st.dictionaries(st.sampled_from(["resources", "kind"]), st.lists(shaped, max_size=3) | json_values)
)
def test_other_servers_may_say_anything_of_themselves(listed: Any) -> None:
    try:
        found = groups.resources("g", "v1", listed)
    except ValueError:
        return
    assert all(isinstance(one["resource"], str) for one in found)

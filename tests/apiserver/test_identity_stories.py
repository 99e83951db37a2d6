"""Who may ask: certificates and nothing else over the wire; what discovery and OpenAPI say."""

import base64
import json
import ssl
import time
from typing import Any

import pytest

from netemu.api import core, kinds
from netemu.apiserver import discovery, pki
from netemu.client import connect, errors
from netemu.http import messages


def test_a_certificate_says_who_asks(world: Any) -> None:
    async def story(w: Any) -> None:
        rows = [
            ("admin", ("system:masters",), 200),
            ("system:node:worker-1", ("system:nodes",), 200),
            ("system:kube-scheduler", (), 200),
            ("somebody", ("devs",), 403),
        ]
        for name, groups, code in rows:
            pair = w.client_pair(name, *groups)
            async with connect.over(w.url, w.authority.certificate, *pair) as client:
                answer = await client.raw("GET", "/api/v1/pods")
                assert answer.status == code, name
                version = await client.raw("GET", "/version")
                assert version.status == 200

    world(story)


def test_without_credentials_there_is_health_and_version_only(world: Any) -> None:
    async def story(w: Any) -> None:
        async with connect.over(w.url, w.authority.certificate) as nobody:
            rows = [
                ("/healthz", 200),
                ("/livez", 200),
                ("/readyz", 200),
                ("/version", 200),
                ("/api", 403),
                ("/openapi/v2", 403),
                ("/api/v1/pods", 403),
                ("/nonsense", 403),
            ]
            for path, code in rows:
                answer = await nobody.raw("GET", path)
                assert answer.status == code, path
            told = json.loads(await messages.whole(await nobody.raw("GET", "/api/v1/pods")))
            who = 'User "system:anonymous" cannot list resource "pods" in API group ""'
            assert told["message"] == f"pods is forbidden: {who} at the cluster scope"
            answer = await nobody.raw("GET", "/api/v1/pods", headers=(("authorization", "Bearer x"),))
            assert answer.status == 401
            assert json.loads(await messages.whole(answer))["reason"] == "Unauthorized"

    world(story)


def test_a_certificate_of_another_authority_is_not_taken(world: Any) -> None:
    async def story(w: Any) -> None:
        other = pki.ca("other", time.time())
        pair = pki.client(other, "admin", ["system:masters"], time.time())
        async with connect.over(w.url, w.authority.certificate, *pair) as client:
            with pytest.raises(errors.Unavailable):
                await client.raw("GET", "/api/v1/pods")
        async with connect.over(w.url, other.certificate) as client:
            with pytest.raises(errors.Unavailable, match="certificate"):
                await client.raw("GET", "/healthz")

    world(story)


def test_a_kubeconfig_is_enough(world: Any) -> None:
    async def story(w: Any) -> None:
        async with connect.from_kubeconfig(w.kubeconfig()) as client:
            found = await client.list(core.Namespace)
            assert next(n.metadata.name for n in found.items) == "default"
            with pytest.raises(errors.NotFound):
                await client.get(core.Namespace, "ghost")

    world(story)


def test_aggregated_and_legacy_discovery_agree(world: Any) -> None:
    async def story(w: Any) -> None:
        v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        beta = v2.replace("v=v2;", "v=v2beta1;")
        for accept, version in (
            (f"{v2},{beta},application/json", "v2"),
            (f"{beta},application/json", "v2beta1"),
        ):
            answer = await w.client.raw("GET", "/apis", headers=(("accept", accept),))
            media = answer.header("content-type")
            assert media == v2.replace("v=v2;", f"v={version};")
            assert json.loads(await messages.whole(answer))["apiVersion"] == f"apidiscovery.k8s.io/{version}"
            tag = answer.header("etag")
            again = await w.client.raw("GET", "/apis", headers=(("accept", accept), ("if-none-match", tag)))
            assert (again.status, again.body) == (304, b"")
        seen = set()
        for root in ("/api", "/apis"):
            whole = await w.ask("GET", root, headers=(("accept", v2),))
            for group in whole.body["items"]:
                for version in group["versions"]:
                    for resource in version["resources"]:
                        seen.add(
                            (group["metadata"].get("name", ""), version["version"], resource["resource"])
                        )
        assert seen == {(k.group, k.version, k.plural) for k in kinds.SERVED}
        assert (await w.ask("GET", "/api")).body["versions"] == ["v1"]
        legacy = set()
        for group in (await w.ask("GET", "/apis")).body["groups"]:
            for version in group["versions"]:
                listed = await w.ask("GET", f"/apis/{version['groupVersion']}")
                legacy |= {
                    (group["name"], version["version"], r["name"])
                    for r in listed.body["resources"]
                    if "/" not in r["name"]
                }
        core_list = (await w.ask("GET", "/api/v1")).body["resources"]
        legacy |= {("", "v1", r["name"]) for r in core_list if "/" not in r["name"]}
        assert legacy == seen
        eviction = next(r for r in core_list if r["name"] == "pods/eviction")
        assert (eviction["group"], eviction["version"], eviction["kind"]) == ("policy", "v1", "Eviction")
        assert (await w.ask("GET", "/apis/nothing.example/v1")).status == 404
        assert min(discovery.group_versions(kinds.SERVED)) == ""

    world(story)


def test_openapi_is_what_kubectl_insists_on(world: Any) -> None:
    async def story(w: Any) -> None:
        v2 = await w.client.raw("GET", "/openapi/v2")
        assert v2.header("content-type") == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
        assert len(await messages.whole(v2)) == 14
        index = (await w.ask("GET", "/openapi/v3")).body["paths"]
        assert {"api/v1", "apis/apps/v1"} <= index.keys()
        path, query = messages.split(index["apis/apps/v1"]["serverRelativeURL"])
        document = (await w.ask("GET", f"{path}?{query[0][0]}={query[0][1]}")).body
        patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
        assert patch["x-kubernetes-group-version-kind"] == {
            "group": "apps",
            "version": "v1",
            "kind": "Deployment",
        }
        assert "fieldValidation" in {p["name"] for p in patch["parameters"]}
        assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]
        assert (await w.ask("GET", "/openapi/v3/apis/nothing/v1")).status == 404

    world(story)


def test_certificates_say_what_they_are_for() -> None:
    from cryptography import x509

    now = 1_800_000_000.0
    authority = pki.ca("lab", now)
    pair = pki.client(authority, "system:node:a", ["system:nodes", "b"], now)
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    certificate.verify_directly_issued_by(issuer)
    assert certificate.subject.rfc4514_string() == "CN=system:node:a,O=b,O=system:nodes"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [oid.dotted_string for oid in usage] == ["1.3.6.1.5.5.7.3.2"]  # clientAuth
    assert certificate.not_valid_before_utc.timestamp() <= now
    assert certificate.not_valid_after_utc.timestamp() > now + 9 * 365 * 86400
    assert pair.key.startswith(b"-----BEGIN PRIVATE KEY")
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    assert context.cert_store_stats()["x509_ca"] >= 1


def test_whoever_wants_can_verify_tokens(world: Any) -> None:
    """By the issuer's discovery document and its keys (RFC 7517)."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    def number(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    async def story(w: Any) -> None:
        issuer = (await w.ask("GET", "/.well-known/openid-configuration")).body
        assert issuer["jwks_uri"] == "https://172.18.0.2:6443/openid/v1/jwks"
        answer = await w.ask("GET", "/openid/v1/jwks")
        assert dict(answer.headers)["content-type"] == "application/jwk-set+json"
        (key,) = answer.body["keys"]
        path = "/api/v1/namespaces/default/serviceaccounts/default/token"
        token = (await w.make(path, {}))["status"]["token"]
        head, body, signature = token.split(".")
        assert json.loads(number(head))["kid"] == key["kid"]
        assert json.loads(number(body))["iss"] == issuer["issuer"]
        x, y = (int.from_bytes(number(key[axis]), "big") for axis in ("x", "y"))
        raw = number(signature)
        public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        pair = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        public.verify(pair, f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))

    world(story)

"""APIServices: groups that another server answers for, as if they were this one's own."""

import asyncio
import base64
import contextlib
import ipaddress
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from netemu.apiserver import pki
from netemu.http import messages

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
NAME, GROUP, VERSION = "v1alpha1.stars.example.com", "stars.example.com", "v1alpha1"
BASE = f"/apis/{GROUP}/{VERSION}"
RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": f"{GROUP}/{VERSION}",
    "resources": [
        {"name": "stars/status", "namespaced": True, "kind": "Star", "verbs": ["get"], "singularName": ""},
        {"name": "stars", "namespaced": True, "kind": "Star", "verbs": ["get", "list"], "shortNames": ["st"]},
    ],
}
LISTED = {"kind": "StarList", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}, "items": []}
SCHEMA = {"openapi": "3.0.0", "info": {"title": "stars", "version": "1"}, "paths": {}, "components": {}}


class Stars:
    """A server of one group. It believes the front proxy's certificate, and what that says of users."""

    def __init__(self, world: Any) -> None:
        self._authority = world.authority
        self.asked: list[messages.Request] = []
        self.healthy = True
        self.garbage = b""
        self.port = 0

    async def handle(self, request: messages.Request) -> messages.Response:
        if request.peer.common_name != pki.FRONT_PROXY:
            return messages.Response(401)
        self.asked.append(request)
        said: Any = {BASE: RESOURCES, f"{BASE}/stars": LISTED, f"/openapi/v3{BASE}": SCHEMA}.get(request.path)
        if request.parameter("watch"):
            return messages.Response(200, (("content-type", "application/json"),), self._watch())
        if self.garbage:
            return messages.Response(200, (("content-type", "application/json"),), self.garbage)
        if said is None or not self.healthy:
            return messages.Response(404 if self.healthy else 500)
        return messages.Response(200, (("content-type", "application/json"),), json.dumps(said).encode())

    async def _watch(self) -> Any:
        yield b'{"type":"ADDED","object":{}}\n'
        await asyncio.Event().wait()

    def registration(self, **spec: Any) -> dict[str, Any]:
        return {
            "kind": "APIService",
            "apiVersion": "apiregistration.k8s.io/v1",
            "metadata": {"name": NAME},
            "spec": {
                "group": GROUP,
                "version": VERSION,
                "groupPriorityMinimum": 2000,
                "versionPriority": 10,
                "service": {"namespace": "default", "name": "stars", "port": self.port},
                "caBundle": base64.b64encode(self._authority.certificate).decode(),
                **spec,
            },
        }

    async def announce(self, w: Any) -> None:
        """Its Service, and an endpoint: where requests go is the Service's address, here the loopback's."""
        ports = [{"name": "https", "port": self.port}]
        stars = w.service("stars", clusterIP="127.0.0.9", ports=ports)
        await w.make("/api/v1/namespaces/default/services", stars)
        await w.make(
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            {
                "metadata": {"name": "stars-1", "labels": {"kubernetes.io/service-name": "stars"}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["10.244.1.9"]}],
                "ports": [{"name": "https", "port": 8443, "protocol": "TCP"}],
            },
        )


@contextlib.asynccontextmanager
async def risen(world: Any) -> AsyncIterator[Stars]:
    """That server, running."""
    stars = Stars(world)
    async with world.beside(stars.handle, "stars.default.svc", address="127.0.0.9") as stars.port:
        yield stars


async def available(w: Any, reason: str, name: str = NAME) -> Any:
    """Wait until the APIService says so."""
    while True:
        found = await w.ask("GET", f"{SERVICES}/{name}")
        status = found.body.get("status", {}) if found.status == 200 else {}
        for one in status.get("conditions", ()):
            if (one["type"], one["reason"]) == ("Available", reason):
                return one
        await asyncio.sleep(0.01)


def loopback(world: Any, story: Any) -> None:
    world(story, service_cidrs=(ipaddress.IPv4Network("127.0.0.0/24"),))


def test_another_servers_group_is_part_of_the_api(world: Any) -> None:
    async def story(w: Any) -> None:
        async with risen(w) as stars:
            await w.make(SERVICES, stars.registration())
            assert "not present" in (await available(w, "ServiceNotFound"))["message"]
            assert (await w.ask("GET", f"{BASE}/stars")).status == 503
            await stars.announce(w)
            assert (await available(w, "Passed"))["status"] == "True"
            stars.asked.clear()
            refused = await w.ask("GET", f"{BASE}/stars", headers=(("impersonate-user", "ann"),))
            assert (refused.status, stars.asked) == (403, [])
            ann = (("impersonate-user", "ann"), ("impersonate-group", "system:masters"))
            sly = (("x-remote-user", "root"), ("accept", "application/json"), *ann)
            assert (await w.ask("GET", f"{BASE}/stars?limit=5", headers=sly)).body == LISTED
            (asked,) = stars.asked
            assert asked.header("x-remote-user") == "ann"
            assert asked.header("x-remote-group") == "system:masters, system:authenticated"
            assert (asked.header("impersonate-user"), asked.query) == ("", (("limit", "5"),))
            assert (await w.ask("GET", BASE)).body == RESOURCES
            groups = (await w.ask("GET", "/apis")).body["groups"]
            names = [group["name"] for group in groups]
            assert names[0] == "apiregistration.k8s.io"
            assert names[-1] == GROUP
            assert (await w.ask("GET", f"/apis/{GROUP}")).body["preferredVersion"]["version"] == VERSION
            schemas = (await w.ask("GET", "/openapi/v3")).body["paths"]
            there = schemas[f"apis/{GROUP}/{VERSION}"]["serverRelativeURL"]
            assert (await w.ask("GET", there)).body == SCHEMA
            answer = await w.client.raw("GET", f"{BASE}/stars", query=(("watch", "1"),))
            assert json.loads(await anext(answer.body))["type"] == "ADDED"
            await answer.body.aclose()
            await w.ask("DELETE", f"{SERVICES}/{NAME}")
            assert (await w.ask("GET", f"{BASE}/stars")).status == 404
            assert GROUP not in [g["name"] for g in (await w.ask("GET", "/apis")).body["groups"]]

    loopback(world, story)


def test_aggregated_discovery_shows_its_resources_or_that_they_are_stale(world: Any) -> None:
    async def story(w: Any) -> None:
        accept = (("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),)

        async def shown() -> Any:
            items = (await w.ask("GET", "/apis", headers=accept)).body["items"]
            return next(one for one in items if one["metadata"].get("name") == GROUP)["versions"][0]

        async with risen(w) as stars:
            await stars.announce(w)
            await w.make(SERVICES, stars.registration())
            await available(w, "Passed")
            found = await shown()
            assert found["freshness"] == "Current"
            (resource,) = found["resources"]
            assert (resource["resource"], resource["scope"], resource["shortNames"]) == (
                "stars",
                "Namespaced",
                ["st"],
            )
            assert resource["subresources"][0]["subresource"] == "status"
            stars.garbage = b"{"
            while (await shown())["freshness"] != "Stale":
                w.clock.advance(31)
                await asyncio.sleep(0.01)
            stars.garbage = b""
            while (await shown())["freshness"] != "Current":
                w.clock.advance(31)
                await asyncio.sleep(0.01)
            stars.healthy = False
            while (await shown())["freshness"] != "Stale":
                w.clock.advance(31)
                await asyncio.sleep(0.01)
            assert (await available(w, "FailedDiscoveryCheck"))["reason"] == "FailedDiscoveryCheck"
            assert (await shown())["resources"] == []
            other = pki.ca("other", time.time())
            bundle = base64.b64encode(other.certificate).decode()
            stars.healthy = True
            await w.ask("PATCH", f"{SERVICES}/{NAME}", {"spec": {"caBundle": bundle}})
            while "certificate" not in (await available(w, "FailedDiscoveryCheck"))["message"]:
                await asyncio.sleep(0.01)
            trusting = {"spec": {"caBundle": None, "insecureSkipTLSVerify": True}}
            await w.ask("PATCH", f"{SERVICES}/{NAME}", trusting)
            await available(w, "Passed")
            await w.ask("DELETE", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/stars-1")
            assert "have no addresses" in (await available(w, "MissingEndpoints"))["message"]

    loopback(world, story)


def test_its_own_groups_have_apiservices(world: Any) -> None:
    async def story(w: Any) -> None:
        found = {one["metadata"]["name"]: one for one in (await w.ask("GET", SERVICES)).body["items"]}
        assert {"v1.", "v1.apps", "v2.autoscaling"} <= found.keys()
        assert "v1.apiregistration.k8s.io" not in found
        assert found["v1.apps"]["status"]["conditions"][0]["reason"] == "Local"
        own = {"metadata": {"name": "v9.apps"}, "spec": {"group": "apps", "version": "v9"}}
        own["spec"] |= {"groupPriorityMinimum": 1, "versionPriority": 1}
        await w.make(SERVICES, own)
        assert (await available(w, "Local", "v9.apps"))["status"] == "True"
        await w.make("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", DEFINITION)
        assert (await available(w, "Local", "v1.example.com"))["status"] == "True"
        await w.ask("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/wheels.example.com")
        while (await w.ask("GET", f"{SERVICES}/v1.example.com")).status != 404:
            await asyncio.sleep(0.01)

    world(story)


DEFINITION = {
    "metadata": {"name": "wheels.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "wheels", "kind": "Wheel"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object"}},
            }
        ],
    },
}


def test_bad_registrations_are_refused(world: Any) -> None:
    async def story(w: Any) -> None:
        async with risen(w) as stars:
            for spec, field in (
                ({"group": "other"}, "metadata.name"),
                ({"insecureSkipTLSVerify": True}, "spec.insecureSkipTLSVerify"),
                ({"service": None}, "spec.service"),
                ({"service": {"name": "x"}}, "spec.service.namespace"),
                ({"versionPriority": 0}, "spec.versionPriority"),
            ):
                refused = await w.ask("POST", SERVICES, stars.registration(**spec))
                assert refused.status == 422, spec
                assert field in [cause["field"] for cause in refused.body["details"]["causes"]], spec

    world(story)

"""APIServices at work: which there are, whether their servers can be asked, and requests passed on to them.

What an APIService's server says of itself is fetched when it is checked, and kept for discovery and OpenAPI.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from netemu.api import core, discovery, extensions, kinds, wellknown
from netemu.apiserver import authentication, cache, callbacks, priorities, relaying, statuses
from netemu.apiserver.aggregation import groups
from netemu.apiserver.pki import Pair
from netemu.base import clock as clocks
from netemu.base import errors
from netemu.client import api
from netemu.http import client, messages, tls, upgrades

_log = logging.getLogger("apiserver")
_AGAIN = 30.0  # seconds between checks when nothing has changed
_PATIENCE = 5.0  # seconds for a server to answer a check
_SERVICES, _SLICES = kinds.of(core.Service), kinds.of(discovery.EndpointSlice)
_MERGE = (("content-type", "application/merge-patch+json"),)
_JSON = (("content-type", "application/json"),)
_ACCEPT = (("accept", "application/json"),)
_UNREADABLE = (msgspec.DecodeError, RecursionError)
_ITSELF = authentication.User("system:kube-aggregator", ("system:masters",))
_TRUSTED = ("x-remote-", "impersonate-")
_TEXT = (("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff"))


class _Way(NamedTuple):
    """How an APIService's server is reached."""

    place: callbacks.Place
    bundle: str
    unverified: bool


class Registry:
    """The APIServices in the cache. `remotes` is a new tuple whenever what is known of one changes."""

    def __init__(
        self,
        caches: cache.Cache,
        served: Callable[[], Iterable[kinds.Kind]],
        clock: clocks.Clock,
        identity: Pair | None,
    ) -> None:
        """`served`: the kinds the server itself answers for; `identity`: its certificate as a front proxy."""
        self._caches = caches
        self._served = served
        self._clock = clock
        self._identity = identity
        self._specs: dict[tuple[str, str], statuses.Document] = {}
        self._known: dict[tuple[str, str], groups.Remote] = {}
        self._pools: dict[_Way, client.Connections] = {}
        self._wake = asyncio.Event()
        self._wake.set()
        self._heard = [
            (caches.of(groups.KIND), self._changed),
            (caches.of(kinds.of(extensions.CustomResourceDefinition)), self._stirred),
            (caches.of(_SERVICES), self._service_changed),
            (caches.of(_SLICES), self._slice_changed),
        ]
        for entry in caches.of(groups.KIND).all():
            self._take(entry.document())
        for collection, listener in self._heard:
            collection.listen(listener)
        self.remotes: tuple[groups.Remote, ...] = ()
        self._publish()

    async def close(self) -> None:
        """Hear of nothing more, and end every connection."""
        for collection, listener in self._heard:
            collection.leave(listener)
        for pool in self._pools.values():
            await pool.close()

    # -- what there is

    def _changed(self, event: cache.Event) -> None:
        spec = event.entry.document().get("spec") or {}
        if event.type == "DELETED":
            place = spec.get("group", ""), spec.get("version", "")
            self._specs.pop(place, None)
            if self._known.pop(place, None):
                self._publish()
        elif event.previous is None or event.previous.document().get("spec") != spec:
            self._take(event.entry.document())
        else:
            return  # our own note of how it is
        self._wake.set()

    def _take(self, document: statuses.Document) -> None:
        spec = document.get("spec") or {}
        place = spec.get("group", ""), spec.get("version", "")
        before = self._known.pop(place, None)
        self._specs.pop(place, None)
        if spec.get("service"):
            self._specs[place] = spec
            wanted = priorities.Priority(spec.get("groupPriorityMinimum", 0), spec.get("versionPriority", 0))
            self._known[place] = groups.Remote(*place, wanted)
        if before or spec.get("service"):
            self._publish()

    def _publish(self) -> None:
        self.remotes = tuple(self._known.values())

    def _stirred(self, event: cache.Event) -> None:
        self._wake.set()

    def _service_changed(self, event: cache.Event) -> None:
        self._look(event.entry.namespace, event.entry.name)

    def _slice_changed(self, event: cache.Event) -> None:
        self._look(event.entry.namespace, event.entry.labels.get(wellknown.SERVICE_NAME, ""))

    def _look(self, namespace: str, service: str) -> None:
        for spec in self._specs.values():
            wanted = spec["service"]
            if (wanted.get("namespace"), wanted.get("name")) == (namespace, service):
                self._wake.set()

    # -- how it is

    async def run(self, writer: api.Client) -> None:
        """Forever: check who can be asked, write it into the APIServices, and keep our own up to date."""
        while True:
            self._wake.clear()
            await self._keep(writer)
            await asyncio.gather(*(self._check(place, writer) for place in tuple(self._specs)))
            await self._local(writer)
            waiting = asyncio.ensure_future(self._wake.wait())
            again = asyncio.ensure_future(self._clock.sleep(_AGAIN))
            try:
                await asyncio.wait((waiting, again), return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                again.cancel()

    async def _keep(self, writer: api.Client) -> None:
        """Custom groups and versions have an APIService while they are served."""
        wanted = {f"{version}.{group}": (group, version) for group, version in groups.own(self._served())}
        there = {
            entry.name: entry.labels.get(groups.AUTOMATIC) for entry in self._caches.of(groups.KIND).all()
        }
        path = groups.KIND.path()
        for name, place in wanted.items():
            if name not in there and priorities.of(*place) == priorities.CUSTOM:
                now = clocks.rfc3339(self._clock.now())
                body = msgspec.json.encode(groups.local(*place, groups.WHILE_SERVED, now))
                await writer.raw("POST", path, body=body, headers=_JSON)
        for name, kept in there.items():
            if kept == groups.WHILE_SERVED and name not in wanted:
                await writer.raw("DELETE", f"{path}/{name}")

    async def _local(self, writer: api.Client) -> None:
        for entry in tuple(self._caches.of(groups.KIND).all()):
            document = entry.document()
            if not (document.get("spec") or {}).get("service"):
                await self._tell(document, groups.LOCAL, writer)

    async def _check(self, place: tuple[str, str], writer: api.Client) -> None:
        spec = self._specs[place]
        verdict, learned = await self._verdict(place, spec)
        if self._specs.get(place) is not spec:
            return
        before = self._known[place]
        resources, schema = learned or (before.resources, before.schema)
        now = groups.Remote(*place, before.priority, resources, schema, learned is not None)
        if (now.resources, now.schema, now.fresh) != (before.resources, before.schema, before.fresh):
            self._known[place] = now
            self._publish()
        entry = self._caches.of(groups.KIND).get("", f"{place[1]}.{place[0]}")
        if entry is not None:
            await self._tell(entry.document(), verdict, writer)

    async def _verdict(
        self, place: tuple[str, str], spec: statuses.Document
    ) -> tuple[groups.Verdict, tuple[Any, bytes] | None]:
        """Whether the server can be asked; its resources and its schema if it can."""
        wanted = spec["service"]
        namespace = wanted.get("namespace", "")
        found = self._caches.of(_SERVICES).get(namespace, wanted.get("name", ""))
        slices = (entry.document() for entry in self._caches.of(_SLICES).all(namespace))
        why = groups.service_verdict(wanted, found.document() if found else None, slices)
        if why is not None:
            return why, None
        path = f"/apis/{place[0]}/{place[1]}"
        try:
            async with asyncio.timeout(_PATIENCE):
                listed = await self._fetch(spec, path)
                learned = groups.resources(*place, msgspec.json.decode(listed))
                try:
                    schema = await self._fetch(spec, f"/openapi/v3{path}")
                except callbacks.Failed:
                    schema = b""  # it may have none
            return groups.PASSED, (learned, schema)
        except (callbacks.Failed, errors.NetemuError, ValueError, TimeoutError, *_UNREADABLE) as error:
            said = str(error) or "no answer in time"
            message = f"failing or missing response from {self._shown(spec, path)}: {said}"
            return groups.Verdict("False", "FailedDiscoveryCheck", message), None

    async def _fetch(self, spec: statuses.Document, path: str) -> bytes:
        request = messages.Request("GET", path, (), (*_ACCEPT, *_identified(_ITSELF)))
        answer = await self._pool(spec).send(request)
        raw = await messages.whole(answer, limit=1 << 24)
        if answer.status != 200:
            raise callbacks.Failed(f"bad status from {self._shown(spec, path)}: {answer.status}")
        return raw

    def _shown(self, spec: statuses.Document, path: str) -> str:
        wanted = spec["service"]
        name = f"{wanted.get('name', '')}.{wanted.get('namespace', '')}.svc"
        return f"https://{name}:{wanted.get('port') or 443}{path}"

    async def _tell(self, document: statuses.Document, verdict: groups.Verdict, writer: api.Client) -> None:
        before = groups.told(document)
        now = groups.condition(verdict, clocks.rfc3339(self._clock.now()), before)
        if now == before:
            return
        rest = [one for one in (document.get("status") or {}).get("conditions") or () if one is not before]
        body = msgspec.json.encode({"status": {"conditions": [*rest, now]}})
        path = groups.KIND.path("", document["metadata"]["name"], "status")
        answer = await writer.raw("PATCH", path, body=body, headers=_MERGE)
        if answer.status not in (200, 404, 409):
            _log.warning("APIService path=%s status=%d", path, answer.status)

    # -- requests passed on

    def owns(self, path: str) -> bool:
        """Whether another server answers for this path."""
        return bool(self._specs) and self._place(path) in self._specs

    @staticmethod
    def _place(path: str) -> tuple[str, str]:
        parts = path.split("/", 4)
        return (parts[2], parts[3]) if len(parts) > 3 and parts[1] == "apis" else ("", "")

    async def answer(self, request: messages.Request, user: authentication.User) -> messages.Response:
        """What the other server answers; it trusts our certificate and takes the user from header fields."""
        place = self._place(request.path)
        spec = self._specs[place]
        if not self._known[place].fresh:
            return messages.Response(503, _TEXT, b"service unavailable\n")
        headers = (*relaying.forward(request, without=_TRUSTED), *_identified(user))
        asked = messages.Request(request.method, request.path, request.query, headers, request.body)
        try:
            if upgrades.wanted(request):
                way = self._way(spec)
                found = way.place
                return await upgrades.ask(found.host, found.port, self._context(way), asked, name=found.name)
            response = await relaying.send(self._pool(spec), asked)
        except (callbacks.Failed, errors.NetemuError) as error:
            self._wake.set()
            text = f"error trying to reach service: {error}\n"
            return messages.Response(503, _TEXT, text.encode())
        return messages.Response(response.status, relaying.returned(response), response.body)

    def _way(self, spec: statuses.Document) -> _Way:
        wanted = spec["service"]
        place = callbacks.service(
            self._caches, wanted.get("namespace", ""), wanted.get("name", ""), wanted.get("port") or 443
        )
        return _Way(place, spec.get("caBundle") or "", bool(spec.get("insecureSkipTLSVerify")))

    def _context(self, way: _Way) -> Any:
        shown = self._identity or (None, None)
        try:
            if way.unverified:
                return tls.unverified(*shown)
            pem = base64.b64decode(way.bundle) if way.bundle else None
            return tls.client(pem, *shown)
        except (binascii.Error, errors.Rejected) as error:
            raise callbacks.Failed(f"unable to load root certificates: {error}") from None

    def _pool(self, spec: statuses.Document) -> client.Connections:
        way = self._way(spec)
        pool = self._pools.get(way)
        if pool is None:
            dial = (way.place.host, way.place.port)
            pool = client.Connections(way.place.url, self._context(way), dial=dial)
            self._pools[way] = pool
        return pool


def _identified(user: authentication.User) -> messages.Fields:
    """Who asks, as a front proxy says it (k8s.io/client-go transport.SetAuthProxyHeaders)."""
    about = [("x-remote-user", user.name), *(("x-remote-group", group) for group in user.groups)]
    if user.uid:
        about.append(("x-remote-uid", user.uid))
    for key, values in user.extra:
        about += [(f"x-remote-extra-{quote(key.lower(), safe='')}", value) for value in values]
    return tuple(about)

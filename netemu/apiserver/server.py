"""The API server: its parts put together, and what every request passes on its way to a verb.

Authentication, authorization, routing; a refusal becomes a Status, and so does a bug (500, logged). Opens no
file and no socket: it is handed a store, an identity and listening sockets.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from netemu.api import core, kinds
from netemu.apiserver import (
    allocations,
    authentication,
    authorization,
    bootstrap,
    bootstraptokens,
    cache,
    callbacks,
    catalogs,
    compressing,
    contexts,
    definitions,
    discovery,
    expiring,
    impersonation,
    openapi,
    paths,
    pki,
    statuses,
    tokens,
    upkeep,
    verbs,
)
from netemu.apiserver.admission import quotas, webhooks
from netemu.apiserver.aggregation import registry
from netemu.apiserver.rbac import authorizer as rbac
from netemu.apiserver.subresources import accounts
from netemu.base import clock
from netemu.client import api
from netemu.http import messages, server, tls
from netemu.store import revisions

_log = logging.getLogger("apiserver")
_ROOT = authentication.User("system:apiserver", ("system:masters", authentication.AUTHENTICATED))
_KEYS, _ISSUER = "/openid/v1/jwks", "/.well-known/openid-configuration"
_HEALTH = ("/healthz", "/livez", "/readyz")
_TEXT = (("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff"))
_COMPACT_EVERY = 60.0


@dataclass(frozen=True)
class Identity:
    """The server's credentials, PEM: the lab's CA (clients' certificates must be its), its own certificate,
    the one it shows to kubelets, and the key that signs service-account tokens.

    `front_proxy` is what it shows to the servers behind APIServices, which trust it to say who asks."""

    ca: bytes
    server: pki.Pair
    kubelet_client: pki.Pair | None
    account_key: bytes
    front_proxy: pki.Pair | None = None


class ApiServer:
    """One API server. `handle` answers any request; `start` also listens."""

    def __init__(
        self,
        store: revisions.Store,
        identity: Identity,
        config: contexts.Config,
        clock: clock.Clock,
        *,
        authorizer: authorization.Authorizer | None = None,
        rng: random.Random | None = None,
    ) -> None:
        rng = rng or random.Random()  # names and uids need luck, not secrecy: credentials never come from it
        caches = cache.Cache(store, kinds.ALL)
        asking = callbacks.Callbacks(caches)
        issuer = tokens.Issuer(identity.account_key, clock)
        self._identity = identity
        catalog = catalogs.Catalog()
        self._registry = registry.Registry(caches, lambda: catalog.served, clock, identity.front_proxy)
        self._parts = contexts.Parts(
            config=config,
            store=store,
            cache=caches,
            catalog=catalog,
            clock=clock,
            rng=rng,
            issuer=issuer,
            authenticator=authentication.Authenticator(
                issuer,
                lambda claims: accounts.alive(self._parts, claims),
                lambda token: bootstraptokens.user(caches, clock.now(), token),
            ),
            authorizer=authorizer or rbac.Authorizer(caches),
            services=allocations.Services(
                config.service_cidrs, config.node_ports, caches.of(kinds.of(core.Service)), rng
            ),
            quotas=quotas.Books(caches),
            callbacks=asking,
            webhooks=webhooks.Webhooks(caches, catalog, asking, rng),
            kubelet_tls=tls.client(identity.ca, *identity.kubelet_client)
            if identity.kubelet_client
            else None,
        )
        self._definitions = definitions.Definitions(caches, catalog, store, clock, asking=asking, rng=rng)
        self._http: server.Server | None = None
        self._keep = upkeep.Upkeep(store, caches, self._parts.quotas, clock)
        self._tasks: list[asyncio.Task[None]] = []
        self._ready = False

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Make what every cluster has, then answer on the bound sockets (TLS)."""
        await self.prepare()
        itself = self.local_client(_ROOT.name, _ROOT.groups)
        loops = (
            self._forget(),
            self._keep.run(itself),
            self._definitions.run(itself),
            self._registry.run(itself),
        )
        self._tasks = [asyncio.create_task(loop) for loop in loops]
        for task in self._tasks:
            task.add_done_callback(_told)
        context = tls.server(*self._identity.server, self._identity.ca)
        self._http = await server.serve(self.handle, sockets, context, refuse=statuses.refuse)
        self._ready = True

    async def prepare(self) -> None:
        """Make what every cluster has."""
        await bootstrap.seed(self._parts)
        await bootstrap.run(self.local_client(_ROOT.name, _ROOT.groups), self._parts.config)

    async def stop(self) -> None:
        """End every connection and watch. The store stays open: it is its owner's."""
        self._ready = False
        if self._http is not None:
            await self._http.close(grace=0.2)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._definitions.close()
        await self._registry.close()
        self._keep.close()
        await self._parts.callbacks.close()
        self._parts.cache.close()

    def addresses(self) -> tuple[tuple[str, int], ...]:
        """(address, port) of every listener."""
        return self._http.addresses() if self._http else ()

    def local_client(
        self,
        user: str = "system:kube-controller-manager",
        groups: Sequence[str] = (authentication.AUTHENTICATED,),
    ) -> api.Client:
        """A client in the same process: the same answers to the same requests, without sockets."""
        return api.Client(_Local(self, authentication.User(user, tuple(groups))), user_agent=user)

    async def handle(
        self, request: messages.Request, user: authentication.User | None = None
    ) -> messages.Response:
        """Answer a request; never raises."""
        try:
            answer = await self._answer(request, user or self._parts.authenticator.user(request))
            return await compressing.fit(request, answer)
        except statuses.Refusal as refusal:
            return refusal.response()
        except revisions.Failed as error:
            _log.error("store failed path=%s error=%s", request.path, error)
            return statuses.unavailable(error.message).response()
        except Exception:  # the edge: a bug fails one request and is told
            _log.exception("bug method=%s path=%s", request.method, request.path)
            return statuses.internal("see the server's log").response()

    async def _answer(self, request: messages.Request, user: authentication.User) -> messages.Response:
        user = impersonation.user(self._parts.authorizer, request, user)
        target = paths.parse(request)
        asked = authorization.attributes(target)
        if not self._parts.authorizer.allowed(user, asked):
            raise authorization.refusal(user, asked)
        if self._registry.owns(target.path):
            return await self._registry.answer(request, user)
        if target.resource:
            return await verbs.answer(self._parts, request, target, user)
        return self._about_itself(request)

    def _about_itself(self, request: messages.Request) -> messages.Response:
        path = request.path.rstrip("/")
        found: messages.Response | None = None
        if path in _HEALTH or path.startswith(tuple(f"{p}/" for p in _HEALTH)):
            ready = self._ready or not path.startswith("/readyz")
            return messages.Response(200 if ready else 500, _TEXT, b"ok" if ready else b"not ready")
        if path == "/version":
            body = msgspec.json.encode(_version(self._parts.config.git_version))
            return messages.Response(200, (("content-type", statuses.JSON),), body)
        if path in (_KEYS, _ISSUER):
            return self._about_tokens(path)
        if path == "":
            body = msgspec.json.encode({"paths": ["/api", "/apis", "/healthz", "/openapi/v3", "/version"]})
            return messages.Response(200, (("content-type", statuses.JSON),), body)
        if path.startswith("/openapi/"):
            found = openapi.answer(request, self._parts.catalog.served, self._registry.remotes)
        elif path.startswith("/api"):
            found = discovery.answer(request, self._parts.catalog.served, self._registry.remotes)
        return found or messages.Response(404, _TEXT, b"404 page not found\n")

    def _about_tokens(self, path: str) -> messages.Response:
        if path == _KEYS:
            body, media = self._parts.issuer.keys(), "application/jwk-set+json"
        else:
            config = self._parts.config
            base = f"https://{config.endpoints[0]}:{config.port}" if config.endpoints else tokens.ISSUER
            body, media = tokens.discovery(f"{base}{_KEYS}"), statuses.JSON
        return messages.Response(200, (("content-type", media),), msgspec.json.encode(body))

    async def _forget(self) -> None:
        """Compact, once a minute, what happened longer ago than anybody should need it."""
        parts, marks, events = self._parts, deque[tuple[float, int]](), expiring.Expiry(self._parts)
        while True:
            now = parts.clock.monotonic()
            marks.append((now, parts.store.revision))
            due = 0
            while marks and marks[0][0] <= now - parts.config.remember:
                due = marks.popleft()[1]
            if due:
                try:
                    await parts.store.compact(due)
                    parts.cache.forget(due)
                    await events.look()
                except revisions.Failed as error:
                    _log.warning("compaction failed error=%s", error)
            await parts.clock.sleep(_COMPACT_EVERY)


def _told(task: asyncio.Task[None]) -> None:
    """A loop that ends by itself has a bug."""
    if not task.cancelled() and (bug := task.exception()) is not None:
        _log.error("bug in a loop of the server", exc_info=bug)


class _Local:
    """A transport to a server in the same process."""

    def __init__(self, server: ApiServer, user: authentication.User) -> None:
        self._server = server
        self._user = user

    async def send(self, request: messages.Request) -> messages.Response:
        return await self._server.handle(request, self._user)


def _version(git_version: str) -> dict[str, str]:
    major, minor = git_version.lstrip("v").split(".")[:2]
    return {
        "major": major,
        "minor": minor,
        "gitVersion": git_version,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "2025-05-15T08:00:00Z",
        "goVersion": "go1.24",
        "compiler": "gc",
        "platform": "linux/amd64",
    }

"""Asking somebody outside to judge or convert: a review posted over HTTPS, to a URL or to a Service.

Knows TLS, Services' addresses and `clientConfig` (admission and conversion webhooks have the same); does not
know what is asked. Connections are kept.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Any, NamedTuple

from netemu.api import core, kinds
from netemu.apiserver import cache, statuses
from netemu.base import errors
from netemu.http import client, messages, tls

_JSON = (("content-type", "application/json"), ("accept", "application/json"))
_SERVICE = kinds.of(core.Service)


class Failed(Exception):
    """Nobody could be asked, or the answer was not what it must be."""


class Place(NamedTuple):
    """A Service as the server reaches it: the name its certificate has, and where to connect to."""

    name: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """By the name."""
        return f"https://{self.name}:{self.port}"


class _Target(NamedTuple):
    url: str
    bundle: str
    dial: tuple[str, int] | None


def service(caches: cache.Cache, namespace: str, name: str, port: int) -> Place:
    """Where a Service is: at its cluster IP, or at its external name (k8s.io/apiserver proxy.ResolveCluster).
    Failed."""
    found = caches.of(_SERVICE).get(namespace, name)
    if found is None:
        raise Failed(f'service "{name}" not found')
    spec = found.document().get("spec", {})
    known = f"{name}.{namespace}.svc"
    if spec.get("type") == "ExternalName":
        return Place(known, spec.get("externalName", ""), port)
    address = spec.get("clusterIP", "")
    if address in ("", "None"):
        raise Failed(f'service "{name}" has no cluster IP')
    return Place(known, address, port)


class Callbacks:
    """Connections to those who are asked."""

    def __init__(self, caches: cache.Cache) -> None:
        self._caches = caches
        self._pools: dict[_Target, client.Connections] = {}

    async def ask(
        self, about: statuses.Document, body: bytes, timeout: float, *, told: bool = False
    ) -> bytes:
        """What they answer with 200. `about` is a clientConfig, `timeout` in seconds; whether they are `told`
        of it. Failed."""
        target, path = self._target(about)
        query = (("timeout", f"{timeout:g}s"),) if told else ()
        request = messages.Request("POST", path, query, _JSON, body)
        url = f"{target.url}{request.target()}"
        try:
            async with asyncio.timeout(timeout):
                answer = await self._pool(target).send(request)
                raw = await messages.whole(answer)
        except TimeoutError:
            raise Failed(f'failed to call webhook: Post "{url}": context deadline exceeded') from None
        except errors.NetemuError as error:
            raise Failed(f'failed to call webhook: Post "{url}": {error.message}') from None
        if answer.status != 200:
            raise Failed(f"failed to call webhook: the server answered {answer.status}")
        return raw

    async def close(self) -> None:
        """End every connection."""
        for pool in self._pools.values():
            await pool.close()

    def _target(self, about: statuses.Document) -> tuple[_Target, str]:
        bundle = about.get("caBundle") or ""
        if about.get("url"):
            scheme, _, rest = about["url"].partition("://")
            host, slash, path = rest.partition("/")
            return _Target(f"{scheme}://{host}", bundle, None), slash + path or "/"
        wanted: dict[str, Any] = about.get("service") or {}
        try:
            place = service(
                self._caches, wanted.get("namespace", ""), wanted.get("name", ""), wanted.get("port") or 443
            )
        except Failed as failure:
            raise Failed(f"failed to call webhook: {failure}") from None
        return _Target(place.url, bundle, (place.host, place.port)), wanted.get("path") or "/"

    def _pool(self, target: _Target) -> client.Connections:
        pool = self._pools.get(target)
        if pool is None:
            try:
                pem = base64.b64decode(target.bundle) if target.bundle else None
                context = tls.client(pem) if target.url.startswith("https") else None
            except (binascii.Error, errors.Rejected) as error:
                raise Failed(f"unable to load root certificates: {error}") from None
            pool = self._pools[target] = client.Connections(target.url, context, dial=target.dial)
        return pool

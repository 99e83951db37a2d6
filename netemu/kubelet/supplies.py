"""ConfigMaps, Secrets and tokens for pods, fetched when needed and kept a moment.

Many pods start at once and want the same: whoever comes while a fetch is under way waits for its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from netemu.api import authentication, codec, core, kinds, meta
from netemu.base import clock, errors, times
from netemu.client import api
from netemu.client import errors as api_errors
from netemu.http import messages
from netemu.kubelet import environments, volumes

FRESH, STALE = 1.0, 45.0  # seconds: for a container about to start; for one that runs


class _Copy(NamedTuple):
    content: Mapping[str, bytes] | None
    at: float


class _Issued(NamedTuple):
    text: str
    renew_at: float


class Supplies:
    """All methods raise ApiError when the API cannot or will not answer."""

    def __init__(self, client: api.Client, clock: clock.Clock, gate: asyncio.Semaphore) -> None:
        self._client = client
        self._gate = gate
        self._clock = clock
        self._copies: dict[tuple[str, environments.Source], _Copy] = {}
        self._locks: dict[tuple[str, environments.Source], asyncio.Lock] = {}
        self._tokens: dict[tuple[str, volumes.Token], _Issued] = {}

    async def contents(
        self, namespace: str, wanted: Iterable[environments.Source], *, age: float
    ) -> dict[environments.Source, Mapping[str, bytes] | None]:
        """What is in them, not older than `age` seconds; None for one that does not exist."""
        return {source: await self._content(namespace, source, age) for source in wanted}

    async def _content(
        self, namespace: str, source: environments.Source, age: float
    ) -> Mapping[str, bytes] | None:
        key = (namespace, source)
        async with self._locks.setdefault(key, asyncio.Lock()):
            known = self._copies.get(key)
            if known is not None and self._clock.monotonic() - known.at < age:
                return known.content
            try:
                async with self._gate:
                    content = environments.content(await self._get(namespace, source))
            except api_errors.NotFound:
                content = None
            self._copies[key] = _Copy(content, self._clock.monotonic())
            return content

    async def _get(self, namespace: str, source: environments.Source) -> core.ConfigMap | core.Secret:
        if source.kind == "Secret":
            return await self._client.get(core.Secret, source.name, namespace)
        return await self._client.get(core.ConfigMap, source.name, namespace)

    async def token(self, pod: core.Pod, wanted: volumes.Token) -> str:
        """A token of the pod's service account, bound to the pod; renewed after four fifths of its life."""
        key = (pod.metadata.uid, wanted)
        known = self._tokens.get(key)
        if known is not None and self._clock.now() < known.renew_at:
            return known.text
        about = pod.metadata
        bound = authentication.BoundObjectReference(
            kind="Pod", apiVersion="v1", name=about.name, uid=about.uid
        )
        spec = authentication.TokenRequestSpec(
            audiences=(wanted.audience,) if wanted.audience else (),
            expirationSeconds=wanted.seconds,
            boundObjectRef=bound,
        )
        account = pod.spec.serviceAccountName or "default"
        path = kinds.of(core.ServiceAccount).path(about.namespace, account, "token")
        request = codec.encode(authentication.TokenRequest(spec=spec))
        async with self._gate:
            answer = await self._client.raw(
                "POST", path, body=request, headers=(("content-type", "application/json"),)
            )
            body = await messages.whole(answer)
        if answer.status >= 400:
            raise refusal(answer.status, body)
        status = codec.decode(authentication.TokenRequest, body).status
        now = self._clock.now()
        life = times.parse_rfc3339(status.expirationTimestamp) - now
        self._tokens[key] = _Issued(status.token, now + 0.8 * life)
        return status.token

    def forget(self, uid: str) -> None:
        """A pod is gone."""
        for key in [key for key in self._tokens if key[0] == uid]:
            del self._tokens[key]


def refusal(code: int, body: bytes) -> api_errors.ApiError:
    """The error in an answer's body."""
    try:
        return api_errors.of(codec.decode(meta.Status, body))
    except errors.NetemuError:
        return api_errors.of(meta.Status(code=code, message=body[:200].decode(errors="replace")))

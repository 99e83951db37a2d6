"""Steps done to a real cluster through its API, and the wait until they are. Knows verbs, not meaning."""

import asyncio
import json
from typing import Any

from netemu.api import kinds
from netemu.base import errors
from netemu.client import api
from netemu.client import errors as refusals
from netemu.scenario import applying, ready
from netemu.verify import clusters, observing

PATIENCE = 180.0  # seconds; a busy machine takes long
_PAUSE = 0.01
_JSON = (("content-type", "application/json"),)
_MERGE = (("content-type", "application/merge-patch+json"),)


class Refused(errors.Rejected):
    """The API server does not take an object: the step is no valid one."""


class Hands:
    """Does steps, one after the other; `state` is what they have led to."""

    def __init__(self, client: api.Client) -> None:
        self._client = client
        self.state: dict[clusters.Key, str] = {}

    async def become(self, wanted: clusters.State) -> None:
        """Do what leads to that state, and wait until it is there."""
        for step in clusters.between(self.state, wanted):
            await self.do(step)
        await self.settled()

    async def do(self, step: clusters.Step) -> None:
        """One step, acknowledged by the API server. Refused when it does not take the object."""
        try:
            if step.verb == "delete":
                await self._delete(step.key)
            else:
                await self._put(step)
        except (refusals.Invalid, refusals.BadRequest) as error:
            raise Refused(f"{step}: {error.message}") from error
        self.state = clusters.after(self.state, [step])

    async def settled(self) -> None:
        """Wait until pods are Ready or gone, and Services list them. Transient when they are not in time."""
        try:
            async with asyncio.timeout(PATIENCE):
                while await self._unsettled():
                    await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise errors.Transient("; ".join(await self._unsettled())) from None

    async def _unsettled(self) -> tuple[str, ...]:
        snapshot = await observing.snapshot(self._client)
        wanted = [ready.Applied(*key) for key in self.state if key.kind in ("Pod", "Service")]
        pods = {(key.namespace, key.name) for key in self.state if key.kind == "Pod"}
        spaces = {key.name for key in self.state if key.kind == "Namespace"}
        leaving = [
            f"pod {pod.metadata.namespace}/{pod.metadata.name}: still there"
            for pod in snapshot.pods
            if pod.metadata.namespace in spaces and (pod.metadata.namespace, pod.metadata.name) not in pods
        ]
        return (*ready.unready(wanted, snapshot), *leaving)

    async def _put(self, step: clusters.Step) -> None:
        document, before = step.document, self.state.get(step.key)
        if before is None:
            await self._create(step.key, document)
        elif step.key.kind in ("Pod", "Namespace") and _same_but_labels(json.loads(before), document):
            old = json.loads(before)["metadata"].get("labels") or {}
            labels = {**dict.fromkeys(old), **(document["metadata"].get("labels") or {})}
            await self._call("PATCH", _path(step.key), {"metadata": {"labels": labels}}, _MERGE)
        elif step.key.kind in ("Pod", "Service"):
            await self.do(clusters.Step("delete", step.key))
            await self._create(step.key, document)
        else:
            live = json.loads(await self._call("GET", _path(step.key)))
            revision = {"resourceVersion": live["metadata"]["resourceVersion"]}
            document["metadata"] = {**document["metadata"], **revision}
            await self._call("PUT", _path(step.key), document, _JSON)

    async def _create(self, key: clusters.Key, document: dict[str, Any]) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await self._call("POST", _path(key._replace(name="")), document, _JSON)
                    return
                except (refusals.AlreadyExists, refusals.Forbidden):
                    # The former one is still going; or a Namespace's ServiceAccount is still to come.
                    await asyncio.sleep(_PAUSE)

    async def _delete(self, key: clusters.Key) -> None:
        """And wait until it is gone."""
        try:
            await self._call("DELETE", _path(key))
            async with asyncio.timeout(PATIENCE):
                while True:
                    await self._call("GET", _path(key))
                    await asyncio.sleep(_PAUSE)
        except refusals.NotFound:
            return

    async def _call(self, method: str, path: str, document: Any = None, headers: Any = ()) -> bytes:
        body = b"" if document is None else json.dumps(document).encode()
        return await applying.call(self._client, method, path, body=body, headers=headers)


def _path(key: clusters.Key) -> str:
    version = clusters.KINDS[key.kind]
    kind = kinds.named(version, key.kind)
    if kind is not None:
        return kind.path(key.namespace, key.name)
    return "/".join(filter(None, ("/apis", version, f"{key.kind.lower()[:-1]}ies", key.name)))


def _same_but_labels(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.get("spec") == other.get("spec")

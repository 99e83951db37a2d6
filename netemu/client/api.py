"""The Kubernetes API as typed calls: objects of `netemu.api` in and out, refusals as `client.errors`.

Knows paths, verbs and watch frames. Does not know whether the server is a connection or a function call away.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

import msgspec

from netemu.api import codec, core, kinds, meta
from netemu.base import errors as base_errors
from netemu.client import errors
from netemu.http import messages

T = TypeVar("T", bound=meta.Object)
_JSON = "application/json"
_PATCHES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """Objects as of one revision, from which a watch may go on."""

    items: tuple[T, ...]
    revision: str


@dataclass(frozen=True, slots=True)
class Event(Generic[T]):
    """ADDED, MODIFIED, DELETED; or BOOKMARK, whose object has only a resourceVersion."""

    type: str
    object: T


class _ListMeta(msgspec.Struct):
    resourceVersion: str = ""


class _List(msgspec.Struct):
    items: list[msgspec.Raw] | None = None
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)


class _Frame(msgspec.Struct):
    type: str
    object: msgspec.Raw


_lists = msgspec.json.Decoder(_List)
_frames = msgspec.json.Decoder(_Frame)


class Client:
    """Every method raises `errors.ApiError`: what the server said, or Unavailable."""

    def __init__(self, transport: messages.Transport, *, user_agent: str = "netemu") -> None:
        self._transport = transport
        self._headers = (("accept", _JSON), ("user-agent", user_agent))

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close = getattr(self._transport, "close", None)
        if close is not None:
            await close()

    # -- reading

    async def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        """One object. NotFound."""
        return codec.decode(kind, await self._call("GET", kinds.of(kind).path(namespace, name)))

    async def list(
        self, kind: type[T], namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> Listing[T]:
        """All objects of a kind, in one namespace or (empty) in all."""
        found = _lists.decode(
            await self._call("GET", kinds.of(kind).path(namespace), _selectors(labels, fields))
        )
        items = tuple(codec.decode(kind, bytes(item)) for item in found.items or ())
        return Listing(items, found.metadata.resourceVersion)

    async def watch(
        self, kind: type[T], namespace: str = "", *, revision: str, labels: str = "", fields: str = ""
    ) -> AsyncGenerator[Event[T], None]:
        """Changes after `revision`, until the server ends the watch. Expired when it is forgotten."""
        query = (
            ("watch", "true"),
            ("resourceVersion", revision),
            ("allowWatchBookmarks", "true"),
            *_selectors(labels, fields),
        )
        response = await self.raw("GET", kinds.of(kind).path(namespace), query=query)
        if isinstance(response.body, bytes):
            raise _refusal(response.status, response.body)
        if response.status != 200:
            raise _refusal(response.status, await _whole(response))
        try:
            async for line in _lines(response.body):
                frame = _frames.decode(line)
                if frame.type == "ERROR":
                    raise _refusal(500, bytes(frame.object))
                yield Event(frame.type, codec.decode(kind, bytes(frame.object)))
        except base_errors.Transient as error:
            raise _unavailable(error) from None
        finally:
            await messages.discard(response.body)

    # -- writing

    async def create(self, obj: T) -> T:
        """Create the object in its own namespace. AlreadyExists, Invalid, Forbidden."""
        path = kinds.of(obj).path(obj.metadata.namespace)
        return codec.decode(type(obj), await self._call("POST", path, body=codec.encode(obj)))

    async def update(self, obj: T) -> T:
        """Replace the object. Conflict when its resourceVersion is not the last."""
        return await self._put(obj, "")

    async def update_status(self, obj: T) -> T:
        """Replace the object's status and nothing else. Conflict."""
        return await self._put(obj, "status")

    async def _put(self, obj: T, subresource: str) -> T:
        about = obj.metadata
        path = kinds.of(obj).path(about.namespace, about.name, subresource)
        return codec.decode(type(obj), await self._call("PUT", path, body=codec.encode(obj)))

    async def patch(
        self,
        kind: type[T],
        name: str,
        namespace: str = "",
        *,
        body: dict[str, Any] | Sequence[Any],
        how: str = "merge",
        subresource: str = "",
    ) -> T:
        """Patch an object: `how` is merge (RFC 7386), json (RFC 6902) or strategic."""
        path = kinds.of(kind).path(namespace, name, subresource)
        data = msgspec.json.encode(body)
        return codec.decode(kind, await self._call("PATCH", path, body=data, content_type=_PATCHES[how]))

    async def delete(
        self,
        kind: type[Any],
        name: str,
        namespace: str = "",
        *,
        grace: int | None = None,
        propagation: str = "",
        uid: str = "",
    ) -> None:
        """Ask for deletion; `grace` in seconds (None: the object's own). With `uid`: that one or Conflict."""
        options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if propagation:
            options["propagationPolicy"] = propagation
        if uid:
            options["preconditions"] = {"uid": uid}
        await self._call("DELETE", kinds.of(kind).path(namespace, name), body=msgspec.json.encode(options))

    async def bind(self, namespace: str, pod: str, uid: str, node: str) -> None:
        """Give the pod to the node, once. Conflict when it has one or is another pod."""
        binding = core.Binding(
            metadata=meta.ObjectMeta(name=pod, namespace=namespace, uid=uid),
            target=core.ObjectReference(kind="Node", name=node),
        )
        await self._call(
            "POST", kinds.of(core.Pod).path(namespace, pod, "binding"), body=codec.encode(binding)
        )

    async def raw(
        self,
        method: str,
        path: str,
        *,
        query: messages.Fields = (),
        body: bytes = b"",
        headers: messages.Fields = (),
    ) -> messages.Response:
        """Any request, as it is; a refusal is a Response too. Unavailable."""
        given = {name for name, _ in headers}
        own = tuple(pair for pair in self._headers if pair[0] not in given) if given else self._headers
        request = messages.Request(method, path, query, (*own, *headers), body)
        try:
            return await self._transport.send(request)
        except base_errors.Transient as error:
            raise _unavailable(error) from None

    async def _call(
        self,
        method: str,
        path: str,
        query: messages.Fields = (),
        *,
        body: bytes = b"",
        content_type: str = _JSON,
    ) -> bytes:
        headers = (("content-type", content_type),) if body else ()
        response = await self.raw(method, path, query=query, body=body, headers=headers)
        data = await _whole(response)
        if response.status >= 400:
            raise _refusal(response.status, data)
        return data


def _selectors(labels: str, fields: str) -> messages.Fields:
    pairs = (("labelSelector", labels), ("fieldSelector", fields))
    return tuple(pair for pair in pairs if pair[1])


async def _whole(response: messages.Response) -> bytes:
    try:
        return await messages.whole(response)
    except base_errors.Transient as error:
        raise _unavailable(error) from None


async def _lines(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for part in body:
        lines: Sequence[bytes] = (rest + part).split(b"\n")
        rest = lines[-1]
        for line in lines[:-1]:
            if line:
                yield line


def _refusal(code: int, data: bytes) -> errors.ApiError:
    try:
        status = codec.decode(meta.Status, data)
    except Exception:  # anything may answer on that port
        status = meta.Status(
            status="Failure", code=code, message=data[:200].decode("utf-8", "replace").strip()
        )
    return errors.of(status if status.code else msgspec.structs.replace(status, code=code))


def _unavailable(error: base_errors.Transient) -> errors.ApiError:
    if isinstance(error, errors.ApiError):
        return error
    return errors.Unavailable(
        meta.Status(status="Failure", reason="ServiceUnavailable", code=503, message=error.message)
    )

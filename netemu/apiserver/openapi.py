"""OpenAPI as clients fetch it: v3 by group and version, made when asked for; and a v2 that says nothing.

v2 is the smallest document old kubectl insists on. Schemas are `api.openapi`'s, or those of the servers that
answer for other groups; here are paths and URLs.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import msgspec

from netemu.api import kinds, openapi
from netemu.apiserver.aggregation import groups
from netemu.http import messages

Served = tuple[kinds.Kind, ...]
Remotes = tuple[groups.Remote, ...]
# A gnostic Document: 1 swagger "2.0", 2 info {1 title "K", 2 version "v1"}.
_V2 = bytes.fromhex("0a03322e3012070a014b12027631")
# Go's mime parser refuses the "@" which the request's media type has.
_V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_JSON = (("content-type", "application/json"),)
_APPLY = "application/apply-patch+yaml"
_JSON_PATCH, _MERGE = "application/json-patch+json", "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"
_READ = (
    ("labelSelector", "string"),
    ("fieldSelector", "string"),
    ("limit", "integer"),
    ("continue", "string"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
    ("allowWatchBookmarks", "boolean"),
    ("sendInitialEvents", "boolean"),
)
_WRITE = (("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"))
_DELETE = (("dryRun", "string"), ("gracePeriodSeconds", "integer"), ("propagationPolicy", "string"))
_METHODS = {
    "list": "get",
    "create": "post",
    "deletecollection": "delete",
    "get": "get",
    "update": "put",
    "patch": "patch",
    "delete": "delete",
}
_ACTIONS = {"create": "post", "update": "put"}
_ON_ALL, _ON_ONE = ("list", "create", "deletecollection"), ("get", "update", "patch", "delete")
_PARAMETERS = {
    "list": _READ,
    "create": _WRITE,
    "update": _WRITE,
    "patch": (*_WRITE, ("force", "boolean")),
    "delete": _DELETE,
    "deletecollection": (*_READ, *_DELETE),
}


def answer(request: messages.Request, served: Served, remotes: Remotes = ()) -> messages.Response | None:
    """What /openapi/... says of what is served; None for an unknown path."""
    if request.path == "/openapi/v2":
        return messages.Response(200, (("content-type", _V2_TYPE),), _V2)
    if request.path == "/openapi/v3":
        return messages.Response(200, _JSON, _index(served, remotes))
    place = request.path.removeprefix("/openapi/v3/")
    found = _remote(remotes).get(place)
    if found is None:
        of_version = _versions(served).get(place)
        found = _document(of_version) if of_version else None
    if found is None:
        return None
    document, digest = found
    tag = f'"{digest}"'
    headers = (*_JSON, ("etag", tag), ("vary", "Accept"), ("cache-control", "public"))
    if request.header("if-none-match") == tag:
        return messages.Response(304, headers)
    return messages.Response(200, headers, document)


@functools.lru_cache(maxsize=1)
def _index(served: Served, remotes: Remotes) -> bytes:
    digests = {place: _document(of_version)[1] for place, of_version in _versions(served).items()}
    digests |= {place: digest for place, (_, digest) in _remote(remotes).items()}
    paths = {
        place: {"serverRelativeURL": f"/openapi/v3/{place}?hash={digest}"}
        for place, digest in digests.items()
    }
    return msgspec.json.encode({"paths": paths})


@functools.lru_cache(maxsize=1)
def _remote(remotes: Remotes) -> dict[str, tuple[bytes, str]]:
    """The documents of other servers, and their hashes."""
    return {
        f"apis/{one.group}/{one.version}": (one.schema, hashlib.sha256(one.schema).hexdigest().upper())
        for one in remotes
        if one.schema and one.fresh
    }


@functools.lru_cache(maxsize=1)
def _versions(served: Served) -> dict[str, Served]:
    found: dict[str, list[kinds.Kind]] = {}
    for kind in served:
        place = f"apis/{kind.api_version}" if kind.group else f"api/{kind.version}"
        found.setdefault(place, []).append(kind)
    return {place: tuple(of_version) for place, of_version in found.items()}


@functools.lru_cache(maxsize=128)
def _document(of_version: Served) -> tuple[bytes, str]:
    """The document of one group and version, and its hash."""
    paths: dict[str, Any] = {}
    for kind in of_version:
        paths |= _paths(kind)
    document = msgspec.json.encode(
        {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "netemu"},
            "paths": paths,
            "components": {"schemas": openapi.definitions(of_version)},
        }
    )
    return document, hashlib.sha256(document).hexdigest().upper()


def _paths(kind: kinds.Kind) -> dict[str, Any]:
    base = kind.path("{namespace}") if kind.namespaced else kind.path()
    own = (kind.group, kind.version, kind.kind)
    found = {
        base: _operations(kind, own, tuple(verb for verb in _ON_ALL if verb in kind.verbs)),
        f"{base}/{{name}}": _operations(kind, own, tuple(verb for verb in _ON_ONE if verb in kind.verbs)),
    }
    if kind.namespaced and "list" in kind.verbs:
        found[kind.path()] = _operations(kind, own, ("list",))
    for sub in kind.subresources:
        if sub.type is not None:
            there = (sub.group, sub.version, sub.kind)
            content = (
                openapi.name(sub.type) if isinstance(sub.type, type) and there != own else openapi.of(kind)
            )
            found[f"{base}/{{name}}/{sub.name}"] = _operations(kind, there, sub.verbs, content)
    return {path: operations for path, operations in found.items() if operations}


def _operations(
    kind: kinds.Kind, gvk: tuple[str, str, str], verbs: tuple[str, ...], content: str = ""
) -> dict[str, Any]:
    content = content or openapi.of(kind)
    return {_METHODS[verb]: _operation(kind, verb, gvk, content) for verb in verbs}


def _operation(kind: kinds.Kind, verb: str, gvk: tuple[str, str, str], content: str) -> dict[str, Any]:
    shown = f"{content}List" if verb == "list" else content
    success = {"application/json": {"schema": openapi.reference(shown)}}
    found: dict[str, Any] = {
        "operationId": f"{verb}{kind.group}{kind.version}{kind.kind}",
        "responses": {"201" if verb == "create" else "200": {"description": "OK", "content": success}},
        "x-kubernetes-action": _ACTIONS.get(verb, verb),
        "x-kubernetes-group-version-kind": openapi.identity(*gvk),
    }
    if verb in _PARAMETERS:
        found["parameters"] = [
            {"name": name, "in": "query", "schema": {"type": type_, "uniqueItems": True}}
            for name, type_ in _PARAMETERS[verb]
        ]
    if verb in ("create", "update"):
        found["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": openapi.reference(content)}},
        }
    elif verb == "patch":
        merges = (_MERGE,) if kind.custom is not None else (_MERGE, _STRATEGIC)
        body = {media: {"schema": {"type": "object"}} for media in (_APPLY, _JSON_PATCH, *merges)}
        found["requestBody"] = {"required": True, "content": body}
    return found

"""OpenAPI as far as kubectl insists on it before it creates or applies: paths with their kinds.

v2 is the smallest document old kubectl takes; v3 has, for each kind, the verbs kubectl looks up there.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import msgspec

from netemu.api import kinds
from netemu.http import messages

# A gnostic Document: 1 swagger "2.0", 2 info {1 title "K", 2 version "v1"}.
_V2 = bytes.fromhex("0a03322e3012070a014b12027631")
# Go's mime parser refuses the "@" which the request's media type has.
_V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_JSON = (("content-type", "application/json"),)
_PATCHES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_SUCCESS = {"200": {"description": "OK", "content": {"application/json": {"schema": {"type": "object"}}}}}


def answer(request: messages.Request) -> messages.Response | None:
    """What /openapi/... says; None for an unknown path."""
    if request.path == "/openapi/v2":
        return messages.Response(200, (("content-type", _V2_TYPE),), _V2)
    if request.path == "/openapi/v3":
        return messages.Response(200, _JSON, _index())
    document = _documents().get(request.path.removeprefix("/openapi/v3/"))
    if document is None:
        return None
    tag = f'"{_hash(document)}"'
    headers = (*_JSON, ("etag", tag), ("vary", "Accept"), ("cache-control", "public"))
    if request.header("if-none-match") == tag:
        return messages.Response(304, headers)
    return messages.Response(200, headers, document)


@functools.cache
def _index() -> bytes:
    paths = {
        name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={_hash(document)}"}
        for name, document in _documents().items()
    }
    return msgspec.json.encode({"paths": paths})


def _hash(document: bytes) -> str:
    return hashlib.sha256(document).hexdigest().upper()


@functools.cache
def _documents() -> dict[str, bytes]:
    by_version: dict[str, dict[str, Any]] = {}
    for kind in kinds.SERVED:
        place = f"apis/{kind.api_version}" if kind.group else f"api/{kind.version}"
        by_version.setdefault(place, {}).update(_paths(kind))
    return {
        place: msgspec.json.encode(
            {
                "openapi": "3.0.0",
                "info": {"title": "Kubernetes", "version": "netemu"},
                "paths": paths,
                "components": {"schemas": {}},
            }
        )
        for place, paths in by_version.items()
    }


def _paths(kind: kinds.Kind) -> dict[str, Any]:
    base = kind.path("{namespace}") if kind.namespaced else kind.path()
    collection: dict[str, Any] = {}
    one: dict[str, Any] = {}
    if "list" in kind.verbs:
        collection["get"] = _operation(kind, "list")
    if "create" in kind.verbs:
        collection["post"] = _operation(kind, "post", ("application/json",))
    if "get" in kind.verbs:
        one["get"] = _operation(kind, "get")
    if "update" in kind.verbs:
        one["put"] = _operation(kind, "put", ("application/json",))
    if "patch" in kind.verbs:
        one["patch"] = _operation(kind, "patch", _PATCHES)
    if "delete" in kind.verbs:
        one["delete"] = _operation(kind, "delete")
    return {base: collection} | ({f"{base}/{{name}}": one} if one else {})


def _operation(kind: kinds.Kind, action: str, bodies: tuple[str, ...] = ()) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": f"{action}{kind.group}{kind.version}{kind.kind}",
        "responses": _SUCCESS,
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {
            "group": kind.group,
            "version": kind.version,
            "kind": kind.kind,
        },
    }
    if bodies:
        text = {"type": "string", "uniqueItems": True}
        found["parameters"] = [
            {"name": name, "in": "query", "schema": text}
            for name in ("dryRun", "fieldManager", "fieldValidation")
        ]
        content = {media: {"schema": {"type": "object"}} for media in bodies}
        found["requestBody"] = {"required": True, "content": content}
    return found

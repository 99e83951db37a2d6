"""Request paths and methods as what they mean: which verb on which resource (k8s RequestInfo).

Knows the shape of Kubernetes paths. Does not know which resources exist.
"""

from __future__ import annotations

from typing import NamedTuple

from netemu.http import messages

_NAMESPACE_SUBRESOURCES = ("status", "finalize")
_ON_ONE = {
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
    "POST": "create",
}
_ON_ALL = {"GET": "list", "HEAD": "list", "POST": "create", "DELETE": "deletecollection"}
_TRUE = ("true", "1", "")


class Target(NamedTuple):
    """What a request is about. Without a resource it is about the server: `path` alone counts."""

    verb: str
    path: str
    group: str = ""
    version: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""  # what follows the subresource, for proxies


def parse(request: messages.Request) -> Target:
    """What the request wants. An unknown method on a resource gives the empty verb."""
    path = request.path
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        return _resource(request, "", parts[1], parts[2:])
    if parts[0] == "apis" and len(parts) > 3:
        return _resource(request, parts[1], parts[2], parts[3:])
    return Target(request.method.lower(), path)


def _resource(request: messages.Request, group: str, version: str, parts: list[str]) -> Target:
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:
        namespace, parts = parts[1], parts[2:]
    resource, name, subresource, rest = (*(*parts[:3], "", "", "")[:3], "/".join(parts[3:]))
    if name:
        verb = _ON_ONE.get(request.method, "")
    else:
        verb = _ON_ALL.get(request.method, "")
        if verb == "list" and watches(request):
            verb = "watch"
    return Target(verb, request.path, group, version, resource, namespace, name, subresource, rest)


def watches(request: messages.Request) -> bool:
    """Whether the query asks for a watch."""
    return flag(request, "watch")


def flag(request: messages.Request, name: str) -> bool:
    """A boolean query parameter as Go reads it: present and not false."""
    given = request.parameter(name, "false").lower()
    return given in _TRUE

"""Which function answers which verb on which subresource: the table of the API.

Routes a request about a resource; what each verb does is in the modules named here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from netemu.api import core, kinds
from netemu.apiserver import authentication, contexts, deleting, paths, reading, reviews, statuses, writing
from netemu.apiserver.subresources import accounts, connections, namespaces, pods, scales
from netemu.http import messages

Verb = Callable[[contexts.Call], Awaitable[messages.Response]]

_PLAIN: dict[str, Verb] = {
    "get": reading.get,
    "list": reading.listing,
    "watch": reading.watch,
    "create": writing.create,
    "update": writing.replace,
    "patch": writing.patch,
    "delete": deleting.one,
    "deletecollection": deleting.many,
}
_SUB: dict[tuple[str, str], Verb] = {
    ("approval", "get"): reading.get,
    ("approval", "update"): writing.replace,
    ("approval", "patch"): writing.patch,
    ("status", "get"): reading.get,
    ("status", "update"): writing.replace,
    ("status", "patch"): writing.patch,
    ("scale", "get"): scales.read,
    ("scale", "update"): scales.replace,
    ("scale", "patch"): scales.patch,
    ("ephemeralcontainers", "get"): reading.get,
    ("ephemeralcontainers", "update"): writing.replace,
    ("ephemeralcontainers", "patch"): writing.patch,
    ("resize", "get"): reading.get,
    ("resize", "update"): writing.replace,
    ("resize", "patch"): writing.patch,
    ("binding", "create"): pods.binding,
    ("eviction", "create"): pods.eviction,
    ("log", "get"): pods.log,
    ("exec", "get"): connections.execute,
    ("exec", "create"): connections.execute,
    ("attach", "get"): connections.attach,
    ("attach", "create"): connections.attach,
    ("portforward", "get"): connections.forward,
    ("portforward", "create"): connections.forward,
    ("proxy", "get"): connections.proxy,
    ("proxy", "create"): connections.proxy,
    ("proxy", "update"): connections.proxy,
    ("proxy", "patch"): connections.proxy,
    ("proxy", "delete"): connections.proxy,
    ("token", "create"): accounts.token,
    ("finalize", "update"): namespaces.finalize,
}


async def answer(
    parts: contexts.Parts, request: messages.Request, target: paths.Target, user: authentication.User
) -> messages.Response:
    """Answer a request about a resource. Refusal."""
    if (target.group, target.resource, target.verb) == ("", "bindings", "create") and not target.name:
        below = target._replace(name="", subresource="binding")
        pod = contexts.Call(parts, request, below, user, kinds.of(core.Pod))
        return await pods.binding(pod)
    kind = parts.catalog.find(target.group, target.version, target.resource)
    if kind is None or (target.namespace and not kind.namespaced):
        raise statuses.no_such_resource()
    call = contexts.Call(parts, request, target, user, kind)
    if not target.subresource:
        return await _on_resource(call)
    sub = kind.subresource(target.subresource)
    if sub is None or (target.rest and sub.name != "proxy"):
        raise statuses.no_such_resource()
    verb = _SUB.get((target.subresource, target.verb))
    if verb is None:
        raise statuses.method_not_allowed(kind.group, kind.plural)
    _in_namespace(call)
    return await verb(call)


def serves(sub: kinds.Subresource) -> bool:
    """Whether every verb that discovery shows of a subresource is answered."""
    return all((sub.name, verb) in _SUB for verb in sub.verbs)


async def _on_resource(call: contexts.Call) -> messages.Response:
    kind, target = call.kind, call.target
    wanted = target.verb
    if wanted not in kind.verbs or (wanted == "create" and target.name):
        raise statuses.method_not_allowed(kind.group, kind.plural)
    if kind in kinds.REVIEWS:
        return await reviews.answer(call)
    if target.name or wanted == "create":
        _in_namespace(call)
    return await _PLAIN[wanted](call)


def _in_namespace(call: contexts.Call) -> None:
    if call.kind.namespaced and not call.namespace:
        raise statuses.method_not_allowed(call.kind.group, call.kind.plural)

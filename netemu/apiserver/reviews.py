"""Questions to the server about users and what they may do: created, answered, never stored."""

from __future__ import annotations

from typing import Any

from netemu.apiserver import authentication, authorization, bodies, contexts, rendering, statuses
from netemu.apiserver.rbac import authorizer, roles, rules
from netemu.http import messages

_EVERYTHING = (rules.Rule(("*",), ("*",), ("*",)), rules.Rule(("*",), urls=("*",)))


async def answer(call: contexts.Call) -> messages.Response:
    """POST of a review: the review with its status. BadRequest, Invalid."""
    document = bodies.take(call.request, call.kind)
    spec = document.setdefault("spec", {})
    document["status"] = _ANSWERS[call.kind.kind](call, spec)
    if call.kind.kind == "SelfSubjectReview":
        del document["spec"]
    document.setdefault("metadata", {})
    return rendering.document(call, document, 201)


def _self(call: contexts.Call, spec: dict[str, Any]) -> dict[str, Any]:
    return {"userInfo": call.user.document()}


def _token(call: contexts.Call, spec: dict[str, Any]) -> dict[str, Any]:
    if not spec.get("token"):
        raise statuses.bad_request("token is required for TokenReview in authentication")
    given = tuple(spec.get("audiences") or ())
    wanted = given or (call.parts.issuer.audience,)
    found = call.parts.authenticator.review(spec["token"], wanted)
    if found is None:
        return {"authenticated": False, "user": {}, "error": "[invalid bearer token]"}
    user, audiences = found
    return {"authenticated": True, "user": user.document(), "audiences": list(audiences)}


def _self_access(call: contexts.Call, spec: dict[str, Any]) -> dict[str, Any]:
    return _verdict(call, call.user, spec)


def _access(call: contexts.Call, spec: dict[str, Any]) -> dict[str, Any]:
    name, groups = spec.get("user", ""), tuple(spec.get("groups") or ())
    if not name and not groups:
        raise _invalid(call, "spec.user", "at least one of user or group must be specified", '""')
    return _verdict(call, authentication.User(name, groups), spec)


def _local_access(call: contexts.Call, spec: dict[str, Any]) -> dict[str, Any]:
    about = spec.get("resourceAttributes") or {}
    if spec.get("nonResourceAttributes"):
        raise _invalid(call, "spec.nonResourceAttributes", "disallowed on this kind of request", "{}")
    if about and about.get("namespace", "") != call.namespace:
        given = f'"{about.get("namespace", "")}"'
        raise _invalid(call, "spec.resourceAttributes.namespace", "must match metadata.namespace", given)
    return _access(call, spec)


def _verdict(call: contexts.Call, user: authentication.User, spec: dict[str, Any]) -> dict[str, Any]:
    about, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (about is None) == (path is None):
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise _invalid(call, "spec.resourceAttributes", why, "null")
    if path is not None:
        asked = authorization.Attributes(path.get("verb", ""), path=path.get("path", ""))
    else:
        assert about is not None
        names = ("verb", "group", "resource", "subresource", "namespace", "name")
        asked = authorization.Attributes(*(about.get(name, "") for name in names))
    return {"allowed": call.parts.authorizer.allowed(user, asked)}


def _invalid(call: contexts.Call, field: str, why: str, given: str) -> statuses.Refusal:
    cause = statuses.Cause("FieldValueInvalid", f"Invalid value: {given}: {why}", field)
    return statuses.invalid(call.kind.group, call.kind.kind, "", [cause])


def _rules(call: contexts.Call, spec: dict[str, Any]) -> dict[str, Any]:
    namespace = spec.get("namespace", "")
    if not namespace:
        raise statuses.bad_request("no namespace on request")
    deciding = call.parts.authorizer
    known = deciding.roles if isinstance(deciding, authorizer.Authorizer) else None
    held = list(_EVERYTHING) if authorizer.MASTERS in call.user.groups else []
    if isinstance(known, roles.Roles):
        held += known.rights(call.user).of(namespace)
    return {
        "resourceRules": [rule.document() for rule in held if rule.resources],
        "nonResourceRules": [rule.document() for rule in held if rule.urls],
        "incomplete": False,
    }


_ANSWERS = {
    "SelfSubjectReview": _self,
    "TokenReview": _token,
    "SelfSubjectAccessReview": _self_access,
    "SubjectAccessReview": _access,
    "LocalSubjectAccessReview": _local_access,
    "SelfSubjectRulesReview": _rules,
}

"""Questions to the server about users and what they may do: created, answered, never stored."""

from __future__ import annotations

from typing import Any

from netemu.apiserver import authentication, authorization, bodies, contexts, rendering, statuses
from netemu.http import messages


async def answer(call: contexts.Call) -> messages.Response:
    """POST of a review: the review with its status. BadRequest."""
    document = bodies.take(call.request, call.kind)
    spec = document.setdefault("spec", {})
    document["status"] = _ANSWERS[call.kind.kind](call, spec)
    if call.kind.kind == "SelfSubjectReview":
        del document["spec"]
    document.setdefault("metadata", {})
    return rendering.document(document, 201)


def _self(call: contexts.Call, spec: dict[str, Any]) -> dict[str, Any]:
    return {"userInfo": call.user.document()}


def _token(call: contexts.Call, spec: dict[str, Any]) -> dict[str, Any]:
    audiences = tuple(spec.get("audiences") or (call.parts.issuer.audience,))
    user = call.parts.authenticator.token(spec.get("token", ""), audiences)
    if user is None:
        return {"authenticated": False, "user": {}, "error": "the token is not valid"}
    return {"authenticated": True, "user": user.document(), "audiences": list(audiences)}


def _self_access(call: contexts.Call, spec: dict[str, Any]) -> dict[str, Any]:
    return _verdict(call, call.user, spec)


def _access(call: contexts.Call, spec: dict[str, Any]) -> dict[str, Any]:
    name, groups = spec.get("user", ""), tuple(spec.get("groups") or ())
    if not name and not groups:
        raise statuses.bad_request("at least one of user or group must be specified")
    return _verdict(call, authentication.User(name, groups), spec)


def _verdict(call: contexts.Call, user: authentication.User, spec: dict[str, Any]) -> dict[str, Any]:
    about, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if bool(about) == bool(path):
        raise statuses.bad_request(
            "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        )
    if path:
        asked = authorization.Attributes(path.get("verb", ""), path=path.get("path", ""))
    else:
        assert about is not None
        names = ("verb", "group", "resource", "subresource", "namespace", "name")
        asked = authorization.Attributes(*(about.get(name, "") for name in names))
    return {"allowed": call.parts.authorizer.allowed(user, asked)}


def _rules(call: contexts.Call, spec: dict[str, Any]) -> dict[str, Any]:
    everything = call.parts.authorizer.allowed(call.user, authorization.Attributes("*", "*", "*"))
    if everything:
        return {
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        }
    reviews = [
        {"verbs": ["create"], "apiGroups": [group], "resources": [resource]}
        for group, resource in authorization.SELF_REVIEWS
    ]
    urls = [*authorization.DISCOVERY, *(f"{path}/*" for path in authorization.DISCOVERY)]
    return {
        "resourceRules": reviews,
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": urls}],
        "incomplete": False,
    }


_ANSWERS = {
    "SelfSubjectReview": _self,
    "TokenReview": _token,
    "SelfSubjectAccessReview": _self_access,
    "SubjectAccessReview": _access,
    "LocalSubjectAccessReview": _access,
    "SelfSubjectRulesReview": _rules,
}

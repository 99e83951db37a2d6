"""Tokens of service accounts: TokenRequest (KEP-1205)."""

from __future__ import annotations

from netemu.api import authentication, core, kinds
from netemu.apiserver import bodies, contexts, objects, rendering, statuses, tokens, writing
from netemu.base import clock as clocks
from netemu.http import messages

REQUEST = kinds.Kind(type=authentication.TokenRequest, plural="tokenrequests")
_SHORTEST, _LONGEST, _USUAL = 600, 1 << 32, 3600


async def token(call: contexts.Call) -> messages.Response:
    """POST serviceaccounts/x/token: a signed token. Invalid, NotFound, Conflict."""
    request = bodies.take(call.request, REQUEST)
    account = writing.find(call.kind, call).document()
    spec = request.setdefault("spec", {})
    seconds = spec.get("expirationSeconds", _USUAL)
    if not _SHORTEST <= seconds <= _LONGEST:
        why = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
        cause = statuses.Cause("FieldValueInvalid", why, "spec.expirationSeconds")
        raise statuses.invalid(REQUEST.group, REQUEST.kind, call.name, [cause])
    pod_name, pod_uid = _bound(call, spec.get("boundObjectRef") or {})
    now = int(call.parts.clock.now())
    claims = tokens.Claims(
        namespace=call.namespace,
        account=call.name,
        account_uid=account["metadata"]["uid"],
        pod_name=pod_name,
        pod_uid=pod_uid,
        audiences=tuple(spec.get("audiences") or (call.parts.issuer.audience,)),
        issued=now,
        expires=now + seconds,
        id=objects.uid(call.parts.rng),
    )
    request["metadata"] = {
        "name": call.name,
        "namespace": call.namespace,
        "creationTimestamp": clocks.rfc3339(now),
    }
    spec["audiences"], spec["expirationSeconds"] = list(claims.audiences), seconds
    request["status"] = {
        "token": call.parts.issuer.sign(claims),
        "expirationTimestamp": clocks.rfc3339(claims.expires),
    }
    return rendering.document(request, 201)


def _bound(call: contexts.Call, reference: statuses.Document) -> tuple[str, str]:
    """Name and uid of the pod a token is bound to; it ends with it."""
    if not reference:
        return "", ""
    kind, name = reference.get("kind", ""), reference.get("name", "")
    if kind != "Pod":
        cause = statuses.Cause(
            "FieldValueInvalid",
            f'Invalid value: "{kind}": only Pods are supported',
            "spec.boundObjectRef.kind",
        )
        raise statuses.invalid(REQUEST.group, REQUEST.kind, call.name, [cause])
    found = call.parts.cache.of(kinds.of(core.Pod)).get(call.namespace, name)
    if found is None:
        raise statuses.not_found("", "pods", name)
    uid = found.document()["metadata"]["uid"]
    if reference.get("uid") and reference["uid"] != uid:
        given = reference["uid"]
        why = f"the UID in the bound object reference ({given}) does not match the UID in record ({uid})"
        raise statuses.conflict("", "pods", name, why)
    return name, uid


def alive(call_parts: contexts.Parts, claims: tokens.Claims) -> bool:
    """Whether the account, and the pod a token is bound to, are still the same ones."""
    account = call_parts.cache.of(kinds.of(core.ServiceAccount)).get(claims.namespace, claims.account)
    if account is None or account.document()["metadata"]["uid"] != claims.account_uid:
        return False
    if not claims.pod_name:
        return True
    pod = call_parts.cache.of(kinds.of(core.Pod)).get(claims.namespace, claims.pod_name)
    return pod is not None and bool(pod.document()["metadata"]["uid"] == claims.pod_uid)

"""Tokens of service accounts: TokenRequest (KEP-1205)."""

from __future__ import annotations

from netemu.api import authentication, core, kinds
from netemu.apiserver import bodies, contexts, objects, rendering, statuses, tokens, writing
from netemu.apiserver.admission import chain
from netemu.base import clock as clocks
from netemu.http import messages

REQUEST = kinds.Kind(type=authentication.TokenRequest, plural="tokenrequests")
_SHORTEST, _LONGEST, _USUAL = 600, 1 << 32, 3600
_LEEWAY = 60.0  # seconds for which a token outlives the end of what it is bound to
_BOUND = {"Pod": core.Pod, "Secret": core.Secret, "Node": core.Node}
Bound = tuple[str, str, str]


async def token(call: contexts.Call) -> messages.Response:
    """POST serviceaccounts/x/token: a signed token. Invalid, NotFound, Conflict."""
    request = await chain.hand(call, bodies.take(call.request, REQUEST), REQUEST)
    account = writing.find(call.kind, call).document()
    spec = request.setdefault("spec", {})
    seconds = spec.get("expirationSeconds", _USUAL)
    if not _SHORTEST <= seconds <= _LONGEST:
        longest = "may not specify a duration larger than 2^32 seconds"
        least = "may not specify a duration less than 10 minutes"
        raise _invalid(call, "spec.expirationSeconds", seconds, longest if seconds > _LONGEST else least)
    bound = _bound(call, spec.get("boundObjectRef") or {})
    now = int(call.parts.clock.now())
    claims = tokens.Claims(
        namespace=call.namespace,
        account=call.name,
        account_uid=account["metadata"]["uid"],
        bound=bound,
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
    return rendering.document(call, request, 201)


def _bound(call: contexts.Call, reference: statuses.Document) -> tuple[Bound, ...]:
    """What a token is bound to and ends with; of a pod's the node is told, too (KEP-4193)."""
    if not reference:
        return ()
    kind, name = reference.get("kind", ""), reference.get("name", "")
    if kind not in _BOUND or reference.get("apiVersion", "v1") not in ("", "v1"):
        why = f"cannot bind token to object of type {kind}"
        raise statuses.bad_request(why)
    found = _document(call.parts, kind, call.namespace, name)
    plural = kinds.of(_BOUND[kind]).plural
    if found is None:
        raise statuses.not_found("", plural, name)
    uid = found["metadata"]["uid"]
    if reference.get("uid") and reference["uid"] != uid:
        given = reference["uid"]
        why = f"the UID in the bound object reference ({given}) does not match the UID in record ({uid})"
        raise statuses.conflict("", plural, name, why)
    bound = ((kind.lower(), name, uid),)
    if kind != "Pod":
        return bound
    spec = found.get("spec", {})
    if spec.get("serviceAccountName", "default") != call.name:
        why = (
            f'cannot bind token for serviceaccount "{call.name}" to pod running with different serviceaccount'
        )
        raise statuses.bad_request(f"{why} name.")
    node = _document(call.parts, "Node", "", spec.get("nodeName", ""))
    return (*bound, ("node", spec["nodeName"], node["metadata"]["uid"])) if node else bound


def _invalid(call: contexts.Call, field: str, given: object, why: str) -> statuses.Refusal:
    cause = statuses.Cause("FieldValueInvalid", f"Invalid value: {given}: {why}", field)
    return statuses.invalid(REQUEST.group, REQUEST.kind, call.name, [cause])


def _document(parts: contexts.Parts, kind: str, namespace: str, name: str) -> statuses.Document | None:
    where = "" if kind == "Node" else namespace
    found = parts.cache.of(kinds.of(_BOUND[kind])).get(where, name)
    return found.document() if found else None


def alive(parts: contexts.Parts, claims: tokens.Claims) -> bool:
    """Whether the account, and what a token is bound to, are still the same ones."""
    account = parts.cache.of(kinds.of(core.ServiceAccount)).get(claims.namespace, claims.account)
    if account is None or account.document()["metadata"]["uid"] != claims.account_uid:
        return False
    if not claims.bound:
        return True
    what, name, uid = claims.bound[0]  # a pod's node is told and not insisted on
    found = _document(parts, what.capitalize(), claims.namespace, name)
    if found is None or found["metadata"]["uid"] != uid:
        return False
    ended = found["metadata"].get("deletionTimestamp", "")
    return not ended or parts.clock.now() <= clocks.parse_rfc3339(ended) + _LEEWAY

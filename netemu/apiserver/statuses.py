"""Saying no the way Kubernetes does: metav1.Status with the right code, reason, message and causes.

Wording follows k8s.io/apimachinery/pkg/api/errors, for clients and people match on it. Knows no request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from netemu.http import messages

Document = dict[str, Any]
JSON = "application/json"
_CONTENT = (("content-type", JSON), ("cache-control", "no-cache, private"))
_MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


class Cause(NamedTuple):
    """One detail of a refusal; `field` is a path such as spec.ports[0].port."""

    reason: str
    message: str
    field: str = ""


class Refusal(Exception):
    """The request is refused with this Status."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        causes: Iterable[Cause] = (),
        retry_after: int = 0,
    ) -> None:
        super().__init__(message)
        about: Document = {key: value for key, value in (details or {}).items() if value}
        listed = [{k: v for k, v in cause._asdict().items() if v} for cause in causes]
        if listed:
            about["causes"] = listed
        if retry_after:
            about["retryAfterSeconds"] = retry_after
        self.code = code
        self.reason = reason
        self.status = status("Failure", reason=reason, message=message, details=about, code=code)
        self.retry_after = retry_after

    def response(self) -> messages.Response:
        """The Status as an answer."""
        retry = (("retry-after", str(self.retry_after)),) if self.retry_after else ()
        challenge = (("www-authenticate", "Bearer"),) if self.code == 401 else ()
        return messages.Response(self.code, (*_CONTENT, *retry, *challenge), msgspec.json.encode(self.status))


def status(
    outcome: str, *, reason: str = "", message: str = "", details: Document | None = None, code: int = 0
) -> Document:
    """A Status document; `outcome` is Success or Failure."""
    document: Document = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": outcome}
    for name, value in (("message", message), ("reason", reason), ("details", details), ("code", code)):
        if value:
            document[name] = value
    return document


def qualified(group: str, name: str) -> str:
    """`deployments.apps`; the core group adds nothing."""
    return f"{name}.{group}" if group else name


def _about(group: str, kind: str, name: str) -> Document:
    return {"name": name, "group": group, "kind": kind}


def bad_request(message: str) -> Refusal:
    return Refusal(400, "BadRequest", message)


def unauthorized() -> Refusal:
    return Refusal(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, plural: str, name: str, why: str, *, causes: Iterable[Cause] = ()) -> Refusal:
    what = qualified(group, plural)
    message = f'{what} "{name}" is forbidden: {why}' if name else f"{what} is forbidden: {why}"
    return Refusal(403, "Forbidden", message, details=_about(group, plural, name), causes=causes)


def not_found(group: str, plural: str, name: str) -> Refusal:
    message = f'{qualified(group, plural)} "{name}" not found'
    return Refusal(404, "NotFound", message, details=_about(group, plural, name))


def no_such_resource() -> Refusal:
    return Refusal(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed(group: str, plural: str) -> Refusal:
    message = "the server does not allow this method on the requested resource"
    return Refusal(405, "MethodNotAllowed", message, details=_about(group, plural, ""))


def already_exists(group: str, plural: str, name: str) -> Refusal:
    message = f'{qualified(group, plural)} "{name}" already exists'
    return Refusal(409, "AlreadyExists", message, details=_about(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str = _MODIFIED) -> Refusal:
    message = f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}'
    return Refusal(409, "Conflict", message, details=_about(group, plural, name))


def expired(message: str, *, remainder: str = "") -> Refusal:
    """`remainder`: a continue token for what is left of a list, as it is now."""
    refusal = Refusal(410, "Expired", message)
    if remainder:
        refusal.status["metadata"] = {"continue": remainder}
    return refusal


def unsupported_media(accepted: Iterable[str]) -> Refusal:
    message = "the body of the request was in an unknown format - accepted media types include: "
    return Refusal(415, "UnsupportedMediaType", message + ", ".join(accepted))


def invalid(group: str, kind: str, name: str, causes: Iterable[Cause]) -> Refusal:
    """Causes' reasons are FieldValueInvalid, FieldValueRequired ...; their fields say where."""
    listed = tuple(causes)
    texts = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in listed]
    shown = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    message = f'{qualified(group, kind)} "{name}" is invalid: {shown}'
    return Refusal(422, "Invalid", message, details=_about(group, kind, name), causes=listed)


def too_many_requests(message: str, *, causes: Iterable[Cause] = (), retry_after: int = 10) -> Refusal:
    return Refusal(429, "TooManyRequests", message, causes=causes, retry_after=retry_after)


def internal(message: str) -> Refusal:
    return Refusal(500, "InternalError", f"Internal error occurred: {message}")


def unavailable(message: str) -> Refusal:
    return Refusal(503, "ServiceUnavailable", message, retry_after=1)


def version_too_large(asked: int, current: int) -> Refusal:
    cause = Cause("ResourceVersionTooLarge", "Too large resource version")
    message = f"Too large resource version: {asked}, current: {current}"
    return Refusal(504, "Timeout", message, causes=(cause,), retry_after=1)


def refuse(code: int, reason: str) -> messages.Response:
    """What the HTTP server itself has to refuse, as a Status."""
    reasons = {
        400: "BadRequest",
        408: "Timeout",
        413: "RequestEntityTooLarge",
        431: "RequestEntityTooLarge",
        500: "InternalError",
    }
    return Refusal(code, reasons.get(code, ""), reason).response()

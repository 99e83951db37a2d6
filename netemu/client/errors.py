"""What the API says no with, one class a reason. Knows metav1.Status; knows no connection."""

from __future__ import annotations

from netemu.api import meta
from netemu.base import errors


class ApiError(errors.NetemuError):
    """A request was refused; `status` says why."""

    def __init__(self, status: meta.Status) -> None:
        super().__init__(status.message or status.reason or f"HTTP status {status.code}")
        self.status = status


class BadRequest(ApiError): ...


class Unauthorized(ApiError): ...


class Forbidden(ApiError): ...


class NotFound(ApiError): ...


class AlreadyExists(ApiError): ...


class Conflict(ApiError): ...


class Expired(ApiError):
    """The revision asked for is forgotten: list again."""


class Invalid(ApiError): ...


class TooManyRequests(ApiError, errors.Transient): ...


class Unavailable(ApiError, errors.Transient):
    """The server cannot be reached, or cannot answer now."""


_BY_REASON: dict[str, type[ApiError]] = {
    "BadRequest": BadRequest,
    "Unauthorized": Unauthorized,
    "Forbidden": Forbidden,
    "NotFound": NotFound,
    "AlreadyExists": AlreadyExists,
    "Conflict": Conflict,
    "Expired": Expired,
    "Gone": Expired,
    "Invalid": Invalid,
    "TooManyRequests": TooManyRequests,
    "ServiceUnavailable": Unavailable,
    "InternalError": Unavailable,
    "ServerTimeout": Unavailable,
    "Timeout": Unavailable,
}
_BY_CODE: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    422: Invalid,
    429: TooManyRequests,
}


def of(status: meta.Status) -> ApiError:
    """The error for a Status: by its reason, failing that by its code."""
    unknown = Unavailable if status.code >= 500 else ApiError
    return _BY_REASON.get(status.reason, _BY_CODE.get(status.code, unknown))(status)

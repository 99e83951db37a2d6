"""What the API says no with, one class a reason. Knows metav1.Status; knows no connection."""

from __future__ import annotations

from netemu.api import meta
from netemu.base import errors


class ApiError(errors.NetemuError):
    """A request was refused; `status` says why."""

    def __init__(self, status: meta.Status) -> None:
        super().__init__(status.message or status.reason or f"HTTP status {status.code}")
        self.status = status


class BadRequest(ApiError):
    """400: the request makes no sense."""


class Unauthorized(ApiError):
    """401: the API does not know who asks."""


class Forbidden(ApiError):
    """403: the API knows who asks, and does not allow it."""


class NotFound(ApiError):
    """404: no such object, or no such kind."""


class AlreadyExists(ApiError):
    """409: an object of that name is there."""


class Conflict(ApiError):
    """409: the object is not the version, or not the one, that was meant."""


class Expired(ApiError):
    """410: the revision asked for is forgotten. List again."""


class Invalid(ApiError):
    """422: the object breaks a rule of its kind; `status.details.causes` say which."""


class TooManyRequests(ApiError, errors.Transient):
    """429: later; an eviction that a budget does not allow now says so, too."""


class Unavailable(ApiError, errors.Transient):
    """5xx: the server cannot answer now; or it cannot be reached at all."""


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

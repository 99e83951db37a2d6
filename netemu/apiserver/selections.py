"""What a list or watch is to show: namespace, label selector, field selector, and as of which revision.

Parses the query of list-like requests (metav1.ListOptions). Does not know where objects are kept.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from netemu.api import kinds, selectors
from netemu.apiserver import entries, paths, statuses
from netemu.base import errors
from netemu.http import messages

Match = Callable[[entries.Entry], bool]


@dataclass(frozen=True, slots=True)
class Options:
    """metav1.ListOptions. `revision` is None when none was given."""

    revision: int | None = None
    revision_match: str = ""
    limit: int = 0
    after: str = ""  # from `continue`: the last key shown, namespace/name
    pinned: int = 0  # from `continue`: the revision of the first page; -1: the current one
    timeout: float = 0.0
    bookmarks: bool = False
    initial_events: bool | None = None


class _Token(msgspec.Struct):
    rv: int
    start: str


def match(kind: kinds.Kind, request: messages.Request) -> Match | None:
    """Whether an object is selected; None when all are. BadRequest for a selector that cannot be read."""
    by_label, by_field = request.parameter("labelSelector"), request.parameter("fieldSelector")
    if not by_label and not by_field:
        return None
    try:
        labels = selectors.labels(by_label) if by_label else None
        fields = selectors.fields(kind, by_field) if by_field else None
    except errors.Rejected as error:
        raise statuses.bad_request(error.message) from None

    def selected(entry: entries.Entry) -> bool:
        if labels is not None and not labels.matches(entry.labels):
            return False
        return fields is None or fields.matches(entry.document())

    return selected


def options(request: messages.Request) -> Options:
    """The query of a list, a watch or a deletecollection. BadRequest, Invalid."""
    if not request.query:
        return Options()
    given_match = request.parameter("resourceVersionMatch")
    revision = _revision(request.parameter("resourceVersion"))
    token = _token(request.parameter("continue"))
    limit = _number(request, "limit")
    if token is not None and revision:
        raise statuses.bad_request("specifying resource version is not allowed when using continue")
    initial = request.parameter("sendInitialEvents")
    found = Options(
        revision=revision,
        revision_match=given_match,
        limit=limit,
        after=token.start if token else "",
        pinned=token.rv if token else 0,
        timeout=float(_number(request, "timeoutSeconds")),
        bookmarks=paths.flag(request, "allowWatchBookmarks"),
        initial_events=paths.flag(request, "sendInitialEvents") if initial else None,
    )
    problems = tuple(_problems(found, watch=paths.watches(request), continued=token is not None))
    if problems:
        raise statuses.invalid("meta.k8s.io", "ListOptions", "", problems)
    return found


def _problems(given: Options, *, watch: bool, continued: bool) -> list[statuses.Cause]:
    """k8s.io/apimachinery ValidateListOptions."""
    found: list[tuple[str, str]] = []
    how = given.revision_match
    if given.initial_events is not None:
        if not watch:
            found.append(("sendInitialEvents", "sendInitialEvents is forbidden for list"))
        elif how != "NotOlderThan":
            found.append(
                (
                    "resourceVersionMatch",
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                )
            )
        return [statuses.Cause("FieldValueForbidden", f"Forbidden: {why}", field) for field, why in found]
    if not how:
        return []
    if watch:
        found.append(("resourceVersionMatch", "resourceVersionMatch is forbidden for watch"))
    elif continued:
        found.append(("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"))
    elif given.revision is None:
        found.append(
            ("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")
        )
    elif how == "Exact" and given.revision == 0:
        found.append(
            ("resourceVersionMatch", 'resourceVersionMatch "Exact" is forbidden for resourceVersion "0"')
        )
    elif how not in ("Exact", "NotOlderThan"):
        found.append(("resourceVersionMatch", f'unsupported value "{how}"'))
    return [statuses.Cause("FieldValueForbidden", f"Forbidden: {why}", field) for field, why in found]


def next_page(revision: int, entry: entries.Entry) -> str:
    """The `continue` token of the page after this entry."""
    text = msgspec.json.encode({"rv": revision, "start": f"{entry.namespace}/{entry.name}"})
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def rest(after: str) -> str:
    """The `continue` token of what follows a key, as of now."""
    text = msgspec.json.encode({"rv": -1, "start": after})
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _token(text: str) -> _Token | None:
    if not text:
        return None
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        token = msgspec.json.decode(raw, type=_Token)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise statuses.bad_request("continue key is not valid") from None
    if (token.rv <= 0 and token.rv != -1) or "/" not in token.start:
        raise statuses.bad_request("continue key is not valid")
    return token


def _revision(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise statuses.bad_request(f'resourceVersion: Invalid value: "{text}": must be a number')
    return int(text)


def _number(request: messages.Request, name: str) -> int:
    text = request.parameter(name)
    if not text:
        return 0
    if not text.lstrip("-").isdigit() or len(text) > 18:
        raise statuses.bad_request(f'{name}: Invalid value: "{text}": must be a number')
    return max(int(text), 0)

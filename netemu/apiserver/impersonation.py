"""Acting as somebody else: the Impersonate-* headers, each of which one must be allowed to use.

Follows k8s.io/apiserver pkg/endpoints/filters/impersonation.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote

from netemu.apiserver import authentication, authorization, statuses
from netemu.http import messages

_PREFIX = "impersonate-"
_EXTRA = "impersonate-extra-"
_ACCOUNT = "system:serviceaccount:"


def user(
    authorizer: authorization.Authorizer, request: messages.Request, asking: authentication.User
) -> authentication.User:
    """Who counts as asking. Refusal: Forbidden for whom one may not be, BadRequest without a user."""
    given = [(name, value) for name, value in request.headers if name.startswith(_PREFIX)]
    if not given:
        return asking
    name = request.header("impersonate-user")
    if not name:
        raise statuses.bad_request("requested impersonation without a user (Impersonate-User)")
    groups = tuple(value for key, value in given if key == "impersonate-group")
    uid = request.header("impersonate-uid")
    extra: dict[str, tuple[str, ...]] = {}
    for key, value in given:
        if key.startswith(_EXTRA):
            found = unquote(key[len(_EXTRA) :])
            extra[found] = (*extra.get(found, ()), value)
    for asked in _needed(name, groups, uid, extra):
        if not authorizer.allowed(asking, asked):
            raise authorization.refusal(asking, asked)
    return authentication.User(name, _groups(name, groups), uid, tuple(extra.items()))


def _needed(
    name: str, groups: tuple[str, ...], uid: str, extra: dict[str, tuple[str, ...]]
) -> Iterator[authorization.Attributes]:
    verb, group = "impersonate", "authentication.k8s.io"
    parts = name.split(":")
    if name.startswith(_ACCOUNT) and len(parts) == 4:
        yield authorization.Attributes(verb, "", "serviceaccounts", "", parts[2], parts[3])
    else:
        yield authorization.Attributes(verb, "", "users", name=name)
    for found in groups:
        yield authorization.Attributes(verb, "", "groups", name=found)
    if uid:
        yield authorization.Attributes(verb, group, "uids", name=uid)
    for key, values in extra.items():
        for value in values:
            yield authorization.Attributes(verb, group, "userextras", key, name=value)


def _groups(name: str, given: tuple[str, ...]) -> tuple[str, ...]:
    """Everybody but system:anonymous is authenticated; an account without groups given has its own."""
    groups = given
    parts = name.split(":")
    if not groups and name.startswith(_ACCOUNT) and len(parts) == 4:
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{parts[2]}")
    ending = authentication.AUTHENTICATED
    if name == authentication.ANONYMOUS.name:
        ending = authentication.ANONYMOUS.groups[0]
    return groups if ending in groups else (*groups, ending)

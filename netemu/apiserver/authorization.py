"""What may be asked for: attributes of requests, the protocol of who decides, and how a refusal is worded.

Knows users, groups and attributes. Does not know who may do what (`rbac` does).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from netemu.apiserver import authentication, paths, statuses


class Attributes(NamedTuple):
    """What is asked for. Without a resource it is a path."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


class Authorizer(Protocol):
    """Decides."""

    def allowed(self, user: authentication.User, asked: Attributes) -> bool: ...


def attributes(target: paths.Target) -> Attributes:
    """What a request asks for."""
    if not target.resource:
        return Attributes("get" if target.verb == "head" else target.verb, path=target.path)
    return Attributes(
        target.verb, target.group, target.resource, target.subresource, target.namespace, target.name
    )


def refusal(user: authentication.User, asked: Attributes) -> statuses.Refusal:
    """Forbidden, in upstream's words (k8s.io/apiserver responsewriters.ForbiddenStatusError)."""
    if not asked.resource:
        message = f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"'
        return statuses.Refusal(403, "Forbidden", message)
    resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    where = f' in the namespace "{asked.namespace}"' if asked.namespace else " at the cluster scope"
    why = f'User "{user.name}" cannot {asked.verb} resource "{resource}" in API group "{asked.group}"{where}'
    return statuses.forbidden(asked.group, asked.resource, asked.name, why)

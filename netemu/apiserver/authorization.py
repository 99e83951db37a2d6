"""Who may do what: a small literal table, behind the protocol that RBAC will take over.

Knows users, groups and attributes of requests. Does not know objects.
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
    """Decides; the answer is empty when it is allowed, or says why not."""

    def allowed(self, user: authentication.User, asked: Attributes) -> bool: ...


_EVERYTHING = ("system:masters", "system:nodes", "system:serviceaccounts:kube-system")
_COMPONENTS = "system:kube-"
_OPEN_PATHS = ("/healthz", "/livez", "/readyz", "/version")
DISCOVERY = ("/api", "/apis", "/openapi", "/version", "/healthz", "/livez", "/readyz")
SELF_REVIEWS = (
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
)


class Table:
    """Administrators, nodes and the control plane may do everything; other accounts may look around."""

    def allowed(self, user: authentication.User, asked: Attributes) -> bool:
        if any(group in _EVERYTHING for group in user.groups) or user.name.startswith(_COMPONENTS):
            return True
        if not asked.resource and _under(asked.path, _OPEN_PATHS) and asked.verb == "get":
            return True
        if authentication.AUTHENTICATED not in user.groups:
            return False
        if asked.resource:
            return asked.verb == "create" and (asked.group, asked.resource) in SELF_REVIEWS
        return asked.verb == "get" and _under(asked.path, DISCOVERY)


def _under(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)


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

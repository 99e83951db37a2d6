"""The server's authorizer: system:masters, then nodes for what is theirs, then everybody's roles."""

from __future__ import annotations

from netemu.apiserver import authentication, authorization, cache
from netemu.apiserver.rbac import nodes, roles

MASTERS = "system:masters"


class Authorizer:
    """Decides by the objects in the cache; what changes them counts from the next request on."""

    def __init__(self, caches: cache.Cache) -> None:
        self.roles = roles.Roles(caches)
        self._nodes = nodes.Nodes(caches)

    def allowed(self, user: authentication.User, asked: authorization.Attributes) -> bool:
        return MASTERS in user.groups or self.roles.allowed(user, asked) or self._nodes.allowed(user, asked)

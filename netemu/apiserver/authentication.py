"""Who asks: a user by client certificate or by service-account token; anonymous otherwise.

Knows credentials and what they prove. Does not know what anybody may do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from netemu.apiserver import statuses, tokens
from netemu.http import messages

AUTHENTICATED = "system:authenticated"


@dataclass(frozen=True, slots=True)
class User:
    """Who a request is from, as SelfSubjectReview shows it."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def document(self) -> statuses.Document:
        """As authentication.k8s.io/v1 UserInfo."""
        found: statuses.Document = {"username": self.name, "groups": list(self.groups)}
        if self.uid:
            found["uid"] = self.uid
        if self.extra:
            found["extra"] = {key: list(values) for key, values in self.extra}
        return found


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class Authenticator:
    """Certificates were verified by TLS; tokens are here. `alive`: whether the account still is."""

    def __init__(self, issuer: tokens.Issuer, alive: Callable[[tokens.Claims], bool]) -> None:
        self._issuer = issuer
        self._alive = alive

    def user(self, request: messages.Request) -> User:
        """The user. Unauthorized (Refusal) when credentials are given and wrong."""
        if request.peer.common_name:
            return User(request.peer.common_name, (*request.peer.organizations, AUTHENTICATED))
        scheme, _, token = request.header("authorization").partition(" ")
        if not scheme:
            return ANONYMOUS
        user = self.token(token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise statuses.unauthorized()
        return user

    def token(self, token: str, audiences: tuple[str, ...] = ()) -> User | None:
        """The service account a token proves, for one of the audiences (empty: the API server's own)."""
        claims = self._issuer.verify(token, audiences)
        if claims is None or not self._alive(claims):
            return None
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{claims.namespace}", AUTHENTICATED)
        extra = [("authentication.kubernetes.io/credential-id", (f"JTI={claims.id}",))]
        if claims.pod_name:
            extra += [
                ("authentication.kubernetes.io/pod-name", (claims.pod_name,)),
                ("authentication.kubernetes.io/pod-uid", (claims.pod_uid,)),
            ]
        return User(claims.subject, groups, claims.account_uid, tuple(extra))

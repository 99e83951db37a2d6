"""Who asks: a user by client certificate, service-account token or bootstrap token; anonymous otherwise.

Knows credentials and what they prove. Does not know what anybody may do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from netemu.apiserver import statuses, tokens
from netemu.http import messages

AUTHENTICATED = "system:authenticated"
_ABOUT = "authentication.kubernetes.io/"


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
    """Certificates were verified by TLS; tokens are here.

    `alive`: whether an account, and what its token is bound to, still is. `bootstrap`: whose a bootstrap
    token is: its name and groups.
    """

    def __init__(
        self,
        issuer: tokens.Issuer,
        alive: Callable[[tokens.Claims], bool],
        bootstrap: Callable[[str], tuple[str, tuple[str, ...]] | None] = lambda token: None,
    ) -> None:
        self._issuer = issuer
        self._alive = alive
        self._bootstrap = bootstrap

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

    def token(self, token: str) -> User | None:
        """Whose token it is, if it is meant for the API server."""
        found = self.review(token, (self._issuer.audience,))
        return found[0] if found else None

    def review(self, token: str, audiences: tuple[str, ...]) -> tuple[User, tuple[str, ...]] | None:
        """Whose token it is, and for which of the audiences."""
        claims = self._issuer.verify(token, audiences)
        if claims is not None:
            if not self._alive(claims):
                return None
            return _account(claims), tuple(name for name in audiences if name in claims.audiences)
        if self._issuer.audience in audiences and (found := self._bootstrap(token)):
            name, groups = found
            return User(name, (*groups, AUTHENTICATED)), (self._issuer.audience,)
        return None


def _account(claims: tokens.Claims) -> User:
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{claims.namespace}", AUTHENTICATED)
    extra = [(f"{_ABOUT}credential-id", (f"JTI={claims.id}",))]
    for what, name, uid in claims.bound:
        extra += [(f"{_ABOUT}{what}-name", (name,)), (f"{_ABOUT}{what}-uid", (uid,))]
    return User(claims.subject, groups, claims.account_uid, tuple(extra))

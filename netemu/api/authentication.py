"""Tokens, and reviews of who somebody is."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.fields import F, Int64, Record, Time
from netemu.api.meta import Object


class TokenReviewSpec(Record):
    token: A[str, F(1, required=True, keep=False)] = ""
    audiences: A[tuple[str, ...], F(2)] = ()


class UserInfo(Record):
    username: A[str, F(1)] = ""
    uid: A[str, F(2)] = ""
    groups: A[tuple[str, ...], F(3)] = ()
    extra: A[dict[str, tuple[str, ...]], F(4)] = {}


class TokenReviewStatus(Record):
    authenticated: A[bool, F(1)] = False
    user: A[UserInfo, F(2)] = UserInfo()
    audiences: A[tuple[str, ...], F(4)] = ()
    error: A[str, F(3)] = ""


class TokenReview(Object):
    apiVersion: ClassVar[str] = "authentication.k8s.io/v1"
    kind: ClassVar[str] = "TokenReview"
    spec: A[TokenReviewSpec, F(2, required=True)] = TokenReviewSpec()
    status: A[TokenReviewStatus, F(3)] = TokenReviewStatus()


class BoundObjectReference(Record):
    kind: A[str, F(1)] = ""
    apiVersion: A[str, F(2)] = ""
    name: A[str, F(3)] = ""
    uid: A[str, F(4)] = ""


class TokenRequestSpec(Record):
    audiences: A[tuple[str, ...], F(1, keep=True)] = ()
    expirationSeconds: A[Int64 | None, F(4)] = None
    boundObjectRef: A[BoundObjectReference | None, F(3)] = None
    attestations: A[dict[str, tuple[str, ...]], F(5)] = {}


class TokenRequestStatus(Record):
    token: A[str, F(1, keep=True)] = ""
    expirationTimestamp: A[Time, F(2, keep=True)] = ""


class TokenRequest(Object):
    apiVersion: ClassVar[str] = "authentication.k8s.io/v1"
    kind: ClassVar[str] = "TokenRequest"
    spec: A[TokenRequestSpec, F(2, keep=True)] = TokenRequestSpec()
    status: A[TokenRequestStatus, F(3)] = TokenRequestStatus()


class SelfSubjectReviewStatus(Record):
    userInfo: A[UserInfo, F(1)] = UserInfo()


class SelfSubjectReview(Object):
    apiVersion: ClassVar[str] = "authentication.k8s.io/v1"
    kind: ClassVar[str] = "SelfSubjectReview"
    status: A[SelfSubjectReviewStatus, F(2)] = SelfSubjectReviewStatus()

"""Reviews of what somebody may do."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.fields import F, Record
from netemu.api.meta import FieldSelectorRequirement, LabelSelectorRequirement, Object


class NonResourceAttributes(Record):
    path: A[str, F(1)] = ""
    verb: A[str, F(2)] = ""


class FieldSelectorAttributes(Record):
    rawSelector: A[str, F(1)] = ""
    requirements: A[tuple[FieldSelectorRequirement, ...], F(2)] = ()


class LabelSelectorAttributes(Record):
    rawSelector: A[str, F(1)] = ""
    requirements: A[tuple[LabelSelectorRequirement, ...], F(2)] = ()


class ResourceAttributes(Record):
    namespace: A[str, F(1)] = ""
    verb: A[str, F(2)] = ""
    group: A[str, F(3)] = ""
    version: A[str, F(4)] = ""
    resource: A[str, F(5)] = ""
    subresource: A[str, F(6)] = ""
    name: A[str, F(7)] = ""
    fieldSelector: A[FieldSelectorAttributes | None, F(8)] = None
    labelSelector: A[LabelSelectorAttributes | None, F(9)] = None


class SubjectAccessReviewSpec(Record):
    resourceAttributes: A[ResourceAttributes | None, F(1)] = None
    nonResourceAttributes: A[NonResourceAttributes | None, F(2)] = None
    user: A[str, F(3)] = ""
    groups: A[tuple[str, ...], F(4)] = ()
    extra: A[dict[str, tuple[str, ...]], F(5)] = {}
    uid: A[str, F(6)] = ""


class SubjectAccessReviewStatus(Record):
    allowed: A[bool, F(1, required=True)] = False
    denied: A[bool, F(4)] = False
    reason: A[str, F(2)] = ""
    evaluationError: A[str, F(3)] = ""


class SubjectAccessReview(Object):
    apiVersion: ClassVar[str] = "authorization.k8s.io/v1"
    kind: ClassVar[str] = "SubjectAccessReview"
    spec: A[SubjectAccessReviewSpec, F(2, required=True)] = SubjectAccessReviewSpec()
    status: A[SubjectAccessReviewStatus, F(3)] = SubjectAccessReviewStatus()


class SelfSubjectAccessReviewSpec(Record):
    resourceAttributes: A[ResourceAttributes | None, F(1)] = None
    nonResourceAttributes: A[NonResourceAttributes | None, F(2)] = None


class SelfSubjectAccessReview(Object):
    apiVersion: ClassVar[str] = "authorization.k8s.io/v1"
    kind: ClassVar[str] = "SelfSubjectAccessReview"
    spec: A[SelfSubjectAccessReviewSpec, F(2, required=True)] = SelfSubjectAccessReviewSpec()
    status: A[SubjectAccessReviewStatus, F(3)] = SubjectAccessReviewStatus()


class LocalSubjectAccessReview(Object):
    apiVersion: ClassVar[str] = "authorization.k8s.io/v1"
    kind: ClassVar[str] = "LocalSubjectAccessReview"
    spec: A[SubjectAccessReviewSpec, F(2, required=True)] = SubjectAccessReviewSpec()
    status: A[SubjectAccessReviewStatus, F(3)] = SubjectAccessReviewStatus()


class SelfSubjectRulesReviewSpec(Record):
    namespace: A[str, F(1)] = ""


class NonResourceRule(Record):
    verbs: A[tuple[str, ...], F(1, required=True)] = ()
    nonResourceURLs: A[tuple[str, ...], F(2)] = ()


class ResourceRule(Record):
    verbs: A[tuple[str, ...], F(1, required=True)] = ()
    apiGroups: A[tuple[str, ...], F(2)] = ()
    resources: A[tuple[str, ...], F(3)] = ()
    resourceNames: A[tuple[str, ...], F(4)] = ()


class SubjectRulesReviewStatus(Record):
    resourceRules: A[tuple[ResourceRule, ...], F(1, required=True)] = ()
    nonResourceRules: A[tuple[NonResourceRule, ...], F(2, required=True)] = ()
    incomplete: A[bool, F(3, required=True)] = False
    evaluationError: A[str, F(4)] = ""


class SelfSubjectRulesReview(Object):
    apiVersion: ClassVar[str] = "authorization.k8s.io/v1"
    kind: ClassVar[str] = "SelfSubjectRulesReview"
    spec: A[SelfSubjectRulesReviewSpec, F(2, required=True)] = SelfSubjectRulesReviewSpec()
    status: A[SubjectRulesReviewStatus, F(3)] = SubjectRulesReviewStatus()

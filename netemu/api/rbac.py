"""Roles and their bindings."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.fields import F, Record
from netemu.api.meta import LabelSelector, Object


class PolicyRule(Record):
    verbs: A[tuple[str, ...], F(1, required=True)] = ()
    apiGroups: A[tuple[str, ...], F(2)] = ()
    resources: A[tuple[str, ...], F(3)] = ()
    resourceNames: A[tuple[str, ...], F(4)] = ()
    nonResourceURLs: A[tuple[str, ...], F(5)] = ()


class Subject(Record):
    atomic: ClassVar[bool] = True
    kind: A[str, F(1, required=True)] = ""
    apiGroup: A[str, F(2)] = ""
    name: A[str, F(3, required=True)] = ""
    namespace: A[str, F(4)] = ""


class RoleRef(Record):
    atomic: ClassVar[bool] = True
    apiGroup: A[str, F(1, keep=True, default="rbac.authorization.k8s.io")] = ""
    kind: A[str, F(2, required=True)] = ""
    name: A[str, F(3, required=True)] = ""


class Role(Object):
    apiVersion: ClassVar[str] = "rbac.authorization.k8s.io/v1"
    kind: ClassVar[str] = "Role"
    rules: A[tuple[PolicyRule, ...], F(2, keep=True)] = ()


class RoleBinding(Object):
    apiVersion: ClassVar[str] = "rbac.authorization.k8s.io/v1"
    kind: ClassVar[str] = "RoleBinding"
    subjects: A[tuple[Subject, ...], F(2)] = ()
    roleRef: A[RoleRef, F(3, required=True)] = RoleRef()


class AggregationRule(Record):
    clusterRoleSelectors: A[tuple[LabelSelector, ...], F(1)] = ()


class ClusterRole(Object):
    apiVersion: ClassVar[str] = "rbac.authorization.k8s.io/v1"
    kind: ClassVar[str] = "ClusterRole"
    rules: A[tuple[PolicyRule, ...], F(2, keep=True)] = ()
    aggregationRule: A[AggregationRule | None, F(3)] = None


class ClusterRoleBinding(Object):
    apiVersion: ClassVar[str] = "rbac.authorization.k8s.io/v1"
    kind: ClassVar[str] = "ClusterRoleBinding"
    subjects: A[tuple[Subject, ...], F(2)] = ()
    roleRef: A[RoleRef, F(3, required=True)] = RoleRef()

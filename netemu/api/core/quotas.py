"""Limits and quotas of a namespace."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.enums import ResourceQuotaScope, ScopeSelectorOperator
from netemu.api.fields import F, Quantity, Record
from netemu.api.meta import Object


class LimitRangeItem(Record):
    type: A[str, F(1, required=True)] = ""
    max: A[dict[str, Quantity], F(2)] = {}
    min: A[dict[str, Quantity], F(3)] = {}
    default: A[dict[str, Quantity], F(4)] = {}
    defaultRequest: A[dict[str, Quantity], F(5)] = {}
    maxLimitRequestRatio: A[dict[str, Quantity], F(6)] = {}


class LimitRangeSpec(Record):
    limits: A[tuple[LimitRangeItem, ...], F(1, required=True)] = ()


class LimitRange(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "LimitRange"
    spec: A[LimitRangeSpec, F(2)] = LimitRangeSpec()


class ScopedResourceSelectorRequirement(Record):
    scopeName: A[ResourceQuotaScope, F(1, required=True)] = ""
    operator: A[ScopeSelectorOperator, F(2, required=True)] = ""
    values: A[tuple[str, ...], F(3)] = ()


class ScopeSelector(Record):
    atomic: ClassVar[bool] = True
    matchExpressions: A[tuple[ScopedResourceSelectorRequirement, ...], F(1)] = ()


class ResourceQuotaSpec(Record):
    hard: A[dict[str, Quantity], F(1)] = {}
    scopes: A[tuple[ResourceQuotaScope, ...], F(2)] = ()
    scopeSelector: A[ScopeSelector | None, F(3)] = None


class ResourceQuotaStatus(Record):
    hard: A[dict[str, Quantity], F(1)] = {}
    used: A[dict[str, Quantity], F(2)] = {}


class ResourceQuota(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "ResourceQuota"
    spec: A[ResourceQuotaSpec, F(2)] = ResourceQuotaSpec()
    status: A[ResourceQuotaStatus, F(3)] = ResourceQuotaStatus()

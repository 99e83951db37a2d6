"""Namespaces."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.enums import NamespacePhase
from netemu.api.fields import F, Record, Time
from netemu.api.meta import Object


class NamespaceSpec(Record):
    finalizers: A[tuple[str, ...], F(1)] = ()


class NamespaceCondition(Record):
    type: A[str, F(1, required=True)] = ""
    status: A[str, F(2, required=True)] = ""
    lastTransitionTime: A[Time, F(4)] = ""
    reason: A[str, F(5)] = ""
    message: A[str, F(6)] = ""


class NamespaceStatus(Record):
    phase: A[NamespacePhase, F(1, default="Active")] = ""
    conditions: A[tuple[NamespaceCondition, ...], F(2, merge="type", keys=("type",))] = ()


class Namespace(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Namespace"
    spec: A[NamespaceSpec, F(2)] = NamespaceSpec()
    status: A[NamespaceStatus, F(3)] = NamespaceStatus()

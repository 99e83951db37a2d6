"""Leases."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.fields import F, Int32, MicroTime, Record
from netemu.api.meta import Object


class LeaseSpec(Record):
    holderIdentity: A[str | None, F(1)] = None
    leaseDurationSeconds: A[Int32 | None, F(2)] = None
    acquireTime: A[MicroTime | None, F(3)] = None
    renewTime: A[MicroTime | None, F(4)] = None
    leaseTransitions: A[Int32 | None, F(5)] = None
    strategy: A[str | None, F(6)] = None
    preferredHolder: A[str | None, F(7)] = None


class Lease(Object):
    apiVersion: ClassVar[str] = "coordination.k8s.io/v1"
    kind: ClassVar[str] = "Lease"
    spec: A[LeaseSpec, F(2)] = LeaseSpec()

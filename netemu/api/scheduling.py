"""Priority classes."""

from __future__ import annotations

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.enums import PreemptionPolicy
from netemu.api.fields import F, Int32
from netemu.api.meta import Object


class PriorityClass(Object):
    apiVersion: ClassVar[str] = "scheduling.k8s.io/v1"
    kind: ClassVar[str] = "PriorityClass"
    value: A[Int32, F(2, keep=True)] = 0
    globalDefault: A[bool, F(3)] = False
    description: A[str, F(4)] = ""
    preemptionPolicy: A[PreemptionPolicy | None, F(5, default="PreemptLowerPriority")] = None

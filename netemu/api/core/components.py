"""Health of control-plane components, as older clients ask for it."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.fields import F, Record
from netemu.api.meta import Object


class ComponentCondition(Record):
    type: A[str, F(1, required=True)] = ""
    status: A[str, F(2, required=True)] = ""
    message: A[str, F(3)] = ""
    error: A[str, F(4)] = ""


class ComponentStatus(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "ComponentStatus"
    conditions: A[tuple[ComponentCondition, ...], F(2, merge="type", keys=("type",))] = ()

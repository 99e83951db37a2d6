"""Runtime classes."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.selection import Toleration
from netemu.api.fields import F, Quantity, Record
from netemu.api.meta import Object


class Overhead(Record):
    podFixed: A[dict[str, Quantity], F(1)] = {}


class Scheduling(Record):
    nodeSelector: A[dict[str, str], F(1, atomic=True)] = {}
    tolerations: A[tuple[Toleration, ...], F(2)] = ()


class RuntimeClass(Object):
    apiVersion: ClassVar[str] = "node.k8s.io/v1"
    kind: ClassVar[str] = "RuntimeClass"
    handler: A[str, F(2, required=True)] = ""
    overhead: A[Overhead | None, F(3)] = None
    scheduling: A[Scheduling | None, F(4)] = None

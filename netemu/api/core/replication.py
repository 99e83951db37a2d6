"""ReplicationControllers."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.pods import PodTemplateSpec
from netemu.api.fields import F, Int32, Int64, Record, Time
from netemu.api.meta import Object


class ReplicationControllerSpec(Record):
    replicas: A[Int32 | None, F(1, default=1)] = None
    minReadySeconds: A[Int32, F(4)] = 0
    selector: A[dict[str, str], F(2, atomic=True)] = {}
    template: A[PodTemplateSpec | None, F(3)] = None


class ReplicationControllerCondition(Record):
    type: A[str, F(1, required=True)] = ""
    status: A[str, F(2, required=True)] = ""
    lastTransitionTime: A[Time, F(3)] = ""
    reason: A[str, F(4)] = ""
    message: A[str, F(5)] = ""


class ReplicationControllerStatus(Record):
    replicas: A[Int32, F(1, required=True)] = 0
    fullyLabeledReplicas: A[Int32, F(2)] = 0
    readyReplicas: A[Int32, F(4)] = 0
    availableReplicas: A[Int32, F(5)] = 0
    observedGeneration: A[Int64, F(3)] = 0
    conditions: A[tuple[ReplicationControllerCondition, ...], F(6, merge="type", keys=("type",))] = ()


class ReplicationController(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "ReplicationController"
    spec: A[ReplicationControllerSpec, F(2)] = ReplicationControllerSpec()
    status: A[ReplicationControllerStatus, F(3)] = ReplicationControllerStatus()

"""APIServices: groups that another server answers for."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.fields import Bytes, F, Int32, Record, Time
from netemu.api.meta import Object


class ServiceReference(Record):
    namespace: A[str, F(1)] = ""
    name: A[str, F(2)] = ""
    port: A[Int32 | None, F(3)] = None


class APIServiceSpec(Record):
    service: A[ServiceReference | None, F(1)] = None
    group: A[str, F(2)] = ""
    version: A[str, F(3)] = ""
    insecureSkipTLSVerify: A[bool, F(4)] = False
    caBundle: A[Bytes, F(5)] = ""
    groupPriorityMinimum: A[Int32, F(7, required=True)] = 0
    versionPriority: A[Int32, F(8, required=True)] = 0


class APIServiceCondition(Record):
    type: A[str, F(1, required=True)] = ""
    status: A[str, F(2, required=True)] = ""
    lastTransitionTime: A[Time, F(3)] = ""
    reason: A[str, F(4)] = ""
    message: A[str, F(5)] = ""


class APIServiceStatus(Record):
    conditions: A[tuple[APIServiceCondition, ...], F(1, merge="type", keys=("type",))] = ()


class APIService(Object):
    apiVersion: ClassVar[str] = "apiregistration.k8s.io/v1"
    kind: ClassVar[str] = "APIService"
    spec: A[APIServiceSpec, F(2)] = APIServiceSpec()
    status: A[APIServiceStatus, F(3)] = APIServiceStatus()

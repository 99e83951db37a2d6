"""Names of other objects and of keys in them."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.fields import F, Record


class TypedObjectReference(Record):
    apiGroup: A[str | None, F(1)] = None
    kind: A[str, F(2, required=True)] = ""
    name: A[str, F(3, required=True)] = ""
    namespace: A[str | None, F(4)] = None


class SecretReference(Record):
    atomic: ClassVar[bool] = True
    name: A[str, F(1)] = ""
    namespace: A[str, F(2)] = ""


class ObjectReference(Record):
    atomic: ClassVar[bool] = True
    kind: A[str, F(1)] = ""
    namespace: A[str, F(2)] = ""
    name: A[str, F(3)] = ""
    uid: A[str, F(4)] = ""
    apiVersion: A[str, F(5)] = ""
    resourceVersion: A[str, F(6)] = ""
    fieldPath: A[str, F(7)] = ""


class LocalObjectReference(Record):
    atomic: ClassVar[bool] = True
    name: A[str, F(1)] = ""


class TypedLocalObjectReference(Record):
    atomic: ClassVar[bool] = True
    apiGroup: A[str | None, F(1)] = None
    kind: A[str, F(2, required=True)] = ""
    name: A[str, F(3, required=True)] = ""

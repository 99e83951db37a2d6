"""Environment variables, their sources, and keys of ConfigMaps, Secrets and files."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.references import LocalObjectReference
from netemu.api.fields import F, Int32, Int64, Quantity, Record


class KeyToPath(Record):
    key: A[str, F(1, required=True)] = ""
    path: A[str, F(2, required=True)] = ""
    mode: A[Int32 | None, F(3)] = None
    user: A[Int64 | None, F(4)] = None


class ConfigMapKeySelector(LocalObjectReference):
    atomic: ClassVar[bool] = True
    embedded: ClassVar[int] = 1
    key: A[str, F(2, required=True)] = ""
    optional: A[bool | None, F(3)] = None


class FileKeySelector(Record):
    atomic: ClassVar[bool] = True
    volumeName: A[str, F(1, required=True)] = ""
    path: A[str, F(2, required=True)] = ""
    key: A[str, F(3, required=True)] = ""
    optional: A[bool | None, F(4, default=False)] = None


class ObjectFieldSelector(Record):
    atomic: ClassVar[bool] = True
    apiVersion: A[str, F(1, default="v1")] = ""
    fieldPath: A[str, F(2, required=True)] = ""


class ResourceFieldSelector(Record):
    atomic: ClassVar[bool] = True
    containerName: A[str, F(1)] = ""
    resource: A[str, F(2, required=True)] = ""
    divisor: A[Quantity, F(3, keep=True)] = ""


class SecretKeySelector(LocalObjectReference):
    atomic: ClassVar[bool] = True
    embedded: ClassVar[int] = 1
    key: A[str, F(2, required=True)] = ""
    optional: A[bool | None, F(3)] = None


class EnvVarSource(Record):
    fieldRef: A[ObjectFieldSelector | None, F(1)] = None
    resourceFieldRef: A[ResourceFieldSelector | None, F(2)] = None
    configMapKeyRef: A[ConfigMapKeySelector | None, F(3)] = None
    secretKeyRef: A[SecretKeySelector | None, F(4)] = None
    fileKeyRef: A[FileKeySelector | None, F(5)] = None


class EnvVar(Record):
    name: A[str, F(1, required=True)] = ""
    value: A[str, F(2)] = ""
    valueFrom: A[EnvVarSource | None, F(3)] = None


class ConfigMapEnvSource(LocalObjectReference):
    embedded: ClassVar[int] = 1
    optional: A[bool | None, F(2)] = None


class SecretEnvSource(LocalObjectReference):
    embedded: ClassVar[int] = 1
    optional: A[bool | None, F(2)] = None


class EnvFromSource(Record):
    prefix: A[str, F(1)] = ""
    configMapRef: A[ConfigMapEnvSource | None, F(2)] = None
    secretRef: A[SecretEnvSource | None, F(3)] = None

"""ConfigMaps, Secrets and ServiceAccounts."""

from __future__ import annotations

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.references import LocalObjectReference, ObjectReference
from netemu.api.fields import Bytes, F
from netemu.api.meta import Object


class ServiceAccount(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "ServiceAccount"
    secrets: A[tuple[ObjectReference, ...], F(2, merge="name", keys=("name",))] = ()
    imagePullSecrets: A[tuple[LocalObjectReference, ...], F(3)] = ()
    automountServiceAccountToken: A[bool | None, F(4)] = None


class Secret(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Secret"
    immutable: A[bool | None, F(5)] = None
    data: A[dict[str, Bytes], F(2)] = {}
    stringData: A[dict[str, str], F(4)] = {}
    type: A[str, F(3, default="Opaque")] = ""


class ConfigMap(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "ConfigMap"
    immutable: A[bool | None, F(4)] = None
    data: A[dict[str, str], F(2)] = {}
    binaryData: A[dict[str, Bytes], F(3)] = {}

"""EndpointSlices."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.enums import Protocol
from netemu.api.core.references import ObjectReference
from netemu.api.fields import Enum, F, Int32, Record
from netemu.api.meta import Object

AddressType = A[str, Enum("IPv4", "IPv6", "FQDN")]


class EndpointConditions(Record):
    ready: A[bool | None, F(1)] = None
    serving: A[bool | None, F(2)] = None
    terminating: A[bool | None, F(3)] = None


class ForNode(Record):
    name: A[str, F(1, required=True)] = ""


class ForZone(Record):
    name: A[str, F(1, required=True)] = ""


class EndpointHints(Record):
    forZones: A[tuple[ForZone, ...], F(1)] = ()
    forNodes: A[tuple[ForNode, ...], F(2)] = ()


class Endpoint(Record):
    addresses: A[tuple[str, ...], F(1, required=True, unique=True)] = ()
    conditions: A[EndpointConditions, F(2)] = EndpointConditions()
    hostname: A[str | None, F(3)] = None
    targetRef: A[ObjectReference | None, F(4)] = None
    deprecatedTopology: A[dict[str, str], F(5)] = {}
    nodeName: A[str | None, F(6)] = None
    zone: A[str | None, F(7)] = None
    hints: A[EndpointHints | None, F(8)] = None


class EndpointPort(Record):
    atomic: ClassVar[bool] = True
    name: A[str | None, F(1, default="")] = None
    protocol: A[Protocol | None, F(2, default="TCP")] = None
    port: A[Int32 | None, F(3)] = None
    appProtocol: A[str | None, F(4)] = None


class EndpointSlice(Object):
    apiVersion: ClassVar[str] = "discovery.k8s.io/v1"
    kind: ClassVar[str] = "EndpointSlice"
    addressType: A[AddressType, F(4, required=True)] = ""
    endpoints: A[tuple[Endpoint, ...], F(2, keep=True)] = ()
    ports: A[tuple[EndpointPort, ...], F(3, keep=True)] = ()

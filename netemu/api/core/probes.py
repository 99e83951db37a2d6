"""Handlers that look into or speak to a container."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.enums import GRPCProbeMode, HTTPProtocol, Signal, URIScheme
from netemu.api.fields import F, Int32, Int64, IntOrString, Record


class HTTPHeader(Record):
    name: A[str, F(1, required=True)] = ""
    value: A[str, F(2, required=True)] = ""


class HTTPGetAction(Record):
    path: A[str, F(1, default="/")] = ""
    port: A[IntOrString, F(2, required=True)] = 0
    host: A[str, F(3)] = ""
    scheme: A[URIScheme, F(4, default="HTTP")] = ""
    httpHeaders: A[tuple[HTTPHeader, ...], F(5)] = ()
    protocol: A[HTTPProtocol | None, F(6)] = None


class TCPSocketAction(Record):
    port: A[IntOrString, F(1, required=True)] = 0
    host: A[str, F(2)] = ""


class GRPCAction(Record):
    port: A[Int32, F(1, required=True)] = 0
    service: A[str | None, F(2, default="")] = None
    mode: A[GRPCProbeMode | None, F(3)] = None


class ExecAction(Record):
    command: A[tuple[str, ...], F(1)] = ()


class SleepAction(Record):
    seconds: A[Int64, F(1, required=True)] = 0


class ProbeHandler(Record):
    exec: A[ExecAction | None, F(1)] = None
    httpGet: A[HTTPGetAction | None, F(2)] = None
    tcpSocket: A[TCPSocketAction | None, F(3)] = None
    grpc: A[GRPCAction | None, F(4)] = None


class Probe(ProbeHandler):
    embedded: ClassVar[int] = 1
    initialDelaySeconds: A[Int32, F(2)] = 0
    timeoutSeconds: A[Int32, F(3, default=1)] = 0
    periodSeconds: A[Int32, F(4, default=10)] = 0
    successThreshold: A[Int32, F(5, default=1)] = 0
    failureThreshold: A[Int32, F(6, default=3)] = 0
    terminationGracePeriodSeconds: A[Int64 | None, F(7)] = None


class LifecycleHandler(Record):
    exec: A[ExecAction | None, F(1)] = None
    httpGet: A[HTTPGetAction | None, F(2)] = None
    tcpSocket: A[TCPSocketAction | None, F(3)] = None
    sleep: A[SleepAction | None, F(4)] = None


class Lifecycle(Record):
    postStart: A[LifecycleHandler | None, F(1)] = None
    preStop: A[LifecycleHandler | None, F(2)] = None
    stopSignal: A[Signal | None, F(3)] = None

"""Containers as wished for."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.enums import MountPropagationMode, Protocol, PullPolicy, TerminationMessagePolicy
from netemu.api.core.environment import EnvFromSource, EnvVar
from netemu.api.core.probes import Lifecycle, Probe
from netemu.api.core.security import SecurityContext
from netemu.api.fields import F, Int32, Quantity, Record


class ContainerPort(Record):
    name: A[str, F(1)] = ""
    hostPort: A[Int32, F(2)] = 0
    containerPort: A[Int32, F(3, required=True)] = 0
    protocol: A[Protocol, F(4, default="TCP")] = ""
    hostIP: A[str, F(5)] = ""


class VolumeMount(Record):
    name: A[str, F(1, required=True)] = ""
    readOnly: A[bool, F(2)] = False
    recursiveReadOnly: A[str | None, F(7)] = None
    mountPath: A[str, F(3, required=True)] = ""
    subPath: A[str, F(4)] = ""
    mountPropagation: A[MountPropagationMode | None, F(5)] = None
    subPathExpr: A[str, F(6)] = ""
    bindMountOptions: A[tuple[str, ...], F(8, unique=True)] = ()


class VolumeDevice(Record):
    name: A[str, F(1, required=True)] = ""
    devicePath: A[str, F(2, required=True)] = ""


class ContainerResizePolicy(Record):
    resourceName: A[str, F(1, required=True)] = ""
    restartPolicy: A[str, F(2, required=True)] = ""


class ResourceClaim(Record):
    name: A[str, F(1, required=True)] = ""
    request: A[str, F(2)] = ""


class ResourceRequirements(Record):
    limits: A[dict[str, Quantity], F(1)] = {}
    requests: A[dict[str, Quantity], F(2)] = {}
    claims: A[tuple[ResourceClaim, ...], F(3, keys=("name",))] = ()


class ContainerRestartRuleOnExitCodes(Record):
    operator: A[str, F(1, required=True, keep=False)] = ""
    values: A[tuple[Int32, ...], F(2, unique=True)] = ()


class ContainerRestartRule(Record):
    action: A[str, F(1, required=True, keep=False)] = ""
    exitCodes: A[ContainerRestartRuleOnExitCodes | None, F(2)] = None


class Container(Record):
    name: A[str, F(1, required=True)] = ""
    image: A[str, F(2)] = ""
    command: A[tuple[str, ...], F(3)] = ()
    args: A[tuple[str, ...], F(4)] = ()
    workingDir: A[str, F(5)] = ""
    ports: A[tuple[ContainerPort, ...], F(6, merge="containerPort", keys=("containerPort", "protocol"))] = ()
    envFrom: A[tuple[EnvFromSource, ...], F(19)] = ()
    env: A[tuple[EnvVar, ...], F(7, merge="name", keys=("name",))] = ()
    resources: A[ResourceRequirements, F(8)] = ResourceRequirements()
    resizePolicy: A[tuple[ContainerResizePolicy, ...], F(23)] = ()
    restartPolicy: A[str | None, F(24)] = None
    restartPolicyRules: A[tuple[ContainerRestartRule, ...], F(25)] = ()
    volumeMounts: A[tuple[VolumeMount, ...], F(9, merge="mountPath", keys=("mountPath",))] = ()
    volumeDevices: A[tuple[VolumeDevice, ...], F(21, merge="devicePath", keys=("devicePath",))] = ()
    livenessProbe: A[Probe | None, F(10)] = None
    readinessProbe: A[Probe | None, F(11)] = None
    startupProbe: A[Probe | None, F(22)] = None
    lifecycle: A[Lifecycle | None, F(12)] = None
    terminationMessagePath: A[str, F(13, default="/dev/termination-log")] = ""
    terminationMessagePolicy: A[TerminationMessagePolicy, F(20, default="File")] = ""
    imagePullPolicy: A[PullPolicy, F(14)] = ""
    securityContext: A[SecurityContext | None, F(15)] = None
    stdin: A[bool, F(16)] = False
    stdinOnce: A[bool, F(17)] = False
    tty: A[bool, F(18)] = False


class EphemeralContainer(Container):
    """Upstream embeds a type with all fields of Container, written once more."""

    embedded: ClassVar[int] = 1
    targetContainerName: A[str, F(2)] = ""

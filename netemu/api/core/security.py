"""Security contexts of pods and containers."""

from typing import Annotated as A

from netemu.api.core.enums import (
    AppArmorProfileType,
    PodFSGroupChangePolicy,
    ProcMountType,
    SeccompProfileType,
    SupplementalGroupsPolicy,
)
from netemu.api.fields import F, Int64, Record


class Capabilities(Record):
    add: A[tuple[str, ...], F(1)] = ()
    drop: A[tuple[str, ...], F(2)] = ()


class AppArmorProfile(Record):
    type: A[AppArmorProfileType, F(1, required=True)] = ""
    localhostProfile: A[str | None, F(2)] = None


class SELinuxOptions(Record):
    user: A[str, F(1)] = ""
    role: A[str, F(2)] = ""
    type: A[str, F(3)] = ""
    level: A[str, F(4)] = ""


class SeccompProfile(Record):
    type: A[SeccompProfileType, F(1, required=True)] = ""
    localhostProfile: A[str | None, F(2)] = None


class Sysctl(Record):
    name: A[str, F(1, required=True)] = ""
    value: A[str, F(2, required=True)] = ""


class WindowsSecurityContextOptions(Record):
    gmsaCredentialSpecName: A[str | None, F(1)] = None
    gmsaCredentialSpec: A[str | None, F(2)] = None
    runAsUserName: A[str | None, F(3)] = None
    hostProcess: A[bool | None, F(4)] = None


class PodSecurityContext(Record):
    seLinuxOptions: A[SELinuxOptions | None, F(1)] = None
    windowsOptions: A[WindowsSecurityContextOptions | None, F(8)] = None
    runAsUser: A[Int64 | None, F(2)] = None
    runAsGroup: A[Int64 | None, F(6)] = None
    runAsNonRoot: A[bool | None, F(3)] = None
    supplementalGroups: A[tuple[Int64, ...], F(4)] = ()
    supplementalGroupsPolicy: A[SupplementalGroupsPolicy | None, F(12)] = None
    fsGroup: A[Int64 | None, F(5)] = None
    sysctls: A[tuple[Sysctl, ...], F(7)] = ()
    fsGroupChangePolicy: A[PodFSGroupChangePolicy | None, F(9)] = None
    seccompProfile: A[SeccompProfile | None, F(10)] = None
    appArmorProfile: A[AppArmorProfile | None, F(11)] = None
    seLinuxChangePolicy: A[str | None, F(13)] = None


class SecurityContext(Record):
    capabilities: A[Capabilities | None, F(1)] = None
    privileged: A[bool | None, F(2)] = None
    seLinuxOptions: A[SELinuxOptions | None, F(3)] = None
    windowsOptions: A[WindowsSecurityContextOptions | None, F(10)] = None
    runAsUser: A[Int64 | None, F(4)] = None
    runAsGroup: A[Int64 | None, F(8)] = None
    runAsNonRoot: A[bool | None, F(5)] = None
    readOnlyRootFilesystem: A[bool | None, F(6)] = None
    allowPrivilegeEscalation: A[bool | None, F(7)] = None
    procMount: A[ProcMountType | None, F(9)] = None
    seccompProfile: A[SeccompProfile | None, F(11)] = None
    appArmorProfile: A[AppArmorProfile | None, F(12)] = None

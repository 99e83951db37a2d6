"""The Node object: what the kubelet registers and reports. Pure: (config, machine, readiness, time)."""

from __future__ import annotations

from collections.abc import Sequence

from netemu.api import coordination, core, meta, wellknown
from netemu.base import times
from netemu.kubelet import launch, machine

LEASE_NAMESPACE, LEASE_SECONDS, RENEW_SECONDS = "kube-node-lease", 40, 10.0
REPORT_SECONDS = 300.0
_RESERVED = 100 << 20  # bytes kept from allocatable memory, as eviction-hard's default

# The conditions besides Ready, each False: (type, reason, message).
_PRESSURES = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)
_NETWORK = (
    "container runtime network not ready: NetworkReady=false "
    "reason:NetworkPluginNotReady message:Network plugin returns error: "
)


def labels(config: launch.NodeConfig, host: machine.Machine) -> dict[str, str]:
    """What every kubelet says of its node, and what this one was told to say."""
    return {
        "beta.kubernetes.io/arch": host.architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": host.architecture,
        wellknown.HOSTNAME: config.name,
        wellknown.OS: "linux",
        **config.labels,
    }


def capacity(config: launch.NodeConfig, host: machine.Machine) -> dict[str, str]:
    """All there is."""
    return {
        "cpu": str(config.cpu or host.cpu),
        "memory": f"{(config.memory or host.memory) >> 10}Ki",
        "pods": str(config.pods),
        "ephemeral-storage": "100Gi",
    }


def allocatable(config: launch.NodeConfig, host: machine.Machine) -> dict[str, str]:
    """What pods may ask for."""
    memory = max((config.memory or host.memory) - _RESERVED, 0)
    return capacity(config, host) | {"memory": f"{memory >> 10}Ki"}


def node(config: launch.NodeConfig, host: machine.Machine, unready: str, now: float) -> core.Node:
    """The Node to register. `unready`: why pods cannot be connected; empty when they can."""
    return core.Node(
        metadata=meta.ObjectMeta(
            name=config.name,
            labels=labels(config, host),
            annotations={"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        ),
        spec=core.NodeSpec(taints=config.taints),
        status=status(config, host, unready, now, ()),
    )


def status(
    config: launch.NodeConfig,
    host: machine.Machine,
    unready: str,
    now: float,
    old: Sequence[core.NodeCondition],
) -> core.NodeStatus:
    """The whole status; conditions keep the time of their last change."""
    return core.NodeStatus(
        capacity=capacity(config, host),
        allocatable=allocatable(config, host),
        conditions=conditions(unready, now, old),
        addresses=(
            *(core.NodeAddress(type="InternalIP", address=ip) for ip in config.ips),
            core.NodeAddress(type="Hostname", address=config.name),
        ),
        daemonEndpoints=core.NodeDaemonEndpoints(kubeletEndpoint=core.DaemonEndpoint(Port=config.port)),
        nodeInfo=core.NodeSystemInfo(
            machineID=host.machine_id,
            systemUUID=host.machine_id,
            bootID=host.boot_id,
            kernelVersion=host.kernel,
            osImage=host.os_image,
            containerRuntimeVersion="netemu://0.1.0",
            kubeletVersion=config.version,
            kubeProxyVersion=config.version,
            operatingSystem="linux",
            architecture=host.architecture,
        ),
    )


def conditions(unready: str, now: float, old: Sequence[core.NodeCondition]) -> tuple[core.NodeCondition, ...]:
    """Pressures, and Ready with upstream's words."""
    stamp = times.rfc3339(now)
    known = {c.type: c for c in old}
    wanted = [(kind, "False", reason, message) for kind, reason, message in _PRESSURES]
    if unready:
        wanted.append(("Ready", "False", "KubeletNotReady", _NETWORK + unready))
    else:
        wanted.append(("Ready", "True", "KubeletReady", "kubelet is posting ready status"))
    found = []
    for kind, word, reason, message in wanted:
        before = known.get(kind)
        since = before.lastTransitionTime if before and before.status == word else stamp
        found.append(
            core.NodeCondition(
                type=kind,
                status=word,
                reason=reason,
                message=message,
                lastHeartbeatTime=stamp,
                lastTransitionTime=since,
            )
        )
    return tuple(found)


def unknown(config: launch.NodeConfig, host: machine.Machine) -> core.Node:
    """The Node before the API has answered with it: by what the kubelet itself says of it."""
    return core.Node(metadata=meta.ObjectMeta(name=config.name, labels=labels(config, host)))


def unready(node: core.Node) -> str:
    """Why a Node says that its pods cannot be connected; "" when it says that they can."""
    for condition in node.status.conditions:
        if condition.type == "Ready":
            return "" if condition.status == "True" else condition.message.removeprefix(_NETWORK)
    return "unknown"


def lease(name: str, uid: str, now: float) -> coordination.Lease:
    """The heartbeat (KEP-589), owned by the Node so that it goes with it."""
    owners = (meta.OwnerReference(apiVersion="v1", kind="Node", name=name, uid=uid),) if uid else ()
    return coordination.Lease(
        metadata=meta.ObjectMeta(name=name, namespace=LEASE_NAMESPACE, ownerReferences=owners),
        spec=lease_spec(name, now),
    )


def lease_spec(name: str, now: float) -> coordination.LeaseSpec:
    """A lease renewed now."""
    return coordination.LeaseSpec(
        holderIdentity=name, leaseDurationSeconds=LEASE_SECONDS, renewTime=times.rfc3339_micro(now)
    )

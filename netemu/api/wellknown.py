"""Labels, annotations and taints by which parts of a cluster understand each other: those that several use.

Names only. Source: kubernetes.io/docs/reference/labels-annotations-taints; the last one is netemu's own.
"""

from typing import Final

# Labels and annotations of Services and of what belongs to them.
SERVICE_NAME: Final = "kubernetes.io/service-name"
HEADLESS: Final = "service.kubernetes.io/headless"
PROXY_NAME: Final = "service.kubernetes.io/service-proxy-name"
SKIP_MIRROR: Final = "endpointslice.kubernetes.io/skip-mirror"
TRIGGER_TIME: Final = "endpoints.kubernetes.io/last-change-trigger-time"

# Of nodes.
HOSTNAME: Final = "kubernetes.io/hostname"
OS: Final = "kubernetes.io/os"
ZONE: Final = "topology.kubernetes.io/zone"
CONTROL_PLANE: Final = "node-role.kubernetes.io/control-plane"
NOT_BALANCED: Final = "node.kubernetes.io/exclude-from-external-load-balancers"

# Taints.
NOT_READY: Final = "node.kubernetes.io/not-ready"
UNREACHABLE: Final = "node.kubernetes.io/unreachable"
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
NETWORK_UNAVAILABLE: Final = "node.kubernetes.io/network-unavailable"
DISK_PRESSURE: Final = "node.kubernetes.io/disk-pressure"
MEMORY_PRESSURE: Final = "node.kubernetes.io/memory-pressure"
PID_PRESSURE: Final = "node.kubernetes.io/pid-pressure"
TO_BE_DELETED: Final = "ToBeDeletedByClusterAutoscaler"

# Of anything.
NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
MIRROR_POD: Final = "kubernetes.io/config.mirror"
RBAC_AUTOUPDATE: Final = "rbac.authorization.kubernetes.io/autoupdate"

# Addresses, with commas, that a Service's status will tell once proxies serve them (ADR 0020).
PROMISED: Final = "netemu.dev/load-balancer-ips"

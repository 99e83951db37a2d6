"""What the controllers are told about the cluster. Values only."""

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True, slots=True)
class Config:
    """`cluster_cidrs`: pod ranges, at most one a family; `ca_pem`: the cluster's CA; graces in seconds."""

    cluster_cidrs: tuple[IPv4Network | IPv6Network, ...] = field(
        default=(IPv4Network("10.244.0.0/16"), IPv6Network("fd00:244::/56"))
    )
    ca_pem: str = ""
    node_grace: float = 50.0  # upstream's node-monitor-grace-period; 40 before 1.32
    node_startup_grace: float = 60.0

"""What the proxy counts, under kube-proxy's names, and its text form (Prometheus exposition format 0.0.4).

Knows no Service and no clock: durations come in seconds. Both families are programmed in one transaction, so
what is measured of it is told of each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

FAMILIES = ("IPv4", "IPv6")
Labels = tuple[tuple[str, str], ...]
SYNC_SECONDS = tuple(0.001 * 2**n for n in range(15))
PROGRAMMING_SECONDS = (0.25, 0.5, *range(1, 60), *range(60, 120, 5), *range(120, 330, 30))

# name (after `kubeproxy_`) -> (type, help)
CATALOGUE: dict[str, tuple[str, str]] = {
    "sync_proxy_rules_duration_seconds": ("histogram", "SyncProxyRules latency in seconds"),
    "sync_full_proxy_rules_duration_seconds": (
        "histogram",
        "SyncProxyRules latency in seconds for full resyncs",
    ),
    "sync_partial_proxy_rules_duration_seconds": (
        "histogram",
        "SyncProxyRules latency in seconds for partial resyncs",
    ),
    "network_programming_duration_seconds": (
        "histogram",
        "In Cluster Network Programming Latency in seconds",
    ),
    "conntrack_reconciler_sync_duration_seconds": ("histogram", "ReconcileConntrackFlowsLatency in seconds"),
    "conntrack_reconciler_deleted_entries_total": ("counter", "Entries deleted by the conntrack reconciler"),
    "sync_proxy_rules_last_timestamp_seconds": (
        "gauge",
        "The last time proxy rules were successfully synced",
    ),
    "sync_proxy_rules_last_queued_timestamp_seconds": (
        "gauge",
        "The last time a sync of proxy rules was queued",
    ),
    "sync_proxy_rules_endpoint_changes_total": ("counter", "Cumulative proxy rules Endpoint changes"),
    "sync_proxy_rules_endpoint_changes_pending": ("gauge", "Pending proxy rules Endpoint changes"),
    "sync_proxy_rules_service_changes_total": ("counter", "Cumulative proxy rules Service changes"),
    "sync_proxy_rules_service_changes_pending": ("gauge", "Pending proxy rules Service changes"),
    "sync_proxy_rules_no_local_endpoints_total": (
        "gauge",
        "Number of services with a Local traffic policy and no endpoints",
    ),
    "sync_proxy_rules_iptables_restore_failures_total": (
        "counter",
        "Cumulative proxy iptables restore failures",
    ),
    "sync_proxy_rules_iptables_partial_restore_failures_total": (
        "counter",
        "Cumulative proxy iptables partial restore failures",
    ),
    "sync_proxy_rules_iptables_total": ("gauge", "Total number of iptables rules owned by kube-proxy"),
    "sync_proxy_rules_iptables_last": (
        "gauge",
        "Number of iptables rules written by kube-proxy in last sync",
    ),
    "sync_proxy_rules_nftables_sync_failures_total": ("counter", "Cumulative proxy nftables sync failures"),
    "sync_proxy_rules_nftables_cleanup_failures_total": (
        "counter",
        "Cumulative proxy nftables cleanup failures",
    ),
    "proxy_healthz_total": ("counter", "Cumulative proxy healthz HTTP status"),
    "proxy_livez_total": ("counter", "Cumulative proxy livez HTTP status"),
}
NO_LOCAL = "sync_proxy_rules_no_local_endpoints_total"
RULES = frozenset({"sync_proxy_rules_iptables_total", "sync_proxy_rules_iptables_last"})
LABELLED = {NO_LOCAL, *RULES}  # have a label more
PLAIN = frozenset({"proxy_healthz_total", "proxy_livez_total"})  # without ip_family


class Metrics:
    """All values of one proxy. Names without their prefix; an unknown one is a KeyError."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Labels, float]] = {name: {} for name in CATALOGUE}
        self._observed: dict[str, list[int]] = {}
        self._sums: dict[str, float] = defaultdict(float)
        for name, (kind, _) in CATALOGUE.items():
            if kind == "histogram":
                self._observed[name] = [0] * (len(_buckets(name)) + 1)
            elif name not in PLAIN | LABELLED:
                self._values[name] = {(): 0.0}

    def add(self, name: str, more: float = 1, labels: Labels = ()) -> None:
        values = self._values[name]
        values[labels] = values.get(labels, 0.0) + more

    def set(self, name: str, value: float, labels: Labels = ()) -> None:
        self._values[name][labels] = value

    def observe(self, name: str, seconds: float) -> None:
        bounds = _buckets(name)
        at = next((n for n, bound in enumerate(bounds) if seconds <= bound), len(bounds))
        self._observed[name][at] += 1
        self._sums[name] += seconds

    def value(self, name: str, labels: Labels = ()) -> float:
        return self._values[name].get(labels, 0.0)

    def count(self, name: str) -> int:
        """How often a histogram was observed."""
        return sum(self._observed[name])

    def text(self) -> str:
        lines: list[str] = []
        for name, (kind, help_) in CATALOGUE.items():
            lines += [f"# HELP kubeproxy_{name} [ALPHA] {help_}", f"# TYPE kubeproxy_{name} {kind}"]
            families = ((),) if name in PLAIN else tuple((("ip_family", family),) for family in FAMILIES)
            for family in families:
                lines += self._histogram(name, family) if kind == "histogram" else self._plain(name, family)
        return "\n".join(lines) + "\n"

    def _plain(self, name: str, family: Labels) -> Iterator[str]:
        for labels, value in sorted(self._values[name].items()):
            if labels[:1] == family or not {"ip_family"} & {key for key, _ in labels}:
                own = tuple(pair for pair in labels if pair not in family)
                yield f"kubeproxy_{name}{_labels((*family, *own))} {_number(value)}"

    def _histogram(self, name: str, family: Labels) -> Iterator[str]:
        total = 0
        bounds = (*map(_number, _buckets(name)), "+Inf")
        for bound, count in zip(bounds, self._observed[name], strict=True):
            total += count
            yield f"kubeproxy_{name}_bucket{_labels((*family, ('le', bound)))} {total}"
        yield f"kubeproxy_{name}_sum{_labels(family)} {_number(self._sums[name])}"
        yield f"kubeproxy_{name}_count{_labels(family)} {total}"


def _buckets(name: str) -> tuple[float, ...]:
    return PROGRAMMING_SECONDS if name == "network_programming_duration_seconds" else SYNC_SECONDS


def _labels(labels: Iterable[tuple[str, str]]) -> str:
    inner = ",".join(f'{key}="{value}"' for key, value in labels)
    return f"{{{inner}}}" if inner else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def no_local(counts: Mapping[tuple[str, str], int], metrics: Metrics) -> None:
    """`counts` by (ip_family, traffic_policy)."""
    for family in FAMILIES:
        for policy in ("internal", "external"):
            labels = (("ip_family", family), ("traffic_policy", policy))
            metrics.set(NO_LOCAL, counts.get((family, policy), 0), labels)


def rules(
    owned: Mapping[tuple[str, str], int], written: Mapping[tuple[str, str], int], metrics: Metrics
) -> None:
    """Both by (family, table), of the iptables mode."""
    for name, counts in (("total", owned), ("last", written)):
        for (family, table), count in counts.items():
            labels = (("ip_family", {"ip": "IPv4", "ip6": "IPv6"}[family]), ("table", table))
            metrics.set(f"sync_proxy_rules_iptables_{name}", count, labels)

"""The table of each kind. A kind without one of its own has name and age."""

from __future__ import annotations

import functools
import json
from typing import Any

from netemu.api import (
    apps,
    autoscaling,
    autoscaling2,
    batch,
    codec,
    coordination,
    core,
    discovery,
    events,
    jsonpaths,
    kinds,
    networking,
    policy,
    times,
)
from netemu.api.tables import cluster, layout, others, pods, services, volumes, workloads

_TABLES: dict[type, layout.Table] = {
    core.ConfigMap: others.CONFIG_MAP,
    core.Endpoints: services.ENDPOINTS,
    core.Event: others.EVENT,
    core.Namespace: others.NAMESPACE,
    core.Node: others.NODE,
    core.Pod: pods.TABLE,
    core.Secret: others.SECRET,
    core.Service: services.SERVICE,
    core.ServiceAccount: others.ACCOUNT,
    apps.Deployment: others.DEPLOYMENT,
    apps.ReplicaSet: others.REPLICA_SET,
    coordination.Lease: others.LEASE,
    discovery.EndpointSlice: services.SLICE,
    networking.IPAddress: services.IP,
    networking.NetworkPolicy: others.POLICY,
    networking.ServiceCIDR: services.CIDR,
    core.PodTemplate: workloads.POD_TEMPLATE,
    core.ReplicationController: workloads.REPLICATION,
    apps.ControllerRevision: workloads.REVISION,
    apps.DaemonSet: workloads.DAEMON_SET,
    apps.StatefulSet: workloads.STATEFUL_SET,
    autoscaling.HorizontalPodAutoscaler: workloads.OLD_SCALER,
    autoscaling2.HorizontalPodAutoscaler: workloads.SCALER,
    batch.CronJob: workloads.CRON_JOB,
    batch.Job: workloads.JOB,
    events.Event: others.NEW_EVENT,
    policy.PodDisruptionBudget: workloads.BUDGET,
    **cluster.TABLES,
    **volumes.TABLES,
}


@functools.cache
def columns(kind: kinds.Kind) -> list[dict[str, Any]]:
    """The column definitions of a meta.k8s.io/v1 Table. Shared: not to be changed."""
    table = _TABLES.get(kind.type, others.PLAIN)
    if kind.custom is not None:
        return [_custom_column(*column) for column in (("Name", "string", "", False), *kind.custom.columns)]
    return [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": "",
            "priority": int(column.wide),
        }
        for column in table.columns
    ]


def cells(kind: kinds.Kind, document: codec.Document, now: float) -> list[layout.Cell]:
    """One row, wide columns included. `now` in unix seconds."""
    if kind.custom is not None:
        return [document["metadata"]["name"], *(_custom_cell(document, c, now) for c in kind.custom.columns)]
    table = _TABLES.get(kind.type, others.PLAIN)
    return list(table.row(codec.convert(kind.type, document), now))


def _custom_column(name: str, type_: str, path: str, wide: bool) -> dict[str, Any]:
    form = "" if path else "name"
    return {"name": name, "type": type_, "format": form, "description": "", "priority": int(wide)}


def _custom_cell(document: codec.Document, column: tuple[str, str, str, bool], now: float) -> Any:
    """Nothing where the object has nothing, as upstream's tableconvertor."""
    _, type_, path, _ = column
    found = jsonpaths.find(document, path)
    if type_ == "date":
        return times.age(str(found[0]) if found else "", now)
    if not found:
        return None
    if type_ == "string" and not isinstance(found[0], str):
        return json.dumps(found[0], separators=(",", ":"))
    return ",".join(map(str, found)) if len(found) > 1 else found[0]

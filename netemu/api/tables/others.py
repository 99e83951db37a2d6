"""Workloads, nodes, events and what holds data, in a table."""

from __future__ import annotations

from netemu.api import apps, coordination, core, events, meta, networking, times
from netemu.api.tables.layout import (
    AGE,
    NAME,
    NONE,
    UNKNOWN,
    Cell,
    Column,
    Table,
    age,
    containers,
    number,
    selector,
    text,
    wide,
)


def _deployment(found: apps.Deployment, now: float) -> tuple[Cell, ...]:
    spec, status = found.spec, found.status
    return (
        found.metadata.name,
        f"{status.readyReplicas}/{spec.replicas or 0}",
        status.updatedReplicas,
        status.availableReplicas,
        age(found.metadata, now),
        *containers(spec.template),
        selector(spec.selector),
    )


def _replica_set(found: apps.ReplicaSet, now: float) -> tuple[Cell, ...]:
    spec, status = found.spec, found.status
    return (
        found.metadata.name,
        spec.replicas or 0,
        status.replicas,
        status.readyReplicas,
        age(found.metadata, now),
        *containers(spec.template),
        selector(spec.selector),
    )


_ROLE = "node-role.kubernetes.io/"


def _node(node: core.Node, now: float) -> tuple[Cell, ...]:
    ready = next((c.status for c in node.status.conditions if c.type == "Ready"), None)
    status = "Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"
    marks = node.metadata.labels
    roles = {key.removeprefix(_ROLE) for key in marks if key.startswith(_ROLE)}
    roles |= {marks[key] for key in ("kubernetes.io/role",) if marks.get(key)}
    info = node.status.nodeInfo
    return (
        node.metadata.name,
        status + (",SchedulingDisabled" if node.spec.unschedulable else ""),
        ",".join(sorted(roles)) or NONE,
        age(node.metadata, now),
        info.kubeletVersion,
        _address(node, "InternalIP"),
        _address(node, "ExternalIP"),
        info.osImage or UNKNOWN,
        info.kernelVersion or UNKNOWN,
        info.containerRuntimeVersion or UNKNOWN,
    )


def _address(node: core.Node, type_: str) -> str:
    return next((found.address for found in node.status.addresses if found.type == type_), NONE)


def _namespace(found: core.Namespace, now: float) -> tuple[Cell, ...]:
    return found.metadata.name, found.status.phase, age(found.metadata, now)


def _config_map(found: core.ConfigMap, now: float) -> tuple[Cell, ...]:
    return found.metadata.name, len(found.data) + len(found.binaryData), age(found.metadata, now)


def _secret(found: core.Secret, now: float) -> tuple[Cell, ...]:
    return found.metadata.name, found.type, len(found.data), age(found.metadata, now)


def _account(found: core.ServiceAccount, now: float) -> tuple[Cell, ...]:
    return found.metadata.name, len(found.secrets), age(found.metadata, now)


def _lease(found: coordination.Lease, now: float) -> tuple[Cell, ...]:
    return found.metadata.name, found.spec.holderIdentity or "", age(found.metadata, now)


def _policy(found: networking.NetworkPolicy, now: float) -> tuple[Cell, ...]:
    return found.metadata.name, selector(found.spec.podSelector), age(found.metadata, now)


def _event(event: core.Event, now: float) -> tuple[Cell, ...]:
    first = event.firstTimestamp or event.eventTime
    last, count = event.lastTimestamp or first, event.count or 1
    if event.series is not None:
        last, count = event.series.lastObservedTime, event.series.count
    about = event.involvedObject
    source = ", ".join(filter(None, (event.source.component or event.reportingComponent, event.source.host)))
    return (
        times.age(last, now),
        event.type,
        event.reason,
        "/".join(filter(None, (about.kind.lower(), about.name))),
        about.fieldPath,
        source,
        event.message.strip(),
        times.age(first, now),
        count,
        event.metadata.name,
    )


def _new_event(event: events.Event, now: float) -> tuple[Cell, ...]:
    series = event.series
    older = core.EventSeries(series.count, series.lastObservedTime) if series else None
    return _event(
        core.Event(
            metadata=event.metadata,
            involvedObject=event.regarding,
            reason=event.reason,
            message=event.note,
            source=event.deprecatedSource,
            firstTimestamp=event.deprecatedFirstTimestamp,
            lastTimestamp=event.deprecatedLastTimestamp,
            count=event.deprecatedCount,
            type=event.type,
            eventTime=event.eventTime,
            series=older,
            reportingComponent=event.reportingController,
        ),
        now,
    )


def _plain(found: meta.Object, now: float) -> tuple[Cell, ...]:
    return found.metadata.name, age(found.metadata, now)


_TEMPLATE = (wide("Containers"), wide("Images"), wide("Selector"))

DEPLOYMENT = Table(
    (NAME, text("Ready"), number("Up-to-date"), number("Available"), AGE, *_TEMPLATE), _deployment
)
REPLICA_SET = Table(
    (NAME, number("Desired"), number("Current"), number("Ready"), AGE, *_TEMPLATE), _replica_set
)
NODE = Table(
    (
        NAME,
        text("Status"),
        text("Roles"),
        AGE,
        text("Version"),
        wide("Internal-IP"),
        wide("External-IP"),
        wide("OS-Image"),
        wide("Kernel-Version"),
        wide("Container-Runtime"),
    ),
    _node,
)
NAMESPACE = Table((NAME, text("Status"), AGE), _namespace)
CONFIG_MAP = Table((NAME, number("Data"), AGE), _config_map)
SECRET = Table((NAME, text("Type"), number("Data"), AGE), _secret)
ACCOUNT = Table((NAME, number("Secrets"), AGE), _account)
LEASE = Table((NAME, text("Holder"), AGE), _lease)
POLICY = Table((NAME, text("Pod-Selector"), AGE), _policy)
EVENT = Table(
    (
        text("Last Seen"),
        text("Type"),
        text("Reason"),
        text("Object"),
        wide("Subobject"),
        wide("Source"),
        text("Message"),
        wide("First Seen"),
        Column("Count", type="integer", wide=True),
        Column("Name", wide=True, format="name"),
    ),
    _event,
)
NEW_EVENT = Table(EVENT.columns, _new_event)
PLAIN = Table((NAME, AGE), _plain)

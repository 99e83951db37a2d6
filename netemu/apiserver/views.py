"""Kinds that are another form of stored ones: their objects turned inwards and outwards.

events.k8s.io Events and core ones, the two forms of HorizontalPodAutoscalers, versions of custom kinds.
Source: Kubernetes' pkg/apis/{events,autoscaling}/v1 conversion.go.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from netemu.api import autoscaling, events, kinds
from netemu.apiserver.statuses import Document

Convert = Callable[[Document], Document]


class View(NamedTuple):
    """`inward` gives the stored form of a document, `outward` the shown one; both leave theirs alone."""

    inward: Convert
    outward: Convert


def of(kind: kinds.Kind) -> View:
    """How a kind with `stored` set is converted."""
    assert kind.stored is not None
    return _VIEWS.get(kind.type) or _versions(kind, kind.stored)


VERSION = "netemu.io/version"  # in stored custom objects: the version they are in


def kept(document: Document, stored: kinds.Kind, version: str) -> Document:
    """A custom object in some version as it is kept."""
    return {**document, "apiVersion": stored.api_version, VERSION: version}


def shown(document: Document, group: str) -> Document:
    """A custom object in the version it is kept in."""
    bare = {key: value for key, value in document.items() if key != VERSION}
    return bare | {"apiVersion": f"{group}/{document.get(VERSION, '')}"}


def _versions(kind: kinds.Kind, stored: kinds.Kind) -> View:
    """Versions of a custom kind that differ by their name only, and by their schemas' defaults."""

    def outward(document: Document) -> Document:
        found = shown(document, kind.group) | {"apiVersion": kind.api_version}
        return kind.custom.default(found) if kind.custom.defaults else found

    return View(lambda document: kept(document, stored, kind.version), outward)


# --- events: the same fields under other names ---

_NAMES = (  # core, events.k8s.io
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)
_TO_CORE = {newer: older for older, newer in _NAMES}
_TO_NEW = dict(_NAMES)


def _renamed(document: Document, names: dict[str, str], version: str) -> Document:
    return {names.get(key, key): value for key, value in document.items()} | {"apiVersion": version}


def _event_inward(document: Document) -> Document:
    return _renamed(document, _TO_CORE, "v1")


def _event_outward(document: Document) -> Document:
    return _renamed(document, _TO_NEW, "events.k8s.io/v1")


# --- autoscalers: the older form knows CPU only; the rest travels in annotations ---

_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_CURRENT = "autoscaling.alpha.kubernetes.io/current-metrics"


def _scaler_inward(document: Document) -> Document:
    spec, status = dict(document.get("spec") or {}), dict(document.get("status") or {})
    about = dict(document.get("metadata") or {})
    notes = dict(about.get("annotations") or {})
    cpu = spec.pop("targetCPUUtilizationPercentage", None)
    metrics = _unfold(notes.pop(_METRICS, ""), list)
    if cpu is not None:
        target = {"type": "Utilization", "averageUtilization": cpu}
        metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}, *metrics]
    if metrics:
        spec["metrics"] = metrics
    behavior = _unfold(notes.pop(_BEHAVIOR, ""), dict)
    if behavior:
        spec["behavior"] = behavior
    current = status.pop("currentCPUUtilizationPercentage", None)
    shown = _unfold(notes.pop(_CURRENT, ""), list)
    if current is not None:
        value = {"name": "cpu", "current": {"averageUtilization": current}}
        shown = [{"type": "Resource", "resource": value}, *shown]
    if shown:
        status["currentMetrics"] = shown
    conditions = _unfold(notes.pop(_CONDITIONS, ""), list)
    if conditions:
        status["conditions"] = conditions
    return _rebuilt(document, "autoscaling/v2", {**about, "annotations": notes}, spec, status)


def _scaler_outward(document: Document) -> Document:
    spec, status = dict(document.get("spec") or {}), dict(document.get("status") or {})
    about = dict(document.get("metadata") or {})
    notes = dict(about.get("annotations") or {})
    rest = []
    for metric in spec.pop("metrics", ()):
        used = _utilization(metric, "target")
        if used is not None and "targetCPUUtilizationPercentage" not in spec:
            spec["targetCPUUtilizationPercentage"] = used
        else:
            rest.append(metric)
    current = []
    for metric in status.pop("currentMetrics", None) or ():
        used = _utilization(metric, "current")
        if used is not None and "currentCPUUtilizationPercentage" not in status:
            status["currentCPUUtilizationPercentage"] = used
        else:
            current.append(metric)
    for note, value in (
        (_METRICS, rest),
        (_BEHAVIOR, spec.pop("behavior", None)),
        (_CURRENT, current),
        (_CONDITIONS, status.pop("conditions", None)),
    ):
        if value:
            notes[note] = json.dumps(value, separators=(",", ":"))
    return _rebuilt(document, "autoscaling/v1", {**about, "annotations": notes}, spec, status)


def _utilization(metric: Document, part: str) -> int | None:
    resource = metric.get("resource")
    if metric.get("type") != "Resource" or not isinstance(resource, dict) or resource.get("name") != "cpu":
        return None
    used = (resource.get(part) or {}).get("averageUtilization")
    return used if isinstance(used, int) else None


def _unfold(text: str, type_: type[Any]) -> Any:
    try:
        found = json.loads(text) if text else None
    except ValueError:
        found = None
    return found if isinstance(found, type_) else type_()


def _rebuilt(document: Document, version: str, about: Document, spec: Document, status: Document) -> Document:
    if not about["annotations"]:
        del about["annotations"]
    parts = {"apiVersion": version, "metadata": about, "spec": spec, "status": status}
    return {**document, **{key: value for key, value in parts.items() if value or key != "status"}}


_VIEWS: dict[type, View] = {
    events.Event: View(_event_inward, _event_outward),
    autoscaling.HorizontalPodAutoscaler: View(_scaler_inward, _scaler_outward),
}

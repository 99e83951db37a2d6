"""Rules for where pods may go: node selectors, affinity, tolerations, taints, spreading."""

from __future__ import annotations

from collections.abc import Iterable

from netemu.api import core, names
from netemu.api.validation import metadata
from netemu.api.validation.findings import (
    Findings,
    duplicate,
    invalid,
    named,
    required,
    unsupported,
    within,
)


def affinity(found: core.Affinity | None, path: str) -> Findings:
    if found is None:
        return
    if found.nodeAffinity is not None:
        yield from _node_affinity(found.nodeAffinity, f"{path}.nodeAffinity")
    for name in ("podAffinity", "podAntiAffinity"):
        pods: core.PodAffinity | core.PodAntiAffinity | None = getattr(found, name)
        if pods is None:
            continue
        here = f"{path}.{name}"
        for index, term in enumerate(pods.requiredDuringSchedulingIgnoredDuringExecution):
            yield from _pod_term(term, f"{here}.requiredDuringSchedulingIgnoredDuringExecution[{index}]")
        for index, weighted in enumerate(pods.preferredDuringSchedulingIgnoredDuringExecution):
            there = f"{here}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
            yield from _weight(weighted.weight, there)
            yield from _pod_term(weighted.podAffinityTerm, f"{there}.podAffinityTerm")


def _weight(weight: int, path: str) -> Findings:
    if not 1 <= weight <= 100:
        yield invalid(f"{path}.weight", weight, "must be in the range 1-100")


def _node_affinity(found: core.NodeAffinity, path: str) -> Findings:
    needed = found.requiredDuringSchedulingIgnoredDuringExecution
    if needed is not None:
        here = f"{path}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
        if not needed.nodeSelectorTerms:
            yield required(here, "must have at least one node selector term")
        for index, term in enumerate(needed.nodeSelectorTerms):
            yield from _node_term(term, f"{here}[{index}]")
    for index, preferred in enumerate(found.preferredDuringSchedulingIgnoredDuringExecution):
        here = f"{path}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
        yield from _weight(preferred.weight, here)
        yield from _node_term(preferred.preference, f"{here}.preference")


def _node_term(term: core.NodeSelectorTerm, path: str) -> Findings:
    for index, found in enumerate(term.matchExpressions):
        yield from _node_requirement(found, f"{path}.matchExpressions[{index}]")
    for index, found in enumerate(term.matchFields):
        here = f"{path}.matchFields[{index}]"
        if found.operator not in ("In", "NotIn"):
            yield invalid(f"{here}.operator", found.operator, "not a valid selector operator")
        elif len(found.values) != 1:
            yield required(
                f"{here}.values",
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            )
        if found.key != "metadata.name":
            yield invalid(f"{here}.key", found.key, "not a valid field selector key")


def _node_requirement(found: core.NodeSelectorRequirement, path: str) -> Findings:
    if found.operator not in ("Gt", "Lt"):
        yield from metadata.requirement(found, path)
        return
    if len(found.values) != 1:
        yield required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
    yield from metadata.selected(found, path)


def _pod_term(term: core.PodAffinityTerm, path: str) -> Findings:
    yield from metadata.selector(term.labelSelector, f"{path}.labelSelector")
    yield from metadata.selector(term.namespaceSelector, f"{path}.namespaceSelector")
    for namespace in term.namespaces:
        yield from named(f"{path}.namespaces", namespace, names.label(namespace))
    if not term.topologyKey:
        yield required(f"{path}.topologyKey", "can not be empty")
    else:
        yield from named(f"{path}.topologyKey", term.topologyKey, names.qualified(term.topologyKey))


def tolerations(found: Iterable[core.Toleration], path: str) -> Findings:
    for index, toleration in enumerate(found):
        here = f"{path}[{index}]"
        if toleration.key:
            yield from named(f"{here}.key", toleration.key, names.qualified(toleration.key))
        elif toleration.operator != "Exists":
            yield invalid(
                f"{here}.operator",
                toleration.operator,
                'operator must be Exists when `key` is empty, which means "match all values and all keys"',
            )
        if toleration.tolerationSeconds is not None and toleration.effect != "NoExecute":
            yield invalid(
                f"{here}.effect",
                toleration.effect,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            )
        match toleration.operator:
            case "" | "Equal":
                yield from named(f"{here}.operator", toleration.value, names.label_value(toleration.value))
            case "Exists" if toleration.value:
                yield invalid(
                    f"{here}.operator",
                    toleration.operator,
                    "value must be empty when `operator` is 'Exists'",
                )


def taints(found: Iterable[core.Taint], path: str) -> Findings:
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(found):
        here = f"{path}[{index}]"
        yield from named(f"{here}.key", taint.key, names.qualified(taint.key))
        yield from named(f"{here}.value", taint.value, names.label_value(taint.value))
        if not taint.effect:
            yield required(f"{here}.effect")
        if (taint.key, taint.effect) in seen:
            yield duplicate(here, taint)
        seen.add((taint.key, taint.effect))


def spreading(found: Iterable[core.TopologySpreadConstraint], path: str) -> Findings:
    seen: set[tuple[str, str]] = set()
    for index, constraint in enumerate(found):
        here = f"{path}[{index}]"
        if constraint.maxSkew <= 0:
            yield invalid(f"{here}.maxSkew", constraint.maxSkew, "must be greater than 0")
        if not constraint.topologyKey:
            yield required(f"{here}.topologyKey", "can not be empty")
        else:
            yield from named(
                f"{here}.topologyKey", constraint.topologyKey, names.qualified(constraint.topologyKey)
            )
        if not constraint.whenUnsatisfiable:
            yield unsupported(f"{here}.whenUnsatisfiable", "", ("DoNotSchedule", "ScheduleAnyway"))
        pair = (constraint.topologyKey, constraint.whenUnsatisfiable)
        if pair in seen:
            yield duplicate(f"{here}.{{topologyKey, whenUnsatisfiable}}", f"{{{pair[0]}, {pair[1]}}}")
        seen.add(pair)
        if constraint.minDomains is not None:
            yield from within(f"{here}.minDomains", constraint.minDomains, 1, 2**31 - 1)
            if constraint.whenUnsatisfiable != "DoNotSchedule":
                yield invalid(
                    f"{here}.minDomains",
                    constraint.minDomains,
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not "
                    f"{constraint.whenUnsatisfiable}",
                )
        yield from metadata.selector(constraint.labelSelector, f"{here}.labelSelector")

"""Node selectors: terms are alternatives, the requirements in one are all demanded. Knows labels and names
only.

https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity
"""

from collections.abc import Iterable, Mapping

from netemu.api import core


def wanted(pod: core.PodSpec, node: str, labels: Mapping[str, str]) -> bool:
    """Whether a node, by name and labels, has what `nodeSelector` and required node affinity demand."""
    if pod.nodeSelector and not pod.nodeSelector.items() <= labels.items():
        return False
    required = required_terms(pod)
    return required is None or any(matches(term, node, labels) for term in required)


def required_terms(pod: core.PodSpec) -> tuple[core.NodeSelectorTerm, ...] | None:
    """None when nothing is required; an empty tuple matches no node."""
    if pod.affinity is None or pod.affinity.nodeAffinity is None:
        return None
    selector = pod.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution
    return None if selector is None else selector.nodeSelectorTerms


def matches(term: core.NodeSelectorTerm, node: str, labels: Mapping[str, str]) -> bool:
    """An empty term matches nothing."""
    if not term.matchExpressions and not term.matchFields:
        return False
    return all(_holds(one, labels) for one in term.matchExpressions) and all(
        _holds(one, {"metadata.name": node}) for one in term.matchFields
    )


def names(terms: Iterable[core.NodeSelectorTerm]) -> frozenset[str] | None:
    """The only nodes the terms can mean, when every one of them names some by matchFields; otherwise None."""
    result: set[str] = set()
    for term in terms:
        of_term = [
            frozenset(one.values)
            for one in term.matchFields
            if one.key == "metadata.name" and one.operator == "In"
        ]
        if not of_term:
            return None
        result |= frozenset.intersection(*of_term)
    return frozenset(result)


def _holds(requirement: core.NodeSelectorRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(requirement, value)
    return False


def _compares(requirement: core.NodeSelectorRequirement, value: str | None) -> bool:
    try:
        have, bound = int(value or ""), int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    return have > bound if requirement.operator == "Gt" else have < bound

"""What a namespace that is being deleted still waits for, as its conditions say it. Pure.

The words are upstream's (pkg/controller/namespace/deletion, NamespaceConditionUpdater).
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from netemu.api import core

FINALIZER: Final = "kubernetes"


def conditions(
    current: tuple[core.NamespaceCondition, ...],
    remaining: Mapping[str, int],
    finalizers: Mapping[str, int],
    failure: str,
    now: str,
) -> tuple[core.NamespaceCondition, ...]:
    """`remaining`: objects left, by resource; `finalizers`: objects that wait for each; `failure`: of
    deleting.
    """
    rows = (
        (
            "NamespaceDeletionDiscoveryFailure",
            False,
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            False,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            bool(failure),
            "ContentDeletionFailed" if failure else "ContentDeleted",
            failure or "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            bool(remaining),
            "SomeResourcesRemain" if remaining else "ContentRemoved",
            "Some resources are remaining: " + _listed(remaining, "{} has {} resource instances")
            if remaining
            else "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            bool(finalizers),
            "SomeFinalizersRemain" if finalizers else "ContentHasNoFinalizers",
            "Some content in the namespace has finalizers remaining: "
            + _listed(finalizers, "{} in {} resource instances")
            if finalizers
            else "All content-preserving finalizers finished",
        ),
    )
    known = {one.type: one for one in current}
    for kind, true, reason, message in rows:
        status = "True" if true else "False"
        before = known.get(kind)
        since = before.lastTransitionTime if before is not None and before.status == status else now
        known[kind] = core.NamespaceCondition(
            type=kind, status=status, reason=reason, message=message, lastTransitionTime=since
        )
    return tuple(known.values())


def finalized(namespace: core.Namespace) -> core.Namespace:
    """The namespace without the finalizer that stood for its content."""
    left = tuple(one for one in namespace.spec.finalizers if one != FINALIZER)
    return msgspec.structs.replace(namespace, spec=core.NamespaceSpec(finalizers=left))


def _listed(counts: Mapping[str, int], form: str) -> str:
    return ", ".join(form.format(name, count) for name, count in sorted(counts.items()))

"""Namespace rules: nothing is made in one that is absent or ending, some may not be deleted, each carries its
name and finalizer."""

from __future__ import annotations

from netemu.api import core, kinds, wellknown
from netemu.apiserver import statuses
from netemu.apiserver.admission import changes

_IMMORTAL = ("default", "kube-public", "kube-system")


async def exists(write: changes.Write) -> None:
    """NamespaceLifecycle: the namespace must exist and must not be terminating."""
    if write.old is not None or not write.kind.namespaced:
        return
    found = write.parts.cache.of(kinds.of(core.Namespace)).get("", write.namespace)
    if found is None:
        raise statuses.not_found("", "namespaces", write.namespace)
    if "deletionTimestamp" in found.document()["metadata"]:
        why = f"unable to create new content in namespace {write.namespace} because it is being terminated"
        cause = statuses.Cause(
            "NamespaceTerminating", f"namespace {write.namespace} is being terminated", "metadata.namespace"
        )
        raise statuses.forbidden(write.kind.group, write.kind.plural, write.name, why, causes=(cause,))


def spare(name: str) -> None:
    """NamespaceLifecycle: some namespaces may not be deleted. Refusal."""
    if name in _IMMORTAL:
        raise statuses.forbidden("", "namespaces", name, "this namespace may not be deleted")


async def fill(write: changes.Write) -> None:
    """A Namespace is active, holds its finalizer until it is empty, and is labelled with its name."""
    new = write.new
    new["metadata"].setdefault("labels", {})[wellknown.NAMESPACE_NAME] = write.name
    if write.old is None:
        finalizers = new.setdefault("spec", {}).setdefault("finalizers", [])
        if "kubernetes" not in finalizers:
            finalizers.append("kubernetes")
        new["status"] = {"phase": "Active"}
    else:
        new["spec"] = write.old.get("spec", {})

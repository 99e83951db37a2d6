"""Which rules a write passes, in order: `mutate` before validation, `admit` after it.

Literal tables by resource. Knows no rule itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from netemu.apiserver import contexts, statuses
from netemu.apiserver.admission import (
    changes,
    definitions,
    escalation,
    hooks,
    jobs,
    limits,
    namespaces,
    nodes,
    pods,
    priorities,
    quotas,
    services,
)

Rule = Callable[[changes.Write], Awaitable[None]]
_EVERY: tuple[Rule, ...] = (namespaces.exists,)
_RBAC = "rbac.authorization.k8s.io"
_MUTATE: dict[tuple[str, str], tuple[Rule, ...]] = {
    ("", "namespaces"): (namespaces.fill,),
    ("", "nodes"): (nodes.not_ready,),
    ("", "persistentvolumeclaims"): (limits.claim,),
    ("", "pods"): (pods.service_account, pods.tolerations, priorities.resolve, limits.pod, pods.status),
    ("", "services"): (services.fill,),
    ("apiextensions.k8s.io", "customresourcedefinitions"): (definitions.establish,),
    ("batch", "jobs"): (jobs.select,),
    ("scheduling.k8s.io", "priorityclasses"): (priorities.single_default,),
    (_RBAC, "clusterroles"): (escalation.role,),
    (_RBAC, "roles"): (escalation.role,),
    (_RBAC, "clusterrolebindings"): (escalation.binding,),
    (_RBAC, "rolebindings"): (escalation.binding,),
}
_ALLOCATE: dict[tuple[str, str], tuple[Rule, ...]] = {
    ("", "services"): (services.allocate,),
}
_STATUS = ("status", "approval")  # of which only webhooks want to know


async def mutate(write: changes.Write) -> None:
    """Fill in and refuse before the object is validated. Refusal."""
    if write.subresource not in _STATUS:
        for rule in (*_EVERY, *_MUTATE.get((write.kind.group, write.kind.plural), ())):
            await rule(write)
    if write.parts.webhooks.mutating:
        document, _ = await write.parts.webhooks.mutate(_event(write))
        if document is not write.new:
            write.become(document)


async def admit(write: changes.Write) -> None:
    """Give a valid object what is the server's to give, and ask the last who may refuse it. Refusal."""
    if write.subresource not in _STATUS:
        for rule in _ALLOCATE.get((write.kind.group, write.kind.plural), ()):
            await rule(write)
    if write.parts.webhooks.validating:
        await write.parts.webhooks.validate(_event(write))
    if write.subresource not in _STATUS:
        await quotas.charge(write)


async def delete(call: contexts.Call, old: statuses.Document, *, dry: bool) -> None:
    """Ask who may refuse that an object is deleted. Refusal."""
    asked = call.parts.webhooks
    if not (asked.mutating or asked.validating):
        return
    name, user = old["metadata"]["name"], call.user.document()
    event = hooks.Event("DELETE", call.kind, call.namespace, name, "", None, old, dry, user)
    await asked.refuse(event)


def _event(write: changes.Write) -> hooks.Event:
    operation = "CREATE" if write.old is None else "UPDATE"
    user = write.user.document()
    return hooks.Event(
        operation, write.kind, write.namespace, write.name, write.subresource, write.new, write.old,
        write.dry, user,
    )  # fmt: skip

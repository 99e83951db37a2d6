"""Which rules a write passes, in order: `mutate` before validation, `admit` after it.

Literal tables by resource. Knows no rule itself.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Awaitable, Callable

from netemu.api import kinds
from netemu.apiserver import contexts, scaling, statuses
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
    await _own_rules(write)
    if not write.parts.webhooks.mutating:
        return
    event = _event(write)

    async def again(document: statuses.Document) -> statuses.Document:
        _take(write, event, document)
        await _own_rules(write)
        changed = _event(write).new
        assert changed is not None
        return changed

    document, warnings = await write.parts.webhooks.mutate(event, again)
    write.warn(warnings)
    if document is not event.new:
        _take(write, event, document)


async def _own_rules(write: changes.Write) -> None:
    if write.subresource not in _STATUS:
        for rule in (*_EVERY, *_MUTATE.get((write.kind.group, write.kind.plural), ())):
            await rule(write)


def _take(write: changes.Write, event: hooks.Event, document: statuses.Document) -> None:
    """What webhooks made of the object; of a Scale only the replicas count."""
    if event.shape is scaling.SCALE:
        replicas = (document.get("spec") or {}).get("replicas", 0)
        document = scaling.with_replicas(write.new, write.kind, replicas)
    write.become({**document})


async def admit(write: changes.Write) -> None:
    """Give a valid object what is the server's to give, and ask the last who may refuse it. Refusal."""
    if write.subresource not in _STATUS:
        for rule in _ALLOCATE.get((write.kind.group, write.kind.plural), ()):
            await rule(write)
    if write.parts.webhooks.validating:
        write.warn(await write.parts.webhooks.validate(_event(write)))
    if write.subresource not in _STATUS:
        await quotas.charge(write)


async def delete(call: contexts.Call, old: statuses.Document, *, dry: bool) -> None:
    """Ask who may refuse that an object is deleted. Refusal."""
    if (call.kind.group, call.kind.plural) == ("", "namespaces"):
        namespaces.spare(call.name)
    if call.parts.webhooks.any:
        name, user = old["metadata"]["name"], call.user.document()
        event = hooks.Event("DELETE", call.kind, call.namespace, name, "", None, old, dry, user)
        call.warnings.extend(await call.parts.webhooks.refuse(event))


async def connect(call: contexts.Call, options: statuses.Document) -> None:
    """Ask who may refuse a stream to a pod, service or node; `options` are PodExecOptions or the like.
    Refusal."""
    if call.parts.webhooks.any:
        shape = _options(options["apiVersion"], options["kind"])
        event = _handed("CONNECT", call, options, shape, dry=False)
        call.warnings.extend(await call.parts.webhooks.refuse(event))


async def hand(call: contexts.Call, document: statuses.Document, shape: kinds.Kind) -> statuses.Document:
    """What is made below an object (a Binding, an Eviction, a TokenRequest), as webhooks want it. Refusal."""
    asked = call.parts.webhooks
    if not asked.any:
        return document
    event = _handed("CREATE", call, document, shape, dry="All" in call.request.parameters("dryRun"))
    found, warnings = await asked.mutate(event)
    call.warnings.extend(warnings)
    call.warnings.extend(await asked.validate(dataclasses.replace(event, new=found)))
    return found


@functools.cache
def _options(api_version: str, kind: str) -> kinds.Kind:
    return kinds.Kind(type=kinds.nameless(api_version, kind), plural="")


def _handed(
    operation: str, call: contexts.Call, document: statuses.Document, shape: kinds.Kind, *, dry: bool
) -> hooks.Event:
    where = call.namespace, call.name, call.target.subresource
    return hooks.Event(operation, call.kind, *where, document, None, dry, call.user.document(), shape)


def _event(write: changes.Write) -> hooks.Event:
    operation = "CREATE" if write.old is None else "UPDATE"
    new, old, shape = write.new, write.old, None
    if write.subresource == "scale":
        shape, new = scaling.SCALE, scaling.scale(new, write.kind)
        old = None if old is None else scaling.scale(old, write.kind)
    user = write.user.document()
    where = write.namespace, write.name, write.subresource
    return hooks.Event(operation, write.kind, *where, new, old, write.dry, user, shape)

"""Which rules a write passes, in order: `MUTATE` before validation, `ALLOCATE` after it.

A literal table by resource. Knows no rule itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from netemu.apiserver.admission import changes, jobs, namespaces, nodes, pods, services

Rule = Callable[[changes.Write], Awaitable[None]]
_EVERY: tuple[Rule, ...] = (namespaces.exists,)
_MUTATE: dict[tuple[str, str], tuple[Rule, ...]] = {
    ("", "namespaces"): (namespaces.fill,),
    ("", "nodes"): (nodes.not_ready,),
    ("", "pods"): (pods.service_account, pods.tolerations, pods.priority, pods.status),
    ("", "services"): (services.fill,),
    ("batch", "jobs"): (jobs.select,),
}
_ALLOCATE: dict[tuple[str, str], tuple[Rule, ...]] = {
    ("", "services"): (services.allocate,),
}


async def mutate(write: changes.Write) -> None:
    """Fill in and refuse before the object is validated."""
    for rule in (*_EVERY, *_MUTATE.get((write.kind.group, write.kind.plural), ())):
        await rule(write)


async def allocate(write: changes.Write) -> None:
    """Give a valid object what is the server's to give."""
    for rule in _ALLOCATE.get((write.kind.group, write.kind.plural), ()):
        await rule(write)

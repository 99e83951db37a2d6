"""What is to be done about one object, given its owners and dependents. Pure.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/ and upstream's attemptToDeleteItem.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from netemu.controllers.garbage import graph


class Owner(Enum):
    """What has become of an owner."""

    SOLID = "there"
    DANGLING = "gone"
    WAITING = "being deleted, waits for its dependents"


class Action(NamedTuple):
    """`delete`: with this propagation policy. `disown`: drop the references to these uids. `unblock`: take
    this finalizer off. `orphan`: first make these dependents drop their references. `look_at`: uids to look
    at next.
    """

    delete: str = ""
    disown: tuple[str, ...] = ()
    unblock: str = ""
    orphan: tuple[graph.Thing, ...] = ()
    look_at: tuple[str, ...] = ()


def plan(one: graph.Thing, owners: Mapping[str, Owner], dependents: Sequence[graph.Thing]) -> Action:
    """`owners`: the state of each of its owners, by uid."""
    if one.lets_dependents_go:
        return Action(unblock=graph.ORPHAN, orphan=tuple(dependents))
    if one.waits_for_dependents:
        return _foreground(one, dependents)
    if one.deleting or not owners:
        return Action()
    dangling = tuple(uid for uid, state in owners.items() if state is Owner.DANGLING)
    waiting = tuple(uid for uid, state in owners.items() if state is Owner.WAITING)
    if not dangling and not waiting:
        return Action()
    if len(dangling) + len(waiting) < len(owners):
        return Action(disown=(*dangling, *waiting))
    if waiting and dependents:
        return Action(delete="Foreground")
    if graph.ORPHAN in one.finalizers:
        return Action(delete="Orphan")
    if graph.FOREGROUND in one.finalizers:
        return Action(delete="Foreground")
    return Action(delete="Background")


def _foreground(one: graph.Thing, dependents: Sequence[graph.Thing]) -> Action:
    blocking = [d for d in dependents if _blocks(d, one.uid)]
    if not blocking:
        return Action(unblock=graph.FOREGROUND, look_at=tuple(d.uid for d in dependents))
    return Action(look_at=tuple(d.uid for d in dependents if not d.deleting))


def _blocks(dependent: graph.Thing, owner: str) -> bool:
    return any(ref.uid == owner and ref.blockOwnerDeletion for ref in dependent.owners)

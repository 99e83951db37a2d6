"""Who controls an object. Knows ownerReferences; does not know kinds' own rules.

https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from netemu.api import meta, selectors

T = TypeVar("T", bound=meta.Object)


@dataclass(frozen=True, slots=True)
class Claims(Generic[T]):
    """What is a controller's already, what it should adopt, and what it should let go."""

    owned: tuple[T, ...]
    adopt: tuple[T, ...]
    release: tuple[T, ...]


def reference(owner: meta.Object) -> meta.OwnerReference:
    """The reference a controller writes into what it makes."""
    return meta.OwnerReference(
        apiVersion=owner.apiVersion,
        kind=owner.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
        blockOwnerDeletion=True,
    )


def controller(thing: meta.Object) -> meta.OwnerReference | None:
    """The one reference marked as controller."""
    for owner in thing.metadata.ownerReferences:
        if owner.controller:
            return owner
    return None


def claims(owner: meta.Object, selector: selectors.Selector, things: Iterable[T]) -> Claims[T]:
    """Sort the things of a namespace, as upstream's ControllerRefManager does.

    Adopted: no controller, matching labels, neither side being deleted. Released: ours, but labels no longer
    match.
    """
    owned: list[T] = []
    adopt: list[T] = []
    release: list[T] = []
    deleting = bool(owner.metadata.deletionTimestamp)
    for thing in things:
        metadata = thing.metadata
        by = controller(thing)
        if by is not None:
            if by.uid == owner.metadata.uid:
                if selector.matches(metadata.labels):
                    owned.append(thing)
                elif not deleting:
                    release.append(thing)
        elif not deleting and not metadata.deletionTimestamp and selector.matches(metadata.labels):
            adopt.append(thing)
    return Claims(tuple(owned), tuple(adopt), tuple(release))


def documents(owners: Iterable[meta.OwnerReference]) -> list[dict[str, Any]]:
    """References as a patch carries them."""
    return [msgspec.to_builtins(owner) for owner in owners]


def with_status(thing: T, status: object) -> T:
    """The object with another status, to be written by update_status."""
    return msgspec.structs.replace(thing, status=status)

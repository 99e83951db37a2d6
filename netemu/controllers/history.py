"""The versions of a pod template, as ControllerRevisions: which is the newest, which are too many. Pure.

`kubectl rollout history` and `undo` read them. Source: upstream's controller/history package.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from netemu.api import apps, core, meta
from netemu.controllers import hashes, ownership

HASH_LABEL: Final = "controller-revision-hash"
_KEPT: Final = 10  # where spec.revisionHistoryLimit is not set: the API server's default


@dataclass(frozen=True, slots=True)
class History:
    """What is recorded, oldest first, and what is left to write to make the template the newest of it.

    `create` is a version never seen; `raise_` is one that has come back and becomes the newest; `delete` are
    those beyond the limit that no pod uses.
    """

    newest: apps.ControllerRevision
    recorded: tuple[apps.ControllerRevision, ...]
    create: apps.ControllerRevision | None = None
    raise_: apps.ControllerRevision | None = None
    delete: tuple[apps.ControllerRevision, ...] = ()


def plan(owner: Any, recorded: Iterable[apps.ControllerRevision], pods: Iterable[core.Pod]) -> History:
    """`owner`: a DaemonSet or a StatefulSet; `recorded`: its revisions; `pods`: its pods."""
    known = sorted(recorded, key=lambda one: (one.revision, one.metadata.name))
    data = template_patch(owner.spec.template)
    same = next((one for one in reversed(known) if one.data == data), None)
    last = known[-1].revision if known else 0
    create = raised = None
    if same is None:
        newest = create = _revision(owner, data, last + 1)
    elif same.revision < last:
        newest = raised = msgspec.structs.replace(same, revision=last + 1)
    else:
        newest = same
    used = {pod.metadata.labels.get(HASH_LABEL) for pod in pods} | {digest(newest)}
    return History(newest, tuple(known), create, raised, _too_many(owner, known, used))


def template_patch(template: core.PodTemplateSpec) -> dict[str, Any]:
    """What a revision keeps of an owner: a strategic merge patch that puts its template back."""
    document = msgspec.json.decode(msgspec.json.encode(template))
    return {"spec": {"template": {"$patch": "replace", **document}}}


def digest(revision: apps.ControllerRevision) -> str:
    """The value of the label `controller-revision-hash` on pods of this version."""
    return revision.metadata.labels.get(HASH_LABEL, "")


def _revision(owner: Any, data: dict[str, Any], number: int) -> apps.ControllerRevision:
    version = hashes.of_template(owner.spec.template, owner.status.collisionCount)
    # Upstream: the bare hash for a DaemonSet, the whole name for a StatefulSet.
    name = f"{owner.metadata.name}-{version}"
    label = version if owner.kind == "DaemonSet" else name
    return apps.ControllerRevision(
        metadata=meta.ObjectMeta(
            name=name,
            namespace=owner.metadata.namespace,
            labels={**owner.spec.template.metadata.labels, HASH_LABEL: label},
            annotations={},
            ownerReferences=(ownership.reference(owner),),
        ),
        data=data,
        revision=number,
    )


def _too_many(
    owner: Any, known: Sequence[apps.ControllerRevision], used: set[str | None]
) -> tuple[apps.ControllerRevision, ...]:
    limit = _KEPT if owner.spec.revisionHistoryLimit is None else owner.spec.revisionHistoryLimit
    unused = [one for one in known if digest(one) not in used]
    return tuple(unused[: max(0, len(unused) - limit)])

"""A Job's selector, which the server makes up unless the user insists (strategy of Kubernetes' batch/job)."""

from __future__ import annotations

from netemu.apiserver.admission import changes

_UID = "batch.kubernetes.io/controller-uid"
_NAME = "batch.kubernetes.io/job-name"


async def select(write: changes.Write) -> None:
    """Label the template with the Job's uid, and select by it."""
    spec = write.new["spec"]
    if write.old is not None or spec.get("manualSelector"):
        return
    uid = write.new["metadata"]["uid"]
    labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    labels |= {_UID: uid, _NAME: write.name, "controller-uid": uid, "job-name": write.name}
    selector = dict(spec.get("selector") or {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), _UID: uid}
    spec["selector"] = selector
    about = write.new["metadata"]
    about["labels"] = about.get("labels") or dict(labels)

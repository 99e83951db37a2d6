"""The Priority plugin: pods get the number of their class; one class at most is everybody's default.

Follows k8s.io/kubernetes plugin/pkg/admission/priority.
"""

from __future__ import annotations

from netemu.api import kinds, scheduling
from netemu.apiserver import statuses
from netemu.apiserver.admission import changes

_KIND = kinds.of(scheduling.PriorityClass)
_NEVER = "PreemptLowerPriority"


async def resolve(write: changes.Write) -> None:
    """The pod's priority and preemption policy from its class. Refusal: unknown class, own number."""
    spec = write.new["spec"]
    if write.old is not None:
        before = write.old["spec"]
        for name in ("priority", "preemptionPolicy", "priorityClassName"):
            if name not in spec and name in before:
                spec[name] = before[name]
        return
    name = spec.get("priorityClassName", "")
    classes = write.parts.cache.of(_KIND)
    number, policy = 0, _NEVER
    if name:
        entry = classes.get("", name)
        if entry is None:
            raise write.forbidden(f"no PriorityClass with name {name} was found")
        chosen = entry.document()
        number, policy = chosen.get("value", 0), chosen.get("preemptionPolicy", _NEVER)
    else:
        defaults = [d for entry in classes.all() if (d := entry.document()).get("globalDefault")]
        if defaults:
            chosen = min(defaults, key=lambda found: found.get("value", 0))
            spec["priorityClassName"] = chosen["metadata"]["name"]
            number, policy = chosen.get("value", 0), chosen.get("preemptionPolicy", _NEVER)
    if spec.get("priority") not in (None, number):
        raise write.forbidden(
            f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; priority"
            f" admission controller computed {number} from the given PriorityClass name"
        )
    if spec.get("preemptionPolicy") not in (None, policy):
        raise write.forbidden(
            f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod"
            f" spec; priority admission controller computed {policy} from the given PriorityClass name"
        )
    spec["priority"], spec["preemptionPolicy"] = number, policy


async def single_default(write: changes.Write) -> None:
    """Only one class is the global default; values of ordinary ones end at a billion. Refusal."""
    value, name = write.new.get("value", 0), write.name
    if write.old is not None and value != write.old.get("value", 0):
        raise write.invalid(statuses.Cause("FieldValueInvalid", "may not be changed in an update.", "value"))
    if value > 1_000_000_000 and not name.startswith("system-"):
        why = "maximum allowed value of a user defined priority is 1000000000"
        raise write.invalid(statuses.Cause("FieldValueForbidden", f"Forbidden: {why}", "value"))
    if not write.new.get("globalDefault"):
        return
    for entry in write.parts.cache.of(_KIND).all():
        if entry.name != name and entry.document().get("globalDefault"):
            raise write.forbidden(
                f"PriorityClass {entry.name} is already marked as default. Only one default can exist"
            )

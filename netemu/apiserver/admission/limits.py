"""The LimitRanger plugin: defaults of a namespace's LimitRanges for containers, and their bounds.

Follows k8s.io/kubernetes plugin/pkg/admission/limitranger.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from netemu.api import core, kinds, quantities
from netemu.apiserver.admission import changes

_KIND = kinds.of(core.LimitRange)
_NOTE = "kubernetes.io/limit-ranger"
Amounts = dict[str, str]


async def pod(write: changes.Write) -> None:
    """Fill in the containers' requests and limits, then check them and their sums. Refusal."""
    if write.old is not None:
        return
    found = list(_items(write))
    if not found:
        return
    spec = write.new["spec"]
    notes: list[str] = []
    for item in found:
        if item["type"] == "Container":
            for field in ("containers", "initContainers"):
                for container in spec.get(field, ()):
                    notes += _fill(container, item, "init container" if field[0] == "i" else "container")
    if notes:
        write.new["metadata"].setdefault("annotations", {})[_NOTE] = "LimitRanger plugin set: " + "; ".join(
            notes
        )
    wrong: list[str] = []
    for item in found:
        if item["type"] == "Container":
            for container in (*spec.get("containers", ()), *spec.get("initContainers", ())):
                wrong += _broken(item, container.get("resources") or {})
        elif item["type"] == "Pod":
            wrong += _broken(item, total(spec))
    if wrong:
        raise write.forbidden(wrong[0] if len(wrong) == 1 else f"[{', '.join(wrong)}]")


async def claim(write: changes.Write) -> None:
    """A claim's size is within bounds. Refusal."""
    resources = (write.new.get("spec") or {}).get("resources") or {}
    for item in _items(write) if write.old is None else ():
        if item["type"] == "PersistentVolumeClaim":
            wrong = _broken(item, {"requests": resources.get("requests") or {}}, requests_only=True)
            if wrong:
                raise write.forbidden(wrong[0] if len(wrong) == 1 else f"[{', '.join(wrong)}]")


def _items(write: changes.Write) -> Iterator[dict[str, Any]]:
    for entry in write.parts.cache.of(_KIND).all(write.namespace):
        yield from entry.document().get("spec", {}).get("limits") or ()


def _fill(container: dict[str, Any], item: dict[str, Any], what: str) -> list[str]:
    notes = []
    resources = container.setdefault("resources", {})
    had_limits = dict(resources.get("limits") or {})
    for field, source in (("requests", "defaultRequest"), ("limits", "default")):
        given: Amounts = dict(resources.get(field) or {})
        added = []
        for name, amount in (item.get(source) or {}).items():
            if name not in given and not (field == "requests" and name in had_limits):
                given[name] = amount
                added.append(name)
        if field == "requests":
            given |= {name: amount for name, amount in had_limits.items() if name not in given}
        if given:
            resources[field] = given
        if added:
            verb = "request" if field == "requests" else "limit"
            notes.append(f"{', '.join(sorted(added))} {verb} for {what} {container.get('name', '')}")
    if not resources:
        del container["resources"]
    return notes


def _broken(item: dict[str, Any], resources: dict[str, Any], *, requests_only: bool = False) -> list[str]:
    requests, ceilings = resources.get("requests") or {}, resources.get("limits") or {}
    where, wrong = item["type"], []
    for name, least in sorted((item.get("min") or {}).items()):
        if name not in requests:
            wrong.append(f"minimum {name} usage per {where} is {least}.  No request is specified")
        elif _n(requests[name]) < _n(least):
            wrong.append(f"minimum {name} usage per {where} is {least}, but request is {requests[name]}")
    for name, most in sorted((item.get("max") or {}).items()):
        given = requests.get(name) if requests_only else ceilings.get(name)
        called = "request" if requests_only else "limit"
        if given is None:
            wrong.append(f"maximum {name} usage per {where} is {most}.  No {called} is specified")
        elif _n(given) > _n(most):
            wrong.append(f"maximum {name} usage per {where} is {most}, but {called} is {given}")
    for name, ratio in sorted((item.get("maxLimitRequestRatio") or {}).items()):
        told = f"{name} max limit to request ratio per {where} is {ratio}, but"
        if name not in requests or name not in ceilings or not _n(requests[name]):
            wrong.append(f"{told} no limit or request is specified or request is 0")
        elif (found := _n(ceilings[name]) / _n(requests[name])) > _n(ratio):
            wrong.append(f"{told} provided ratio is {float(found):f}")
    return wrong


def total(spec: dict[str, Any]) -> dict[str, Amounts]:
    """Requests and limits of a whole pod: the sum of its containers, or its largest init container.

    A name counts as limited only if every container has a limit of it. Restartable init containers (sidecars)
    add to the sum (KEP-753).
    """
    main = list(spec.get("containers", ()))
    starting: list[dict[str, Any]] = []
    for container in spec.get("initContainers", ()):
        (main if container.get("restartPolicy") == "Always" else starting).append(container)
    found: dict[str, Amounts] = {}
    for field in ("requests", "limits"):
        sums: dict[str, Fraction] = {}
        for container in main:
            for name, amount in ((container.get("resources") or {}).get(field) or {}).items():
                sums[name] = sums.get(name, Fraction(0)) + _n(amount)
        for container in starting:
            for name, amount in ((container.get("resources") or {}).get(field) or {}).items():
                sums[name] = max(sums.get(name, Fraction(0)), _n(amount))
        for name, amount in (spec.get("overhead") or {}).items():
            if field == "requests" or name in sums:
                sums[name] = sums.get(name, Fraction(0)) + _n(amount)
        found[field] = {name: text(amount) for name, amount in sums.items()}
    every = [(container.get("resources") or {}).get("limits") or {} for container in main]
    found["limits"] = {n: a for n, a in found["limits"].items() if all(n in given for given in every)}
    return found


def _n(amount: Any) -> Fraction:
    return quantities.parse(str(amount))


def text(amount: Fraction) -> str:
    """A quantity in its shortest decimal form: whole, or in thousandths."""
    if amount.denominator == 1:
        return str(amount.numerator)
    return f"{-(-amount.numerator * 1000 // amount.denominator)}m"

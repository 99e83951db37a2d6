"""What the server itself writes into metadata: names, uids, times, generations.

Pure but for the chance it is handed. Knows metav1.ObjectMeta; knows no kind's own rules.
"""

from __future__ import annotations

import random
from typing import Any

from netemu.api import kinds
from netemu.apiserver import statuses
from netemu.base import clock as clocks
from netemu.base import ids

Document = statuses.Document
_LONGEST_BASE = 58  # 63 less the five characters of the suffix
_SERVER_SET = ("uid", "creationTimestamp", "resourceVersion", "generation", "selfLink", "managedFields")
_KEPT = (
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


def counted(kind: kinds.Kind) -> bool:
    """Whether metadata.generation counts changes of the kind's spec."""
    return kind.counted or kind.custom is not None


def begin(kind: kinds.Kind, document: Document, namespace: str, rng: random.Random, now: float) -> bool:
    """Fill in the metadata of a new object. The answer: whether its name was made up here."""
    about: dict[str, Any] = document.setdefault("metadata", {})
    for name in (*_SERVER_SET, "deletionTimestamp", "deletionGracePeriodSeconds"):
        about.pop(name, None)
    generated = not about.get("name") and bool(about.get("generateName"))
    if generated:
        about["name"] = about["generateName"][:_LONGEST_BASE] + ids.suffix(rng)
    if kind.namespaced:
        about["namespace"] = namespace
    else:
        about.pop("namespace", None)
    about["uid"] = uid(rng)
    about["creationTimestamp"] = clocks.rfc3339(now)
    if counted(kind):
        about["generation"] = 1
    return generated


def carry(kind: kinds.Kind, new: Document, old: Document, *, count: bool = True) -> None:
    """On update what the server set stays; the generation counts changes of what the user wants."""
    about, before = new["metadata"], old["metadata"]
    for name in _KEPT:
        if name in before:
            about[name] = before[name]
        else:
            about.pop(name, None)
    about.pop("selfLink", None)
    about["resourceVersion"] = before.get("resourceVersion", "")
    if count and counted(kind) and wishes(new) != wishes(old):
        about["generation"] = before.get("generation", 0) + 1


def wishes(document: Document) -> Document:
    """What the user wants of an object: all but metadata and status."""
    return {key: value for key, value in document.items() if key not in ("metadata", "status")}


def uid(rng: random.Random) -> str:
    """A random UUID (RFC 9562 version 4)."""
    bits = rng.getrandbits(128) & ~(0xF << 76) | (4 << 76)
    text = f"{bits & ~(3 << 62) | (2 << 62):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def name(document: Document) -> str:
    return str(document["metadata"].get("name", ""))

"""Patch bodies as functions from the current document to the wanted one.

Knows media types of patches and how their failures are said. Does not know what is stored.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from netemu.api import kinds, schema
from netemu.apiserver import bodies, contexts, ownership, statuses
from netemu.base import errors
from netemu.http import messages
from netemu.wire import patches, strategic

JSON = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


@dataclass(frozen=True)
class Patch:
    """Call it with the current document; its result is new. `duplicates` are keys that stand twice in it."""

    kind: kinds.Kind
    name: str
    apply: Callable[[statuses.Document], Any]
    duplicates: tuple[str, ...] = ()

    def __call__(self, current: statuses.Document) -> statuses.Document:
        try:
            patched = self.apply(current)
        except patches.Malformed as error:
            raise statuses.bad_request(error.message) from None
        except patches.Inapplicable as error:
            raise self._invalid(error.message) from None
        except RecursionError:
            raise statuses.bad_request("the patch is nested too deeply") from None
        if not isinstance(patched, dict) or not isinstance(patched.get("metadata"), dict):
            raise self._invalid("the result of the patch is no object with metadata")
        return patched

    def _invalid(self, why: str) -> statuses.Refusal:
        cause = statuses.Cause("FieldValueInvalid", f"Invalid value: {why}", "patch")
        return statuses.invalid(self.kind.group, self.kind.kind, self.name, [cause])


def read(request: messages.Request, kind: kinds.Kind, name: str = "") -> Patch:
    """The patch in a request. BadRequest, UnsupportedMediaType."""
    type = bodies.media(request)
    if type not in (JSON, MERGE, STRATEGIC):
        raise statuses.unsupported_media((JSON, MERGE, STRATEGIC, APPLY))
    if type == STRATEGIC and kind.custom is not None:
        raise statuses.unsupported_media((JSON, MERGE, APPLY))
    try:
        content, duplicates = schema.read(request.body)
    except errors.Rejected as error:
        raise statuses.bad_request(f"error decoding patch: {error.message}") from None
    if type == JSON:
        return Patch(kind, name, lambda current: patches.json_patch(current, content))
    if not isinstance(content, dict):
        raise statuses.bad_request("error decoding patch: the patch is not an object")
    if type == MERGE:
        return Patch(kind, name, lambda current: patches.merge(current, content), duplicates)
    lookup = functools.partial(schema.merge_rule, kind)
    return Patch(kind, name, lambda current: strategic.merge(current, content, lookup), duplicates)


def configuration(request: messages.Request, kind: kinds.Kind) -> tuple[statuses.Document, tuple[str, ...]]:
    """The configuration to apply, and keys that stand twice in it. BadRequest."""
    wanted, duplicates = bodies.read_yaml(request.body)
    for name, value in (("apiVersion", kind.api_version), ("kind", kind.kind)):
        if not wanted.get(name):
            raise statuses.bad_request(f"invalid object type: {name} must be set")
        if wanted[name] != value:
            raise statuses.bad_request(f"{name} in the patch is {wanted[name]!r}, not {value!r}")
    about = wanted.setdefault("metadata", {})
    if not isinstance(about, dict):
        raise statuses.bad_request("metadata is not an object")
    if about.get("managedFields"):
        raise statuses.bad_request("metadata.managedFields must be nil")
    return wanted, duplicates


def applied(
    call: contexts.Call, live: statuses.Document, wanted: statuses.Document, *, force: bool
) -> tuple[statuses.Document, tuple[ownership.Conflict, ...]]:
    """What applying makes of the live object. BadRequest for what cannot be merged."""
    try:
        return ownership.applied(call, live, wanted, force=force)
    except errors.Rejected as error:
        raise statuses.bad_request(f"failed to create typed patch object: {error.message}") from None
    except RecursionError:
        raise statuses.bad_request("the patch is nested too deeply") from None

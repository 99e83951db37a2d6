"""In which form a client wants objects: themselves, a Table for people, or their metadata only.

Knows Accept headers and how items, lists and watch frames look in each form. Knows no request path.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from netemu.api import kinds, tables
from netemu.apiserver import entries, statuses
from netemu.http import messages

_META = "meta.k8s.io"
_AS = {
    "Table": "table",
    "PartialObjectMetadata": "partial",
    "PartialObjectMetadataList": "partial",
    "": "json",
}
_JSON_TYPES = ("application/json", "application/*", "*/*")


class Form(NamedTuple):
    """`style` is json, table or partial; `include` what a Table's rows carry: Metadata, Object or None."""

    style: str
    include: str = "Metadata"


PLAIN = Form("json")


def of(request: messages.Request) -> Form:
    """The first form of the Accept header that we have. NotAcceptable (Refusal)."""
    accept = request.header("accept")
    if not accept or accept in ("application/json", "*/*", "application/json, */*"):
        return PLAIN
    for element in accept.split(","):
        media, *rest = (part.strip() for part in element.split(";"))
        parameters = dict(part.partition("=")[::2] for part in rest)
        style = _AS.get(parameters.get("as", ""))
        if media not in _JSON_TYPES or style is None:
            continue
        if style == "json" and not parameters.get("as"):
            return PLAIN
        if parameters.get("g") == _META and parameters.get("v") in ("v1", "v1beta1"):
            return Form(style, _include(request)) if style == "table" else Form(style)
    raise statuses.Refusal(
        406,
        "NotAcceptable",
        "only the following media types are accepted: application/json, "
        "application/json;as=Table;g=meta.k8s.io;v=v1, "
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    )


def _include(request: messages.Request) -> str:
    given = request.parameter("includeObject", "Metadata")
    if given not in ("", "Metadata", "Object", "None"):
        raise statuses.bad_request(f"unrecognized includeObject value: {given!r}")
    return given or "Metadata"


def item(form: Form, kind: kinds.Kind, entry: entries.Entry, now: float) -> bytes:
    """One object."""
    if form.style == "json":
        return entry.data
    if form.style == "partial":
        return entry.partial()
    return _table(form, kind, (entry,), {"resourceVersion": str(entry.revision)}, now)


def listing(
    form: Form, kind: kinds.Kind, items: Iterable[entries.Entry], about: dict[str, Any], now: float
) -> bytes:
    """A list; `about` is its metadata."""
    if form.style == "table":
        return _table(form, kind, items, about, now)
    if form.style == "partial":
        parts = b",".join(entry.partial() for entry in items)
        head = b'{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":'
    else:
        parts = b",".join([entry.data for entry in items])
        head = f'{{"kind":"{kind.list_kind}","apiVersion":"{kind.api_version}","metadata":'.encode()
    return b'%b%b,"items":[%b]}' % (head, msgspec.json.encode(about), parts)


def frame(form: Form, kind: kinds.Kind, type: str, entry: entries.Entry, now: float) -> bytes:
    """One line of a watch."""
    return b'{"type":"%b","object":%b}\n' % (type.encode(), item(form, kind, entry, now))


def bookmark(form: Form, kind: kinds.Kind, revision: int, *, initial_end: bool) -> bytes:
    """The line which says that everything up to the revision has been sent."""
    about: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
    if initial_end:
        about["annotations"] = {"k8s.io/initial-events-end": "true"}
    names = {"kind": kind.kind, "apiVersion": kind.api_version}
    if form.style != "json":
        name = "Table" if form.style == "table" else "PartialObjectMetadata"
        names = {"kind": name, "apiVersion": "meta.k8s.io/v1"}
    document: dict[str, Any] = {**names, "metadata": about}
    if form.style == "table":
        document |= {"columnDefinitions": [], "rows": []}
    return msgspec.json.encode({"type": "BOOKMARK", "object": document}) + b"\n"


def _table(
    form: Form, kind: kinds.Kind, items: Iterable[entries.Entry], about: dict[str, Any], now: float
) -> bytes:
    rows = []
    for entry in items:
        row: dict[str, Any] = {"cells": tables.cells(kind, entry.document(), now)}
        if form.include == "Metadata":
            row["object"] = msgspec.Raw(entry.partial())
        elif form.include == "Object":
            row["object"] = msgspec.Raw(entry.data)
        rows.append(row)
    return msgspec.json.encode(
        {
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": about,
            "columnDefinitions": tables.columns(kind),
            "rows": rows,
        }
    )

"""Answers with one object, in the form the client wants."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from netemu.api import kinds
from netemu.apiserver import bodies, contexts, entries, forms, statuses
from netemu.http import messages

HEADERS: messages.Fields = (("content-type", statuses.JSON), ("cache-control", "no-cache, private"))


def item(
    call: contexts.Call, entry: entries.Entry, *, status: int = 200, warnings: tuple[str, ...] = ()
) -> messages.Response:
    """One object."""
    body = forms.item(forms.of(call.request), call.kind, entry, call.parts.clock.now())
    return messages.Response(status, _headers(call, warnings), body)


def _headers(call: contexts.Call, warnings: tuple[str, ...] = ()) -> messages.Fields:
    said = (*warnings, *call.warnings)
    return bodies.warned(HEADERS, said) if said else HEADERS


def view(call: contexts.Call, kind: kinds.Kind, content: statuses.Document) -> messages.Response:
    """A document computed from an object, such as its Scale."""
    entry = call.collection.shown(call.namespace, content)
    body = forms.item(forms.of(call.request), kind, entry, call.parts.clock.now())
    return messages.Response(200, _headers(call), body)


def document(call: contexts.Call, content: statuses.Document, status: int = 200) -> messages.Response:
    """A document that is no stored object."""
    return messages.Response(status, _headers(call), msgspec.json.encode(content))


def listing(
    call: contexts.Call, items: Iterable[entries.Entry], about: statuses.Document
) -> messages.Response:
    """A list; `about` is its metadata."""
    form = forms.of(call.request)
    body = forms.listing(form, call.kind, items, about, call.parts.clock.now())
    return messages.Response(200, HEADERS, body)

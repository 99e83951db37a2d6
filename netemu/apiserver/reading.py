"""Get, list and watch: from the cache when it is about now, from the store when it is about the past."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netemu.apiserver import (
    cache,
    contexts,
    entries,
    forms,
    rendering,
    selections,
    statuses,
    watching,
    writing,
)
from netemu.http import messages
from netemu.store import revisions

_CHUNK = 500


async def get(call: contexts.Call) -> messages.Response:
    """One object. NotFound."""
    if call.request.query:
        _not_future(call, selections.options(call.request).revision or 0)
    if call.collection.converting:
        await call.collection.prepare(call.namespace, call.name)
    return rendering.item(call, writing.find(call.kind, call))


async def listing(call: contexts.Call) -> messages.Response:
    """Objects, a page of them when a limit is given. Expired, BadRequest."""
    form = forms.of(call.request)
    match = selections.match(call.kind, call.request)
    options = selections.options(call.request)
    _not_future(call, options.revision or 0)
    exact = max(options.pinned, 0) or (options.revision or 0) * _is_exact(options)
    revision = exact or call.parts.cache.revision
    source: Iterator[entries.Entry]
    if exact:
        records = _past(call, options, revision)
        source = map(call.collection.entry, records)
        if call.collection.converting:
            source = iter(await call.collection.past(tuple(records)))
    else:
        if call.collection.converting:
            await call.collection.prepare(call.namespace)
            revision = call.parts.cache.revision
        source = call.collection.all(call.namespace)
    if options.pinned < 0:
        start = tuple(options.after.split("/", 1))
        source = (entry for entry in source if (entry.namespace, entry.name) > start)
    chosen: Iterator[entries.Entry] = source if match is None else filter(match, source)
    limit = 0 if options.revision == 0 else options.limit
    items, more = _page(chosen, limit)
    about: dict[str, Any] = {"resourceVersion": str(revision)}
    if more:
        about["continue"] = selections.next_page(revision, items[-1])
        if match is None:
            about["remainingItemCount"] = more + sum(1 for _ in chosen)
    body = forms.listing(form, call.kind, items, about, call.parts.clock.now())
    return messages.Response(200, rendering.HEADERS, body)


def _is_exact(options: selections.Options) -> bool:
    """A page of a revision is of that very revision, unless told otherwise (older clients count on it)."""
    return options.revision_match == "Exact" or bool(options.limit and not options.revision_match)


def _page(source: Iterator[entries.Entry], limit: int) -> tuple[list[entries.Entry], int]:
    """At most `limit` objects (0: all), and whether there is one more."""
    if not limit:
        return list(source), 0
    items: list[entries.Entry] = []
    for entry in source:
        if len(items) == limit:
            return items, 1
        items.append(entry)
    return items, 0


def _past(call: contexts.Call, options: selections.Options, revision: int) -> Iterator[revisions.Record]:
    """Objects as of a revision, read from the store piece by piece."""
    prefix = cache.prefix(call.kind)
    span = f"{prefix}{call.namespace}/" if call.namespace else prefix
    after = prefix + options.after if options.after else ""
    while True:
        try:
            page = call.parts.store.read(span, after=after, limit=_CHUNK, at=revision)
        except revisions.Compacted:
            if not options.pinned:
                raise statuses.expired(
                    f"The resourceVersion for the provided list is too old: {revision}"
                ) from None
            raise statuses.expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "You can start a new list without the continue parameter, or use the continue token in this "
                "response to retrieve the remainder of the results. Continuing with the provided token "
                "results in an inconsistent list - objects that were created, modified, or deleted between "
                "the time the first chunk was returned and now may show up in the list.",
                remainder=selections.rest(options.after),
            ) from None
        except revisions.Future as error:
            raise statuses.version_too_large(revision, error.current) from None
        yield from page.records
        if len(page.records) < _CHUNK:
            return
        after = page.records[-1].key


async def watch(call: contexts.Call) -> messages.Response:
    """What changes, as it happens. Expired."""
    options = selections.options(call.request)
    if call.collection.converting:
        await call.collection.prepare(call.namespace, since=options.revision or 0)
    stream = watching.Watch(
        call.parts.cache,
        call.kind,
        call.namespace,
        match=selections.match(call.kind, call.request),
        form=forms.of(call.request),
        options=options,
        settings=call.parts.config.watches,
        clock=call.parts.clock,
        rng=call.parts.rng,
    )
    return messages.Response(200, rendering.HEADERS, stream)


def _not_future(call: contexts.Call, revision: int) -> None:
    current = call.parts.cache.revision
    if revision > current:
        raise statuses.version_too_large(revision, current)

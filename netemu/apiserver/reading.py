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
    limit = 0 if options.revision == 0 else options.limit
    if exact:
        items, more, remaining = await _past(call, options, exact, limit, match)
    else:
        if call.collection.converting:
            await call.collection.prepare(call.namespace)
        source = _present(call, options)
        chosen = source if match is None else filter(match, source)
        items, more = _page(chosen, limit)
        remaining = more + sum(1 for _ in chosen) if more and match is None else 0
    revision = exact or call.parts.cache.revision
    about: dict[str, Any] = {"resourceVersion": str(revision)}
    if more:
        about["continue"] = selections.next_page(revision, items[-1])
        if remaining:
            about["remainingItemCount"] = remaining
    body = forms.listing(form, call.kind, items, about, call.parts.clock.now())
    return messages.Response(200, rendering.HEADERS, body)


def _present(call: contexts.Call, options: selections.Options) -> Iterator[entries.Entry]:
    """What there is now, in the store's order; after a page that was of another time, the rest."""
    source = call.collection.all(call.namespace)
    if options.pinned < 0:
        return (entry for entry in source if f"{entry.namespace}/{entry.name}" > options.after)
    return source


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


async def _past(
    call: contexts.Call,
    options: selections.Options,
    revision: int,
    limit: int,
    match: selections.Match | None,
) -> tuple[list[entries.Entry], int, int]:
    """A page as of a revision, whether there is one more, and (without a selection) how many there are."""
    if match is None:
        page = _read(call, options, revision, after=options.after, limit=limit, count=True)
        return await call.collection.past(page.records), page.remaining, page.remaining
    items: list[entries.Entry] = []
    after = options.after
    while True:
        page = _read(call, options, revision, after=after, limit=_CHUNK)
        for entry in filter(match, await call.collection.past(page.records)):
            if limit and len(items) == limit:
                return items, 1, 0
            items.append(entry)
        if len(page.records) < _CHUNK:
            return items, 0, 0
        after = page.records[-1].key.removeprefix(cache.prefix(call.kind))


def _read(
    call: contexts.Call,
    options: selections.Options,
    revision: int,
    *,
    after: str,
    limit: int,
    count: bool = False,
) -> revisions.Page:
    """Records of the kind as of a revision, after an object's namespace/name. Expired."""
    prefix = cache.prefix(call.kind)
    span = f"{prefix}{call.namespace}/" if call.namespace else prefix
    begin = prefix + after if after else ""
    try:
        return call.parts.store.read(span, after=begin, limit=limit, at=revision, count=count)
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

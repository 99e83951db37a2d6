"""What a user's word means: `po`, `deployments.apps`, `pod/web`, `all`; and kinds that only a lab knows."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from netemu.api import kinds
from netemu.base import errors
from netemu.cli import options
from netemu.scenario import documents, manifests

Elsewhere = Callable[[], tuple[kinds.Kind, ...]]  # kinds beside netemu's own; asked only when those do not do


class Named(NamedTuple):
    """A kind, and the object of it that is meant ("" for all)."""

    kind: kinds.Kind
    name: str = ""


def kinds_of(word: str, elsewhere: Elsewhere = tuple) -> tuple[kinds.Kind, ...]:
    """The kinds a word means: plural, singular, short name, plural.group or category; several by comma."""
    return tuple(kind for part in word.lower().split(",") for kind in _meant(part, elsewhere))


def _meant(word: str, elsewhere: Elsewhere) -> tuple[kinds.Kind, ...]:
    own = _listable(kinds.ALL + kinds.CUSTOM)
    if one := _called(word, own):
        return one
    theirs = _listable(elsewhere())
    if one := _called(word, theirs):
        return one
    # Of a kind in several versions the first one is preferred.
    members = {kind.qualified: kind for kind in reversed(own + theirs) if word in kind.categories}
    if not members:
        known = [kind.singular for kind in own + theirs]
        raise errors.Rejected(f"there is no kind '{word}'", hint=documents.nearest(word, known))
    return tuple(reversed(members.values()))


def _called(word: str, among: Iterable[kinds.Kind]) -> tuple[kinds.Kind, ...]:
    """The first one of that name, if there is one."""
    return tuple(kind for kind in among if word in _words(kind))[:1]


def plurals(elsewhere: Elsewhere = tuple) -> tuple[str, ...]:
    """What one may list, as it is usually written; and the category of what users mean by all."""
    every = _listable(kinds.ALL + kinds.CUSTOM + elsewhere())
    return (*dict.fromkeys(kind.plural for kind in every), "all")


def parse(words: Sequence[str], elsewhere: Elsewhere = tuple) -> tuple[Named, ...]:
    """`pods`, `pod web cache`, `pod/web service/web`: what is meant. Rejected for an unknown kind."""
    if not words:
        raise errors.Rejected("what? name a kind, such as pods, or an object, such as pod/web")
    if all("/" in word for word in words):
        return tuple(
            Named(kinds_of(kind, elsewhere)[0], name)
            for kind, _, name in (word.partition("/") for word in words)
        )
    if any("/" in word for word in words):
        raise errors.Rejected("write either KIND NAME... or KIND/NAME..., not both")
    found = kinds_of(words[0], elsewhere)
    if len(words) == 1:
        return tuple(Named(kind) for kind in found)
    return tuple(Named(kind, name) for kind in found for name in words[1:])


def of_lab(lab: str) -> Elsewhere:
    """The kinds that users defined in a lab; its API server is asked once."""

    @functools.cache
    def found() -> tuple[kinds.Kind, ...]:
        return _discovered(lab)

    return found


def lookup(elsewhere: Elsewhere) -> manifests.Lookup:
    """How manifests find those kinds."""

    def find(api_version: str, kind: str) -> kinds.Kind | None:
        if manifests.is_own(api_version):
            return None
        return next((one for one in elsewhere() if (one.api_version, one.kind) == (api_version, kind)), None)

    return find


@options.blocking
async def _discovered(lab: str) -> tuple[kinds.Kind, ...]:
    from netemu.scenario import applying

    async with options.client(options.open_lab(lab)) as client:
        return await applying.discovered(client)


def _listable(found: Iterable[kinds.Kind]) -> tuple[kinds.Kind, ...]:
    return tuple(kind for kind in found if "list" in kind.verbs)


def _words(kind: kinds.Kind) -> tuple[str, ...]:
    return (kind.plural, kind.singular, kind.kind.lower(), kind.qualified, kind.one, *kind.short_names)

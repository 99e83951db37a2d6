"""What a user's word means: `po`, `deployments.apps`, `pod/web`, `all`; and kinds that only a lab knows."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from netemu.api import kinds
from netemu.base import errors
from netemu.cli import options
from netemu.scenario import documents, manifests


class Named(NamedTuple):
    """A kind, and the object of it that is meant ("" for all)."""

    kind: kinds.Kind
    name: str = ""


def kinds_of(word: str) -> tuple[kinds.Kind, ...]:
    """The kinds a word means: plural, singular, short name, plural.group or category; several by comma."""
    found: list[kinds.Kind] = []
    for part in word.lower().split(","):
        matching = [kind for kind in _listable() if part in _words(kind)] or [
            kind for kind in _listable() if part in kind.categories
        ]
        if not matching:
            known = [kind.singular for kind in _listable()]
            raise errors.Rejected(f"there is no kind '{part}'", hint=documents.nearest(part, known))
        found.extend(matching if part in matching[0].categories else matching[:1])
    return tuple(found)


def plurals() -> tuple[str, ...]:
    """What one may list, as it is usually written; and the category of what users mean by all."""
    return (*dict.fromkeys(kind.plural for kind in _listable()), "all")


def parse(words: Sequence[str]) -> tuple[Named, ...]:
    """`pods`, `pod web cache`, `pod/web service/web`: what is meant. Rejected for an unknown kind."""
    if not words:
        raise errors.Rejected("what? name a kind, such as pods, or an object, such as pod/web")
    if all("/" in word for word in words):
        return tuple(
            Named(kinds_of(kind)[0], name) for kind, _, name in (word.partition("/") for word in words)
        )
    if any("/" in word for word in words):
        raise errors.Rejected("write either KIND NAME... or KIND/NAME..., not both")
    found = kinds_of(words[0])
    if len(words) == 1:
        return tuple(Named(kind) for kind in found)
    return tuple(Named(kind, name) for kind in found for name in words[1:])


def defined_in(lab: str) -> manifests.Lookup:
    """How manifests find the kinds that users defined in a lab: its API server is asked once a group."""

    @functools.cache
    def found(api_version: str) -> Mapping[tuple[str, str], kinds.Kind]:
        there: Mapping[tuple[str, str], kinds.Kind] = _discovered(lab, api_version)
        return there

    def lookup(api_version: str, kind: str) -> kinds.Kind | None:
        if manifests.is_own(api_version):
            return None
        return found(api_version).get((api_version, kind))

    return lookup


@options.blocking
async def _discovered(lab: str, api_version: str) -> Mapping[tuple[str, str], kinds.Kind]:
    from netemu.scenario import applying

    async with options.client(options.open_lab(lab)) as client:
        return await applying.discovered(client, api_version)


def _listable() -> tuple[kinds.Kind, ...]:
    return tuple(kind for kind in kinds.ALL + kinds.CUSTOM if "list" in kind.verbs)


def _words(kind: kinds.Kind) -> tuple[str, ...]:
    return (kind.plural, kind.singular, kind.kind.lower(), kind.qualified, *kind.short_names)

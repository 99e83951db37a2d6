"""Kinds that users defined: by the definitions among manifests, or as an API server's discovery tells. Pure.

Knows their names and scope; what is in such an object the API server judges.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from netemu.api import kinds

Names = tuple[str, str]  # apiVersion, kind


def is_custom(kind: kinds.Kind) -> bool:
    """Whether netemu does not have it itself."""
    return kinds.named(kind.api_version, kind.kind) is None


def defined(found: Iterable[Any]) -> Mapping[Names, kinds.Kind]:
    """The kinds that CustomResourceDefinitions among some documents define; what is none is left out."""
    made: dict[Names, kinds.Kind] = {}
    for value in found:
        try:
            if value["kind"] != "CustomResourceDefinition":
                continue
            spec, names = value["spec"], value["spec"]["names"]
            for version in spec["versions"]:
                api_version, scoped = f"{spec['group']}/{version['name']}", spec["scope"] == "Namespaced"
                made[api_version, names["kind"]] = _kind(api_version, names["kind"], names["plural"], scoped)
        except (KeyError, TypeError):
            continue  # how a definition has to be written, its own check says
    return made


def discovered(found: dict[str, Any]) -> tuple[kinds.Kind, ...]:
    """The kinds of an APIGroupDiscoveryList that netemu does not have itself, preferred versions first."""
    every = (
        (f"{group['metadata']['name']}/{version['version']}", one)
        for group in found["items"]
        for version in group["versions"]
        for one in version["resources"]
    )
    return tuple(
        _kind(
            api_version,
            one["responseKind"]["kind"],
            one["resource"],
            one["scope"] == "Namespaced",
            singular=one.get("singularResource", ""),
            short_names=tuple(one.get("shortNames", ())),
            categories=tuple(one.get("categories", ())),
            verbs=tuple(one["verbs"]),
        )
        for api_version, one in every
        if kinds.named(api_version, one["responseKind"]["kind"]) is None
    )


def _kind(api_version: str, kind: str, plural: str, namespaced: bool, **more: Any) -> kinds.Kind:
    return kinds.custom(kinds.nameless(api_version, kind), plural, namespaced=namespaced, **more)

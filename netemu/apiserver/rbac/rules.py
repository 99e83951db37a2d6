"""RBAC rules as values: what a rule allows, and whether some rules cover another.

Pure. Follows k8s.io/kubernetes pkg/apis/rbac/v1 evaluation_helpers and component-helpers/auth/rbac.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from netemu.apiserver import authorization

ALL = "*"


class Rule(NamedTuple):
    """A PolicyRule. Without `resources` it is about paths."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As a PolicyRule is written."""
        fields = (
            ("verbs", self.verbs),
            ("apiGroups", self.groups),
            ("resources", self.resources),
            ("resourceNames", self.names),
            ("nonResourceURLs", self.urls),
        )
        return {name: list(values) for name, values in fields if values}


def read(documents: Iterable[dict[str, Any]] | None) -> tuple[Rule, ...]:
    """The rules of a role."""
    fields = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
    return tuple(Rule(*(tuple(found.get(name) or ()) for name in fields)) for found in documents or ())


def allows(rule: Rule, asked: authorization.Attributes) -> bool:
    """Whether the rule permits a request."""
    if asked.verb not in rule.verbs and ALL not in rule.verbs:
        return False
    if not asked.resource:
        return any(_path(pattern, asked.path) for pattern in rule.urls)
    if asked.group not in rule.groups and ALL not in rule.groups:
        return False
    if not _resource(rule.resources, asked.resource, asked.subresource):
        return False
    return not rule.names or asked.name in rule.names


def _resource(patterns: tuple[str, ...], resource: str, subresource: str) -> bool:
    whole = f"{resource}/{subresource}" if subresource else resource
    if whole in patterns or ALL in patterns:
        return True
    return bool(subresource) and f"{ALL}/{subresource}" in patterns


def _path(pattern: str, path: str) -> bool:
    if pattern.endswith(ALL):
        return path.startswith(pattern[:-1])
    return pattern == path


def uncovered(owned: Iterable[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """Single permissions among `wanted` that no owned rule contains: one may not give what one has not."""
    held = tuple(owned)
    return [atom for rule in wanted for atom in _atoms(rule) if not any(_contains(o, atom) for o in held)]


def _atoms(rule: Rule) -> Iterator[Rule]:
    for verb in rule.verbs:
        for url in rule.urls:
            yield Rule((verb,), urls=(url,))
        for group in rule.groups:
            for resource in rule.resources:
                for name in rule.names or ("",):
                    yield Rule((verb,), (group,), (resource,), (name,) if name else ())


def _contains(owner: Rule, atom: Rule) -> bool:
    if ALL not in owner.verbs and atom.verbs[0] not in owner.verbs:
        return False
    if atom.urls:
        url = atom.urls[0]
        return any(o == url or (o.endswith(ALL) and url.startswith(o[:-1])) for o in owner.urls)
    if ALL not in owner.groups and atom.groups[0] not in owner.groups:
        return False
    resource, _, subresource = atom.resources[0].partition("/")
    if not _resource(owner.resources, resource, subresource):
        return False
    return not owner.names or (bool(atom.names) and atom.names[0] in owner.names)

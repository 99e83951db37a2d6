"""What a resource is, as discovery shows it: names, scope, verbs, subresources, selectable fields.

Knows no resource in particular.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from netemu.api import meta

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


def rank(version: str) -> tuple[int, int, int]:
    """Higher is preferred: v2, v1, v1beta2, v1alpha1 (apimachinery CompareKubeAwareVersionStrings)."""
    ranks = {"": 2, "beta": 1, "alpha": 0}
    for stage in ("alpha", "beta", ""):
        major, found, minor = version[1:].partition(stage) if stage else (version[1:], "", "0")
        if major.isdigit() and found == stage and (minor or "0").isdigit():
            return ranks[stage], int(major), int(minor or 0)
    return -1, 0, 0


class Subresource(NamedTuple):
    """`type` is the record that is read and written (a text: that of the kind itself, not imported yet); None
    where the traffic is a stream or a text."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    type: type[meta.Object] | str | None = None
    group: str = ""
    version: str = "v1"


class Selectable(NamedTuple):
    """A field selector's label, and the paths whose first non-empty value it compares."""

    label: str
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Kind:
    """Names as discovery shows them. A kind equals itself only, and so is a cheap key.

    type     its record; "batch/v1:batch.Job" is imported when first asked for: most programs never do
    counted  whether metadata.generation counts changes of what is wanted (each strategy's PrepareForCreate)
    stored   the kind in whose form objects are kept, if this one is only another view of them
    custom   the schema of a kind that users defined (`api.structural`), whose `type` knows only its metadata
    """

    type: type[meta.Object] | Any
    plural: str
    singular: str = ""
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    selectable: tuple[Selectable, ...] = ()
    counted: bool = False
    stored: Kind | None = None
    custom: Any = None
    group: str = field(init=False)
    version: str = field(init=False)
    kind: str = field(init=False)

    def __post_init__(self) -> None:
        if isinstance(self.type, str):
            api_version, _, there = self.type.partition(":")
            kind = there.rpartition(".")[2]
            object.__setattr__(self, "_there", there)
            object.__delattr__(self, "type")
        else:
            api_version, kind = self.type.apiVersion, self.type.kind
        group, _, version = api_version.rpartition("/")
        for name, value in (("group", group), ("version", version), ("kind", kind)):
            object.__setattr__(self, name, value)
        if not self.singular:
            object.__setattr__(self, "singular", self.kind.lower())

    def __getattr__(self, name: str) -> Any:
        """The record of a kind that was declared by name, now that it is needed."""
        if name != "type":
            raise AttributeError(name)
        module, _, record = self._there.rpartition(".")
        found = getattr(importlib.import_module(f"netemu.api.{module}"), record)
        object.__setattr__(self, "type", found)
        return found

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List"

    @property
    def qualified(self) -> str:
        """As "deployments.apps"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def one(self) -> str:
        """As "deployment.apps": one of the kind, in the words of kubectl's answers."""
        return f"{self.singular}.{self.group}" if self.group else self.singular

    @property
    def has_status(self) -> bool:
        return any(sub.name == "status" for sub in self.subresources)

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path; without a namespace, that of the list in all namespaces."""
        parts = ["/api", self.version] if not self.group else ["/apis", self.group, self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        return "/".join([*parts, self.plural, *filter(None, (name, subresource))])

    def subresource(self, name: str) -> Subresource | None:
        return next((sub for sub in self.subresources if sub.name == name), None)

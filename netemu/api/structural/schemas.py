"""What a CustomResourceDefinition says of its objects: to check, prune, default and merge them."""

from __future__ import annotations

import copy
import functools
from typing import Any

from netemu.api import fieldsets
from netemu.api.structural import values, words
from netemu.api.validation import findings


class Schema:
    """The schema of one version of a custom kind. `scale`: the paths of replicas wanted, replicas there and
    (perhaps "") the selector; `columns`: (name, type, path, wide) beside the name."""

    def __init__(
        self,
        document: words.Document,
        *,
        scale: tuple[str, str, str] | None = None,
        columns: tuple[tuple[str, str, str, bool], ...] = (),
    ) -> None:
        self.document = document
        self.scale = scale
        self.columns = columns

    def check(self, document: words.Document, old: words.Document | None = None) -> findings.Findings:
        """What is wrong with an object's values; and if nothing is, which rules do not hold for it, or for
        its becoming so from `old`."""
        wrong = list(self._check(document))
        yield from wrong
        if not wrong and self._ruled:
            from netemu.api import celrules

            yield from celrules.check(document, self.document, old)

    @functools.cached_property
    def _ruled(self) -> bool:
        return words.has_rule(self.document)

    def _check(self, document: words.Document) -> findings.Findings:
        schema = {**self.document, "type": "object"}
        body = {name: value for name, value in document.items() if name not in words.ALWAYS}
        schema["required"] = [name for name in schema.get("required", ()) if name not in words.ALWAYS]
        yield from values.check(body, schema, "")

    def unknown(self, document: words.Document) -> tuple[str, ...]:
        """The paths of fields the schema does not have."""
        found: list[str] = []
        _prune(document, self.document, "", found)
        return tuple(found)

    def prune(self, document: words.Document) -> words.Document:
        """A copy without them."""
        pruned: words.Document = _prune(document, self.document, "", [])
        return pruned

    def default(self, document: words.Document) -> words.Document:
        """A copy with every default the schema has."""
        defaulted: words.Document = _default(copy.deepcopy(document), self.document)
        return defaulted

    @functools.cached_property
    def defaults(self) -> bool:
        """Whether there is any default in it."""
        return _has_default(self.document)

    @functools.cached_property
    def merging(self) -> fieldsets.Node:
        """How server-side apply merges objects."""
        return fieldsets.custom(_node(self.document))


def _prune(value: Any, schema: words.Document, path: str, unknown: list[str]) -> Any:
    if isinstance(value, list):
        items = schema.get("items")
        if not isinstance(items, dict):
            return value
        return [_prune(one, items, f"{path}[{index}]", unknown) for index, one in enumerate(value)]
    if not isinstance(value, dict):
        return value
    properties, rest = schema.get("properties") or {}, schema.get("additionalProperties")
    always = words.ALWAYS if not path or schema.get(words.EMBEDDED) else ()
    kept = {}
    for name, inner in value.items():
        here = words.below(path, name)
        if name in always:
            kept[name] = inner
        elif name in properties:
            kept[name] = _prune(inner, properties[name], here, unknown)
        elif isinstance(rest, dict):
            kept[name] = _prune(inner, rest, here, unknown)
        elif schema.get(words.PRESERVE) or rest is True:
            kept[name] = inner
        else:
            unknown.append(here)
    return kept


def _default(value: Any, schema: words.Document) -> Any:
    if isinstance(value, dict):
        for name, below in (schema.get("properties") or {}).items():
            absent = name not in value or (value[name] is None and not below.get("nullable"))
            if absent and "default" in below:
                value[name] = copy.deepcopy(below["default"])
            if name in value:
                value[name] = _default(value[name], below)
        rest = schema.get("additionalProperties")
        if isinstance(rest, dict):
            for name in value.keys() - (schema.get("properties") or {}).keys():
                value[name] = _default(value[name], rest)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        value[:] = [_default(one, schema["items"]) for one in value]
    return value


def _node(schema: words.Document) -> fieldsets.Node:
    type_ = schema.get("type")
    if type_ == "object":
        if schema.get(words.MAP_TYPE) == "atomic":
            return fieldsets.LEAF
        properties, rest = schema.get("properties") or {}, schema.get("additionalProperties")
        if isinstance(rest, dict):
            return fieldsets.Node("map", item=_node(rest))
        children = {name: _node(below) for name, below in properties.items()}
        return fieldsets.Node("record", children) if children else fieldsets.DEDUCED
    items = schema.get("items")
    if type_ == "array" and isinstance(items, dict):
        keys = tuple(sorted(schema.get(words.LIST_KEYS) or ()))
        if schema.get(words.LIST_TYPE) == "map" and keys:
            properties = items.get("properties") or {}
            defaults = {
                key: properties[key]["default"] for key in keys if "default" in properties.get(key, {})
            }
            return fieldsets.Node("list", item=_node(items), keys=keys, defaults=defaults)
        if schema.get(words.LIST_TYPE) == "set":
            return fieldsets.Node("set")
    return fieldsets.DEDUCED if schema.get(words.PRESERVE) else fieldsets.LEAF


def _has_default(schema: words.Document) -> bool:
    return "default" in schema or any(_has_default(below) for _, below in words.inner(schema))

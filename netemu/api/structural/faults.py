"""Why a schema is not structural: what a CustomResourceDefinition may not say.

Source: apiextensions-apiserver pkg/apiserver/schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from netemu.api import re2
from netemu.api.structural import values, words
from netemu.api.validation import findings


def find(schema: Any, path: str) -> findings.Findings:
    """Why a schema is not structural."""
    if not isinstance(schema, dict):
        yield findings.invalid(path, schema, "must be an object")
        return
    if schema.get("type") != "object":
        yield findings.invalid(f"{path}.type", schema.get("type", ""), "must be object at the root")
    wrong = list(_faults(schema, path))
    yield from wrong
    if not wrong and words.has_rule(schema):
        from netemu.api import celrules

        yield from celrules.faults(schema, path)


def _faults(schema: Any, path: str) -> findings.Findings:
    if not isinstance(schema, dict):
        yield findings.invalid(path, schema, "must be an object")
        return
    odd = list(_oddities(schema, path))
    if odd:
        yield from odd
        return
    type_ = schema.get("type", "")
    if type_ and type_ not in words.TYPES:
        yield findings.unsupported(f"{path}.type", type_, sorted(words.TYPES))
    elif not type_ and not schema.get(words.INT_OR_STRING) and not schema.get(words.PRESERVE):
        yield findings.required(f"{path}.type", "must not be empty for specified object fields")
    for name, below in words.inner(schema):
        yield from _faults(below, f"{path}.{name}")
    for name, below in words.logic(schema):
        yield from _loose(below, f"{path}.{name}")
    if type_ == "array" and "items" not in schema:
        yield findings.required(f"{path}.items", "must be specified")
    if schema.get("properties") and isinstance(schema.get("additionalProperties"), dict):
        yield findings.forbidden(f"{path}.additionalProperties", "mutual exclusive with properties")
    if schema.get(words.LIST_TYPE) == "map" and not schema.get(words.LIST_KEYS):
        yield findings.required(
            f"{path}.{words.LIST_KEYS}", "must not be empty if x-kubernetes-list-type is map"
        )
    for word in ("$ref", "definitions", "dependencies", "patternProperties", "additionalItems"):
        if schema.get(word):
            yield findings.forbidden(f"{path}.{word}", f"{word} is not supported")
    if "default" in schema and not any(_inner_faults(schema, path)):
        for one in values.check(schema["default"], schema, ""):
            yield findings.invalid(f"{path}.default", schema["default"], str(one))


def _loose(schema: Any, path: str) -> findings.Findings:
    """Inside allOf, anyOf, oneOf and not a schema need not be structural."""
    if not isinstance(schema, dict):
        yield findings.invalid(path, schema, "must be an object")
        return
    odd = list(_oddities(schema, path))
    yield from odd
    if not odd:
        for name, below in (*words.inner(schema), *words.logic(schema)):
            yield from _loose(below, f"{path}.{name}")


_SHAPES: tuple[tuple[type | tuple[type, ...], tuple[str, ...]], ...] = (
    (int, ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")),
    ((int, float), ("minimum", "maximum", "multipleOf")),
    (bool, ("nullable", "exclusiveMinimum", "exclusiveMaximum")),
    (bool, (words.PRESERVE, words.EMBEDDED, words.INT_OR_STRING)),
    (str, ("type", "pattern", "format", "title", "description", words.LIST_TYPE, words.MAP_TYPE)),
    (list, ("required", "enum", "allOf", "anyOf", "oneOf", words.LIST_KEYS)),
    (dict, ("properties", "items", "not")),
)


def _oddities(schema: words.Document, path: str) -> findings.Findings:
    """Words with values of the wrong type, patterns that are none."""
    for types, names in _SHAPES:
        for word in names:
            value = schema.get(word)
            wrong_bool = isinstance(value, bool) and types is not bool
            if value is not None and (wrong_bool or not isinstance(value, types)):
                yield findings.invalid(f"{path}.{word}", value, "is of the wrong type")
                return
    for word in ("required", words.LIST_KEYS):
        if not all(isinstance(name, str) for name in schema.get(word) or ()):
            yield findings.invalid(f"{path}.{word}", schema[word], "must be strings")
            return
    for word in ("allOf", "anyOf", "oneOf"):
        if not all(isinstance(one, dict) for one in schema.get(word) or ()):
            yield findings.invalid(f"{path}.{word}", schema[word], "must be schemas")
            return
    try:
        re2.compiled(schema.get("pattern") or "")
    except re.error as error:
        yield findings.invalid(f"{path}.pattern", schema["pattern"], f"must be a regular expression: {error}")


def _inner_faults(schema: words.Document, path: str) -> Iterator[findings.FieldError]:
    for name, below in words.inner(schema):
        yield from _faults(below, f"{path}.{name}")

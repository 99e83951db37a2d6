"""Structural schemas: what a CustomResourceDefinition says of its objects; to check, prune, default, merge.

Source: apiextensions-apiserver pkg/apiserver/{schema,validation}. Wording is that of go-openapi/validate,
which clients know.
"""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Iterator
from typing import Any

from netemu.api import fieldsets, re2
from netemu.api.validation import findings

Document = dict[str, Any]
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_LIST_TYPE, _LIST_KEYS = "x-kubernetes-list-type", "x-kubernetes-list-map-keys"
_MAP_TYPE = "x-kubernetes-map-type"
_RULES = "x-kubernetes-validations"
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_ALWAYS = ("apiVersion", "kind", "metadata")
_EMBEDDED_NEEDS = ("apiVersion", "kind")


class Schema:
    """The schema of one version of a custom kind. `scale`: the paths of replicas wanted, replicas there and
    (perhaps "") the selector; `columns`: (name, type, path, wide) beside the name."""

    def __init__(
        self,
        document: Document,
        *,
        scale: tuple[str, str, str] | None = None,
        columns: tuple[tuple[str, str, str, bool], ...] = (),
    ) -> None:
        self.document = document
        self.scale = scale
        self.columns = columns

    def check(self, document: Document, old: Document | None = None) -> findings.Findings:
        """What is wrong with an object's values; and if nothing is, which rules do not hold for it, or for
        its becoming so from `old`."""
        wrong = list(self._check(document))
        yield from wrong
        if not wrong and self._ruled:
            from netemu.api import celrules

            yield from celrules.check(document, self.document, old)

    @functools.cached_property
    def _ruled(self) -> bool:
        return _has_rule(self.document)

    def _check(self, document: Document) -> findings.Findings:
        schema = {**self.document, "type": "object"}
        body = {name: value for name, value in document.items() if name not in _ALWAYS}
        schema["required"] = [name for name in schema.get("required", ()) if name not in _ALWAYS]
        yield from _check(body, schema, "")

    def unknown(self, document: Document) -> tuple[str, ...]:
        """The paths of fields the schema does not have."""
        found: list[str] = []
        _prune(document, self.document, "", found)
        return tuple(found)

    def prune(self, document: Document) -> Document:
        """A copy without them."""
        pruned: Document = _prune(document, self.document, "", [])
        return pruned

    def default(self, document: Document) -> Document:
        """A copy with every default the schema has."""
        defaulted: Document = _default(copy.deepcopy(document), self.document)
        return defaulted

    @functools.cached_property
    def defaults(self) -> bool:
        """Whether there is any default in it."""
        return _has_default(self.document)

    @functools.cached_property
    def merging(self) -> fieldsets.Node:
        """How server-side apply merges objects."""
        return fieldsets.custom(_node(self.document))


# --- values ---


def _check(value: Any, schema: Document, path: str) -> findings.Findings:
    if value is None:
        if not schema.get("nullable") and schema.get("type"):
            yield _mistyped(path, value, schema["type"])
        return
    type_ = schema.get("type", "")
    if schema.get(_INT_OR_STRING):
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield _mistyped(path, value, "integer,string")
            return
    elif type_ and not _is(value, type_):
        yield _mistyped(path, value, type_)
        return
    allowed = schema.get("enum")
    if allowed is not None and value not in allowed:
        yield findings.unsupported(path, value, [one for one in allowed if isinstance(one, str)])
    if isinstance(value, str):
        yield from _check_text(value, schema, path)
    elif isinstance(value, dict):
        yield from _check_object(value, schema, path)
    elif isinstance(value, list):
        yield from _check_list(value, schema, path)
    elif not isinstance(value, bool):
        yield from _check_number(value, schema, path)
    yield from _check_logic(value, schema, path)


def _is(value: Any, type_: str) -> bool:
    if isinstance(value, bool):
        return type_ == "boolean"
    if isinstance(value, float) and type_ == "integer":
        return value.is_integer()
    return isinstance(value, _TYPES.get(type_, (object,)))


def _mistyped(path: str, value: Any, wanted: str) -> findings.FieldError:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    have = names.get(type(value), "null")
    return findings.invalid(path, have, f'{path} in body must be of type {wanted}: "{have}"')


def _wrong(path: str, value: Any, what: str) -> findings.FieldError:
    return findings.invalid(path, value, f"{path} in body {what}")


def _check_text(value: str, schema: Document, path: str) -> findings.Findings:
    length, least, most = len(value), schema.get("minLength"), schema.get("maxLength")
    if least is not None and length < least:
        yield _wrong(path, value, f"should be at least {least} chars long")
    if most is not None and length > most:
        yield findings.too_long(path, most)
    pattern = schema.get("pattern")
    if pattern and not re2.compiled(pattern).search(value):
        yield _wrong(path, value, f"should match '{pattern}'")
    if schema.get("format"):
        from netemu.api import formats

        fits = formats.CHECKS.get(schema["format"])
        if fits is not None and not fits(value):
            yield _wrong(path, value, f'must be of type {schema["format"]}: "{value}"')


def _check_number(value: float, schema: Document, path: str) -> findings.Findings:
    least, most, step = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    if least is not None and (value < least or (schema.get("exclusiveMinimum") and value == least)):
        than = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield _wrong(path, value, f"should be {than} {least}")
    if most is not None and (value > most or (schema.get("exclusiveMaximum") and value == most)):
        than = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield _wrong(path, value, f"should be {than} {most}")
    if step and value % step:
        yield _wrong(path, value, f"should be a multiple of {step}")
    bits = {"int32": 31, "int64": 63}.get(schema.get("format", ""))
    if bits and not -(2**bits) <= value < 2**bits:
        yield _wrong(path, value, f"should be a valid {schema['format']}")


def _check_object(value: Document, schema: Document, path: str) -> findings.Findings:
    needed = _EMBEDDED_NEEDS if schema.get(_EMBEDDED) and path else ()
    for name in dict.fromkeys((*schema.get("required", ()), *needed)):
        if name not in value or (name in needed and not value[name]):
            yield findings.required(_below(path, name))
    least, most = schema.get("minProperties"), schema.get("maxProperties")
    if least is not None and len(value) < least:
        yield _wrong(path, value, f"should have at least {least} properties")
    if most is not None and len(value) > most:
        yield findings.too_many(path, len(value), most)
    properties, rest = schema.get("properties") or {}, schema.get("additionalProperties")
    for name, inner in value.items():
        below = properties.get(name, rest if isinstance(rest, dict) else None)
        if below is not None:
            yield from _check(inner, below, _below(path, name))


def _check_list(value: list[Any], schema: Document, path: str) -> findings.Findings:
    least, most = schema.get("minItems"), schema.get("maxItems")
    if least is not None and len(value) < least:
        yield _wrong(path, value, f"should have at least {least} items")
    if most is not None and len(value) > most:
        yield findings.too_many(path, len(value), most)
    items = schema.get("items")
    if isinstance(items, dict):
        for index, inner in enumerate(value):
            yield from _check(inner, items, f"{path}[{index}]")
    keys = schema.get(_LIST_KEYS) if schema.get(_LIST_TYPE) == "map" else None
    if keys or schema.get(_LIST_TYPE) == "set":
        seen: set[str] = set()
        for index, inner in enumerate(value):
            key: Any = inner
            if keys and isinstance(inner, dict):
                key = {name: inner[name] for name in keys if name in inner}
            text = json.dumps(key, sort_keys=True)
            if text in seen:
                yield findings.duplicate(f"{path}[{index}]", key)
            seen.add(text)


def _check_logic(value: Any, schema: Document, path: str) -> findings.Findings:
    for one in schema.get("allOf") or ():
        yield from _check(value, one, path)
    for word, wanted in (("anyOf", "at least one"), ("oneOf", "one and only one")):
        choices = schema.get(word)
        if choices:
            fitting = sum(not any(_check(value, one, path)) for one in choices)
            if fitting == 0 or (word == "oneOf" and fitting > 1):
                yield findings.invalid(path, "", f"{path!r} must validate {wanted} schema ({word})")
    if schema.get("not") and not any(_check(value, schema["not"], path)):
        yield findings.invalid(path, "", f"{path!r} must not validate the schema (not)")


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# --- unknown fields, defaults ---


def _prune(value: Any, schema: Document, path: str, unknown: list[str]) -> Any:
    if isinstance(value, list):
        items = schema.get("items")
        if not isinstance(items, dict):
            return value
        return [_prune(one, items, f"{path}[{index}]", unknown) for index, one in enumerate(value)]
    if not isinstance(value, dict):
        return value
    properties, rest = schema.get("properties") or {}, schema.get("additionalProperties")
    always = _ALWAYS if not path or schema.get(_EMBEDDED) else ()
    kept = {}
    for name, inner in value.items():
        here = _below(path, name)
        if name in always:
            kept[name] = inner
        elif name in properties:
            kept[name] = _prune(inner, properties[name], here, unknown)
        elif isinstance(rest, dict):
            kept[name] = _prune(inner, rest, here, unknown)
        elif schema.get(_PRESERVE) or rest is True:
            kept[name] = inner
        else:
            unknown.append(here)
    return kept


def _default(value: Any, schema: Document) -> Any:
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


def _has_default(schema: Document) -> bool:
    return "default" in schema or any(_has_default(below) for _, below in _inner(schema))


def _has_rule(schema: Document) -> bool:
    return _RULES in schema or any(_has_rule(below) for _, below in _inner(schema))


def _node(schema: Document) -> fieldsets.Node:
    type_ = schema.get("type")
    if type_ == "object":
        if schema.get(_MAP_TYPE) == "atomic":
            return fieldsets.LEAF
        properties, rest = schema.get("properties") or {}, schema.get("additionalProperties")
        if isinstance(rest, dict):
            return fieldsets.Node("map", item=_node(rest))
        children = {name: _node(below) for name, below in properties.items()}
        return fieldsets.Node("record", children) if children else fieldsets.DEDUCED
    items = schema.get("items")
    if type_ == "array" and isinstance(items, dict):
        keys = tuple(sorted(schema.get(_LIST_KEYS) or ()))
        if schema.get(_LIST_TYPE) == "map" and keys:
            properties = items.get("properties") or {}
            defaults = {
                key: properties[key]["default"] for key in keys if "default" in properties.get(key, {})
            }
            return fieldsets.Node("list", item=_node(items), keys=keys, defaults=defaults)
        if schema.get(_LIST_TYPE) == "set":
            return fieldsets.Node("set")
    return fieldsets.DEDUCED if schema.get(_PRESERVE) else fieldsets.LEAF


# --- schemas themselves ---


def faults(schema: Any, path: str) -> findings.Findings:
    """Why a schema is not structural."""
    if not isinstance(schema, dict):
        yield findings.invalid(path, schema, "must be an object")
        return
    if schema.get("type") != "object":
        yield findings.invalid(f"{path}.type", schema.get("type", ""), "must be object at the root")
    wrong = list(_faults(schema, path))
    yield from wrong
    if not wrong and _has_rule(schema):
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
    if type_ and type_ not in _TYPES:
        yield findings.unsupported(f"{path}.type", type_, sorted(_TYPES))
    elif not type_ and not schema.get(_INT_OR_STRING) and not schema.get(_PRESERVE):
        yield findings.required(f"{path}.type", "must not be empty for specified object fields")
    for name, below in _inner(schema):
        yield from _faults(below, f"{path}.{name}")
    for name, below in _logic(schema):
        yield from _loose(below, f"{path}.{name}")
    if type_ == "array" and "items" not in schema:
        yield findings.required(f"{path}.items", "must be specified")
    if schema.get("properties") and isinstance(schema.get("additionalProperties"), dict):
        yield findings.forbidden(f"{path}.additionalProperties", "mutual exclusive with properties")
    if schema.get(_LIST_TYPE) == "map" and not schema.get(_LIST_KEYS):
        yield findings.required(f"{path}.{_LIST_KEYS}", "must not be empty if x-kubernetes-list-type is map")
    for word in ("$ref", "definitions", "dependencies", "patternProperties", "additionalItems"):
        if schema.get(word):
            yield findings.forbidden(f"{path}.{word}", f"{word} is not supported")
    if "default" in schema and not any(_inner_faults(schema, path)):
        for one in _check(schema["default"], schema, ""):
            yield findings.invalid(f"{path}.default", schema["default"], str(one))


def _loose(schema: Any, path: str) -> findings.Findings:
    """Inside allOf, anyOf, oneOf and not a schema need not be structural."""
    if not isinstance(schema, dict):
        yield findings.invalid(path, schema, "must be an object")
        return
    odd = list(_oddities(schema, path))
    yield from odd
    if not odd:
        for name, below in (*_inner(schema), *_logic(schema)):
            yield from _loose(below, f"{path}.{name}")


def _logic(schema: Document) -> Iterator[tuple[str, Any]]:
    for word in ("allOf", "anyOf", "oneOf"):
        for index, below in enumerate(schema.get(word) or ()):
            yield f"{word}[{index}]", below
    if schema.get("not"):
        yield "not", schema["not"]


_SHAPES: tuple[tuple[type | tuple[type, ...], tuple[str, ...]], ...] = (
    (int, ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")),
    ((int, float), ("minimum", "maximum", "multipleOf")),
    (bool, ("nullable", "exclusiveMinimum", "exclusiveMaximum", _PRESERVE, _EMBEDDED, _INT_OR_STRING)),
    (str, ("type", "pattern", "format", "title", "description", _LIST_TYPE, _MAP_TYPE)),
    (list, ("required", "enum", "allOf", "anyOf", "oneOf", _LIST_KEYS)),
    (dict, ("properties", "items", "not")),
)


def _oddities(schema: Document, path: str) -> findings.Findings:
    """Words with values of the wrong type, patterns that are none."""
    for types, words in _SHAPES:
        for word in words:
            value = schema.get(word)
            wrong_bool = isinstance(value, bool) and types is not bool
            if value is not None and (wrong_bool or not isinstance(value, types)):
                yield findings.invalid(f"{path}.{word}", value, "is of the wrong type")
                return
    for word in ("required", _LIST_KEYS):
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


def _inner_faults(schema: Document, path: str) -> Iterator[findings.FieldError]:
    for name, below in _inner(schema):
        yield from _faults(below, f"{path}.{name}")


def _inner(schema: Document) -> Iterator[tuple[str, Any]]:
    properties = schema.get("properties")
    if isinstance(properties, dict):
        for name, below in properties.items():
            if not (name in _ALWAYS and below == {"type": "object"}):
                yield f"properties[{name}]", below
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            yield word, schema[word]


# --- paths into objects ---

_STEP = re.compile(
    r"\.([A-Za-z0-9_-]+)|\['([^']+)'\]|\[(\d+|\*)\]|\[\?\(@\.(\w+)\s*==\s*[\"']([^\"']*)[\"']\)\]"
)


def find(document: Any, path: str) -> list[Any]:
    """Every value at a JSON path of the simple kind kubectl's printer columns use."""
    found, at = [document], 0
    text = path.strip("{}").replace("\\.", "\0")
    while at < len(text):
        step = _STEP.match(text, at) or re.compile(r"\.([^.\[]+)").match(text, at)
        if step is None:
            return []
        at = step.end()
        found = [inner for value in found for inner in _down(value, step.groups())]
    return found


def _down(value: Any, step: tuple[str | None, ...]) -> Iterator[Any]:
    name, quoted, index, key, wanted = (*step, None, None, None, None)[:5]
    field = (name or quoted or "").replace("\0", ".")
    if field:
        if isinstance(value, dict) and field in value:
            yield value[field]
    elif isinstance(value, list):
        if key:
            yield from (one for one in value if isinstance(one, dict) and str(one.get(key)) == wanted)
        elif index == "*":
            yield from value
        elif index and int(index) < len(value):
            yield value[int(index)]

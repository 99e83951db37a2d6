"""A value held against a structural schema, in the words of go-openapi/validate, which clients know.

Source: apiextensions-apiserver pkg/apiserver/validation.
"""

from __future__ import annotations

import json
from typing import Any

from netemu.api import re2
from netemu.api.structural import words
from netemu.api.validation import findings

_EMBEDDED_NEEDS = ("apiVersion", "kind")


def check(value: Any, schema: words.Document, path: str) -> findings.Findings:
    """What is wrong with a value by its schema; rules in CEL are not looked at."""
    if value is None:
        if not schema.get("nullable") and schema.get("type"):
            yield _mistyped(path, value, schema["type"])
        return
    type_ = schema.get("type", "")
    if schema.get(words.INT_OR_STRING):
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
    return isinstance(value, words.TYPES.get(type_, (object,)))


def _mistyped(path: str, value: Any, wanted: str) -> findings.FieldError:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    have = names.get(type(value), "null")
    return findings.invalid(path, have, f'{path} in body must be of type {wanted}: "{have}"')


def _wrong(path: str, value: Any, what: str) -> findings.FieldError:
    return findings.invalid(path, value, f"{path} in body {what}")


def _check_text(value: str, schema: words.Document, path: str) -> findings.Findings:
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


def _check_number(value: float, schema: words.Document, path: str) -> findings.Findings:
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


def _check_object(value: words.Document, schema: words.Document, path: str) -> findings.Findings:
    needed = _EMBEDDED_NEEDS if schema.get(words.EMBEDDED) and path else ()
    for name in dict.fromkeys((*schema.get("required", ()), *needed)):
        if name not in value or (name in needed and not value[name]):
            yield findings.required(words.below(path, name))
    least, most = schema.get("minProperties"), schema.get("maxProperties")
    if least is not None and len(value) < least:
        yield _wrong(path, value, f"should have at least {least} properties")
    if most is not None and len(value) > most:
        yield findings.too_many(path, len(value), most)
    properties, rest = schema.get("properties") or {}, schema.get("additionalProperties")
    for name, inner in value.items():
        below = properties.get(name, rest if isinstance(rest, dict) else None)
        if below is not None:
            yield from check(inner, below, words.below(path, name))


def _check_list(value: list[Any], schema: words.Document, path: str) -> findings.Findings:
    least, most = schema.get("minItems"), schema.get("maxItems")
    if least is not None and len(value) < least:
        yield _wrong(path, value, f"should have at least {least} items")
    if most is not None and len(value) > most:
        yield findings.too_many(path, len(value), most)
    items = schema.get("items")
    if isinstance(items, dict):
        for index, inner in enumerate(value):
            yield from check(inner, items, f"{path}[{index}]")
    keys = schema.get(words.LIST_KEYS) if schema.get(words.LIST_TYPE) == "map" else None
    if keys or schema.get(words.LIST_TYPE) == "set":
        seen: set[str] = set()
        for index, inner in enumerate(value):
            key: Any = inner
            if keys and isinstance(inner, dict):
                key = {name: inner[name] for name in keys if name in inner}
            text = json.dumps(key, sort_keys=True)
            if text in seen:
                yield findings.duplicate(f"{path}[{index}]", key)
            seen.add(text)


def _check_logic(value: Any, schema: words.Document, path: str) -> findings.Findings:
    for one in schema.get("allOf") or ():
        yield from check(value, one, path)
    for word, wanted in (("anyOf", "at least one"), ("oneOf", "one and only one")):
        choices = schema.get(word)
        if choices:
            fitting = sum(not any(check(value, one, path)) for one in choices)
            if fitting == 0 or (word == "oneOf" and fitting > 1):
                yield findings.invalid(path, "", f"{path!r} must validate {wanted} schema ({word})")
    if schema.get("not") and not any(check(value, schema["not"], path)):
        yield findings.invalid(path, "", f"{path!r} must not validate the schema (not)")

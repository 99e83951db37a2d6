"""x-kubernetes-validations: rules in CEL that stand in the schemas of custom kinds, held against an object.

Loaded when somebody first writes such a rule. Expressions are not checked against the schema's types; what of
an object has not changed is not judged anew. Source: KEP-2876, KEP-4008; apiextensions-apiserver
pkg/apiserver/schema/cel.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any

from netemu.api.cel import parsing, programs, times, values
from netemu.api.validation import findings

Document = dict[str, Any]
_RULES = "x-kubernetes-validations"
_EMBEDDED = "x-kubernetes-embedded-resource"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_KEYS = "x-kubernetes-list-map-keys"
_ROOT_METADATA = ("name", "generateName")
_BOTH = ("self", "oldSelf")


def _below(schema: Document) -> Iterator[tuple[str, Document]]:
    for name, below in (schema.get("properties") or {}).items():
        if isinstance(below, dict):
            yield f"properties[{name}]", below
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            yield word, schema[word]


def faults(schema: Document, path: str) -> findings.Findings:
    """Rules that can never be evaluated."""
    given = schema.get(_RULES) or []
    if not isinstance(given, list):
        yield findings.invalid(f"{path}.{_RULES}", given, "is of the wrong type")
        return
    for index, rule in enumerate(given):
        here = f"{path}.{_RULES}[{index}]"
        if not isinstance(rule, dict) or not isinstance(rule.get("rule"), str) or not rule["rule"].strip():
            yield findings.required(f"{here}.rule", "rule is not specified")
            continue
        for word in ("rule", "messageExpression"):
            text = rule.get(word)
            try:
                if text:
                    programs.compiled(str(text), *_BOTH)
            except parsing.Malformed as error:
                yield findings.invalid(f"{here}.{word}", text, f"compilation failed: ERROR: {error.message}")
        if rule.get("reason") and rule["reason"] not in _REASONS:
            yield findings.unsupported(f"{here}.reason", rule["reason"], sorted(_REASONS))
    for name, below in _below(schema):
        yield from faults(below, f"{path}.{name}")


def check(value: Any, schema: Document, old: Any = None) -> findings.Findings:
    """Rules that do not hold for an object of this schema; `old` is what it is to replace."""
    yield from _check(value, schema, old, "")


def _check(value: Any, schema: Document, old: Any, path: str) -> findings.Findings:
    if value is None:
        return
    for rule in schema.get(_RULES) or ():
        yield from _judge(rule, value, schema, old, path)
    if isinstance(value, dict):
        properties, rest = schema.get("properties") or {}, schema.get("additionalProperties")
        before = old if isinstance(old, dict) else {}
        for name, inner in value.items():
            below = properties.get(name, rest if isinstance(rest, dict) else None)
            if below is not None:
                yield from _check(inner, below, before.get(name), f"{path}.{name}" if path else name)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        keys = list(schema.get(_KEYS) or ())
        counterparts = _by_keys(old, keys)
        for index, inner in enumerate(value):
            yield from _check(inner, schema["items"], counterparts.get(_key(inner, keys)), f"{path}[{index}]")


def _by_keys(old: Any, keys: list[str]) -> dict[Any, Any]:
    if not keys or not isinstance(old, list):
        return {}
    return {_key(item, keys): item for item in old}


def _key(item: Any, keys: list[str]) -> Any:
    return tuple(str(item.get(name)) for name in keys) if keys and isinstance(item, dict) else None


def _judge(rule: Document, value: Any, schema: Document, old: Any, path: str) -> findings.Findings:
    program = programs.compiled(rule["rule"], *_BOTH)
    compares = "oldSelf" in program.names
    if compares and old is None and not rule.get("optionalOldSelf"):
        return
    if not compares and old is not None and old == value:
        return
    root = not path
    known: dict[str, Any] = {"self": typed(value, schema, root=root)}
    if compares:
        before = None if old is None else typed(old, schema, root=root)
        optional = values.NONE if old is None else values.Optional(True, before)
        known["oldSelf"] = optional if rule.get("optionalOldSelf") else before
    given = (rule.get("message") or "").strip()
    message, shown = given or f"failed rule: {rule['rule'].strip()}", given or rule["rule"].strip()
    try:
        found = program.evaluate(known)
        if found is True:
            return
        if found is not False:
            raise values.overload("bool")
    except values.Failed as failed:
        message = f"{failed.message} evaluating rule: {shown}"
        if failed.message.startswith("no such overload"):
            mismatch = "call arguments did not match a supported operator, function or macro signature"
            message = f"'no such overload': {mismatch} for rule: {shown}"
    else:
        message = _said(rule, known) or message
    where = f"{path}{rule.get('fieldPath', '')}".lstrip(".")
    yield _REASONS[rule.get("reason") or "FieldValueInvalid"](where, schema.get("type", "object"), message)


def _said(rule: Document, known: dict[str, Any]) -> str:
    """What messageExpression says; nothing if it cannot."""
    if not rule.get("messageExpression"):
        return ""
    try:
        said = programs.compiled(rule["messageExpression"], *_BOTH).evaluate(known)
    except values.Failed:
        return ""
    return said.strip() if isinstance(said, str) and "\n" not in said else ""


_REASONS: dict[str, Callable[[str, str, str], findings.FieldError]] = {
    "FieldValueInvalid": findings.invalid,
    "FieldValueForbidden": lambda where, _, message: findings.forbidden(where, message),
    "FieldValueRequired": lambda where, _, message: findings.required(where, message),
    "FieldValueDuplicate": lambda where, type_, _: findings.duplicate(where, type_),
}


def typed(value: Any, schema: Document, *, root: bool = False) -> Any:
    """A JSON value as CEL sees it: numbers and texts by their schema; of the root's metadata only names."""
    if isinstance(value, dict):
        return _object(value, schema, root=root or bool(schema.get(_EMBEDDED)))
    if isinstance(value, list):
        items = schema.get("items")
        return [typed(one, items if isinstance(items, dict) else {}) for one in value]
    if isinstance(value, bool) or schema.get(_INT_OR_STRING):
        return value
    if isinstance(value, int | float):
        if schema.get("type") == "number":
            return float(value)
        return int(value) if schema.get("type") == "integer" else value
    if isinstance(value, str):
        read = _TEXTS.get(schema.get("format", ""))
        try:
            return read(value) if read else value
        except (values.Failed, binascii.Error, ValueError):
            return value
    return value


def _object(value: Document, schema: Document, *, root: bool) -> Document:
    properties, rest = schema.get("properties") or {}, schema.get("additionalProperties")
    found = {}
    for name, inner in value.items():
        below = properties.get(name, rest if isinstance(rest, dict) else {})
        if inner is None and not below.get("nullable"):
            continue
        if root and name == "metadata" and isinstance(inner, dict):
            found[name] = {word: inner[word] for word in _ROOT_METADATA if word in inner}
        else:
            found[name] = typed(inner, below)
    return found


_TEXTS: dict[str, Callable[[str], Any]] = {
    "date-time": times.timestamp,
    "date": lambda text: times.timestamp(f"{text}T00:00:00Z"),
    "duration": times.duration,
    "byte": lambda text: base64.b64decode(text, validate=True),
}

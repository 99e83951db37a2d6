"""The words of structural schemas, and the ways from one to the schemas in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]
PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
INT_OR_STRING = "x-kubernetes-int-or-string"
LIST_TYPE, LIST_KEYS = "x-kubernetes-list-type", "x-kubernetes-list-map-keys"
MAP_TYPE = "x-kubernetes-map-type"
RULES = "x-kubernetes-validations"
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
ALWAYS = ("apiVersion", "kind", "metadata")


def below(path: str, name: str) -> str:
    """The path of a field of what is at a path."""
    return f"{path}.{name}" if path else name


def inner(schema: Document) -> Iterator[tuple[str, Any]]:
    """The schemas of its fields and items, each with its place in the schema."""
    properties = schema.get("properties")
    if isinstance(properties, dict):
        for name, below in properties.items():
            if not (name in ALWAYS and below == {"type": "object"}):
                yield f"properties[{name}]", below
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            yield word, schema[word]


def logic(schema: Document) -> Iterator[tuple[str, Any]]:
    """The schemas it is made of by allOf, anyOf, oneOf and not."""
    for word in ("allOf", "anyOf", "oneOf"):
        for index, below in enumerate(schema.get(word) or ()):
            yield f"{word}[{index}]", below
    if schema.get("not"):
        yield "not", schema["not"]


def has_rule(schema: Document) -> bool:
    """Whether there is a rule in CEL anywhere in it."""
    return RULES in schema or any(has_rule(below) for _, below in inner(schema))

"""OpenAPI 3 schemas of records, read from their declarations, and of kinds that users defined.

Names and extensions are upstream's (k8s.io/kube-openapi): kubectl looks types up by them. Knows no path.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netemu.api import fields, kinds, meta, shapes

Document = dict[str, Any]

_API = "io.k8s.api"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_PACKAGES = {
    "admission": f"{_API}.admissionregistration.v1",
    "autoscaling2": f"{_API}.autoscaling.v2",
    "extensions": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
    "meta": _META,
    "registration": "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1",
}
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_PLAIN: dict[str, Document] = {
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "number": {"type": "number", "format": "double"},
    "byte": {"type": "string", "format": "byte"},
    "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}
# Scalars that are types of their own upstream.
_NAMED: dict[str, tuple[str, Document]] = {
    "date-time": (f"{_META}.Time", {"type": "string", "format": "date-time"}),
    "micro-time": (f"{_META}.MicroTime", {"type": "string", "format": "date-time"}),
    "duration": (f"{_META}.Duration", {"type": "string"}),
    "quantity": (_QUANTITY, {"oneOf": [{"type": "string"}, {"type": "number"}]}),
    "int-or-string": (
        _INT_OR_STRING,
        {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    ),
}
# What fields of these names mean wherever they stand.
_MEANINGS = {
    "apiVersion": "The group and version this object is written in, such as apps/v1.",
    "kind": "What this object is, such as Pod.",
    "metadata": "The object's name, labels and what the server notes about it.",
    "spec": "What is wanted.",
    "status": "What is the case, as last observed; written by the system.",
    "annotations": "Notes by key: any text, not selectable.",
    "labels": "Marks by key, by which objects are selected.",
    "name": "Its name, unique among its like.",
    "namespace": "The namespace it is in.",
    "selector": "Which objects, by their labels.",
    "replicas": "How many.",
    "conditions": "What is true of it, with since when and why.",
    "observedGeneration": "The metadata.generation this was observed of.",
    "template": "What each new one looks like.",
    "finalizers": "What must be done before the object goes; it stays until the list is empty.",
    "ownerReferences": "Objects it belongs to; when all are gone, it goes.",
    "resourceVersion": "The revision of its last change; opaque.",
    "uid": "Its identity in time: a successor of the same name has another one.",
    "creationTimestamp": "When it was made.",
    "deletionTimestamp": "When it is to be gone; set when its deletion is asked for.",
    "generation": "Counts changes of what is wanted.",
    "managedFields": "Who set which field, for server-side apply.",
}


def name(record: type[fields.Record]) -> str:
    """The definition's name: io.k8s.api.core.v1.Pod."""
    module = record.__module__.removeprefix("netemu.api.").partition(".")[0]
    return f"{_PACKAGES.get(module) or f'{_API}.{module}.v1'}.{record.__name__}"


def reference(definition: str) -> Document:
    return {"$ref": f"#/components/schemas/{definition}"}


def definitions(served: Iterable[kinds.Kind]) -> dict[str, Document]:
    """The schemas of kinds, their lists and all they are made of, by name."""
    found: dict[str, Document] = {}
    seen: set[type] = set()
    waiting: list[type[fields.Record]] = [meta.DeleteOptions, meta.Status, meta.ListMeta]
    for kind in served:
        if kind.custom is not None:
            found[custom_name(kind)] = _custom(kind)
            waiting.append(meta.ObjectMeta)
        else:
            waiting.append(kind.type)
        waiting += [sub.type for sub in kind.subresources if isinstance(sub.type, type)]
        if "list" in kind.verbs:
            found[f"{of(kind)}List"] = _list(kind)
    while waiting:
        record = waiting.pop()
        if record not in seen:
            seen.add(record)
            found[name(record)] = _record(record, found, waiting)
    return dict(sorted(found.items()))


def of(kind: kinds.Kind) -> str:
    """The name of a kind's definition."""
    return name(kind.type) if kind.custom is None else custom_name(kind)


def custom_name(kind: kinds.Kind) -> str:
    """As upstream names custom kinds: com.example.v1.Wheel."""
    return ".".join((*reversed(kind.group.split(".")), kind.version, kind.kind))


def identity(group: str, version: str, kind: str) -> Document:
    """x-kubernetes-group-version-kind."""
    return {"group": group, "version": version, "kind": kind}


def _record(record: type[fields.Record], found: dict[str, Document], waiting: list[Any]) -> Document:
    properties = {}
    required = []
    for one in shapes.of(record).properties.values():
        properties[one.name] = _property(one, found, waiting)
        if one.field.required:
            required.append(one.name)
    schema: Document = {"type": "object", "properties": properties}
    if required:
        schema["required"] = sorted(required)
    if vars(record).get("__doc__"):
        schema["description"] = record.__doc__
    if getattr(record, "atomic", False):
        schema["x-kubernetes-map-type"] = "atomic"
    version, kind = getattr(record, "apiVersion", ""), getattr(record, "kind", "")
    if isinstance(version, str) and version:
        group, _, version = version.rpartition("/")
        schema["x-kubernetes-group-version-kind"] = [identity(group, version, str(kind))]
    return schema


def _property(one: shapes.Property, found: dict[str, Document], waiting: list[Any]) -> Document:
    schema = _shape(one.shape, found, waiting)
    if "$ref" in schema:
        schema = {"allOf": [schema]} if one.pointer else {"allOf": [schema], "default": {}}
    meaning = _MEANINGS.get(one.name)
    if meaning:
        schema["description"] = meaning
    field = one.field
    if field.default is not None:
        schema["default"] = field.default
    if field.strategy:
        schema["x-kubernetes-patch-strategy"] = field.strategy
    if field.merge:
        schema["x-kubernetes-patch-merge-key"] = field.merge
    if one.shape.items:
        schema["x-kubernetes-list-type"] = "map" if field.keys else "set" if field.unique else "atomic"
        if field.keys:
            schema["x-kubernetes-list-map-keys"] = list(field.keys)
    elif field.atomic:
        schema["x-kubernetes-map-type"] = "atomic"
    return schema


def _shape(shape: shapes.Shape, found: dict[str, Document], waiting: list[Any]) -> Document:
    if shape.record:
        waiting.append(shape.record)
        return reference(name(shape.record))
    if shape.items:
        return {"type": "array", "items": _inner(shape.items, found, waiting)}
    if shape.values:
        return {"type": "object", "additionalProperties": _inner(shape.values, found, waiting)}
    if shape.scalar in _NAMED:
        definition, schema = _NAMED[shape.scalar]
        found[definition] = schema
        return reference(definition)
    schema = dict(_PLAIN[shape.scalar])
    if shape.words:
        schema["enum"] = list(shape.words)
    return schema


def _inner(shape: shapes.Shape, found: dict[str, Document], waiting: list[Any]) -> Document:
    schema = _shape(shape, found, waiting)
    return {"allOf": [schema], "default": {}} if "$ref" in schema else schema


def _list(kind: kinds.Kind) -> Document:
    return {
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": _MEANINGS["apiVersion"]},
            "kind": {"type": "string", "description": _MEANINGS["kind"]},
            "metadata": {"allOf": [reference(f"{_META}.ListMeta")], "default": {}},
            "items": {"type": "array", "items": {"allOf": [reference(of(kind))], "default": {}}},
        },
        "x-kubernetes-group-version-kind": [identity(kind.group, kind.version, kind.list_kind)],
    }


def _custom(kind: kinds.Kind) -> Document:
    schema = dict(kind.custom.document)
    schema["type"] = "object"
    schema["properties"] = {
        **schema.get("properties", {}),
        "apiVersion": {"type": "string", "description": _MEANINGS["apiVersion"]},
        "kind": {"type": "string", "description": _MEANINGS["kind"]},
        "metadata": {"allOf": [reference(f"{_META}.ObjectMeta")], "description": _MEANINGS["metadata"]},
    }
    schema["x-kubernetes-group-version-kind"] = [identity(kind.group, kind.version, kind.kind)]
    return schema

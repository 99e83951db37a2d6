"""Fields that take one word of a closed set, checked for every kind from the declarations alone."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from netemu.api import fields, shapes
from netemu.api.validation.findings import Findings, one_of


class _Inner(NamedTuple):
    name: str
    shape: shapes.Shape


def check(document: Any, record: type[fields.Record], path: str = "") -> Findings:
    """Findings for the wish, not for the status, which only components write."""
    for name, shape in _plan(record):
        value = document.get(name)
        if value and not (name == "status" and not path):
            yield from _descend(value, shape, f"{path}.{name}" if path else name)


def _descend(value: Any, shape: shapes.Shape, path: str) -> Findings:
    if shape.words:
        yield from one_of(path, value, filter(None, shape.words))
    elif shape.record:
        yield from check(value, shape.record, path)
    elif shape.items:
        for index, item in enumerate(value):
            yield from _descend(item, shape.items, f"{path}[{index}]")


@functools.cache
def _plan(record: type[fields.Record]) -> tuple[_Inner, ...]:
    """The fields that are such words or hold some."""
    found = []
    for one in shapes.of(record).properties.values():
        leaf = one.shape
        while leaf.items:
            leaf = leaf.items
        if leaf.words or (leaf.record and _plan(leaf.record)):
            found.append(_Inner(one.name, one.shape))
    return tuple(found)

"""Sets of fields of an object, for server-side apply: which are given, changed, merged, taken away.

A field is a path of steps as FieldsV1 writes them (`f:spec`, `k:{"name":"a"}`, `v:"x"`); a set of fields is a
frozenset of paths. Source: sigs.k8s.io/structured-merge-diff (typed/tofieldset.go, merge/update.go).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from netemu.api import fields, kinds, meta, shapes
from netemu.base import errors

Path = tuple[str, ...]
Fields = frozenset[Path]
EMPTY: Fields = frozenset()


@dataclass(frozen=True, eq=False)
class Node:
    """How a value merges: "leaf" (whole), "record", "map" (by key), "list" (items have `keys`), "set".

    `children` of a record; `item` of a map or list; `defaults` of keys that items may leave out.
    """

    sort: str
    children: Mapping[str, Node] = field(default_factory=dict)
    item: Node | None = None
    keys: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def child(self, name: str, value: Any) -> Node:
        """The node of a field; what no schema knows is taken as it looks."""
        found = self.children.get(name) or self.item
        return found or (DEDUCED if isinstance(value, dict) else LEAF)


LEAF = Node("leaf")
DEDUCED = Node("map")  # without a schema: objects merge, everything else is whole


class Malformed(errors.Rejected):
    """An item of a keyed list lacks a key, or stands twice."""


def of(kind: kinds.Kind) -> Node:
    """How objects of a kind merge."""
    return kind.custom.merging if kind.custom is not None else _record(kind.type)


def custom(node: Node) -> Node:
    """A custom kind's node with the metadata all kinds have."""
    own = _record(meta.Object).children
    return Node("record", {**node.children, **own}, item=node.item)


@functools.cache
def _record(record: type[fields.Record]) -> Node:
    return Node("record", {one.name: _property(one) for one in shapes.of(record).properties.values()})


def _property(one: shapes.Property) -> Node:
    about = one.field
    items = one.shape.items
    if items is not None and about.keys and items.record:
        defaults = {
            key: found.field.default
            for key, found in shapes.of(items.record).properties.items()
            if key in about.keys and found.field.default is not None
        }
        return Node("list", item=_record(items.record), keys=tuple(sorted(about.keys)), defaults=defaults)
    if items is not None:
        return Node("set") if about.unique else LEAF
    return LEAF if about.atomic else _shape(one.shape)


def _shape(shape: shapes.Shape) -> Node:
    if shape.record:
        return LEAF if getattr(shape.record, "atomic", False) else _record(shape.record)
    return Node("map", item=_shape(shape.values)) if shape.values else LEAF


# --- what an object consists of ---


def given(document: Any, node: Node) -> Fields:
    """The fields an applied configuration claims. Malformed."""
    return frozenset(_given(document, node, ()))


def _given(value: Any, node: Node, path: Path) -> Iterator[Path]:
    if node.sort in ("record", "map") and isinstance(value, dict):
        for name, inner in value.items():
            here = (*path, f"f:{name}")
            if inner in (None, {}, []) or node.sort == "map":
                yield here
            yield from _given(inner, node.child(name, inner), here)
    elif node.sort in ("list", "set") and isinstance(value, list):
        steps: set[str] = set()
        for item in value:
            step = _step(item, node)
            if step in steps:
                raise Malformed(f"{text((*path, step))}: duplicate entries for key")
            steps.add(step)
            yield (*path, step)
            if node.item is not None:
                yield from _given(item, node.item, (*path, step))
    elif path:
        yield path


def values(document: Any, node: Node) -> dict[Path, Any]:
    """Every field there is, containers too, with its value if it is taken whole."""
    found: dict[Path, Any] = {}
    _values(document, node, (), found)
    return found


def _values(value: Any, node: Node, path: Path, found: dict[Path, Any]) -> None:
    inside = node.sort in ("record", "map") and isinstance(value, dict)
    listed = node.sort in ("list", "set") and isinstance(value, list)
    found[path] = None if inside or listed else value
    if inside:
        for name, inner in value.items():
            _values(inner, node.child(name, inner), (*path, f"f:{name}"), found)
    elif listed:
        for item in value:
            try:
                step = _step(item, node)
            except Malformed:
                continue
            if (*path, step) not in found:
                _values(item, node.item or LEAF, (*path, step), found)


class Difference(NamedTuple):
    """`written`: added or given another value."""

    written: Fields
    removed: Fields


def compare(old: Any, new: Any, node: Node) -> Difference:
    """What became of an object's fields."""
    before, after = values(old, node), values(new, node)
    written = {path for path, value in after.items() if path not in before or before[path] != value}
    return Difference(frozenset(written), frozenset(before.keys() - after.keys()))


def _step(item: Any, node: Node) -> str:
    if node.sort == "set":
        return "v:" + _json(item)
    if not isinstance(item, dict):
        raise Malformed("an item of a list with keys is not an object")
    key = {}
    for name in node.keys:
        value = item.get(name, node.defaults.get(name))
        if value is None:
            why = f'has an element that omits key field "{name}" (and doesn\'t have default value)'
            raise Malformed(f"associative list with keys {why}")
        key[name] = value
    return "k:" + _json(key)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


# --- two objects made one, fields taken away ---


def merge(live: Any, wanted: Any, node: Node) -> Any:
    """The live value with everything in the wanted one. Malformed."""
    if node.sort in ("record", "map") and isinstance(live, dict) and isinstance(wanted, dict):
        merged = dict(live)
        for name, value in wanted.items():
            below = node.child(name, value)
            merged[name] = merge(live[name], value, below) if name in live else value
        return merged
    if node.sort == "set" and isinstance(live, list) and isinstance(wanted, list):
        return [*live, *(item for item in wanted if item not in live)]
    if node.sort == "list" and isinstance(live, list) and isinstance(wanted, list):
        return _merged_list(live, wanted, node)
    return wanted


def _merged_list(live: list[Any], wanted: list[Any], node: Node) -> list[Any]:
    new = {_step(item, node): item for item in wanted}
    merged = []
    for item in live:
        try:
            step = _step(item, node)
        except Malformed:
            step = ""
        other = new.pop(step, None)
        merged.append(item if other is None else merge(item, other, node.item or LEAF))
    return [*merged, *new.values()]


def without(document: Any, gone: Fields, node: Node) -> Any:
    """The object without some fields, nor what they leave empty."""
    return _without(document, tree(gone), node)


def _without(value: Any, gone: dict[str, Any], node: Node) -> Any:
    if node.sort in ("record", "map") and isinstance(value, dict):
        kept = {}
        for name, inner in value.items():
            below = gone.get(f"f:{name}")
            if below is None:
                kept[name] = inner
            elif below and "." not in below:
                rest = _without(inner, below, node.child(name, inner))
                if rest not in ({}, []):
                    kept[name] = rest
        return kept
    if node.sort in ("list", "set") and isinstance(value, list):
        items = []
        for item in value:
            try:
                below = gone.get(_step(item, node))
            except Malformed:
                below = None
            if below is None:
                items.append(item)
            elif below and "." not in below:
                items.append(_without(item, below, node.item or LEAF))
        return items
    return value


def free(wanted_gone: Fields, owned: Iterable[Fields]) -> Fields:
    """Those fields of which nobody owns themselves or anything inside."""
    held = {path[:length] for fields_ in owned for path in fields_ for length in range(1, len(path) + 1)}
    return wanted_gone - held


# --- as FieldsV1 writes them ---


def tree(found: Fields) -> dict[str, Any]:
    """FieldsV1. A field that is in the set and has others inside carries "."."""
    root: dict[str, Any] = {}
    for path in sorted(found):
        node = root
        for step in path:
            node = node.setdefault(step, {})
    _mark(root, (), found)
    return root


def _mark(node: dict[str, Any], path: Path, found: Fields) -> None:
    for step, below in tuple(node.items()):
        here = (*path, step)
        if below:
            _mark(below, here, found)
            if here in found:
                node[step] = {".": {}, **below}


def parse(document: Any) -> Fields:
    """The set in FieldsV1. Rejected if it is none."""
    return frozenset(_parse(document, ()))


def _parse(document: Any, path: Path) -> Iterator[Path]:
    if not isinstance(document, dict):
        raise errors.Rejected("fieldsV1 is not an object")
    for step, below in document.items():
        if step == ".":
            yield path
        elif step[:2] not in ("f:", "k:", "v:", "i:"):
            raise errors.Rejected(f"fieldsV1 has an unknown step {step!r}")
        elif below == {}:
            yield (*path, step)
        else:
            yield from _parse(below, (*path, step))


def text(path: Path) -> str:
    """A path as conflicts show it: .spec.containers[name="a"].image."""
    shown = []
    for step in path:
        sort, _, rest = step.partition(":")
        if sort == "f":
            shown.append(f".{rest}")
        elif sort == "k":
            shown.append(f"[{','.join(f'{k}={_json(v)}' for k, v in json.loads(rest).items())}]")
        else:
            shown.append(f"[={rest}]" if sort == "v" else f"[{rest}]")
    return "".join(shown)

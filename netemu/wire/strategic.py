"""Kubernetes' strategic merge patch: the caller says how each list is merged. Knows no kind.

Inputs are never changed; `patches` has the errors. Source: k8s.io/apimachinery/pkg/util/strategicpatch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from netemu.wire import patches


class Rule(Protocol):
    """How the field at a path is merged. A list with `merge` is a set of plain values or, with a `key`, of
    objects told apart by it; any other list is replaced whole. `replace`: so is an object."""

    @property
    def merge(self) -> bool: ...
    @property
    def key(self) -> str: ...
    @property
    def replace(self) -> bool: ...


Document = patches.Document
Path = patches.Path
Lookup = Callable[[Path], Rule]

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"


def merge(document: Document, patch: Any, lookup: Lookup) -> Document:
    """The document merged as `lookup` says for each path of field names (list positions are not part of it).
    Directives: $patch (replace, delete), $retainKeys, $setElementOrder/x, $deleteFromPrimitiveList/x.
    """
    if not isinstance(patch, dict):
        raise patches.Malformed("a strategic merge patch is an object")
    return _merge_object(patches.copied(document), patches.copied(patch), (), lookup)


def _merge_object(document: Document, patch: Document, path: Path, lookup: Lookup) -> Document:
    if _DIRECTIVE in patch:
        return _directed(patch, path)
    _retain(document, patch, path)
    for name in [n for n in patch if n.startswith(_DELETE)]:
        _delete_values(document, name.removeprefix(_DELETE), patch.pop(name), path)
    orders = {n.removeprefix(_ORDER): patch.pop(n) for n in [n for n in patch if n.startswith(_ORDER)]}
    for name, value in patch.items():
        if value is None:
            document.pop(name, None)
            continue
        there = (*path, name)
        merged, keep = _merge_value(document.get(name), value, there, lookup, order=orders.get(name))
        if keep:
            document[name] = merged
        else:
            document.pop(name, None)
    for name, order in orders.items():
        if name not in patch and name in document:
            items = _list(document[name], (*path, name))
            rule = lookup((*path, name))
            document[name] = _ordered(items, _list(order, (*path, name)), items, rule.key, (*path, name))
    return document


def _merge_value(old: Any, value: Any, path: Path, lookup: Lookup, *, order: Any) -> tuple[Any, bool]:
    """The new value of a field, and whether the field is kept at all."""
    rule = lookup(path)
    if isinstance(value, dict) and isinstance(old, dict):
        return (value if rule.replace else _merge_object(old, value, path, lookup)), True
    if isinstance(value, list) and isinstance(old, list) and rule.merge:
        return _merge_list(old, value, path, lookup, order=order), True
    fresh, keep = _plain(value)
    if keep and isinstance(order, list) and isinstance(fresh, list) and rule.merge:
        fresh = _ordered(fresh, order, [], rule.key, path)
    return fresh, keep


def _directed(patch: Document, path: Path) -> Document:
    match patch[_DIRECTIVE]:
        case "replace":
            return {name: value for name, value in patch.items() if name != _DIRECTIVE}
        case "delete":
            return {}
    raise patches.Malformed(f"unknown $patch {patch[_DIRECTIVE]!r} at {_dotted(path)}")


def _retain(document: Document, patch: Document, path: Path) -> None:
    if _RETAIN not in patch:
        return
    keep = _list(patch.pop(_RETAIN), path)
    stray = [n for n, v in patch.items() if v is not None and not n.startswith("$") and n not in keep]
    if stray:
        raise patches.Malformed(
            f"{_dotted(path)}: $retainKeys does not list {stray[0]!r}, which the patch sets"
        )
    for name in [n for n in document if n not in keep]:
        del document[name]


def _delete_values(document: Document, name: str, values: Any, path: Path) -> None:
    gone = _list(values, (*path, name))
    if isinstance(document.get(name), list):
        document[name] = [item for item in document[name] if item not in gone]


def _merge_list(old: list[Any], patch: list[Any], path: Path, lookup: Lookup, *, order: Any) -> list[Any]:
    key = lookup(path).key
    if not key:
        if any(isinstance(item, dict | list) for item in (*old, *patch)):
            raise patches.Malformed(f"{_dotted(path)}: a list of plain values is expected")
        merged = list(dict.fromkeys((*old, *patch)))
        return _ordered(merged, patch if order is None else _list(order, path), old, "", path)
    merged = [_object(item, path) for item in old]
    merged, patch = _special(merged, patch, key, path)
    if order is not None:
        _agree(
            [_key(item, key, path) for item in patch], [_key(o, key, path) for o in _list(order, path)], path
        )
    for item in patch:
        value = _key(item, key, path)
        place = next((i for i, there in enumerate(merged) if patches.same(there.get(key), value)), None)
        if place is None:
            merged.append(_plain(item)[0])
        else:
            merged[place] = _merge_object(merged[place], dict(item), path, lookup)
    if order is None:
        return _ordered(merged, patch, old, key, path)
    # As upstream: to place the others, an added item counts as standing where a deleted one freed a place.
    return _ordered(merged, _list(order, path), merged[: len(old)], key, path)


def _agree(patch: list[Any], order: list[Any], path: Path) -> None:
    """What a patch sets must be listed in its $setElementOrder, in the same order."""
    rest = iter(order)
    if not all(any(patches.same(value, other) for other in rest) for value in patch):
        raise patches.Malformed(
            f"{_dotted(path)}: the order in the patch does not match its $setElementOrder"
        )


def _special(merged: list[Any], patch: list[Any], key: str, path: Path) -> tuple[list[Any], list[Any]]:
    """Items which are directives take effect first. After a replace the others are taken as they are."""
    plain: list[Any] = []
    replace = False
    for item in patch:
        match _object(item, path).get(_DIRECTIVE):
            case None:
                plain.append(item)
            case "delete":
                value = _key(item, key, path)
                merged = [there for there in merged if not patches.same(there.get(key), value)]
            case "replace":
                replace = True
            case other:
                raise patches.Malformed(f"{_dotted(path)}: $patch {other!r} means nothing in a list")
    return (plain, []) if replace else (merged, plain)


def _ordered(merged: list[Any], wanted: list[Any], live: list[Any], key: str, path: Path) -> list[Any]:
    """Items named in `wanted` stand in its order; the others keep their place of `live` among them."""
    ranks = [_identity(item, key, path) for item in wanted]
    places = [_identity(item, key, path) for item in live]

    def rank(item: Any, among: list[Any]) -> int:
        identity = _identity(item, key, path)
        return next((i for i, other in enumerate(among) if patches.same(other, identity)), -1)

    ours = sorted((item for item in merged if rank(item, ranks) >= 0), key=lambda item: rank(item, ranks))
    theirs = [item for item in merged if rank(item, ranks) < 0]
    result: list[Any] = []
    for item in ours:
        place = rank(item, places)
        while theirs and place >= 0 and 0 <= rank(theirs[0], places) < place:
            result.append(theirs.pop(0))
        result.append(item)
    return result + theirs


def _plain(value: Any) -> tuple[Any, bool]:
    """A patch's value taken as it is: without directives and nulls. False: it was itself a directive."""
    if isinstance(value, dict):
        if _DIRECTIVE in value:
            return None, False
        inner = {n: _plain(v) for n, v in value.items() if v is not None and not _is_directive(n)}
        return {n: v for n, (v, keep) in inner.items() if keep}, True
    if isinstance(value, list):
        return [v for v, keep in map(_plain, value) if keep], True
    return value, True


def _is_directive(name: str) -> bool:
    return name == _RETAIN or name.startswith((_ORDER, _DELETE))


def _identity(item: Any, key: str, path: Path) -> Any:
    return _key(item, key, path) if key else item


def _key(item: Any, key: str, path: Path) -> Any:
    found = _object(item, path).get(key)
    if found is None:
        raise patches.Malformed(f"{_dotted(path)}: an item has no merge key {key!r}")
    return found


def _object(item: Any, path: Path) -> Document:
    if not isinstance(item, dict):
        raise patches.Malformed(f"{_dotted(path)}: items must be objects")
    return item


def _list(value: Any, path: Path) -> list[Any]:
    if not isinstance(value, list):
        raise patches.Malformed(f"{_dotted(path)}: a list is expected")
    return value


def _dotted(path: Iterable[str]) -> str:
    return ".".join(path) or "the top"

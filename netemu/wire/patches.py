"""Two ways to change a JSON document by another: merge patch (RFC 7386) and JSON patch (RFC 6902).

Inputs are never changed. A patch that cannot be applied raises `Malformed` (it is nonsense) or `Inapplicable`
(it does not fit this document).
"""

from __future__ import annotations

import re
from typing import Any

from netemu.base import errors

Document = dict[str, Any]
Path = tuple[str, ...]

MAX_OPERATIONS = 10_000


class Malformed(errors.Rejected):
    """The patch itself is no patch: HTTP 400."""


class Inapplicable(errors.Rejected):
    """The patch does not fit the document: HTTP 422."""


# --- RFC 7386 ---


def merge(document: Any, patch: Any) -> Any:
    """Objects are merged, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


# --- RFC 6902 ---


def json_patch(document: Any, operations: Any) -> Any:
    """All operations in order, or none."""
    if not isinstance(operations, list):
        raise Malformed("a JSON patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise Malformed(f"a JSON patch has at most {MAX_OPERATIONS} operations, this one {len(operations)}")
    result = copied(document)
    for index, operation in enumerate(operations):
        if not isinstance(operation, dict):
            raise Malformed(f"operation {index} is no object")
        result = _operate(result, operation, index)
    return result


def _operate(document: Any, operation: Document, index: int) -> Any:
    verb = operation.get("op")
    path = _pointer(operation, "path", index)
    if verb in ("add", "replace", "test") and "value" not in operation:
        raise Malformed(f'operation {index} ("{verb}") has no "value"')
    match verb:
        case "add":
            return _add(document, path, copied(operation["value"]))
        case "remove":
            return _remove(document, path)
        case "replace":
            _get(document, path)
            return _add(_remove(document, path) if path else None, path, copied(operation["value"]))
        case "move":
            source = _pointer(operation, "from", index)
            if len(path) > len(source) and path[: len(source)] == source:
                raise Inapplicable(f'cannot move "{_text(source)}" into itself')
            value = _get(document, source)
            return _add(_remove(document, source), path, value)
        case "copy":
            return _add(document, path, copied(_get(document, _pointer(operation, "from", index))))
        case "test":
            if not same(_get(document, path), operation["value"]):
                raise Inapplicable(f'testing path "{_text(path)}" failed: the value is another one')
            return document
    raise Malformed(f"operation {index}: unknown op {verb!r} (add, remove, replace, move, copy, test)")


_BAD_ESCAPE = re.compile(r"~(?![01])")


def _pointer(operation: Document, name: str, index: int) -> Path:
    """RFC 6901."""
    text = operation.get(name)
    if not isinstance(text, str):
        raise Malformed(f'operation {index} has no "{name}"')
    if text and not text.startswith("/"):
        raise Malformed(f'operation {index}: "{name}" must start with "/", not {text!r}')
    if _BAD_ESCAPE.search(text):
        raise Malformed(f'operation {index}: "~" in "{name}" must be written "~0"')
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def _text(path: Path) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def _place(items: list[Any], part: str, path: Path, *, end: bool) -> int:
    """A list index; `end` also allows the place after the last item."""
    if part == "-" and end:
        return len(items)
    if not re.fullmatch(r"0|[1-9][0-9]{0,9}", part, re.ASCII):
        raise Inapplicable(f'"{_text(path)}": {part!r} is no index of a list')
    if int(part) >= len(items) + end:
        raise Inapplicable(f'"{_text(path)}": index {part} is beyond the list of {len(items)}')
    return int(part)


def _get(document: Any, path: Path) -> Any:
    value = document
    for depth, part in enumerate(path, 1):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list):
            value = value[_place(value, part, path[:depth], end=False)]
        else:
            raise Inapplicable(f'"{_text(path[:depth])}" does not exist')
    return value


def _add(document: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(_place(parent, last, path, end=True), value)
    else:
        raise Inapplicable(f'"{_text(path[:-1])}" is neither an object nor a list')
    return document


def _remove(document: Any, path: Path) -> Any:
    if not path:
        return None
    _get(document, path)
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        del parent[last]
    else:
        del parent[int(last)]
    return document


def same(a: Any, b: Any) -> bool:
    """Equality of JSON: true is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def copied(value: Any) -> Any:
    """All of it, to be changed."""
    if isinstance(value, dict):
        return {name: copied(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [copied(inner) for inner in value]
    return value

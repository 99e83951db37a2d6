"""The simple JSON paths of printer columns and scale subresources: as much as those use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

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

"""YAML as JSON has it: keys are texts, times stay text, and keys that stand twice are told.

Loaded when somebody first sends YAML. Aliases are followed, but not into a document larger than one could be
that was sent whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from netemu.base import errors

_DEEPEST = 200
_GROWTH = 10  # values for each byte, once aliases were followed; without any, it is less than one
_SPARE = 1000
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = "tag:yaml.org,2002:merge"


class Malformed(errors.Rejected):
    """It is no YAML, or none that could be JSON."""


def read(data: bytes) -> tuple[Any, tuple[str, ...]]:
    """The document, and the paths of keys that stand twice in it. Malformed."""
    try:
        loader = _Loader(data)
        try:
            node = loader.get_single_node()
            if node is None:
                return None, ()
            duplicates = tuple(_duplicates(node, "", set()))
            return _Plain(len(data)).value(loader.construct_document(node), 0), duplicates
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Malformed(
            f"malformed YAML: {str(error).splitlines()[0] if str(error) else 'too deep'}"
        ) from None


def _duplicates(node: Any, path: str, seen: set[int]) -> Iterator[str]:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, inner in enumerate(node.value):
            yield from _duplicates(inner, f"{path}[{index}]", seen)
    elif isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for key, inner in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            there = f"{path}.{key.value}" if path else key.value
            if key.value in names:
                yield there
            names.add(key.value)
            yield from _duplicates(inner, there, seen)


class _Plain:
    """Turns YAML's values into JSON's, and counts them."""

    def __init__(self, size: int) -> None:
        self._left = size * _GROWTH + _SPARE

    def value(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        if self._left < 0:
            raise ValueError("document contains excessive aliasing")
        if isinstance(value, dict):
            return {self._key(k): self.value(v, depth + 1) for k, v in value.items()}
        if isinstance(value, list):
            return [self.value(v, depth + 1) for v in value]
        if value is None or isinstance(value, str | int | float):
            return value
        return value.isoformat() if hasattr(value, "isoformat") else str(value)

    @staticmethod
    def _key(key: Any) -> str:
        if isinstance(key, bool):
            return "true" if key else "false"
        return str(key)

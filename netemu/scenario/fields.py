"""Reads typed fields out of a document and complains with file and line. Knows types, not purposes."""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple, TypeVar

from netemu.base import yamls
from netemu.scenario import documents

T = TypeVar("T")


class Fields(NamedTuple):
    """A mapping inside a document, and the path to it."""

    document: yamls.Document
    path: yamls.Path
    value: dict[str, Any]

    def known(self, names: Collection[str]) -> "Fields":
        """Refuse every field that is not among `names`."""
        for name in self.value:
            if name not in names:
                hint = documents.nearest(str(name), names)
                raise self.document.rejected((*self.path, str(name)), f"unknown field '{name}'", hint=hint)
        return self

    def text(self, name: str, default: str | None = None) -> str:
        """A string; required when there is no default."""
        return str(self._scalar(name, default, str, "a text"))

    def number(self, name: str, default: float | None = None, *, low: float = 0, high: float = 1e9) -> float:
        """A number between `low` and `high`."""
        number = self._scalar(name, default, (int, float), "a number")
        if isinstance(number, bool) or not low <= number <= high:
            raise self.wrong(name, f"must be a number from {low:g} to {high:g}")
        return float(number)

    def flag(self, name: str) -> bool:
        """true or false; false when absent."""
        return bool(self._scalar(name, False, bool, "true or false"))

    def seconds(self, name: str, default: float) -> float:
        """A duration: a number of seconds, or `30s`, `2m`, `500ms`."""
        value = self.value.get(name, default)
        if isinstance(value, str):
            for suffix, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
                number = value.removesuffix(suffix)
                if number != value and number.replace(".", "", 1).isdigit():
                    return float(number) * factor
        elif isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return float(value)
        raise self.wrong(name, "must be a duration such as 30s, 2m or 500ms")

    def several(
        self, name: str, read: Callable[[str], T], default: tuple[T, ...] | None = None
    ) -> tuple[T, ...]:
        """One text or a list of texts, each understood by `read` (whose ValueError says what is wrong)."""
        if name not in self.value and default is not None:
            return default
        value = self._scalar(name, None, (str, list), "a text or a list of texts")
        items = value if isinstance(value, list) else [value]
        if not items:
            raise self.wrong(name, "must not be empty")
        found: list[T] = []
        for index, item in enumerate(items):
            here = (*self.path, name, index) if isinstance(value, list) else (*self.path, name)
            if not isinstance(item, str):
                raise self.document.rejected(here, f"'{name}' takes texts")
            try:
                found.append(read(item))
            except ValueError as error:
                raise self.document.rejected(here, str(error)) from error
        return tuple(found)

    def each(self, name: str) -> tuple["Fields", ...]:
        """A list of mappings; empty when absent."""
        items = self._scalar(name, [], list, "a list")
        return tuple(of(self.document, (*self.path, name, index), item) for index, item in enumerate(items))

    def inner(self, name: str) -> "Fields":
        """A mapping; empty when absent."""
        value = self.value.get(name)
        return of(self.document, (*self.path, name), {} if value is None else value)

    def wrong(self, name: str, message: str) -> Exception:
        """The error about one field."""
        return self.document.rejected((*self.path, name), f"'{name}' {message}")

    def _scalar(self, name: str, default: Any, kind: Any, called: str) -> Any:
        value = self.value.get(name)
        if value is None:
            if default is None:
                raise self.document.rejected(self.path, f"the field '{name}' is missing")
            return default
        if not isinstance(value, kind):
            raise self.wrong(name, f"must be {called}")
        return value


def of(document: yamls.Document, path: yamls.Path, value: Any) -> Fields:
    """The mapping at `path`; Rejected when it is something else."""
    if not isinstance(value, dict):
        raise document.rejected(path, "a mapping (key: value) is wanted here")
    return Fields(document, path, value)


def choice(*words: str) -> Callable[[str], str]:
    """A reader that takes one of `words`."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"'{text}' is not one of: {', '.join(words)}")
        return text

    return read

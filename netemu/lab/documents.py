"""A document read field by field, where every complaint says the line. Knows YAML's shapes; no Lab."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from netemu.base import errors

Where = Callable[[tuple[str | int, ...]], str]  # what an error about a field starts with: "file:line: "


def nowhere(_: tuple[str | int, ...]) -> str:
    """Of a document that comes from no file."""
    return ""


def load(path: str | Path) -> tuple[Any, Where]:
    """The document in a YAML file, and where its fields are. Rejected with `file:line`."""
    from netemu.base import yamls  # few labs are described by a file

    try:
        found = yamls.parse(Path(path).read_bytes(), str(path))
    except OSError as failure:
        raise errors.Rejected(f"{path}: {failure.strerror}") from None
    if len(found) > 1:
        raise errors.Rejected(f"{path}: one YAML document is a Lab, this file has {len(found)}")
    document = found[0] if found else yamls.Document(None, str(path), {})
    return document.value, lambda field_path: f"{document.where(field_path)}: "


class Reader:
    """One mapping of the document; `path` leads to it, `what` names the whole document."""

    def __init__(self, document: Any, where: Where, path: tuple[str, ...] = (), what: str = "a Lab") -> None:
        self._document, self._where, self._path = document, where, path
        if not isinstance(document, dict):
            self.refuse((), f"{'.'.join(path) or what} must be a mapping of fields to values")

    def refuse(self, path: tuple[str | int, ...], message: str, hint: str = "") -> NoReturn:
        """Rejected, about the field at `path` below this mapping."""
        raise errors.Rejected(self._where((*self._path, *path)) + message, hint=hint)

    def known(self, *names: str) -> None:
        """Refuses fields that are none of these."""
        for key in self._document:
            if key not in names:
                self.refuse((key,), f"unknown field {key!r}", hint="known are: " + ", ".join(names))

    def number(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        value = self._document.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse((key,), f"{self._name(key)} must be a whole number, not {value!r}")
        if not low <= value <= high:
            limits = f"{low}" if low == high else f"{low} to {high}"
            self.refuse((key,), f"{self._name(key)} is {value}; possible is {limits}")
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """One of these words; the first if none is given."""
        value = self._document.get(key, choices[0])
        if value not in choices:
            self.refuse((key,), f"{self._name(key)} is {value!r}; possible is {', '.join(choices)}")
        return str(value)

    def flag(self, key: str) -> bool:
        """true or false; false if not given."""
        value = self._document.get(key, False)
        if not isinstance(value, bool):
            self.refuse((key,), f"{self._name(key)} must be true or false, not {value!r}")
        return value

    def _name(self, key: str) -> str:
        return ".".join((*self._path, key))

"""YAML files, directories of them, and the paths that errors name. Knows files; not what the fields mean."""

import difflib
import pathlib
import re
import sys
from collections.abc import Iterable

from netemu.base import errors, yamls

SUFFIXES = (".yaml", ".yml", ".json")

_TOKEN = re.compile(r"\[(\d+)\]|\[([^\]]*)\]|([^.\[\]]+)")


def read(path: str) -> tuple[yamls.Document, ...]:
    """The documents of a file, of all YAML and JSON files of a directory (by name), or of stdin (`-`)."""
    if path == "-":
        return yamls.parse(sys.stdin.buffer.read(), "stdin")
    place = pathlib.Path(path)
    if place.is_dir():
        files = sorted(file for file in place.iterdir() if file.suffix in SUFFIXES and file.is_file())
        if not files:
            raise errors.Rejected(f"{path}: no {', '.join(SUFFIXES)} file in this directory")
        return tuple(document for file in files for document in read(str(file)))
    try:
        return yamls.parse(place.read_bytes(), path)
    except OSError as error:
        raise errors.Rejected(f"{path}: {error.strerror}") from error


def path_of(field: str) -> yamls.Path:
    """A field path as Kubernetes writes it (`spec.ports[0].name`, `metadata.labels[a/b]`) in parts."""
    return tuple(int(index) if index else key or name for index, key, name in _TOKEN.findall(field))


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt word: the closest known one, else all of them."""
    ordered = sorted(known)
    close = difflib.get_close_matches(word, ordered, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(ordered)}"

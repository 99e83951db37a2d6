"""A folder to check: its manifests and its expectations. Knows files; not what is in them."""

import pathlib
from collections.abc import Iterator

from netemu.base import errors
from netemu.check import expectations, imagine
from netemu.scenario import documents, manifests


def manifest_files(folder: str, *, but: pathlib.Path | None = None) -> tuple[str, ...]:
    """All YAML and JSON files below a folder (or the one file), by path, without the expectations."""
    place = pathlib.Path(folder)
    if place.is_file():
        return (str(place),)
    if not place.is_dir():
        raise errors.Rejected(f"{folder}: no such file or directory")
    return tuple(str(file) for file in _files(place) if file != but and file.name != expectations.FILE)


def _files(place: pathlib.Path) -> Iterator[pathlib.Path]:
    for file in sorted(place.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(place).parts)
        if file.suffix in documents.SUFFIXES and file.is_file() and not hidden:
            yield file


def expectations_file(folder: str, given: str | None) -> pathlib.Path:
    """The expectations: the file given, or the usual one of the folder."""
    path = pathlib.Path(given) if given else pathlib.Path(folder) / expectations.FILE
    if not pathlib.Path(folder).exists():
        raise errors.Rejected(f"{folder}: no such file or directory")
    if not path.is_file():
        hint = f"write {expectations.FILE} beside the manifests, or name a file with --expect"
        raise errors.Rejected(f"{path}: no such file", hint=hint)
    return path


def read(files: tuple[str, ...], folder: str, namespace: str = "default") -> tuple[manifests.Manifest, ...]:
    """The objects of files. Rejected with file and line; also when there is none."""
    found = manifests.read(files, namespace=namespace, foreign=True)
    if not found:
        raise errors.Rejected(f"{folder}: holds no Kubernetes object")
    return found


def imagined(folder: str, namespace: str = "default") -> imagine.Imagined:
    """The world of a folder's manifests."""
    return imagine.world(read(manifest_files(folder), folder, namespace))

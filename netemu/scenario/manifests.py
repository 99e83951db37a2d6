"""Kubernetes YAML from files, checked before anything is sent: kinds, fields and types, with file:line.

Knows the schema of every kind; what else an object must fulfil the API server says.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from netemu.api import kinds, schema
from netemu.base import errors, yamls
from netemu.scenario import documents


class Manifest(NamedTuple):
    """One object as it was written, its kind, and the namespace it goes to ("" for cluster-wide kinds)."""

    document: yamls.Document
    kind: kinds.Kind
    namespace: str

    @property
    def name(self) -> str:
        """metadata.name."""
        return str(self.document.value["metadata"]["name"])

    def __str__(self) -> str:
        return f"{self.kind.one}/{self.name}"


def read(paths: Iterable[str], *, namespace: str = "default", foreign: bool = False) -> tuple[Manifest, ...]:
    """The objects of files and directories; Namespaces first, else in the order written.

    `namespace` is for objects that name none. `foreign`: what is of a kind that netemu does not have, or no
    object at all, is left out, not refused. All problems of all files come in one Rejected.
    """
    found: list[Manifest] = []
    problems: list[str] = []
    for path in paths:
        for document in _flat(documents.read(path)):
            if foreign and _is_foreign(document.value):
                continue
            try:
                found.append(_check(document, namespace))
            except errors.Rejected as error:
                problems.append(f"{error.message}{' (' + error.hint + ')' if error.hint else ''}")
    if problems:
        raise errors.Rejected("\n        ".join(problems))
    return tuple(sorted(found, key=lambda manifest: manifest.kind.kind != "Namespace"))


def _is_foreign(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    known = {kind.kind for kind in kinds.SERVED + kinds.CUSTOM}
    return value.get("kind") not in known if "kind" in value else "apiVersion" not in value


def _flat(found: Iterable[yamls.Document]) -> Iterator[yamls.Document]:
    """A `kind: List` is its items."""
    for document in found:
        value = document.value
        if isinstance(value, dict) and value.get("kind") == "List" and isinstance(value.get("items"), list):
            for index, item in enumerate(value["items"]):
                prefix = ("items", index)
                lines = {path[2:]: line for path, line in document.lines.items() if path[:2] == prefix}
                yield yamls.Document(item, document.file, lines)
        else:
            yield document


def _check(document: yamls.Document, namespace: str) -> Manifest:
    value = document.value
    if not isinstance(value, dict):
        raise document.rejected((), "a Kubernetes object is a mapping (apiVersion, kind, metadata, ...)")
    kind = _kind(document, value)
    metadata = value.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise document.rejected(("metadata",), f"this {kind.kind} has no metadata.name")
    found = [
        *(
            (document.where(documents.path_of(problem.path)), problem.message)
            for problem in schema.problems(kind, value)
        ),
        *(
            (document.where(documents.path_of(path)), f'unknown field "{path}"')
            for path in schema.unknown(kind, value)
        ),
    ]
    if found:
        raise errors.Rejected("\n        ".join(f"{where}: {message}" for where, message in sorted(found)))
    if not kind.namespaced:
        return Manifest(document, kind, "")
    return Manifest(document, kind, str(metadata.get("namespace") or namespace))


def _kind(document: yamls.Document, value: dict[str, Any]) -> kinds.Kind:
    for field in ("apiVersion", "kind"):
        if not isinstance(value.get(field), str):
            raise document.rejected((), f"the field '{field}' is missing")
    kind = kinds.named(value["apiVersion"], value["kind"])
    if kind is None:
        known = {known.kind: known.api_version for known in kinds.ALL}
        if value["kind"] in known:
            hint = f"{value['kind']} is in {known[value['kind']]}"
        else:
            hint = documents.nearest(value["kind"], known)
        raise document.rejected(("kind",), f"netemu has no {value['apiVersion']} {value['kind']}", hint=hint)
    return kind

"""Kubernetes YAML from files, checked before anything is sent: kinds, fields and types, with file:line.

Knows the schema of every kind but of those that users defined; what else an object must fulfil the API
server says.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from netemu.api import kinds, schema
from netemu.base import errors, yamls
from netemu.scenario import customs, documents


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


Lookup = Callable[[str, str], kinds.Kind | None]  # by apiVersion and kind
_FIRST = ("Namespace", "CustomResourceDefinition")


def read(
    paths: Iterable[str],
    *,
    namespace: str = "default",
    foreign: bool = False,
    elsewhere: Lookup = lambda api_version, kind: None,
) -> tuple[Manifest, ...]:
    """The objects of files and directories; Namespaces and definitions first, else in the order written.

    `namespace` is for objects that name none. `foreign`: what is of a kind that netemu does not have, or no
    object at all, is left out, not refused. `elsewhere` is asked for kinds that neither netemu has nor a
    definition in the files. All problems of all files come in one Rejected.
    """
    found: list[Manifest] = []
    problems: list[str] = []
    written = [document for path in paths for document in _flat(documents.read(path))]
    defined = customs.defined(document.value for document in written)

    def lookup(api_version: str, kind: str) -> kinds.Kind | None:
        own = kinds.named(api_version, kind) or defined.get((api_version, kind))
        return own or elsewhere(api_version, kind)

    for document in written:
        if foreign and _is_foreign(document.value):
            continue
        try:
            found.append(_check(document, namespace, lookup))
        except errors.Rejected as error:
            problems.append(f"{error.message}{' (' + error.hint + ')' if error.hint else ''}")
    if problems:
        raise errors.Rejected("\n        ".join(problems))
    return tuple(sorted(found, key=lambda manifest: manifest.kind.kind not in _FIRST))


def is_own(api_version: str) -> bool:
    """Whether its group is one of Kubernetes', in which users define no kinds."""
    return api_version.rpartition("/")[0] in {kind.group for kind in kinds.SERVED}


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


def _check(document: yamls.Document, namespace: str, lookup: Lookup) -> Manifest:
    value = document.value
    if not isinstance(value, dict):
        raise document.rejected((), "a Kubernetes object is a mapping (apiVersion, kind, metadata, ...)")
    kind = _kind(document, value, lookup)
    metadata = value.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise document.rejected(("metadata",), f"this {kind.kind} has no metadata.name")
    if found := _problems(document, kind, value):
        raise errors.Rejected("\n        ".join(f"{where}: {message}" for where, message in sorted(found)))
    if not kind.namespaced:
        return Manifest(document, kind, "")
    return Manifest(document, kind, str(metadata.get("namespace") or namespace))


def _problems(document: yamls.Document, kind: kinds.Kind, value: dict[str, Any]) -> list[tuple[str, str]]:
    """Where, and what; of a kind that users defined only what every object has is judged."""
    if customs.is_custom(kind):
        value = {name: value[name] for name in ("apiVersion", "kind", "metadata")}
    found = schema.inspect(kind, value)
    return [
        *((document.where(documents.path_of(one.path)), one.message) for one in found.problems),
        *((document.where(documents.path_of(path)), f'unknown field "{path}"') for path in found.unknown),
    ]


def _kind(document: yamls.Document, value: dict[str, Any], lookup: Lookup) -> kinds.Kind:
    for field in ("apiVersion", "kind"):
        if not isinstance(value.get(field), str):
            raise document.rejected((), f"the field '{field}' is missing")
    kind = lookup(value["apiVersion"], value["kind"])
    if kind is None:
        known = {known.kind: known.api_version for known in kinds.ALL}
        if value["kind"] in known:
            hint = f"{value['kind']} is in {known[value['kind']]}"
        elif is_own(value["apiVersion"]):
            hint = documents.nearest(value["kind"], known)
        else:
            hint = "define it first, with a CustomResourceDefinition"
        raise document.rejected(("kind",), f"netemu has no {value['apiVersion']} {value['kind']}", hint=hint)
    return kind

"""YAML as plain values that remember their lines. Knows YAML; no files, and not what the fields mean."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from netemu.base import errors

Path = tuple[str | int, ...]


class Document(NamedTuple):
    """One YAML document: its value, the file it came from, and the line each field is on."""

    value: Any
    file: str
    lines: Mapping[Path, int]

    def where(self, path: Path = ()) -> str:
        """`file:line` of a field, or of the nearest thing around it that is written down."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.file}:{self.lines.get(path, 1)}"

    def rejected(self, path: Path, message: str, *, hint: str = "") -> errors.Rejected:
        """The error that says what is wrong with a field, and where it is."""
        return errors.Rejected(f"{self.where(path)}: {message}", hint=hint)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML in which dates stay text, as Kubernetes reads them."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(text: str | bytes, file: str) -> tuple[Document, ...]:
    """The documents of a YAML text; empty ones are left out. Rejected with `file:line` if not YAML."""
    documents: list[Document] = []
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            lines: dict[Path, int] = {}
            _note(node, (), lines, file)
            value = loader.construct_document(node)
            if value is not None:
                documents.append(Document(value, file, lines))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # What is missing at the end is missing on the last line there is.
        line = min(mark.line + 1, len(text.splitlines())) if mark else 1
        raise errors.Rejected(f"{file}:{line}: not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise errors.Rejected(f"{file}: not valid YAML: {str(error).splitlines()[0]}") from error
    finally:
        loader.dispose()
    return tuple(documents)


def _note(node: yaml.Node, path: Path, lines: dict[Path, int], file: str) -> None:
    """Write down the line of everything in a node; a key written twice is refused."""
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note(item, (*path, index), lines, file)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            here = (*path, name)
            if here in lines and name != "<<":
                line = key.start_mark.line + 1
                raise errors.Rejected(f"{file}:{line}: '{name}' is here twice (first on line {lines[here]})")
            lines[here] = key.start_mark.line + 1
            _note(value, here, lines, file)

"""The words a scenario uses for places: `pod web in shop`, `pods app=web`, `node worker-1`, `outside`.

Pure: knows the grammar; not whether such a place exists.
"""

from typing import Literal, NamedTuple

Kind = Literal[
    "pod", "pods", "container", "node", "nodes", "outside", "localhost", "service", "address", "name"
]

SENDERS = frozenset({"pod", "pods", "container", "node", "nodes", "outside"})

GRAMMAR = (
    "pod NAME [in NAMESPACE]",
    "pods KEY=VALUE[,...] [in NAMESPACE]",
    "container NAME of pod NAME [in NAMESPACE]",
    "service NAME [in NAMESPACE]",
    "node NAME",
    "nodes",
    "outside",
    "localhost",
    "address IP",
    "name DNS-NAME",
)


class Place(NamedTuple):
    """One place or a set of them. `name` is a label selector for `pods`; `container` is of the pod `name`."""

    kind: Kind
    name: str = ""
    namespace: str = ""
    container: str = ""

    def __str__(self) -> str:
        match self.kind:
            case "nodes" | "outside" | "localhost":
                text: str = self.kind
            case "container":
                text = f"container {self.container} of pod {self.name}"
            case _:
                text = f"{self.kind} {self.name}"
        return f"{text} in {self.namespace}" if self.namespace not in ("", "default") else text


def parse(text: str) -> Place:
    """Read a place; ValueError says what can be written."""
    match text.split():
        case ["nodes" | "outside" | "localhost" as kind]:
            return Place(kind)
        case ["node" | "address" | "name" as kind, name]:
            return Place(kind, name)
        case ["pod" | "pods" | "service" as kind, name, *rest] if (namespace := _namespace(rest)) is not None:
            return Place(kind, name, namespace)
        case ["container", container, "of", "pod", name, *rest] if (
            namespace := _namespace(rest)
        ) is not None:
            return Place("container", name, namespace, container)
    raise ValueError(f"'{text}' is not a place; write one of: {'; '.join(GRAMMAR)}")


def _namespace(words: list[str]) -> str | None:
    match words:
        case []:
            return "default"
        case ["in", namespace]:
            return namespace
    return None

"""Where a lab keeps what. Knows names below one directory; touches nothing.

DIR/lab.json kubeconfig pki/ store.db log/ control.sock     seen by the host
DIR/ns/PLACE/{net,mnt,uts}   DIR/nodes/NODE/{run,etc,…}     in tmpfs of the lab's own mount namespace
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

FABRIC, OUTSIDE = "fabric", "outside"

# Everything that may be in a lab's directory (and what SQLite puts beside store.db).
ENTRIES = frozenset({"lab.json", "kubeconfig", "pki", "store.db", "log", "control.sock", "ns", "nodes"})


@dataclass(frozen=True)
class Layout:
    """The paths of one lab, as the host and the lab's own mount namespace see them alike."""

    directory: PurePosixPath

    @property
    def identity(self) -> str:
        return str(self.directory / "lab.json")

    @property
    def kubeconfig(self) -> str:
        return str(self.directory / "kubeconfig")

    @property
    def pki(self) -> str:
        return str(self.directory / "pki")

    @property
    def store(self) -> str:
        return str(self.directory / "store.db")

    @property
    def logs(self) -> str:
        return str(self.directory / "log")

    def log(self, component: str) -> str:
        return str(self.directory / "log" / f"{component}.log")

    @property
    def namespaces(self) -> str:
        return str(self.directory / "ns")

    def namespace(self, place: str, kind: str) -> str:
        return str(self.directory / "ns" / place / kind)

    @property
    def nodes(self) -> str:
        return str(self.directory / "nodes")

    def node(self, name: str, *parts: str) -> str:
        return str(self.directory.joinpath("nodes", name, *parts))

    def on_node(self, name: str, path: str) -> str:
        """The path in the lab's mount namespace of something below a node's own /run."""
        relative = PurePosixPath(path).relative_to("/run")
        return self.node(name, "run", str(relative))

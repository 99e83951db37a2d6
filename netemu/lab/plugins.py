"""Whose CNI plugins connect the pods: `network.cni` of a Lab document. Makes nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netemu.lab import documents
from netemu.wire import cni, conflists

CONFIGURATION = "10-lab.conflist"
PLACE = "opt/cni/lab"  # on a node: the directory that `bin` names


@dataclass(frozen=True)
class Cni:
    """`conflist`: a file that nodes have instead of netemu's own list; `bin`: a directory whose plugins come
    before netemu's own. Both are absolute paths of this machine; "" for none.
    """

    conflist: str = ""
    bin: str = ""

    @property
    def directories(self) -> tuple[str, ...]:
        """Where nodes find these plugins."""
        return (f"/{PLACE}",) if self.bin else ()

    def document(self) -> dict[str, str]:
        """What `parse` reads back to this."""
        return {key: value for key, value in (("conflist", self.conflist), ("bin", self.bin)) if value}


def parse(document: Any, where: documents.Where) -> Cni:
    """Rejected with one line for files that are not there, or no list."""
    if document is None:
        return Cni()
    reader = documents.Reader(document, where, ("network", "cni"))
    reader.known("conflist", "bin")
    found = {}
    for key, kind, there in (("conflist", "file", Path.is_file), ("bin", "directory", Path.is_dir)):
        value = document.get(key, "")
        if not isinstance(value, str):
            reader.refuse((key,), f"network.cni.{key} must be the path of a {kind}, not {value!r}")
        found[key] = str(Path(value).absolute()) if value else ""
        if value and not there(Path(value)):
            reader.refuse((key,), f"network.cni.{key}: there is no {kind} {found[key]}")
    if found["conflist"]:
        try:
            conflists.complete(conflists.parse(Path(found["conflist"]).read_bytes()))
        except cni.Failure as failure:
            reader.refuse(("conflist",), f"{found['conflist']}: {failure}")
        except OSError as problem:
            reader.refuse(("conflist",), f"{found['conflist']}: {problem.strerror}")
    return Cni(**found)

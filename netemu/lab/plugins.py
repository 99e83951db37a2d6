"""Whose CNI plugins connect the pods: `network.cni` of a Lab document, and how nodes get what it names."""

import os
from dataclasses import dataclass
from typing import Any

from netemu.kernel import mounts
from netemu.lab import documents
from netemu.wire import cni, conflists

CONFIGURATION = "10-lab.conflist"
_PLACE = "opt/cni/lab"  # on a node: the directory that `bin` names


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
        return (f"/{_PLACE}",) if self.bin else ()

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
    for key, kind, there in (("conflist", "file", os.path.isfile), ("bin", "directory", os.path.isdir)):
        value = document.get(key, "")
        if not isinstance(value, str):
            reader.refuse((key,), f"network.cni.{key} must be the path of a {kind}, not {value!r}")
        found[key] = os.path.abspath(value) if value else ""
        if value and not there(found[key]):
            reader.refuse((key,), f"network.cni.{key}: there is no {kind} {found[key]}")
    if found["conflist"]:
        try:
            with open(found["conflist"], "rb") as file:
                conflists.complete(conflists.parse(file.read()))
        except cni.Failure as failure:
            reader.refuse(("conflist",), f"{found['conflist']}: {failure}")
        except OSError as problem:
            reader.refuse(("conflist",), f"{found['conflist']}: {problem.strerror}")
    return Cni(**found)


def prepare(wanted: Cni, upper: str) -> None:
    """Files of a node below `upper`, before its namespaces are made."""
    if wanted.conflist:
        with open(wanted.conflist, "rb") as source:
            text = source.read()
        with open(f"{upper}/etc/cni/net.d/{CONFIGURATION}", "wb") as file:
            file.write(text)
    if wanted.bin:
        os.makedirs(f"{upper}/{_PLACE}", exist_ok=True)


def take(wanted: Cni) -> int | None:
    """The directory of plugins as it is seen here, for `furnish`: a descriptor, the caller's."""
    return mounts.clone(wanted.bin) if wanted.bin else None


def furnish(tree: int | None) -> None:
    """In a node's own mount namespace: show it what `take` has taken."""
    if tree is not None:
        mounts.attach(tree, f"/{_PLACE}")

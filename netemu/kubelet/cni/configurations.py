"""The network a node's pods are connected to, as its directory says: the first usable file by name.

Read at every use, so that a change counts for the next pod. Knows files; what is in them is wire.conflists'.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from netemu.base import errors
from netemu.wire import cni, conflists

SUFFIXES = (".conflist", ".conf", ".json")
_NONE = "cni plugin not initialized"  # go-cni's words, which the node's Ready condition repeats


class NotReady(errors.Transient):
    """There is no usable configuration (yet)."""


class Configurations:
    """`usable` raises Failure for a list that cannot be run, since a plugin of it is missing, say."""

    def __init__(self, directory: str, usable: Callable[[conflists.ConfigList], None]) -> None:
        self._directory = directory
        self._usable = usable

    def first(self) -> conflists.ConfigList:
        """The pods' network. NotReady says why there is none."""
        problems = []
        for path in self._files():
            try:
                loaded = read(path)
                self._usable(loaded)
            except (cni.Failure, OSError) as problem:
                problems.append(f"{os.path.basename(path)}: {problem}")
                continue
            return loaded
        raise NotReady(f"{_NONE}: {'; '.join(problems)}" if problems else _NONE)

    def named(self, name: str) -> conflists.ConfigList | None:
        """The first network of that name, here or in the directory `multus`; None when there is none."""
        for path in (*self._files(), *self._files("multus")):
            with contextlib.suppress(cni.Failure, OSError):
                if (loaded := read(path)).name == name:
                    return loaded
        return None

    def every(self) -> Iterator[conflists.ConfigList]:
        """All that can be read, in order."""
        for path in (*self._files(), *self._files("multus")):
            with contextlib.suppress(cni.Failure, OSError):
                yield read(path)

    def _files(self, below: str = "") -> list[str]:
        directory = os.path.join(self._directory, below) if below else self._directory
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return [os.path.join(directory, n) for n in sorted(os.listdir(directory)) if n.endswith(SUFFIXES)]
        return []


def read(path: str) -> conflists.ConfigList:
    """One file, with the plugins of the directory beside it that has the network's name. Failure, OSError."""
    with open(path, "rb") as file:
        found = conflists.parse(file.read(), single=None if path.endswith(".json") else _is_single(path))
    if not found.only_inlined:
        found = conflists.extended(found, list(_texts(os.path.join(os.path.dirname(path), found.name))))
    return conflists.complete(found)


def _is_single(path: str) -> bool:
    return not path.endswith(".conflist")


def _texts(directory: str) -> Iterator[bytes]:
    """The plugins of a network that have files of their own (specification 1.1.0: loadOnlyInlinedPlugins)."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in sorted(os.listdir(directory)):
            if name.endswith(".conf"):
                with open(os.path.join(directory, name), "rb") as file:
                    yield file.read()

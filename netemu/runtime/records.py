"""What the shim must know again after a restart, as one small JSON file per sandbox and container.

    ROOT/sandboxes/ID.json   ROOT/sandboxes/ID/{hosts,hostname,resolv.conf}
    ROOT/containers/ID.json  ROOT/containers/ID/{stdin,stdout,stderr}   (FIFOs)
Knows files; does not know processes beyond their numbers. ROOT lies in memory, so nothing is synced.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from netemu.wire import cri

T = TypeVar("T", bound=msgspec.Struct)


class SandboxRecord(msgspec.Struct, frozen=True):
    """`start_time` makes the pid unmistakable (clock ticks after boot)."""

    sandbox: cri.Sandbox
    start_time: int


class ContainerRecord(msgspec.Struct, frozen=True):
    """Likewise; 0 before it was started."""

    container: cri.Container
    start_time: int = 0


class Shelf(Generic[T]):
    """The records of one kind."""

    def __init__(self, directory: str, kind: type[T]) -> None:
        self._directory = directory
        self._decoder = msgspec.json.Decoder(kind)
        os.makedirs(directory, mode=0o700, exist_ok=True)

    def place(self, name: str) -> str:
        """The directory for the files that belong to a record; it is made with the first `save`."""
        return f"{self._directory}/{name}"

    def save(self, name: str, record: T) -> None:
        """In place of the old one at once, or not at all."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.place(name), 0o700)
        path = f"{self._directory}/{name}.json"
        with open(f"{path}.new", "wb") as file:
            file.write(msgspec.json.encode(record))
        os.replace(f"{path}.new", path)

    def remove(self, name: str) -> None:
        """Fine when it is not there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._directory}/{name}.json")
        shutil.rmtree(self.place(name), ignore_errors=True)

    def load(self) -> Iterator[T]:
        """Those that were saved whole; directories without a record are removed."""
        names = os.listdir(self._directory)
        for name in names:
            if name.endswith(".json"):
                with open(f"{self._directory}/{name}", "rb") as file:
                    yield self._decoder.decode(file.read())
            elif f"{name}.json" not in names:
                self.remove(name)

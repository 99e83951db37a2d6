"""What is on disk about a lab: who its supervisor is, and who works on it. Knows files and identities.

A directory whose record names a living supervisor is a lab; one without is remains.
"""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from netemu.base import errors
from netemu.kernel import mounts, process
from netemu.lab import config, layout

VARIABLE = "NETEMU_STATE_DIR"
_PATIENCE = 1.0  # seconds, with those who are about to let go of a lab


@dataclass(frozen=True)
class Record:
    """The content of lab.json. `supervisor` is the lab's first process, with its pid on the host."""

    name: str
    supervisor: process.Identity
    api_port: int
    lab: dict[str, Any]

    @property
    def config(self) -> config.LabConfig:
        return config.parse(self.lab)


def state_directory() -> Path:
    """Where labs are kept: $NETEMU_STATE_DIR, /run/netemu, or below $XDG_RUNTIME_DIR for an ordinary user."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).absolute()
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if not os.access("/run", os.W_OK) and runtime:
        return Path(runtime, "netemu")
    return Path("/run/netemu")


def of(name: str) -> layout.Layout:
    """The places of a lab of that name, whether it is there or not. Rejected when no lab may be called so."""
    config.parse({"name": name})
    return layout.Layout(PurePosixPath(state_directory() / name))


def write(place: layout.Layout, record: Record) -> None:
    """Whole or not at all, and on the disk before anybody relies on it."""
    text = json.dumps({**asdict(record), "supervisor": record.supervisor._asdict()})
    new = place.identity + ".new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(new, place.identity)


def read(place: layout.Layout) -> Record | None:
    """None when there is no record, or only half of one: then no lab has been started from it. Rejected when
    it is somebody else's.
    """
    try:
        with open(place.identity, encoding="utf-8") as file:
            found = json.load(file)
        return Record(found["name"], process.Identity(**found["supervisor"]), found["api_port"], found["lab"])
    except PermissionError:
        raise _refused(str(place.directory)) from None
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def living(place: layout.Layout) -> Record | None:
    """The record of a lab that is up (or coming up) now."""
    record = read(place)
    return record if record is not None and process.alive(record.supervisor) else None


def names() -> tuple[str, ...]:
    """Everything in the state directory that may be a lab or the remains of one, also of somebody else."""
    try:
        entries = sorted(os.scandir(state_directory()), key=lambda entry: entry.name)
    except PermissionError:
        raise _refused(str(state_directory())) from None
    except (FileNotFoundError, NotADirectoryError):
        return ()
    directories = (entry for entry in entries if entry.is_dir(follow_symlinks=False))
    return tuple(entry.name for entry in directories if _may_be_a_lab(entry.path))


def _may_be_a_lab(directory: str) -> bool:
    try:
        return all(map(_is_ours, os.listdir(directory)))
    except PermissionError:
        return True


def _refused(path: str) -> errors.Rejected:
    return errors.Rejected(f"{path} belongs to another user", hint=f"run as root (sudo), or set {VARIABLE}")


@contextlib.contextmanager
def claimed(place: layout.Layout, *, create: bool) -> Iterator[bool]:
    """Nobody else makes or removes this lab meanwhile. False: there is no directory, and none was to be made.

    The claim ends with the process, however it ends, and with the children that it has just forked: these are
    given a moment to follow. Rejected when somebody else has it.
    """
    directory = Path(place.directory)
    patience = time.monotonic() + _PATIENCE
    while True:
        if create:
            _make(directory)
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            yield False
            return
        except PermissionError:
            raise _refused(str(directory)) from None
        except OSError as failure:
            raise errors.Rejected(f"{directory}: {failure.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            if time.monotonic() < patience:
                time.sleep(0.02)
                continue
            raise errors.Rejected(
                f"another netemu is making or removing lab '{directory.name}' at this moment",
                hint="wait for it to finish",
            ) from None
        if _same(fd, directory):
            break
        os.close(fd)  # it was removed between open and flock
    try:
        yield True
    finally:
        os.close(fd)


def _make(directory: Path) -> None:
    try:
        directory.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError as failure:
        raise errors.Rejected(
            f"{failure.filename} is not a directory", hint=f"set {VARIABLE} to one, or to where to make it"
        ) from None
    except OSError as failure:
        elsewhere = f"set {VARIABLE} to a directory elsewhere"
        hint = f"run as root, or {elsewhere}" if os.geteuid() else elsewhere
        raise errors.Rejected(f"cannot make {directory}: {failure.strerror}", hint=hint) from None


def _same(fd: int, directory: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(directory))
    except FileNotFoundError:
        return False


def remove(place: layout.Layout, *, keep_directory: bool = False) -> None:
    """Delete a lab's directory. The caller has claimed it and made sure that nothing of the lab runs.

    Rejected when there is something in it that netemu does not make, or something mounted in it.
    """
    directory = str(place.directory)
    strange = sorted(name for name in os.listdir(directory) if not _is_ours(name))
    if strange:
        raise errors.Rejected(
            f"{directory} holds {strange[0]!r}, which is not netemu's",
            hint="move it away, or use another name",
        )
    foreign = [m.point for m in mounts.table() if m.point == directory or m.point.startswith(directory + "/")]
    if foreign:
        raise errors.Rejected(
            f"{foreign[0]} is a mount point", hint="netemu mounts nothing there; unmount it first"
        )
    try:
        for name in os.listdir(directory):
            path = f"{directory}/{name}"
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        if not keep_directory:
            os.rmdir(directory)
    except OSError as failure:
        raise errors.Rejected(f"{failure.filename}: {failure.strerror}", hint="run as root") from None
    with contextlib.suppress(OSError):
        os.rmdir(state_directory())


def _is_ours(name: str) -> bool:
    return name.removesuffix(".new") in layout.ENTRIES or name.startswith("store.db")

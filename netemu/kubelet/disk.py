"""A pod's directories on the node: volumes written so that a reader sees all of a change or none of it.

Knows files; what is in them is volumes'. A change of a published volume is one rename of the link `..data`,
as upstream's AtomicWriter does, for programs watch it.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile

from netemu.base import errors
from netemu.kubelet import volumes

_DATA = "..data"
_CHECKS = {
    "Directory": stat.S_ISDIR,
    "File": stat.S_ISREG,
    "Socket": stat.S_ISSOCK,
    "CharDevice": stat.S_ISCHR,
    "BlockDevice": stat.S_ISBLK,
}


def publish(wanted: volumes.Directory) -> None:
    """Make a directory hold just these files; nothing is touched when it does already."""
    os.makedirs(wanted.path, exist_ok=True)
    if wanted.files is None:
        os.chmod(wanted.path, 0o777)
        return
    if _holds(wanted):
        return
    for path in wanted.files:
        if os.path.isabs(path) or ".." in path.split("/") or path.startswith(".."):
            raise errors.Rejected(f"invalid path in a volume: {path!r}")
    fresh = tempfile.mkdtemp(prefix="..", dir=wanted.path)
    os.chmod(fresh, 0o755)
    for path, file in wanted.files.items():
        target = os.path.join(fresh, path)
        if "/" in path:
            os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(file.content)
            os.fchmod(out.fileno(), file.mode)
    _swap(wanted.path, os.path.basename(fresh), tuple(wanted.files))


def _swap(directory: str, fresh: str, paths: tuple[str, ...]) -> None:
    """Point `..data` at the new files in one step, then mend the links to them."""
    data = os.path.join(directory, _DATA)
    old = os.readlink(data) if os.path.islink(data) else ""
    os.symlink(fresh, f"{data}_tmp")
    os.replace(f"{data}_tmp", data)
    visible = {path.split("/")[0] for path in paths}
    for name in visible:
        if not os.path.lexists(os.path.join(directory, name)):
            os.symlink(os.path.join(_DATA, name), os.path.join(directory, name))
    for name in os.listdir(directory):
        if not name.startswith("..") and name not in visible:
            os.unlink(os.path.join(directory, name))
    if old:
        shutil.rmtree(os.path.join(directory, old), ignore_errors=True)


def _holds(wanted: volumes.Directory) -> bool:
    assert wanted.files is not None
    data = os.path.join(wanted.path, _DATA)
    if not os.path.isdir(data):
        return False
    present = {
        os.path.relpath(os.path.join(parent, name), data)
        for parent, _, names in os.walk(data)
        for name in names
    }
    if present != wanted.files.keys():
        return False
    for path, file in wanted.files.items():
        with open(os.path.join(data, path), "rb") as there:
            if there.read() != file.content:
                return False
    return True


def check(wanted: volumes.HostPath) -> None:
    """Make or check a path of the node as its type says. Rejected when it is something else or missing."""
    if wanted.kind == "DirectoryOrCreate":
        os.makedirs(wanted.path, mode=0o755, exist_ok=True)
    elif wanted.kind == "FileOrCreate":
        os.close(os.open(wanted.path, os.O_RDONLY | os.O_CREAT, 0o644))
    kind = wanted.kind.removesuffix("OrCreate")
    try:
        mode = os.stat(wanted.path).st_mode
    except OSError as problem:
        raise errors.Rejected(f"hostPath {wanted.path}: {problem.strerror}") from None
    if kind and not _CHECKS[kind](mode):
        raise errors.Rejected(f"hostPath type check failed: {wanted.path} is not a {kind}")


def prepare_message(path: str) -> None:
    """An empty file for a termination message, which any user of the container may write."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        os.fchmod(fd, 0o666)
    finally:
        os.close(fd)


def prepare_subpath(volume: str, below: str) -> None:
    """A subPath that is not there yet is made as a directory."""
    path = os.path.join(volume, below)
    if not os.path.realpath(path).startswith(os.path.realpath(volume)):
        raise errors.Rejected(f"subPath {below!r} leads out of its volume")
    if not os.path.lexists(path):
        os.makedirs(path, mode=0o755, exist_ok=True)


def remove(root: str) -> None:
    """A pod's directory and all in it; fine when there is none."""
    shutil.rmtree(root, ignore_errors=True)

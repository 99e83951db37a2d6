"""Mounts as few verbs. Knows mount(2) and its traps; does not know what is mounted for whom.

All raise OSError. Standard library only at import.
"""

import errno
import os
from typing import NamedTuple

from netemu.kernel import linux

Path = str | os.PathLike[str]


class Mount(NamedTuple):
    """One line of /proc/PID/mountinfo."""

    id: int
    parent: int
    root: str
    point: str
    fstype: str
    source: str
    options: str


def isolate() -> None:
    """A mount namespace of the caller's own: what happens to mounts in it stays in it.

    Afterwards / is a mount point, also when the caller lives in a chroot, where it is a plain directory: so
    whoever enters the namespace later finds the same root. (The process must be single-threaded.)
    """
    with linux.on_one_cpu():
        linux.unshare(linux.CLONE_NEWNS)
    try:
        private("/")
    except OSError as refusal:
        if refusal.errno != errno.EINVAL:
            raise
        _leave_chroot_for_a_root()


def _leave_chroot_for_a_root() -> None:
    """Entering a mount namespace resets the root to the namespace's own; the chroot can then be made it."""
    chroot = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open("/proc/self/ns/mnt", "rb") as itself:
            linux.setns(itself.fileno(), linux.CLONE_NEWNS)
        private("/")
        path = os.readlink(f"/proc/self/fd/{chroot}")
    finally:
        os.close(chroot)
    bind(path, path, recursive=True)
    os.chdir(path)
    linux.pivot_root(".", ".")
    umount(".")
    os.chdir("/")


def private(target: Path = "/") -> None:
    """Nothing mounted below `target` goes to or comes from other mount namespaces any more."""
    linux.mount(None, target, None, linux.MS_PRIVATE | linux.MS_REC)


def bind(source: Path, target: Path, *, recursive: bool = False) -> None:
    """Show `source` (file or directory) at `target` too."""
    linux.mount(os.fspath(source), target, None, linux.MS_BIND | (linux.MS_REC if recursive else 0))


def move(source: Path, target: Path) -> None:
    linux.mount(os.fspath(source), target, None, linux.MS_MOVE)


def tmpfs(target: Path, *, mode: int = 0o755, size: str = "", name: str = "netemu") -> None:
    """An empty file system in memory; `size` as mount(8) has it ("64m"), half the memory when empty."""
    data = f"mode={mode:o}" + (f",size={size}" if size else "")
    linux.mount(name, target, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, data)


def overlay(lower: Path, upper: Path, work: Path, target: Path) -> None:
    """`lower` seen through `upper`, which takes the writes. `work` is an empty directory beside `upper`."""
    escaped = [
        os.fspath(path).replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")
        for path in (lower, upper, work)
    ]
    data = "lowerdir={},upperdir={},workdir={}".format(*escaped)
    try:
        linux.mount("netemu", target, "overlay", 0, data)
    except OSError as refusal:
        if refusal.errno not in (errno.EPERM, errno.EINVAL):
            raise
        # Below a user namespace its marks must be attributes an ordinary user may set (Linux 5.11).
        linux.mount("netemu", target, "overlay", 0, data + ",userxattr")


def opaque(directory: Path) -> None:
    """Mark a directory of an `upper` so that the lower one of the same name does not shine through."""
    try:
        os.setxattr(directory, "trusted.overlay.opaque", b"y")
    except PermissionError:
        os.setxattr(directory, "user.overlay.opaque", b"y")


def proc(target: Path = "/proc") -> None:
    """The processes of the caller's pid namespace."""
    linux.mount("proc", target, "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)


def sysfs(target: Path = "/sys", *, readonly: bool = False) -> None:
    """/sys/class/net of the caller's network namespace."""
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    linux.mount("sysfs", target, "sysfs", flags | (linux.MS_RDONLY if readonly else 0))


def mqueue(target: Path = "/dev/mqueue") -> None:
    linux.mount("mqueue", target, "mqueue", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)


def devpts(target: Path) -> None:
    """Terminals of its own: `target`/ptmx makes them, nobody else sees them."""
    flags = linux.MS_NOSUID | linux.MS_NOEXEC
    linux.mount("devpts", target, "devpts", flags, "newinstance,ptmxmode=0666,mode=0620")


def remount_read_only(target: Path) -> None:
    """Make one bind mount read-only (the attribute of the mount, not of its file system)."""
    linux.mount_setattr(os.fspath(target), linux.MOUNT_ATTR_RDONLY, recursive=False)


def read_only_recursive(target: Path) -> None:
    """Make a mount and everything below it read-only in one step (mount_setattr, Linux 5.12)."""
    linux.mount_setattr(os.fspath(target), linux.MOUNT_ATTR_RDONLY, recursive=True)


def clone(source: Path) -> int:
    """A descriptor (the caller's) of a detached copy of all mounts at and below `source`, for `attach`."""
    return linux.open_tree(os.fspath(source), linux.OPEN_TREE_CLONE | linux.AT_RECURSIVE)


def attach(fd: int, target: Path) -> None:
    """Put a detached copy at `target`, in whatever mount namespace the caller is by now."""
    linux.move_mount(fd, os.fspath(target))


def umount(target: Path) -> None:
    """Lazily: out of sight at once, gone when the last user is."""
    linux.umount(target, linux.MNT_DETACH)


def table(pid: int | str = "self") -> tuple[Mount, ...]:
    """The mounts of a process's mount namespace, in the kernel's order."""
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return tuple(_parse(line) for line in file)


def _parse(line: str) -> Mount:
    before, _, after = line.partition(" - ")
    fields = before.split()
    fstype, source, *_ = after.split()
    root, point, options = _plain(fields[3]), _plain(fields[4]), fields[5]
    return Mount(int(fields[0]), int(fields[1]), root, point, fstype, _plain(source), options)


def _plain(text: str) -> str:
    """The kernel writes blanks, tabs, newlines and backslashes as octal escapes."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text

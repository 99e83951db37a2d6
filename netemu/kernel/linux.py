"""System calls Python 3.11 does not offer, by ctypes. Knows numbers and errno; decides nothing.

Every function raises OSError with the kernel's errno. Standard library only, for runtime shims and CNI
executables import this module.
"""

import contextlib
import ctypes
import errno
import functools
import os
import platform
from collections.abc import Iterator

from netemu.base import errors

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_BIND, MS_MOVE, MS_REC = 0x1000, 0x2000, 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

AT_FDCWD = -100
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 0x1
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NODEV = 0x1, 0x4

PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_NO_NEW_PRIVS = 1, 15, 38

# Since Linux 5.1 new calls have one number on all architectures; the older ones differ.
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}


class KernelError(errors.NetemuError):
    """The kernel said no. `errno` is its reason (0 when the refusal is netemu's own reading of an answer)."""

    def __init__(self, message: str, *, errno: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.errno = errno


@functools.cache
def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def checked(result: int, call: str, *about: str) -> int:
    if result == -1:
        number = ctypes.get_errno()
        what = f"{call}: {os.strerror(number)}"
        raise OSError(number, what, *about[:1])
    return result


def _path(path: str | os.PathLike[str] | None) -> bytes | None:
    return None if path is None else os.fsencode(path)


def setns(fd: int, kind: int = 0) -> None:
    """Move the calling thread into the namespace (or, with a pidfd, the namespaces `kind`) behind `fd`."""
    checked(libc().setns(fd, kind), "setns")


def unshare(flags: int) -> None:
    """Give the calling thread new namespaces. CLONE_NEWPID concerns only its later children."""
    checked(libc().unshare(flags), "unshare")


def mount(
    source: str | None,
    target: str | os.PathLike[str],
    fstype: str | None = None,
    flags: int = 0,
    data: str | None = None,
) -> None:
    """mount(2)."""
    arguments = (
        _path(source),
        _path(target),
        _path(fstype),
        ctypes.c_ulong(flags),
        None if data is None else data.encode(),
    )
    checked(libc().mount(*arguments), f"mount {fstype or source or ''}".rstrip(), os.fspath(target))


@contextlib.contextmanager
def on_one_cpu() -> Iterator[None]:
    """The calling thread stays on the same CPU each time it comes here.

    A mount namespace's file can be bound only in an older one, and since Linux 6.18 age is read from a number
    that each CPU hands out from a stock of its own: made on another CPU, the younger may count as the older.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def umount(target: str | os.PathLike[str], flags: int = 0) -> None:
    """umount2(2)."""
    checked(libc().umount2(_path(target), flags), "umount", os.fspath(target))


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2). EINVAL when the present root is no mount point, as in a plain chroot."""
    number = _PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"pivot_root: not known on {platform.machine()}")
    checked(libc().syscall(number, _path(new_root), _path(put_old)), "pivot_root", new_root)


def prctl(option: int, value: int | bytes) -> None:
    """prctl(2) for the options whose argument is one number or one string."""
    argument = ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_ulong(value)
    zero = ctypes.c_ulong(0)
    checked(libc().prctl(option, argument, zero, zero, zero), f"prctl {option}")


def open_tree(path: str, flags: int) -> int:
    """open_tree(2): a descriptor of a mount, with OPEN_TREE_CLONE of a detached copy of it."""
    result = libc().syscall(_OPEN_TREE, AT_FDCWD, _path(path), flags | os.O_CLOEXEC)
    return checked(result, "open_tree", path)


def move_mount(fd: int, target: str) -> None:
    """move_mount(2) of a detached mount onto `target`."""
    checked(
        libc().syscall(_MOVE_MOUNT, fd, b"", AT_FDCWD, _path(target), MOVE_MOUNT_F_EMPTY_PATH),
        "move_mount",
        target,
    )


class _MountAttributes(ctypes.Structure):
    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def mount_setattr(path: str, attributes: int, *, recursive: bool) -> None:
    """mount_setattr(2), Linux 5.12: give a mount, or it and all below it, attributes in one step."""
    wanted = _MountAttributes(attr_set=attributes)
    flags = AT_RECURSIVE if recursive else 0
    result = libc().syscall(
        _MOUNT_SETATTR,
        AT_FDCWD,
        _path(path),
        flags,
        ctypes.byref(wanted),
        ctypes.c_size_t(ctypes.sizeof(wanted)),
    )
    checked(result, "mount_setattr", path)

"""How processes ended, as Kubernetes counts it. Knows wait statuses, pidfds and what a container leaves."""

import contextlib
import fcntl
import os
import signal
import struct

# linux/pidfd.h (6.15): the exit status of a process that somebody else has reaped.
_PIDFD_GET_INFO = 0xC040FF0B
_PIDFD_INFO_EXIT = 1 << 3


def of_child(pidfd: int) -> int | None:
    """The exit code of an ended child, which stays a zombie until `reap`; None when it is not our child."""
    try:
        ended = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    if ended is None:
        return None
    return ended.si_status + (0 if ended.si_code == os.CLD_EXITED else 128)


def reap(pidfd: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)


def of_stranger(pidfd: int) -> int | None:
    """The exit code of one that was not our child, once it is reaped; None where the kernel does not tell."""
    buffer = bytearray(64)
    struct.pack_into("<Q", buffer, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, buffer)
    except OSError:
        return None
    (mask,) = struct.unpack_from("<Q", buffer)
    (status,) = struct.unpack_from("<i", buffer, 60)
    if not mask & _PIDFD_INFO_EXIT:
        return None
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def mount_namespace(pid: int) -> str:
    """What all processes of one container share, and nobody else; "" when it cannot be seen."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return ""


def kill_orphans(first: int, belongs: str) -> None:
    """What a container leaves running is a child of the pod's PID 1 by then; with a runtime of its own pid
    namespace a container it would have died with its first process.
    """
    if not belongs:
        return
    for orphan in children(first):
        if mount_namespace(orphan) == belongs:
            kill_tree(orphan)


def kill_tree(pid: int) -> None:
    for child in children(pid):
        kill_tree(child)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def children(pid: int) -> tuple[int, ...]:
    """Empty where the kernel does not list them."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return tuple(int(word) for word in file.read().split())
    except OSError:
        return ()
